"""Mean and standard deviation of numbers that come in blocks, in float64.

A block brings its number n_b, mean m_b and squares S_b about it; with δ = m_b − m of those before (Chan, Golub, LeVeque 1983):

    S ← S + S_b + δ² n n_b / (n + n_b)        m ← m + δ n_b / (n + n_b)

The same blocks give the same last digit, whether they come from memory or from disk.
"""

import math

import numpy as np

__all__ = ["Moments"]

ERRORS, FEWEST = 3.0, 30
"""How many standard errors a mean may lie from 0 and still be 0, and the fewest numbers that tell how far it errs."""


class Moments:
    """Number, mean, sum of squares about it, and range of values."""

    def __init__(self) -> None:
        self.n, self.mean, self.squares, self.low, self.high = 0, 0.0, 0.0, 0.0, 0.0

    def add(self, x: np.ndarray) -> None:
        if not len(x):
            return
        mean, low, high = float(x.mean()), float(x.min()), float(x.max())
        squares = float(((x - mean) ** 2).sum())
        if not self.n:
            self.n, self.mean, self.squares, self.low, self.high = len(x), mean, squares, low, high
            return
        n, apart = self.n + len(x), mean - self.mean
        self.squares += squares + apart**2 * (self.n * len(x) / n)
        self.mean += apart * (len(x) / n)
        self.n, self.low, self.high = n, min(self.low, low), max(self.high, high)

    def origin_and_scale(self) -> tuple[float, float]:
        """What to measure the numbers from, and in: their mean and standard deviation.

        Where many lie on both sides of 0 and their mean is no further from it than it errs, the origin is 0: they were measured
        from there. It matters to learners that take levels and slopes of tasks to vary each on its own, which is true at one
        place only.
        """
        if not self.n:
            return 0.0, 1.0
        sd = math.sqrt(self.squares / self.n)
        if self.n >= FEWEST and self.low < 0 < self.high and abs(self.mean) * math.sqrt(self.n) < ERRORS * sd:
            return 0.0, sd
        largest = max(-self.low, self.high)
        return self.mean, sd if sd > 1e-12 * largest else 1.0  # equal numbers may have a mean beside them
