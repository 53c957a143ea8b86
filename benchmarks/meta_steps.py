"""How many meta-steps a second, beside what PyTorch's packages reach?

    python benchmarks/meta_steps.py                                           # a minute or two

Second-order and first-order MAML on sine waves: network 1-40-40-1 (tanh), 25 tasks a step, 10 support and 10 query rows, one or
five inner steps, Adam outside. Ours is `gradient.training.train` for two models side by side, the steps of each counted, with
all that a fit does: drawing episodes, stepping the prior on 13 episodes more, and looking at the held-out error every 50 steps.
The peers get their episodes ready-made, and write the loop over tasks as their own examples do; "TorchOpt, vmap" is the same in
the functional manner, without a loop, which is the fastest that we found for PyTorch. All on one core; CPU time, the least of a
few rounds in which everybody has a turn; compilation isn't counted (it is printed).

    higher    E. Grefenstette et al.: Generalized inner loop meta-learning. arXiv:1910.01727 (2019).
    TorchOpt  J. Ren et al.: TorchOpt: an efficient library for differentiable optimization. JMLR 24 (2023).
"""

import argparse
import os
import time
from collections.abc import Callable

if hasattr(os, "sched_setaffinity"):  # before jax and torch count the cores
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import higher
import numpy as np
import pandas as pd
import torch
import torchopt

from tables import add_quick, show, write
from upstairs.datasets import make_sinusoids
from upstairs.gradient.checkpoint import Checkpoint
from upstairs.gradient.encoder import learn_inputs, make_network
from upstairs.gradient.rows import InputRows, Rows
from upstairs.gradient.rules import RULES
from upstairs.gradient.rules.rule import Problem, Start
from upstairs.gradient.training import Budget, train
from upstairs.target import identity_scale
from upstairs.tasks import Tasks

WIDTHS, N_TASKS, BATCH, ROWS, INNER_RATE, OUTER_RATE, MODELS = (40, 40), 1000, 25, 10, 0.01, 1e-3, 2
Task = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_quick(parser, rounds=1, steps=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=1000, help="of ours in a round; peers take a twentieth; default: %(default)s"
    )
    parser.set_defaults(learner="gradient")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [_measure(args, order, inner_steps) for order in (2, 1) for inner_steps in (1, 5)]
    table = pd.DataFrame(rows).set_index(["order", "inner steps"])
    show("Meta-steps a second of one core", table, 1)
    write(args, "meta-steps", table)


def _measure(args: argparse.Namespace, order: int, inner_steps: int) -> dict:
    """Steps a second of each, from the least CPU time of all rounds."""
    start = time.process_time()
    ours = _ours(order, inner_steps, args.steps)
    ours()
    print(f"order {order}, {inner_steps} inner steps: first round of ours {time.process_time() - start:.1f} s", flush=True)
    batches = _batches(args.steps // 20)
    runs = {"ours": ours} | {name: make(order, inner_steps, batches) for name, make in PEERS.items()}
    losses = [float(run()) for name, run in runs.items() if name in PEERS]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4, err_msg="The peers don't do the same work.")
    counts = {name: MODELS * args.steps if name == "ours" else len(batches) for name in runs}
    seconds = {name: np.inf for name in runs}
    for name, run in list(runs.items()) * args.rounds:
        start = time.process_time()
        run()
        seconds[name] = min(seconds[name], time.process_time() - start)
    speed = {name: counts[name] / seconds[name] for name in runs}
    ratios = {f"over {name}": speed["ours"] / speed[name] for name in PEERS}
    return {"order": order, "inner steps": inner_steps} | speed | ratios


def _ours(order: int, inner_steps: int, n_steps: int) -> Callable[[], object]:
    """A descent of two models, each blind to another fifth of the tasks."""
    X, y, *_ = make_sinusoids(N_TASKS, 2 * ROWS, random_state=0)
    offsets = np.arange(0, len(y) + 1, 2 * ROWS)
    rule = RULES["maml" if order == 2 else "fomaml"]
    problem = Problem(rule, make_network(WIDTHS), False, 2, 2 + WIDTHS[-1], 1, (1,), (ROWS,), inner_steps, INNER_RATE)
    tasks = Tasks(np.asarray(X, np.float32), y, offsets, np.arange(N_TASKS), np.zeros(1, np.int32))
    rows = Rows(InputRows(learn_inputs(tasks, 0), tasks.X), y, offsets, np.arange(N_TASKS) % 5, identity_scale(y), 0)
    budget = Budget(n_steps, BATCH, n_steps, OUTER_RATE, 0.0)
    starts = [Start(np.zeros((1, 2)), np.zeros((1, 2)), np.ones(1), np.ones(1))] * MODELS
    return lambda: train(problem, rows, starts, budget, 0, Checkpoint(None, "", ""), lambda *_: None)


def _batches(n_steps: int) -> list[list[Task]]:
    X, y, *_ = make_sinusoids(n_steps * BATCH, 2 * ROWS, random_state=1)
    x, y = (torch.tensor(part, dtype=torch.float32).reshape(n_steps, BATCH, 2 * ROWS, 1) for part in (X, y))
    return [[(x[i, t, :ROWS], y[i, t, :ROWS], x[i, t, ROWS:], y[i, t, ROWS:]) for t in range(BATCH)] for i in range(n_steps)]


def _perceptron() -> torch.nn.Module:
    torch.manual_seed(0)
    a, b = WIDTHS
    return torch.nn.Sequential(
        torch.nn.Linear(1, a), torch.nn.Tanh(), torch.nn.Linear(a, b), torch.nn.Tanh(), torch.nn.Linear(b, 1)
    )


def _higher(order: int, inner_steps: int, batches: list[list[Task]]) -> Callable[[], torch.Tensor]:
    net = _perceptron()
    outer, inner = torch.optim.Adam(net.parameters(), OUTER_RATE), torch.optim.SGD(net.parameters(), INNER_RATE)

    def task_gradient(x_s, y_s, x_q, y_q):
        with higher.innerloop_ctx(net, inner, copy_initial_weights=False, track_higher_grads=order == 2) as (fast, descent):
            for _ in range(inner_steps):
                descent.step(_loss(fast(x_s), y_s))
            loss = _loss(fast(x_q), y_q) / BATCH
            if order == 2:
                loss.backward()
            else:
                gradient = torch.autograd.grad(loss, list(fast.parameters()))
                for weight, part in zip(net.parameters(), gradient, strict=True):
                    weight.grad = part if weight.grad is None else weight.grad + part
        return loss.detach()

    return lambda: _loop(batches, outer, task_gradient)


def _torchopt(order: int, inner_steps: int, batches: list[list[Task]]) -> Callable[[], torch.Tensor]:
    net = _perceptron()
    start = list(net.parameters())
    outer = torch.optim.Adam(start, OUTER_RATE)
    inner = torchopt.MetaSGD(net, INNER_RATE)

    def task_gradient(x_s, y_s, x_q, y_q):
        kept = torchopt.extract_state_dict(net), torchopt.extract_state_dict(inner)
        for _ in range(inner_steps):
            inner.step(_loss(net(x_s), y_s))
            if order == 1:
                torchopt.stop_gradient(net)
        loss = _loss(net(x_q), y_q) / BATCH
        if order == 2:
            loss.backward()
        else:
            for weight, part in zip(start, torch.autograd.grad(loss, list(net.parameters())), strict=True):
                weight.grad = part if weight.grad is None else weight.grad + part
        torchopt.recover_state_dict(net, kept[0])
        torchopt.recover_state_dict(inner, kept[1])
        return loss.detach()

    return lambda: _loop(batches, outer, task_gradient)


def _torchopt_vmap(order: int, inner_steps: int, batches: list[list[Task]]) -> Callable[[], torch.Tensor]:
    net = _perceptron()
    weights = dict(net.named_parameters())
    outer, inner = torch.optim.Adam(weights.values(), OUTER_RATE), torchopt.sgd(INNER_RATE)
    stacked = [tuple(torch.stack(part) for part in zip(*tasks, strict=True)) for tasks in batches]

    def loss_of(weights, x, y):
        return _loss(torch.func.functional_call(net, weights, x), y)

    def task_loss(weights, x_s, y_s, x_q, y_q):
        state = inner.init(weights)
        for _ in range(inner_steps):
            gradient = torch.func.grad(loss_of)(weights, x_s, y_s)
            if order == 1:
                gradient = {name: part.detach() for name, part in gradient.items()}
            change, state = inner.update(gradient, state, inplace=False)
            weights = torchopt.apply_updates(weights, change, inplace=False)
        return loss_of(weights, x_q, y_q)

    def run():
        for tasks in stacked:
            outer.zero_grad()
            loss = torch.vmap(task_loss, in_dims=(None, 0, 0, 0, 0))(weights, *tasks).mean()
            loss.backward()
            outer.step()
        return loss.detach()

    return run


def _loop(batches: list[list[Task]], outer: torch.optim.Optimizer, task_gradient: Callable) -> torch.Tensor:
    for tasks in batches:
        outer.zero_grad()
        loss = sum(task_gradient(*task) for task in tasks)
        outer.step()
    return loss


def _loss(predicted: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return ((predicted - y) ** 2).mean()


PEERS = {"higher": _higher, "TorchOpt": _torchopt, "TorchOpt, vmap": _torchopt_vmap}

if __name__ == "__main__":
    main()
