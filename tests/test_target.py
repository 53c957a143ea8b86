"""Scales of the target: when a log is tried, and the way there and back."""

import numpy as np
import pytest

from upstairs.target import back_mean, back_quantile, forward, log_scale

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(np.exp(RNG.normal(size=2000))).astype(float)


@pytest.mark.parametrize(
    ("y", "shift"),
    [
        (np.exp(RNG.normal(size=2000)), 0.0),
        (COUNTS, 1.0),
        (RNG.gamma(9, size=2000), 0.0),  # a skewness of 2/3 and a third of the mean: wide
        (10 + RNG.gamma(9, size=2000), None),  # as skewed, but narrow
        (10 + RNG.exponential(size=2000), 0.0),  # narrow, but skewed
        (20 - RNG.gamma(9, size=2000).clip(max=20), None),  # skewed to the left
        (COUNTS - 1, None),
        (np.zeros(2000), None),
    ],
)
def test_when_a_log_is_tried(y, shift):
    scale = log_scale(y)
    assert (scale is None) == (shift is None)
    if scale is not None:
        assert scale.shift == pytest.approx(shift)
        assert back_quantile(scale, forward(scale, y)) == pytest.approx(y, abs=1e-9)


def test_the_mean_of_a_lognormal_comes_back():
    y = np.exp(0.5 * np.random.default_rng(1).normal(size=100_000))
    scale = log_scale(y)
    u = forward(scale, y)
    mean = back_mean(scale, np.array([u.mean()]), np.array([u.var()]))
    assert mean == pytest.approx(np.exp(0.125), rel=0.01)
