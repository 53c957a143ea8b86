"""
Gradient descent in one task, mended
====================================

The article that started this project, on meta-learning for large data, begins with a gradient descent: fit
:math:`y = w_1 x_1 + w_2 x_2` to four rows by 1000 steps of 0.01. As printed it never arrives: its error grows without end. Here
it is mended, and then seen for what it is, the smallest case of meta-gradient descent: one task, no network, a few rows.
"""

import matplotlib.pyplot as plt
import numpy as np

X = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 5.0]])
y = np.array([0.0, 0.0, 1.0, 1.0])
RATE, STEPS = 0.01, 1000

# %%
# Uphill, and downhill
# --------------------
# The gradient of the mean squared error, up to a factor of two, is :math:`X^\top (X\theta - y) / n`. The article adds it where
# it has to be subtracted, so each step goes up the hill, and faster the higher it gets.


def as_printed(steps: int = STEPS) -> np.ndarray:
    """The article's update: along the gradient of the squared error, so uphill."""
    theta = np.zeros(2)
    for _ in range(steps):
        theta = theta + RATE * X.T @ (X @ theta - y) / len(y)
    return theta


def mended(steps: int = STEPS) -> np.ndarray:
    """Against the gradient."""
    theta = np.zeros(2)
    for _ in range(steps):
        theta = theta - RATE * X.T @ (X @ theta - y) / len(y)
    return theta


def error(theta: np.ndarray) -> float:
    """Mean over the four rows."""
    return float(np.mean((X @ theta - y) ** 2))


# %%
# The same as meta-learning
# -------------------------
# Meta-gradient descent has an outer loop over tasks and an inner rule that makes a task's model from a support. With a single
# task there is nothing to learn outside, and the inner rule ``"maml"``, started at θ = 0 without any network, is this very
# descent. So the library's own code can be held against the article's four rows. (Its loss is the mean square, whose gradient
# has the factor of two; hence half the rate.)


def as_one_task(steps: int = STEPS) -> np.ndarray:
    """The same descent as the inner rule of meta-gradient descent: θ = 0 adapts to the four rows of its only task."""
    from upstairs.gradient.encoder import make_network
    from upstairs.gradient.rules import RULES
    from upstairs.gradient.rules.rule import Problem

    problem = Problem(RULES["maml"], make_network(()), False, 2, 2, 1, (), (0, 4), steps, RATE / 2)
    theta = {"network": [], "linear": np.zeros((2, 1), np.float32), "mean": np.zeros((0, 1), np.float32)}
    adapted = problem.rule.adapt(theta, np.zeros(2), problem, X.astype(np.float32), y[:, None].astype(np.float32), 4)
    return np.asarray(adapted["weights"]["linear"])[:, 0]


# %%
# Where the three of them arrive, beside the solution of least squares:

best = np.linalg.lstsq(X, y)[0]
print(f"least squares                θ = {best.round(3)}, squared error {error(best):.3f}")
print(f"as printed,      10 steps    squared error {error(as_printed(10)):,.0f}; after 100: {error(as_printed(100)):.1e}")
for name, descend in (("mended", mended), ("as one task", as_one_task)):
    for steps in (STEPS, 30 * STEPS):
        theta = descend(steps)
        print(f"{name + ',':12} {steps:6,} steps    θ = {theta.round(3)}, squared error {error(theta):.3f}")

# %%
# A thousand steps are too few even when they go the right way: the two columns are nearly the same, so the valley is long and
# flat, and the last of the way takes thirty times as many.

some = np.unique(np.geomspace(1, 30 * STEPS, 25).astype(int))
_, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
ax.loglog(some, [error(mended(k)) for k in some], label="mended")
ax.loglog(some[some <= 60], [error(as_printed(k)) for k in some[some <= 60]], label="as printed")
ax.axhline(error(best), color="0.5", linestyle="--", label="least squares")
ax.set(xlabel="steps", ylabel="squared error", ylim=(0.02, 1e4))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)

# %%
# What this shows is that the rule is right, not that it is of use: with one task there is nothing to transfer. For that, see
# :ref:`sphx_glr_docs_gallery_plot_sinusoids.py`, where a thousand tasks teach the start from which a few steps are enough.
