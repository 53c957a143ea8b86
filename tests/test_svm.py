"""The meta support vector machine: against reference solvers, by its optimality conditions, and as a user meets it."""

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_approximation import RBFSampler
from sklearn.svm import SVC, LinearSVC, LinearSVR

import upstairs
from upstairs import MetaSVC, MetaSVR, UpstairsError, UpstairsWarning
from upstairs.svm import active_sets
from upstairs.svm.companion import learn_relevance
from upstairs.svm.features import NO_TURN, feature_matrix, with_kernel
from upstairs.svm.kernel import kernel_inputs, learn_kernel
from upstairs.svm.machine import Machine, adapt_machines, solve
from upstairs.svm.path import BUDGET_TOLERANCE, meet_budget, solve_outputs, widest_margin
from upstairs.svm.problem import LOSSES, make_loss
from upstairs.svm.rows import Rows
from upstairs.tasks import assign_folds

every_loss = pytest.mark.parametrize("name", list(LOSSES))


def problem(name, n_tasks=6, seed=0, q=4):
    """Rows of ragged tasks, one of them empty, for a loss."""
    rng = np.random.default_rng(seed)
    sizes = np.append(rng.integers(1, 12, n_tasks - 1), 0)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    phi = rng.normal(size=(offsets[-1], q)).astype(np.float32)
    phi[:, 0] = 1
    w = (rng.normal(size=(n_tasks, q)) + 0.5)[np.repeat(np.arange(n_tasks), sizes)]
    y = (phi * w).sum(axis=1) + 0.3 * rng.normal(size=len(phi))
    y = np.where(y > 0, 1.0, -1.0) if name.endswith("hinge") else y
    return Machine(make_loss(name, 0.1), rng.uniform(0.2, 2, q)), phi, y, offsets


def row_losses(machine, y, f):
    loss = machine.loss
    e = np.maximum(1 - y * f, 0) if loss.hinge else np.maximum(np.abs(y - f) - loss.tube, 0)
    return e**2 / 2 if loss.squared else e


def task_loss(machine, phi, y, theta, C):
    """L_t(θ) n_t by its definition, at the machine that `adapt_machines` finds."""
    v, _ = adapt_machines(machine, phi, y, phi @ theta, np.array([0, len(y)]), np.array([C]))
    return (v[0] ** 2 / machine.relevance).sum() / (2 * C) + row_losses(machine, y, phi @ (theta + v[0])).sum()


@every_loss
def test_one_task_around_zero_is_scikit_learns_machine(name):
    _, phi, y, _ = problem(name, n_tasks=8, seed=3)
    C, machine = 0.7, Machine(make_loss(name, 0.1), np.ones(4))
    squared = machine.loss.squared
    kwargs = {"loss": name, "C": C / 2 if squared else C, "fit_intercept": False, "tol": 1e-10, "max_iter": 10**6}
    reference = LinearSVC(**kwargs) if machine.loss.hinge else LinearSVR(epsilon=0.1, **kwargs)
    w = reference.fit(phi.astype(float), y).coef_.ravel()
    v, _ = adapt_machines(machine, phi, y, np.zeros(len(y)), np.array([0, len(y)]), np.array([C]))
    ours, theirs = (w @ w / 2 + C * row_losses(machine, y, phi @ w).sum() for w in (v[0], w))
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_one_task_around_zero_is_svc():
    _, phi, y, _ = problem("hinge", n_tasks=8, seed=4)
    # with each row mirrored, the constant that SVC leaves free is 0
    phi, y, C = np.concatenate([phi, -phi]), np.concatenate([y, -y]), 1.3
    reference = SVC(kernel="linear", C=C, tol=1e-9).fit(phi.astype(float), y)
    assert reference.intercept_ == pytest.approx(0, abs=1e-6)
    v, _ = adapt_machines(
        Machine(make_loss("hinge"), np.ones(4)), phi, y, np.zeros(len(y)), np.array([0, len(y)]), np.array([C])
    )
    np.testing.assert_allclose(v[0], reference.coef_[0], atol=1e-4)


@every_loss
@pytest.mark.parametrize("seed", [0, 1])
def test_the_constrained_problem_is_that_of_a_conic_solver(name, seed):
    machine, phi, y, offsets = problem(name, seed=seed)
    n_tasks, C, lam = len(offsets) - 1, 0.8, 4.0
    ours = solve(machine, phi, y, offsets, lam, C, 1e-10)

    theta, loss = cvxpy.Variable(4), 0
    for t in range(n_tasks):
        n = offsets[t + 1] - offsets[t]
        if n == 0:
            continue
        v, rows, target = cvxpy.Variable(4), phi[offsets[t] : offsets[t + 1]].astype(float), y[offsets[t] : offsets[t + 1]]
        f = rows @ (theta + v)
        e = cvxpy.pos(1 - cvxpy.multiply(target, f)) if machine.loss.hinge else cvxpy.pos(cvxpy.abs(target - f) - 0.1)
        own = cvxpy.sum_squares(e) / 2 if machine.loss.squared else cvxpy.sum(e)
        loss += (cvxpy.sum_squares(v / np.sqrt(machine.relevance)) / (2 * C) + own) / n
    budget = loss / n_tasks <= ours.loss
    reference = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(theta) / 2), [budget])
    reference.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-8, tol_gap_rel=1e-8, tol_feas=1e-8)

    assert ours.theta @ ours.theta / 2 == pytest.approx(reference.value, rel=1e-5)
    np.testing.assert_allclose(ours.theta, theta.value, atol=1e-5 * np.abs(ours.theta).max() + 1e-5)
    assert budget.dual_value.item() == pytest.approx(lam, rel=1e-4)


@every_loss
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), log_lam=st.floats(-2, 2), log_C=st.floats(-2, 1.5))
def test_duality_and_optimality_conditions(name, seed, log_lam, log_C):
    machine, phi, y, offsets = problem(name, seed=seed)
    sizes, lam, C = np.diff(offsets), 10**log_lam, 10**log_C
    one = solve(machine, phi, y, offsets, lam, C, 1e-9)
    cost = lam / (len(sizes) * np.maximum(sizes, 1))
    s, loss = one.slope, machine.loss
    task = np.repeat(np.arange(len(sizes)), sizes)
    v = np.array([C * machine.relevance * (s[task == t] @ phi[task == t]) for t in range(len(sizes))])
    f = (phi * (one.theta + v[task])).sum(axis=1)
    own = (v**2 / machine.relevance).sum(axis=1) / (2 * C)
    primal = one.theta @ one.theta / 2 + cost @ own + cost[task] @ row_losses(machine, y, f)
    gain = s * y - loss.tube * np.abs(s) - (s**2 / 2 if loss.squared else 0)
    dual = cost[task] @ gain - one.theta @ one.theta / 2 - cost @ own

    assert dual <= primal + 1e-9 * abs(primal)
    assert primal - dual == pytest.approx(one.gap * primal, abs=1e-8 * primal + 1e-12)
    assert one.gap <= (1e-9 if loss.squared else 0.05)
    np.testing.assert_allclose(one.theta, (cost[task] * s) @ phi, rtol=1e-9, atol=1e-12)
    if one.gap > 1e-8:
        return
    # rows inside their margin or tube have no slope, those beyond it all that they may have
    e, far = y - f, 1e-3
    slack = 1 - y * f if loss.hinge else np.abs(e) - loss.tube
    assert (np.abs(s[slack < -far]) < 1e-6).all()
    beyond = slack > far
    most = slack if loss.squared else np.ones(len(y))
    np.testing.assert_allclose(np.abs(s[beyond]), most[beyond], atol=1e-3)


@pytest.mark.parametrize("name", ["squared_hinge", "squared_epsilon_insensitive"])
def test_active_sets_that_go_in_circles_are_left_to_coordinates(name, monkeypatch):
    machine, phi, y, offsets = problem(name, seed=5, n_tasks=9)
    exact = adapt_machines(machine, phi, y, np.zeros(len(y)), offsets, np.full(9, 3.0))
    # compiled code holds its constants, so the plain functions are run
    monkeypatch.setattr(active_sets, "MOST_CHANGES", 0)
    for name, kernel in vars(active_sets).copy().items():
        if hasattr(kernel, "py_func"):
            monkeypatch.setattr(active_sets, name, kernel.py_func)
    slow = adapt_machines(machine, phi, y, np.zeros(len(y)), offsets, np.full(9, 3.0))
    for one, other in zip(exact, slow, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


@every_loss
def test_a_large_support_is_fitted_through_its_features(name):
    machine, phi, y, _ = problem(name, seed=6, n_tasks=40)
    whole = task_loss(machine, phi, y, np.full(4, 0.1), 0.5)
    rng = np.random.default_rng(0)
    v, _ = adapt_machines(machine, phi, y, phi @ np.full(4, 0.1), np.array([0, len(y)]), np.array([0.5]))
    for _ in range(20):
        near = v[0] + 0.01 * rng.normal(size=4)
        value = (near**2 / machine.relevance).sum() + row_losses(machine, y, phi @ (0.1 + near)).sum()
        assert value >= whole - 1e-9


@every_loss
def test_a_budget_is_met_and_a_larger_one_widens_the_margin(name):
    machine, phi, y, offsets = problem(name, seed=7, n_tasks=12)
    rows, norms = Rows(phi, y[:, None], offsets), []
    nothing = solve_outputs(machine, rows, 1e-9, 0.5, 1e-9)[0].loss
    (least,) = solve_outputs(machine, rows, 1e3, 0.5, 1e-4)
    for share in (0.3, 0.5, 0.8):
        budget = least.loss + share * (nothing - least.loss)
        lam = meet_budget(machine, rows, budget, 0.5)
        (one,) = solve_outputs(machine, rows, lam, 0.5, 1e-6)
        assert one.loss == pytest.approx(budget, rel=BUDGET_TOLERANCE)
        norms.append(np.linalg.norm(one.theta))
    assert norms[0] > norms[1] > norms[2] > 0
    assert meet_budget(machine, rows, 1.01 * nothing, 0.5) == 0.0


def test_the_widest_margin_within_a_standard_error():
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.5, 1.5, size=(1, 200))
    losses = np.stack([noise + 0.5, noise + 0.004 * rng.normal(size=(1, 200)), noise + 0.0, noise + 0.2])
    choice, score = widest_margin(losses, np.ones((1, 200)), False, np.random.default_rng(1))
    assert score.argmin() in (1, 2)
    assert choice == 1


def test_relevance_finds_the_columns_in_which_tasks_differ():
    meta_rng = np.random.default_rng(0)
    task, X, y, _ = linear_tasks(meta_rng, 200, 5, 10)
    meta = MetaSVR(kernel="linear", random_state=0).fit(X, y, groups=task)
    assert set(np.argsort(-meta.relevance_)[:5]) == set(range(5))
    assert meta.relevance_[5:].max() < 0.1 * meta.relevance_[:5].min()


def linear_tasks(rng, n_tasks, n_rows, n_irrelevant):
    """The design note's case: w_t ~ N(0, diag(1, .64, .49, .36, .25)), noise 0.1, and columns that mean nothing."""
    task = np.repeat(np.arange(n_tasks), n_rows)
    X = rng.normal(size=(len(task), 5 + n_irrelevant))
    w = rng.normal(size=(n_tasks, 5)) * np.sqrt([1, 0.64, 0.49, 0.36, 0.25])
    return task, X, (X[:, :5] * w[task]).sum(axis=1) + 0.1 * rng.normal(size=len(task)), w


def shops(classify, seed=0, n_tasks=30, rows=12):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), rows)
    rng.shuffle(task)
    X = rng.normal(size=(len(task), 3))
    y = X[:, 0] + (0.8 * rng.normal(size=n_tasks))[task] + 0.3 * rng.normal(size=len(task))
    return X, np.where(y > 0, "yes", "no") if classify else y, task


@pytest.mark.parametrize("classify", [False, True])
@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
def test_support_vectors_alone_make_theta(classify, kernel):
    X, y, task = shops(classify)
    meta = (MetaSVC if classify else MetaSVR)(kernel=kernel, n_components=20, random_state=0).fit(X, y, groups=task)
    head = meta.state_.heads[meta.state_.main]
    phi = feature_matrix(head.features._replace(turn=NO_TURN), meta.columns_.encode(X[meta.support_])).astype(float)
    np.testing.assert_allclose(meta.dual_coef_ @ phi, meta.theta_, atol=1e-7)
    assert set(meta.support_tasks_) == set(task[meta.support_])
    assert meta.duality_gap_ <= 1e-4
    assert str(meta.info_).startswith(f"The meta-model rests on {len(meta.support_)} of 360 rows, from ")


@pytest.mark.parametrize("classify", [False, True])
def test_what_tells_whole_tasks_apart_is_not_lost_at_zero_shots(classify):
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(60), 16)
    between, within = rng.normal(size=60)[task], rng.normal(size=len(task))
    X, y = (between + within)[:, None], 2 * between - within + 0.3 * rng.normal(size=len(task))
    y = y > 0 if classify else y
    seen = task < 40
    meta = (MetaSVC if classify else MetaSVR)(kernel="linear", random_state=0).fit(X[seen], y[seen], groups=task[seen])
    (head,) = meta.state_.heads
    assert head.share[0] > 0.5
    assert head.share[-1] < 0.2
    if not classify:
        error = ((meta.predict(X[~seen]) - y[~seen]) ** 2).mean()
        meta.state_ = meta.state_._replace(heads=(head._replace(share=np.zeros(6)),))
        assert error < 0.6 * ((meta.predict(X[~seen]) - y[~seen]) ** 2).mean()


def test_ranks_do_not_see_how_a_column_is_stretched():
    rng = np.random.default_rng(0)
    D = np.column_stack([np.ones(400), rng.integers(0, 9, 400), rng.integers(0, 2, 400)]).astype(float)
    stretched = D.copy()
    stretched[:, 1] = np.exp(D[:, 1])
    one, other = (learn_kernel("rbf", 0.3, 20, rows, np.random.default_rng(1), by_rank=True) for rows in (D, stretched))
    np.testing.assert_allclose(with_kernel(one, D)[:, 3:], with_kernel(other, stretched)[:, 3:], atol=1e-6)
    assert one.ranks.column.tolist() == [0]
    # a rank is the share of rows below, and half of those that are alike
    below = (D[:, 1] < 4).mean() + (D[:, 1] == 4).mean() / 2
    z = kernel_inputs(one, np.array([[1.0, 4.0, 1.0]]))[0]
    np.testing.assert_allclose(z[0] / np.sqrt(12) + 0.5, below, atol=0.02)
    assert z[1] == 1
    plain = learn_kernel("rbf", 0.3, 20, D, np.random.default_rng(1))
    assert with_kernel(one, D).shape[1] == with_kernel(plain, D).shape[1] + 8


def test_the_path_falls_in_loss_and_grows_in_norm():
    X, y, task = shops(True)
    path = MetaSVC(kernel="linear", random_state=0).fit(X, y, groups=task).meta_path()
    assert (np.diff(path.lam) > 0).all()
    assert (np.diff(path.loss) < 1e-6).all()
    assert (np.diff(path.norm) > -1e-6).all()
    assert np.isfinite(path.held_out).all()
    assert (path.n_support_tasks <= 30).all() and (path.n_support <= 360).all()


def test_a_users_budget_is_kept_to():
    X, y, task = shops(True)
    meta = MetaSVC(kernel="linear", loss_budget=0.25, random_state=0).fit(X, y, groups=task)
    assert meta.info_.loss == pytest.approx(0.25, rel=1e-3)
    assert meta.info_.budget == 0.25
    with pytest.warns(UpstairsWarning, match="met by θ = 0"):
        zero = MetaSVC(kernel="linear", loss_budget=5.0, random_state=0).fit(X, y, groups=task)
    assert np.abs(zero.theta_).max() == 0
    assert len(zero.support_tasks_) == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"loss_budget": 1e-6}, r"can't be met: the smallest loss that is attainable here is about 0\.\d+"),
        ({"loss_budget": -1.0}, "loss_budget must be"),
        ({"loss_budget": float("nan")}, "loss_budget must be"),
        ({"kernel": "sigmoid"}, "The 'kernel' parameter"),
        ({"C": 0.0}, "The 'C' parameter"),
        ({"kernel": lambda Z: Z[:1]}, r"kernel must turn rows \[n, 3\] into finite features"),
        ({"kernel": lambda Z: Z @ np.ones((7, 2))}, r"kernel can't be applied to rows \[n, 3\]"),
        ({"kernel": lambda Z: Z * np.nan}, "with NaN"),
    ],
)
def test_mistakes_get_one_sentence(parameters, message):
    X, y, task = shops(True)
    with pytest.raises(ValueError, match=message) as caught:
        MetaSVC(random_state=0, **parameters).fit(X, y, groups=task)
    assert "\n" not in str(caught.value)


def test_one_class_in_all_of_meta_train_is_an_error_and_in_a_task_is_not():
    X, y, task = shops(True)
    with pytest.raises(UpstairsError, match="one class only"):
        MetaSVC().fit(X, np.full(len(y), "yes"), groups=task)
    y = np.where(task < 10, "yes", y)
    meta = MetaSVC(kernel="linear", random_state=0).fit(X, y, groups=task)
    assert (meta.adapt(X[:4], np.full(4, "yes")).predict_proba(X)[:, 1] > meta.predict_proba(X)[:, 1]).mean() > 0.9


def curves(Z):
    return np.tanh(Z)


@pytest.mark.parametrize("kernel", [RBFSampler(n_components=20, random_state=0), curves])
def test_a_kernel_of_the_users_own(kernel, tmp_path):
    X, y, task = shops(False)
    meta = MetaSVR(kernel=kernel, random_state=0).fit(X, y, groups=task)
    rows, path = task == 3, tmp_path / "own.upstairs"
    assert np.abs(meta.adapt(X[rows][:5], y[rows][:5]).predict(X[rows]) - y[rows]).mean() < np.abs(y[rows]).mean()
    if kernel is not curves:
        with pytest.raises(UpstairsError, match="kernel"):
            upstairs.save(meta, path)
        return
    upstairs.save(meta, path)
    np.testing.assert_array_equal(upstairs.load(path, kernel=curves).predict(X, groups=task), meta.predict(X, groups=task))
    with pytest.raises(UpstairsError, match="kernel"):
        upstairs.load(path)
    with pytest.raises(UpstairsError, match="gives 1 features instead of 3"):
        upstairs.load(path, kernel=lambda Z: Z[:, :1])


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
@pytest.mark.parametrize("classify", [False, True])
def test_saved_and_loaded_it_answers_alike(classify, kernel, tmp_path):
    X, y, task = shops(classify)
    meta = (MetaSVC if classify else MetaSVR)(kernel=kernel, n_components=15, random_state=0).fit(X, y, groups=task)
    upstairs.save(meta, tmp_path / "m.upstairs")
    again = upstairs.load(tmp_path / "m.upstairs")
    np.testing.assert_array_equal(meta.predict(X, groups=task), again.predict(X, groups=task))
    np.testing.assert_array_equal(meta.support_, again.support_)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("classify", [False, True])
def test_explanations_add_up(classify, kernel):
    X, y, task = shops(classify)
    meta = (MetaSVC if classify else MetaSVR)(kernel=kernel, n_components=15, random_state=0).fit(X, y, groups=task)
    model = meta.adapt(X[:6], y[:6])
    parts = model.explain(X[:9])
    own = parts.level + parts.slopes.sum(axis=1) + parts.local
    total = parts.base + parts.shared.sum(axis=1) + own
    if classify:
        shown = np.log(model.predict_proba(X[:9]))
        temperature = np.interp(np.log1p(6), np.log1p(meta.state_.calibration.shots), meta.state_.calibration.temperature)
        np.testing.assert_allclose(total / temperature, shown[:, 1] - shown[:, 0], atol=1e-6)
    else:
        head = meta.state_.heads[0]
        np.testing.assert_allclose(head.scale.mean + head.scale.sd * total, model.predict(X[:9]), atol=1e-6)
    np.testing.assert_allclose(parts.support.sum(axis=1), own, atol=1e-9)
    assert parts.exact == (kernel == "linear")


def test_the_robust_loss_is_not_moved_by_a_wild_row():
    X, y, task = shops(False)
    wild = y.copy()
    wild[np.flatnonzero(task == 0)[0]] += 1000
    moved = [
        np.abs(
            MetaSVR(kernel="linear", loss=loss, random_state=0).fit(X, wild, groups=task).adapt(X[:0], y[:0]).predict(X) - y
        ).mean()
        for loss in ("epsilon_insensitive", "squared_epsilon_insensitive")
    ]
    assert moved[0] < moved[1]


def test_companion_is_deterministic():
    rng = np.random.default_rng(0)
    D = np.column_stack([np.ones(120), rng.normal(size=(120, 2))])
    from upstairs.tasks import Tasks

    tasks = Tasks(D[:, 1:].astype(np.float32), D[:, 1], np.arange(0, 121, 10), np.arange(12), np.zeros(2, np.int32))
    fold = assign_folds(12, 3, rng)
    one, other = (learn_relevance(D, D[:, 1:2], tasks, fold, np.array([-1, 0, 1]), np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    assert np.diag(one[0]).mean() == pytest.approx(1)
