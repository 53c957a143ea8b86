"""Mean and standard deviation of numbers that come in blocks, in float64.

A block brings its number n_b, mean m_b and squares S_b about it; with δ = m_b − m of those before (Chan, Golub, LeVeque 1983):

    S ← S + S_b + δ² n n_b / (n + n_b)        m ← m + δ n_b / (n + n_b)

The same blocks give the same last digit, whether they come from memory or from disk.
"""

import math

import numpy as np

__all__ = ["Moments"]


class Moments:
    """Number, mean, sum of squares about it, and largest size of values."""

    def __init__(self) -> None:
        self.n, self.mean, self.squares, self.largest = 0, 0.0, 0.0, 0.0

    def add(self, x: np.ndarray) -> None:
        if not len(x):
            return
        mean = float(x.mean())
        squares, largest = float(((x - mean) ** 2).sum()), float(np.abs(x).max())
        if not self.n:
            self.n, self.mean, self.squares, self.largest = len(x), mean, squares, largest
            return
        n, apart = self.n + len(x), mean - self.mean
        self.squares += squares + apart**2 * (self.n * len(x) / n)
        self.mean += apart * (len(x) / n)
        self.n, self.largest = n, max(self.largest, largest)

    def mean_and_sd(self) -> tuple[float, float]:
        if not self.n:
            return 0.0, 1.0
        sd = math.sqrt(self.squares / self.n)
        return self.mean, sd if sd > 1e-12 * self.largest else 1.0  # equal numbers may have a mean beside them
