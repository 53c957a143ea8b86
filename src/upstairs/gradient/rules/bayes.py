"""A Bayesian linear head in closed form: the prior of its weights is learned, their posterior given a support is exact.

    u = f_w(x) + level + z(x)ᵀw + ε,    w ~ N(0, σ² I),  ε ~ N(0, σ²),  σ² ~ inverse gamma(ν/2, ν σ₀²/2)
    f = φ(x)ᵀm,  z(x) = (√θ₀, √θ_j D_j, √θ_L φ(x)ᵀL)

so the head on φ has the prior N(m, σ² (θ₀ e₁e₁ᵀ + diag θ_j + θ_L LLᵀ)) (ALPaCA, Harrison et al. 2018, section 3; R2-D2,
Bertinetto et al. 2019). m has two columns: f_w, and the level f_b that x alone predicts, of which a share 1 − ρ is worth
nothing once the task's level is seen. With Λ = I + ZᵀZ over n support rows, a = Λ⁻¹Zᵀ(u − f_w − ρ f_b), b = Λ⁻¹Zᵀ1, and
c = (1 − ρ) times the mean of f_b over the support and the query row,

    μ_q = f_w + ρ f_b + c + z_qᵀ(a − c b),     v_q = σ₀² (1 + z_qᵀΛ⁻¹z_q)

and u_q is Student's t with ν + n degrees of freedom and scale² v_q (ν + Q) / (ν + n), Q the support's squared distance from
what the prior expects. An adapted task is as large as Λ, however many rows it saw. Classes: the same on the logit, w at its
mode.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from upstairs.compiled import read_only
from upstairs.gradient.compiling import compiled
from upstairs.gradient.padding import padded_rows, row_blocks
from upstairs.gradient.rows import InputRows
from upstairs.gradient.rules.elimination import solve, whiten
from upstairs.gradient.rules.losses import class_losses, spread_over, squared_loss
from upstairs.gradient.rules.posterior import adapt_ragged, predict_ragged
from upstairs.gradient.rules.rule import Episode, Latent, Problem, Ragged, Rule, Start

__all__ = ["RULE"]

RANK = 8
NEWTON_STEPS, LEAST_CURVATURE = 6, 1e-3
SQUARED_SHARE = 0.7
"""Of the loss, for the squared error; the rest is the log density of the Student t."""
SPARSITY = 2e-4
"""A column whose slopes don't pay loses them: SPARSITY Σ log(1 + θ / 0.01) is added to the loss."""


class Prior(NamedTuple):
    """Natural logs of θ_0 [C], θ_j [C, k], θ_L [C], σ₀² [C] and ν [C], and the logit of ρ [C]."""

    level: Any
    slopes: Any
    rest: Any
    noise: Any
    nu: Any
    rho: Any


class Adapted(NamedTuple):
    """Posterior given n rows: Σ f_b, a root Λ⁻¹ = root rootᵀ, a, b and Q, of each output."""

    n: Any
    level_sum: Any
    root: Any
    a: Any
    b: Any
    surprise: Any


def init(key: Any, problem: Problem, start: Start) -> tuple[dict, dict]:
    """f_w starts from the ridge, f_b from what a pooled one adds; the network adds nothing yet, and slopes are small."""
    for_network, for_factor = jax.random.split(key)
    q, h, C = problem.n_inputs, problem.n_features, problem.n_outputs
    size = jnp.where(jnp.arange(h) < q, 0.1, 0.3 / jnp.sqrt(max(h - q, 1))).at[0].set(0) / jnp.sqrt(RANK)
    weights = {
        "network": problem.network.init(for_network, q),
        "linear": jnp.stack([start.linear, start.pooled - start.linear], axis=2),
        "mean": jnp.zeros((C, h - q, 2)),
        "factor": jax.random.normal(for_factor, (C, h, RANK)) * size[:, None],
    }
    one = jnp.ones(C)
    slopes = jnp.full((C, len(problem.slopes)), jnp.log(0.02))
    head = Prior(jnp.log(start.level), slopes, 0 * one, jnp.log(start.noise), jnp.log(8) * one, 0 * one)
    return weights, {"head": head, "error": jnp.zeros(len(problem.shots))}


def adapt(weights: dict, prior: dict, problem: Problem, D: Any, y: Any, n: Any) -> Adapted:
    """Condition every output's head on the first n rows."""
    counts = (jnp.arange(len(D)) < n).astype(D.dtype)
    condition = _condition_classes if problem.classify else _condition_numbers
    return jax.vmap(lambda f_w, f_b, z, one, y: condition(f_w, f_b, z, one, y, counts), in_axes=(0, 0, 0, 0, 1))(
        *_parts(weights, prior, problem, D), prior["head"], y
    )


def predict(weights: dict, prior: dict, problem: Problem, adapted: Adapted, D: Any) -> Latent:
    """Mean and variance of every output."""

    def one(f_w, f_b, z, prior, adapted):
        rho, nu = jax.nn.sigmoid(prior.rho), jnp.exp(prior.nu)
        c = (1 - rho) * (adapted.level_sum + f_b) / (adapted.n + 1)
        mean = f_w + rho * f_b + c + z @ adapted.a - c * (z @ adapted.b)
        own = ((z @ adapted.root) ** 2).sum(axis=1)
        if problem.classify:
            return mean, own, own, jnp.full(len(z), jnp.inf)
        v = jnp.exp(prior.noise) * (1 + own)
        return mean, v, v * (nu + adapted.surprise) / (nu + adapted.n), jnp.full(len(z), nu + adapted.n)

    parts = _parts(weights, prior, problem, D)
    mean, variance, spread2, dof = jax.vmap(one)(*parts, prior["head"], adapted)
    return Latent(mean.T, variance.T, spread2.T, dof[0])


def loss(weights: dict, prior: dict, problem: Problem, episode: Episode) -> tuple[Any, Any]:
    """Numbers: at all shots at once, since the factor of the whole support holds that of every nested one. Classes: at one."""
    losses, counts = (_class_losses if problem.classify else _number_losses)(weights, prior, problem, episode)
    head = prior["head"]
    spent = sum(jnp.log1p(jnp.exp(theta) / 0.01).sum() for theta in (head.level, head.slopes, head.rest))
    return losses + SPARSITY * spent, counts


def nested(weights: dict, prior: dict, problem: Problem, episode: Episode) -> Any:
    """Losses [B, Q]: the network is asked once, and the supports of all numbers of shots are parts of one."""
    if not problem.classify:
        return _number_latents(weights, prior, problem, episode)[0]
    parts = _episode_parts(weights, prior, problem, episode)
    shots = jnp.minimum(jnp.array(problem.shots), episode.n_s)
    return jax.vmap(lambda n: _class_row_losses(parts, prior, episode, n))(shots)


def split(weights: dict, prior: dict, problem: Problem, adapted: Adapted, D: Any) -> tuple[Any, Any]:
    """Level with what is left of f_b, and slopes."""

    def one(f_b, z, prior, adapted):
        rho, k = jax.nn.sigmoid(prior.rho), len(problem.slopes)
        c = (1 - rho) * (adapted.level_sum + f_b) / (adapted.n + 1)
        terms = z * (adapted.a - c[:, None] * adapted.b)
        return c - (1 - rho) * f_b + terms[:, 0], terms[:, 1 : 1 + k]

    _, f_b, z = _parts(weights, prior, problem, D)
    level, slopes = jax.vmap(one)(f_b, z, prior["head"], adapted)
    return level.T, slopes.transpose(1, 2, 0)


def adapt_many(weights: dict, prior: dict, problem: Problem, rows: InputRows, y: np.ndarray, offsets: np.ndarray) -> Adapted:
    """`adapt` for many tasks of numbers."""
    parts, (rho, noise, _), sizes = _parts_of(weights, prior, problem, rows), _settings(prior), np.diff(offsets)
    r = parts.shape[1] - 2
    found = [np.zeros((len(sizes), *shape), np.float32) for shape in ((), (r, r), (r,), (r,), ())]
    order = np.argsort(sizes, kind="stable")
    adapt_ragged(parts, read_only(y[:, 0]), read_only(offsets), order, rho, noise, *found)
    return Adapted(sizes, *found)


def predict_many(
    weights: dict, prior: dict, problem: Problem, adapted: Adapted, rows: InputRows, offsets: np.ndarray
) -> Latent:
    """`predict` for many tasks of numbers."""
    mean, variance, spread2, dof = latent = np.empty((4, rows.n_rows))
    predict_ragged(_parts_of(weights, prior, problem, rows), read_only(offsets), *_settings(prior), *adapted, latent)
    return Latent(mean[:, None], variance[:, None], spread2[:, None], dof)


RULE = Rule(init, adapt, predict, loss, split, ("linear", "mean"), Ragged(adapt_many, predict_many), nested)


def _parts(weights: dict, prior: dict, problem: Problem, D: Any) -> tuple[Any, Any, Any]:
    """f_w [C, n], f_b [C, n] and z [C, n, r] of rows."""
    q, head = problem.n_inputs, prior["head"]
    hidden = problem.network.apply(weights["network"], D)
    rest = jnp.exp(head.rest / 2)[:, None, None] * weights["factor"]
    # f_w, f_b and what is left of z are linear in φ: one product for all
    on_D = jnp.concatenate([weights["linear"], rest[:, :q]], axis=2)
    on_hidden = jnp.concatenate([weights["mean"], rest[:, q:]], axis=2)
    linear = D @ on_D + hidden @ on_hidden
    level = jnp.broadcast_to(jnp.exp(head.level / 2)[:, None, None], (problem.n_outputs, len(D), 1))
    slopes = D[:, jnp.array(problem.slopes, int)] * jnp.exp(head.slopes / 2)[:, None]
    return linear[..., 0], linear[..., 1], jnp.concatenate([level, slopes, linear[..., 2:]], axis=2)


def _episode_parts(weights, prior, problem, episode):
    """`_parts` of support and query rows, one after the other."""
    return _parts(weights, prior, problem, jnp.concatenate([episode.D_s, episode.D_q]))


def _parts_of(weights: dict, prior: dict, problem: Problem, rows: InputRows) -> np.ndarray:
    """(f_w, f_b, z) of rows, [n, 2 + r]."""
    D = rows.matrix()
    blocks = [
        np.asarray(_joined(weights, prior, problem, padded_rows(D[start:stop], padded)))[: stop - start]
        for start, stop, padded in row_blocks(len(D))
    ]
    return read_only(blocks[0] if len(blocks) == 1 else np.concatenate(blocks))


@compiled
def _joined(weights, prior, problem, D):
    f_w, f_b, z = _parts(weights, prior, problem, D)
    return jnp.concatenate([f_w[0][:, None], f_b[0][:, None], z[0]], axis=1)


def _settings(prior: dict) -> tuple[float, float, float]:
    """ρ, σ₀² and ν of the one output."""
    head = prior["head"]
    return 1 / (1 + math.exp(-head.rho[0])), math.exp(head.noise[0]), math.exp(head.nu[0])


def _condition_numbers(f_w, f_b, z, prior, y, counts):
    rho = jax.nn.sigmoid(prior.rho)
    Z, e = z * counts[:, None], (y - f_w - rho * f_b) * counts
    r = Z.shape[1]
    columns = jnp.concatenate([jnp.column_stack([Z, e, counts]), jnp.eye(r, r + 2)])

    def orthogonalise(columns, j):
        q = columns[:, j] * jax.lax.rsqrt((columns[:, j] ** 2).sum())
        left = jnp.where(jnp.arange(r + 2) > j, q @ columns, 0)
        return (columns - q[:, None] * left).at[:, j].set(q), None

    # Gram and Schmidt on (Z; I): single precision bears it where ZᵀZ is too much (Björck 1967). Below Z then stands R⁻¹ of
    # Λ = RᵀR, below e and 1 stand −a and −b, and above these what a and b leave.
    columns = jax.lax.scan(orthogonalise, columns, jnp.arange(r))[0]
    n, level_sum = counts.sum(), (f_b * counts).sum()
    c = (1 - rho) * level_sum / jnp.maximum(n, 1)
    # rᵀ(I + ZZᵀ)⁻¹r of r = e − c 1
    Q = ((columns[:, r] - c * columns[:, r + 1]) ** 2).sum()
    below = columns[len(Z) :]
    return Adapted(n, level_sum, below[:, :r], -below[:, r], -below[:, r + 1], Q / jnp.exp(prior.noise))


def _condition_classes(f_w, f_b, z, prior, y, counts):
    rho, n, level_sum = jax.nn.sigmoid(prior.rho), counts.sum(), (f_b * counts).sum()
    c = (1 - rho) * level_sum / jnp.maximum(n, 1)
    known = f_w + rho * f_b + c

    # at the mode a Newton step's derivative by w is 0, so one step from a constant has the mode's own gradient
    w = jax.lax.stop_gradient(_mode(known, z, y, counts))
    p = jax.nn.sigmoid(known + z @ w)
    W = (p * (1 - p) + LEAST_CURVATURE) * counts
    root = whiten(jnp.eye(z.shape[1]) + (z * W[:, None]).T @ z, jnp.eye(z.shape[1])).T
    w = w + root @ (root.T @ (z.T @ ((y - p) * counts) - w))
    b = root @ (root.T @ (z.T @ W))
    return Adapted(n, level_sum, root, w + c * b, b, jnp.zeros(()))


def _mode(known, z, y, counts):
    """Of the weights, by Newton steps on whichever is fewer: rows or weights (Rasmussen & Williams 2006, algorithm 3.1)."""
    n, r = z.shape
    K = z @ z.T

    def step(_, w):
        p = jax.nn.sigmoid(known + z @ w)
        W, slope = (p * (1 - p) + LEAST_CURVATURE) * counts, (y - p) * counts
        if n > r:
            return w + solve(jnp.eye(r) + (z * W[:, None]).T @ z, z.T @ slope - w)
        root, target = jnp.sqrt(W), W * (z @ w) + slope
        return z.T @ (target - root * solve(jnp.eye(n) + root[:, None] * K * root, root * (K @ target)))

    return jax.lax.fori_loop(0, NEWTON_STEPS, step, jnp.zeros(r))


def _class_losses(weights, prior, problem, episode):
    parts = _episode_parts(weights, prior, problem, episode)
    return spread_over(
        problem.shots, episode, _class_row_losses(parts, prior, episode, jnp.minimum(episode.shots, episode.n_s))
    )


def _class_row_losses(parts, prior, episode, n):
    """Log loss [Q] of query rows given the first n support rows."""
    f_w, f_b, z = parts
    counts = (jnp.arange(len(episode.D_s)) < n).astype(f_w.dtype)
    by_output = jax.vmap(functools.partial(_class_latent, counts), in_axes=(0, 0, 0, 0, 1))
    mean, variance = by_output(f_w, f_b, z, prior["head"], episode.y_s)
    return class_losses(Latent(mean.T, variance.T, variance.T, None), episode.y_q)


def _class_latent(counts, f_w, f_b, z, prior, y):
    """Mean and variance of query rows, which follow the support rows: `adapt` and `predict` by rows, for there are few."""
    S, rho, n, level_sum = len(y), jax.nn.sigmoid(prior.rho), counts.sum(), (f_b[: len(y)] * counts).sum()
    Z, z_q = z[:S] * counts[:, None], z[S:]
    c, c_q = (1 - rho) * level_sum / jnp.maximum(n, 1), (1 - rho) * (level_sum + f_b[S:]) / (n + 1)
    known = f_w[:S] + rho * f_b[:S] + c
    f = jax.lax.stop_gradient(Z @ _mode(known, Z, y, counts))
    p = jax.nn.sigmoid(known + f)
    # √ has no finite gradient at 0, so padding is left out after it
    W = p * (1 - p) + LEAST_CURVATURE
    root, target, K, K_q = jnp.sqrt(W) * counts, (W * f + y - p) * counts, Z @ Z.T, Z @ z_q.T
    right = jnp.concatenate([(root * (K @ target))[:, None], root[:, None], root[:, None] * K_q], axis=1)
    white = whiten(jnp.eye(S) + root[:, None] * K * root, right)
    deviation = K_q.T @ target - white[:, 2:].T @ white[:, 0]
    mean = f_w[S:] + rho * f_b[S:] + c_q + deviation + (c - c_q) * (white[:, 2:].T @ white[:, 1])
    return mean, (z_q**2).sum(axis=1) - (white[:, 2:] ** 2).sum(axis=0)


def _number_losses(weights, prior, problem, episode):
    error2, spread2, dof = _number_latents(weights, prior, problem, episode)
    per_row = SQUARED_SHARE * squared_loss(error2, prior["error"][:, None]) + (1 - SQUARED_SHARE) * _student_loss(
        error2, spread2, dof
    )
    asked = (jnp.array(problem.shots) <= episode.n_s)[:, None] & (jnp.arange(len(episode.D_q)) < episode.n_q)
    total = asked.sum(axis=1)
    return jnp.where(asked, per_row, 0).sum(axis=1) / jnp.maximum(total, 1), total


def _number_latents(weights, prior, problem, episode):
    """Squared error and spread² of query rows at each number of shots [B, Q], and degrees of freedom [B, 1]."""
    S, shots = len(episode.D_s), jnp.array(problem.shots)
    f_w, f_b, z = (part[0] for part in _episode_parts(weights, prior, problem, episode))
    head = prior["head"]
    rho, nu, noise = jax.nn.sigmoid(head.rho[0]), jnp.exp(head.nu[0]), jnp.exp(head.noise[0])
    counts = (jnp.arange(S) < episode.n_s).astype(f_w.dtype)
    Z, z_q, level = z[:S] * counts[:, None], z[S:], f_b[:S] * counts
    e = (episode.y_s[:, 0] - f_w[:S] - rho * f_b[:S]) * counts
    white = whiten(Z @ Z.T + jnp.eye(S), jnp.concatenate([e[:, None], counts[:, None], Z @ z_q.T], axis=1))
    # row i of L⁻¹R needs rows 1..i alone, so sums over its first s rows belong to the support of s shots
    e, one, k = white[:, :1], white[:, 1:2], white[:, 2:]
    terms = jnp.concatenate([k * e, k * one, k**2, e**2, e * one, one**2, level[:, None]], axis=1)
    sums = (jnp.arange(S) < shots[:, None]).astype(terms.dtype) @ terms
    Q = len(z_q)
    ke, k1, kk, (ee, e1, ones, level_sum) = sums[:, :Q], sums[:, Q : 2 * Q], sums[:, 2 * Q : 3 * Q], sums[:, 3 * Q :].T
    c = (1 - rho) * (level_sum[:, None] + f_b[S:]) / (shots[:, None] + 1)
    own = (1 - rho) * level_sum / jnp.maximum(shots, 1)
    mean = f_w[S:] + rho * f_b[S:] + c + ke - c * k1
    v = noise * (1 + jnp.maximum((z_q**2).sum(axis=1) - kk, 0))
    spread2 = v * ((nu + (ee - 2 * own * e1 + own**2 * ones) / noise) / (nu + shots))[:, None]
    return (episode.y_q[:, 0] - mean) ** 2, spread2, nu + shots[:, None]


def _student_loss(error2: Any, spread2: Any, dof: Any) -> Any:
    normal = gammaln((dof + 1) / 2) - gammaln(dof / 2) - jnp.log(dof * spread2) / 2
    return (dof + 1) / 2 * jnp.log1p(error2 / (spread2 * dof)) - normal
