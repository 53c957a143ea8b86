"""One task, four rows: a gradient descent that climbs, mended, and the same as meta-gradient descent on a single task.

The article that started this project fits y = w₁x₁ + w₂x₂ to four rows by 1000 gradient steps of 0.01, but its gradient has the
wrong sign, so that the error grows without end. With the sign mended it reaches the least-squares solution; so does
meta-gradient descent with one task, no network and gradient steps as its inner rule.

    python examples/gradient_descent_mended.py
"""

import numpy as np

X = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 5.0]])
y = np.array([0.0, 0.0, 1.0, 1.0])
RATE, STEPS = 0.01, 1000


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


def as_one_task(steps: int = STEPS) -> np.ndarray:
    """The same descent as the inner rule of meta-gradient descent: θ = 0 adapts to the four rows of its only task."""
    from upstairs.gradient.encoder import make_network
    from upstairs.gradient.rules import RULES
    from upstairs.gradient.rules.rule import Problem

    problem = Problem(RULES["maml"], make_network(()), False, 2, 2, 1, (), (0, 4), steps, RATE / 2)
    theta = {"network": [], "linear": np.zeros((2, 1), np.float32), "mean": np.zeros((0, 1), np.float32)}
    adapted = problem.rule.adapt(theta, np.zeros(2), problem, X.astype(np.float32), y[:, None].astype(np.float32), 4)
    return np.asarray(adapted["weights"]["linear"])[:, 0]


def main() -> None:
    best = np.linalg.lstsq(X, y)[0]
    print(f"least squares              θ = {best.round(3)}, squared error {error(best):.3f}")
    print(f"as printed,     10 steps   squared error {error(as_printed(10)):,.0f}; after 100: {error(as_printed(100)):.1e}")
    for name, descend in (("mended", mended), ("as one task", as_one_task)):
        for steps in (STEPS, 30 * STEPS):
            theta = descend(steps)
            print(f"{name + ',':12} {steps:6,} steps   θ = {theta.round(3)}, squared error {error(theta):.3f}")


def error(theta: np.ndarray) -> float:
    """Mean over the four rows."""
    return float(np.mean((X @ theta - y) ** 2))


if __name__ == "__main__":
    main()
