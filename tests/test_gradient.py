"""The meta-gradient learner: its mathematics against plain references, and what may happen to a fit."""

import itertools
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from upstairs import MetaGradientClassifier, MetaGradientRegressor, UpstairsError, UpstairsWarning, load, save
from upstairs.datasets import make_random_slopes
from upstairs.gradient import training
from upstairs.gradient.encoder import make_network
from upstairs.gradient.rules import RULES, bayes
from upstairs.gradient.rules.losses import class_losses
from upstairs.gradient.rules.rule import Episode, Problem, Start

SMALL = {"network": (8,), "n_pieces": 0, "n_folds": 2, "n_steps": 100, "batch_tasks": 8, "random_state": 0}
X, Y, TASK, _ = make_random_slopes(40, 16, 2, random_state=0)
LABELS = np.where(Y > np.median(Y), "high", "low")
SEEN = TASK < 30


def problem_of(name, classify=False, shots=(0, 1, 2, 5), n_outputs=1):
    return Problem(RULES[name], make_network((6,)), classify, 3, 9, n_outputs, (1, 2), shots, 3, 0.1)


def theta_of(problem, seed=0):
    rng = np.random.default_rng(seed)
    linear, each = rng.normal(size=(problem.n_outputs, 3)), np.ones(problem.n_outputs)
    start = Start(linear, linear, 0.7 * each, 0.3 * each)
    weights, prior = problem.rule.init(jax.random.PRNGKey(seed), problem, start)
    return jax.tree.map(lambda w: w + 0.1 * rng.normal(size=w.shape).astype(np.float32), weights), prior


def episode_of(problem, n_s=4, n_q=3, shots=2, seed=0):
    rng = np.random.default_rng(seed)
    D = rng.normal(size=(9, 3)).astype(np.float32)
    D[:, 0] = 1
    y = rng.normal(size=(9, problem.n_outputs)).astype(np.float32)
    y = (y > 0).astype(np.float32) if problem.classify else y
    return Episode(D[:5], y[:5], n_s, D[5:], y[5:], n_q, shots)


def error_of(meta, shots):
    """Mean squared error on the unseen tasks, whose first 8 rows may be support."""
    first = np.tile(np.arange(16), 40)
    support, query = ~SEEN & (first < shots), ~SEEN & (first >= 8)
    models = meta.adapt_tasks(X[support], Y[support], groups=TASK[support])
    return float(np.mean((models.predict(X[query], groups=TASK[query]) - Y[query]) ** 2))


def test_the_mode_is_the_same_by_rows_and_by_weights():
    rng = np.random.default_rng(0)
    z, known, y = (rng.normal(size=shape).astype(np.float32) for shape in ((9, 4), 9, 9))
    one = np.ones(9, np.float32)
    by_weights = bayes._mode(known, z, y > 0, one)
    by_rows = bayes._mode(known, np.hstack([z, np.zeros((9, 6), np.float32)]), y > 0, one)
    p = 1 / (1 + np.exp(-(known + z @ by_weights)))
    np.testing.assert_allclose(by_weights, z.T @ ((y > 0) - p), atol=1e-4)
    np.testing.assert_allclose(by_rows[:4], by_weights, atol=1e-4)


def test_the_closed_form_is_the_posterior_of_a_gaussian_process():
    problem = problem_of("bayes")
    weights, prior = theta_of(problem)
    episode = episode_of(problem)
    adapted = bayes.adapt(weights, prior, problem, episode.D_s, episode.y_s, 4)
    latent = bayes.predict(weights, prior, problem, adapted, episode.D_q)
    f_w, f_b, z = (
        np.asarray(part[0], float) for part in bayes._parts(weights, prior, problem, np.vstack([episode.D_s, episode.D_q]))
    )
    head = jax.tree.map(lambda a: float(a[0]) if a.shape == (1,) else a, prior["head"])
    rho, K = 1 / (1 + np.exp(-head.rho)), z @ z.T
    for q in range(5, 9):
        # the level f_b counts in full only as far as ρ goes, for the rest as the mean over support and query row
        level = (1 - rho) * (f_b[:4].sum() + f_b[q]) / 5
        prior_mean = f_w + rho * f_b + level
        A = K[:4, :4] + np.eye(4)
        mean = prior_mean[q] + K[q, :4] @ np.linalg.solve(A, episode.y_s[:4, 0] - prior_mean[:4])
        variance = np.exp(head.noise) * (1 + K[q, q] - K[q, :4] @ np.linalg.solve(A, K[:4, q]))
        np.testing.assert_allclose([latent.mean[q - 5, 0], latent.variance[q - 5, 0]], [mean, variance], rtol=1e-4)


def test_single_precision_bears_a_strong_prior():
    problem = problem_of("bayes")
    weights, prior = theta_of(problem)
    prior = {**prior, "head": prior["head"]._replace(rest=jnp.log(jnp.array([1e6])))}
    episode = episode_of(problem, n_s=5)
    _, _, z = (
        np.asarray(part[0], float) for part in bayes._parts(weights, prior, problem, np.vstack([episode.D_s, episode.D_q]))
    )
    latent = bayes.predict(
        weights, prior, problem, bayes.adapt(weights, prior, problem, episode.D_s, episode.y_s, 5), episode.D_q
    )
    covariance = np.linalg.inv(np.eye(z.shape[1]) + z[:5].T @ z[:5])
    own = np.einsum("qr,rs,qs->q", z[5:], covariance, z[5:])
    np.testing.assert_allclose(latent.variance[:, 0], np.exp(prior["head"].noise[0]) * (1 + own), rtol=0.02)
    assert (latent.spread2 > 0).all()


def test_one_factor_gives_the_loss_at_every_number_of_shots():
    problem = problem_of("bayes")
    weights, prior = theta_of(problem)
    episode = episode_of(problem, n_s=5)
    losses, counts = bayes._number_losses(weights, prior, problem, episode)
    assert counts.tolist() == [3, 3, 3, 3]
    for b, shots in enumerate(problem.shots):
        adapted = bayes.adapt(weights, prior, problem, episode.D_s, episode.y_s, shots)
        latent = bayes.predict(weights, prior, problem, adapted, episode.D_q)
        error2 = (latent.mean[:3, 0] - episode.y_q[:3, 0]) ** 2
        student = bayes._student_loss(error2, latent.spread2[:3, 0], latent.dof[:3])
        expected = bayes.SQUARED_SHARE * error2 / 2 + (1 - bayes.SQUARED_SHARE) * student
        np.testing.assert_allclose(losses[b], expected.mean(), rtol=1e-3)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_loss_of_classes_is_that_of_the_adapted_task(n_outputs):
    problem = problem_of("bayes", classify=True, n_outputs=n_outputs)
    weights, prior = theta_of(problem)
    episode = episode_of(problem, n_s=4, shots=2)
    losses, counts = bayes._class_losses(weights, prior, problem, episode)
    adapted = bayes.adapt(weights, prior, problem, episode.D_s, episode.y_s, 2)
    latent = bayes.predict(weights, prior, problem, adapted, episode.D_q)
    assert counts.tolist() == [0, 0, 3, 0]
    np.testing.assert_allclose(losses[2], class_losses(latent, episode.y_q)[:3].mean(), rtol=1e-4)


def test_the_gradient_through_the_mode_is_that_of_the_mode():
    problem = problem_of("bayes", classify=True)
    weights, prior = theta_of(problem)
    episode = episode_of(problem)

    def mean(log_level):
        head = prior["head"]._replace(level=jnp.array([log_level]))
        adapted = bayes.adapt(weights, {**prior, "head": head}, problem, episode.D_s, episode.y_s, 4)
        return bayes.predict(weights, {**prior, "head": head}, problem, adapted, episode.D_q).mean.sum()

    with jax.enable_x64(True):
        differences = (mean(0.5 + 1e-4) - mean(0.5 - 1e-4)) / 2e-4
        np.testing.assert_allclose(jax.grad(mean)(0.5), differences, rtol=1e-3)


@pytest.mark.parametrize("name", list(RULES))
@pytest.mark.parametrize("classify", [False, True])
def test_padding_counts_for_nothing(name, classify):
    problem = problem_of(name, classify)
    weights, prior = theta_of(problem)
    episode = episode_of(problem)
    rubbish = episode._replace(
        D_s=np.where(np.arange(5)[:, None] < 4, episode.D_s, 7), y_s=np.where(np.arange(5)[:, None] < 4, episode.y_s, 1)
    )
    for part in (problem.rule.loss, lambda w, p, q, e: problem.rule.adapt(w, p, q, e.D_s, e.y_s, 4)):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            part(weights, prior, problem, episode),
            part(weights, prior, problem, rubbish),
        )


@pytest.mark.parametrize("name", ["maml", "metasgd", "fomaml", "anil"])
def test_a_step_is_plain_gradient_descent(name):
    problem = problem_of(name)._replace(steps=1)
    weights, prior = theta_of(problem)
    episode = episode_of(problem)
    if name == "metasgd":
        weights["rates"] = jax.tree.map(lambda r: jnp.full_like(r, 0.1), weights["rates"])
    after = problem.rule.adapt(weights, prior, problem, episode.D_s, episode.y_s, 4)["weights"]
    phi = np.hstack([episode.D_s, problem.network.apply(weights["network"], episode.D_s)])[:4]
    head = np.vstack([weights["linear"], weights["mean"]])
    residual = phi @ head - episode.y_s[:4]
    moved = head - 0.1 * 2 / 4 * phi.T @ residual
    np.testing.assert_allclose(np.vstack([after["linear"], after["mean"]]), moved, rtol=1e-4, atol=1e-5)
    stays = jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), after["network"], weights["network"]))
    assert stays == (name == "anil")


def test_another_budget_compiles_nothing(caplog):
    first = SMALL | {"network": (7,), "n_steps": 50}
    for budget, n_compiled in (({}, 1), ({"n_steps": 100, "learning_rate": 3e-3, "weight_decay": 0.1}, 0)):
        caplog.clear()
        with jax.log_compiles():
            MetaGradientRegressor(**first | budget).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
        assert sum(message.startswith("Compiling jit(_descend)") for message in caplog.messages) == n_compiled


@pytest.mark.parametrize("name", list(RULES))
def test_a_rule_says_which_of_its_weights_are_slow(name):
    problem = problem_of(name)
    weights, _ = theta_of(problem)
    optimizer, _ = training._optimizers(training.Budget(100, 8, 10, 0.3, 0.0), problem.rule.slow)
    change, _ = optimizer.update(jax.tree.map(jnp.ones_like, weights), optimizer.init(weights), weights)
    sizes = {part: float(jnp.abs(jax.tree.leaves(change[part])[0]).max()) for part in ("linear", "mean", "network")}
    assert sizes["network"] == pytest.approx(30 * sizes["linear"], rel=1e-3)
    assert sizes["mean"] == pytest.approx(sizes["linear" if name == "bayes" else "network"], rel=1e-3)


@pytest.mark.parametrize("name", list(RULES))
def test_every_rule_learns_and_adapts(name):
    meta = MetaGradientRegressor(inner=name, **SMALL | {"learning_rate": 3e-3}).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    assert meta.info_.n_skipped == 0
    assert np.isfinite(meta.info_.held_out).all()
    assert error_of(meta, 8) < 0.9 * error_of(meta, 0)


def test_descent_lowers_the_held_out_error():
    info = MetaGradientRegressor(**SMALL).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN]).info_
    assert info.held_out.min() < info.held_out[0]
    assert info.n_steps > 0
    assert (info.seen_error[:4] < 2 * info.unseen_error[:4]).all()


def test_a_level_that_the_columns_tell_is_known_without_rows():
    rng, task = np.random.default_rng(0), np.repeat(np.arange(60), 12)
    level = rng.normal(size=60)[task]
    x = level[:, None] + 0.5 * rng.normal(size=(720, 1))  # between tasks it says the level, within tasks nothing
    y = level + 0.3 * rng.normal(size=720)
    meta = MetaGradientRegressor(**SMALL | {"n_steps": 50}).fit(x[task < 40], y[task < 40], groups=task[task < 40])
    assert np.mean((meta.predict(x[task >= 40]) - y[task >= 40]) ** 2) < 0.45 * np.var(y)


def test_a_stopped_fit_goes_on_bit_for_bit(tmp_path, monkeypatch):
    whole = MetaGradientRegressor(**SMALL).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    kept = MetaGradientRegressor(checkpoint=tmp_path, **SMALL)
    chunks = itertools.count()
    descend = training._descend

    def killed(*args):
        if next(chunks) == 1:
            raise MemoryError
        return descend(*args)

    monkeypatch.setattr(training, "_descend", killed)
    with pytest.raises(MemoryError):
        kept.fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    monkeypatch.undo()
    resumed = kept.fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    np.testing.assert_array_equal(resumed.predict(X), whole.predict(X))
    np.testing.assert_array_equal(resumed.info_.loss, whole.info_.loss)


def test_a_checkpoint_of_another_fit_or_a_broken_one_is_refused(tmp_path):
    MetaGradientRegressor(checkpoint=tmp_path, **SMALL | {"n_steps": 0}).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    with pytest.raises(UpstairsError, match="another fit"):
        MetaGradientRegressor(checkpoint=tmp_path, **SMALL | {"n_steps": 0}).fit(X[SEEN], Y[SEEN] + 1, groups=TASK[SEEN])
    (tmp_path / "numbers.safetensors").write_bytes(b"broken")
    with pytest.raises(UpstairsError, match="no readable checkpoint"):
        MetaGradientRegressor(checkpoint=tmp_path, **SMALL | {"n_steps": 0}).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    (tmp_path / "file").touch()
    with pytest.raises(UpstairsError, match="can't be written"):
        MetaGradientRegressor(checkpoint=tmp_path / "file", **SMALL | {"n_steps": 0}).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])


def test_ctrl_c_leaves_the_best_model_so_far(monkeypatch):
    descend, chunks = training._descend, itertools.count()

    def interrupted(*args):
        if next(chunks) == 1:
            raise KeyboardInterrupt
        return descend(*args)

    monkeypatch.setattr(training, "_descend", interrupted)
    with pytest.warns(UpstairsWarning, match="interrupted"):
        meta = MetaGradientRegressor(**SMALL).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    assert meta.info_.interrupted and len(meta.info_.loss) == 1
    assert error_of(meta, 8) < error_of(meta, 0)


def test_a_gradient_that_is_not_finite_moves_nothing():
    calm = make_network((8,))

    def apply(parameters, D):
        # √ has no finite gradient at 0, where the padding of the first block lies
        return calm.apply(parameters, D) + 0 * jnp.sqrt(jnp.abs(parameters[0]["bias"]))

    meta = MetaGradientRegressor(**SMALL | {"network": (calm.init, apply), "n_steps": 50})
    meta.fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    assert meta.info_.n_skipped == 50
    assert np.isfinite(meta.predict(X)).all()


@pytest.mark.parametrize("name", ["bayes", "anil"])
def test_a_second_task_of_about_the_same_size_compiles_nothing(name, caplog):
    meta = MetaGradientRegressor(**SMALL | {"n_steps": 0, "inner": name}).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    meta.adapt(X[480:485], Y[480:485]).predict(X[485:490])
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        meta.adapt(X[496:503], Y[496:503]).predict(X[503:512])
        assert "Compiling" not in caplog.text
        meta.adapt(np.resize(X, (1500, 2)), np.resize(Y, 1500)).predict(X[503:512])
        # what rows need alone, all tasks share: the fit has compiled it
        assert ("Compiling" in caplog.text) == (name == "anil")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"network": (8, -1)}, "tuple of layer widths"),
        ({"network": ("wide",)}, "tuple of layer widths"),
        ({"network": (lambda key, n: (), lambda p, D: D.sum())}, "features"),
        ({"network": (lambda key, n: (), lambda p, D: D @ jnp.ones((99, 2)))}, "can't be applied"),
        ({"max_shots": 9}, "max_shots=8 or less"),
        ({"min_shots": 9}, "min_shots=8 or less"),
        ({"inner": "mamml"}, "inner"),
    ],
)
def test_bad_parameters_get_one_sentence(bad, words):
    with pytest.raises(ValueError, match=words):
        MetaGradientRegressor(**SMALL | bad).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])


def test_tasks_of_one_row_and_constant_targets_are_ordinary():
    one = np.arange(len(Y)) % 16 == 0
    meta = MetaGradientRegressor(**SMALL | {"n_steps": 50}).fit(X[one], Y[one], groups=TASK[one])
    assert np.isfinite(meta.adapt(X[:3], Y[:3]).predict(X)).all()
    flat = MetaGradientRegressor(**SMALL | {"n_steps": 50}).fit(X[SEEN], np.full(SEEN.sum(), 3.0), groups=TASK[SEEN])
    np.testing.assert_allclose(flat.adapt(X[:3], [3.0] * 3).predict(X), 3, atol=1e-3)


def test_a_class_missing_from_a_support_is_ordinary():
    many = np.digitize(Y, np.quantile(Y, [0.3, 0.6]))
    meta = MetaGradientClassifier(**SMALL | {"n_steps": 50}).fit(X[SEEN], many[SEEN], groups=TASK[SEEN])
    assert meta.info_.n_skipped == 0
    assert meta.info_.held_out.min() < meta.info_.held_out[0]
    rows = np.flatnonzero(many[~SEEN] == 0)[:3] + SEEN.sum()
    proba = meta.adapt(X[rows], many[rows]).predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert proba[:, 0].mean() > meta.predict_proba(X)[:, 0].mean()


def test_a_descended_model_survives_the_disk(tmp_path):
    for learner, target in ((MetaGradientRegressor, Y), (MetaGradientClassifier, LABELS)):
        meta = learner(inner="metasgd", checkpoint=tmp_path / learner.__name__, **SMALL | {"n_steps": 50})
        meta.fit(X[SEEN], target[SEEN], groups=TASK[SEEN])
        save(meta, tmp_path / "model.upstairs")
        again = load(tmp_path / "model.upstairs")
        np.testing.assert_array_equal(again.adapt(X[:5], target[:5]).predict(X), meta.adapt(X[:5], target[:5]).predict(X))


def test_the_explanation_of_the_closed_form_is_linear_in_the_support():
    meta = MetaGradientRegressor(**SMALL | {"n_steps": 50}).fit(X[SEEN], Y[SEEN], groups=TASK[SEEN])
    y = Y[480:486].copy()
    before = meta.adapt(X[480:486], y).explain(X[486:490])
    assert before.exact
    y[2] += 1
    after = meta.adapt(X[480:486], y).explain(X[486:490])
    moved = meta.adapt(X[480:486], y).predict(X[486:490]) - meta.adapt(X[480:486], Y[480:486]).predict(X[486:490])
    change = after.support - before.support
    np.testing.assert_allclose(change[:, 2] * Y[SEEN].std(), moved, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.delete(change, 2, axis=1), 0, atol=1e-4)


def test_without_jax_one_sentence_says_what_to_install():
    code = """import sys, upstairs
sys.modules["jax"] = None
try:
    upstairs.MetaGradientRegressor
except upstairs.UpstairsError as error:
    print(error)"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "upstairs[gradient]" in out


def test_the_article_mended_reaches_least_squares():
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "plot_gradient_descent_mended.py"))
    best = np.linalg.lstsq(example["X"], example["y"])[0]
    assert example["error"](example["as_printed"](100)) > 1e6
    np.testing.assert_allclose(example["mended"](30_000), best, atol=1e-3)
    np.testing.assert_allclose(example["as_one_task"](1000), example["mended"](1000), atol=1e-4)
    np.testing.assert_allclose(example["as_one_task"](30_000), best, atol=1e-3)
