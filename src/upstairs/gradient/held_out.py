"""The held-out error of a descent: what models blind to a task say of its episodes, at every number of shots.

It says when to stop. A rule that answers all nested supports of an episode in one pass is asked so (`rules.rule.Rule.nested`);
any other adapts to each of them anew, as it would to a task.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from upstairs.episodes import Episodes, draw_episodes
from upstairs.gradient.answering import adapt_tasks, predict_tasks
from upstairs.gradient.compiling import compiled_soon
from upstairs.gradient.rows import Rows
from upstairs.gradient.rules.losses import class_losses
from upstairs.gradient.rules.rule import Episode, Latent, Problem, Theta
from upstairs.tasks import offsets_of

__all__ = ["Watched", "answer_episodes", "draw_folds", "errors_by_shots", "held_out_error", "padded", "watched_episodes"]

N_WATCHED, MOST_WATCHED, N_QUERY = 60, 500, 16
"""Episodes of each fold that are watched (of a rule that descends, up to so many), and query rows of any episode."""
ODD = 10.0
"""An episode counts for at most so many times the median one, or a single large task would say when to stop. Not where a rule
descends: it may explode on a task, and that must be seen."""
AT_ONCE = 32
"""Episodes of a fold that are answered side by side."""


class Watched(NamedTuple):
    """Episodes [K E] that errors are watched on, their fold in place of their task, and, padded [K, E, ...], what a nested rule
    sees of them."""

    episodes: Episodes
    nested: Episode | None


def watched_episodes(problem: Problem, rows: Rows, unseen: list[np.ndarray], rng: np.random.Generator) -> Watched:
    """Episodes of each fold's unseen tasks.

    A closed form is much the same for all tasks, and few tell how good it is. Descent may explode on one task in hundreds, so
    every task is watched as far as that is bearable.
    """
    most = max(map(len, unseen)) if problem.rule.nested is None else 0
    drawn = draw_folds(rows.offsets, unseen, int(np.clip(most, N_WATCHED, MOST_WATCHED)), problem, rng)
    nested = padded(rows, drawn.support, drawn.query, np.zeros(drawn.support.shape[:2], int)) if problem.rule.nested else None
    return Watched(Episodes(drawn.task, *(part.reshape(len(drawn.task), -1) for part in drawn[1:])), nested)


def held_out_error(problem: Problem, theta: Theta, rows: Rows, watched: Watched) -> float:
    """One number: mean over shots of the log loss, or of half the log of the squared error, so that every shot counts."""
    episodes = watched.episodes
    if watched.nested is None:
        errors = errors_by_shots(problem, theta, rows, episodes, episodes.task, problem.shots)
    else:
        losses = np.asarray(_nested_losses(problem, theta, watched.nested), np.float64).reshape(len(episodes.task), -1)
        losses = np.where(episodes.shots[:, None] >= problem.shots, np.nan_to_num(losses, nan=np.inf, posinf=np.inf), np.nan)
        errors = _mean_over_rows(losses if problem.classify else _bounded(losses), episodes)
    known = errors[~np.isnan(errors)]
    score = known.mean() if problem.classify else 0.5 * np.log(np.maximum(known, 1e-12)).mean()
    return float(score) if np.isfinite(score) else np.inf


def errors_by_shots(
    problem: Problem, theta: Theta, rows: Rows, episodes: Episodes, model: np.ndarray, shots: tuple[int, ...]
) -> np.ndarray:
    """Mean squared error or log loss [B] at each number of shots, NaN where no episode has so many, infinite if no number."""
    errors = np.full(len(shots), np.nan)
    for b, s in enumerate(shots):
        able = episodes.shots >= s
        if able.any():
            latent = answer_episodes(problem, theta, rows, episodes.take(able), model[able], s)
            query = episodes.query[able]
            y = rows.target(query[query >= 0])
            losses = class_losses(latent, y) if problem.classify else (latent.mean - y)[:, 0] ** 2
            errors[b] = np.nan_to_num(np.mean(losses), nan=np.inf)
    return errors


def answer_episodes(problem: Problem, theta: Theta, rows: Rows, episodes: Episodes, model: np.ndarray, shots: int) -> Latent:
    """Latent of the query rows of episodes [Σ Q, C], each by the fold model [E] named, adapted to its first ``shots`` rows."""
    supports, queries = episodes.support >= 0, episodes.query >= 0
    supports &= np.arange(supports.shape[1]) < shots
    s, q = episodes.support[supports], episodes.query[queries]
    adapted = adapt_tasks(problem, theta, model, rows.inputs.take(s), rows.target(s), offsets_of(supports.sum(axis=1)))
    return predict_tasks(problem, theta, model, adapted, rows.inputs.take(q), offsets_of(queries.sum(axis=1)))


def draw_folds(
    offsets: np.ndarray, folds: list[np.ndarray], n_episodes: int, problem: Problem, rng: np.random.Generator
) -> Episodes:
    """Episodes [K, E, ...] of the tasks of each fold; the fold of each [K E] stands for its task."""
    most = max(1, problem.shots[-1])  # an empty support still needs a row to pad with
    drawn = [draw_episodes(offsets, n_episodes, rng, among=tasks, most_support=most, most_query=N_QUERY) for tasks in folds]
    which = np.repeat(np.arange(len(folds)), n_episodes)
    return Episodes(which, np.stack([one.support for one in drawn]), np.stack([one.query for one in drawn]))


def padded(rows: Rows, support: np.ndarray, query: np.ndarray, shots: np.ndarray) -> Episode:
    """Episodes as a rule sees them, of rows [..., S] and [..., Q], -1 where there is none, and numbers of shots [...]."""
    n_s, n_q = ((part >= 0).sum(axis=-1) for part in (support, query))
    D_s, D_q = rows.inputs.matrix(support), rows.inputs.matrix(query)
    return Episode(D_s, rows.target(support), n_s, D_q, rows.target(query), n_q, shots)


@compiled_soon
def _nested_losses(problem, theta, episodes):
    """Mean loss [K, E, B] over the query rows of episodes [K, E, ...], each by the model that is blind to its fold."""

    def of_episode(weights, episode):
        asked = jnp.arange(len(episode.y_q)) < episode.n_q
        losses = problem.rule.nested(weights, theta.prior, problem, episode)
        return jnp.where(asked, losses, 0).sum(axis=1) / asked.sum()

    def of_fold(weights, episodes):
        return jax.lax.map(lambda episode: of_episode(weights, episode), episodes, batch_size=AT_ONCE)

    return jax.vmap(of_fold)(jax.tree.map(lambda w: w[: len(episodes.n_s)], theta.weights), episodes)


def _bounded(losses: np.ndarray) -> np.ndarray:
    """Losses [E, B] of episodes, at most ``ODD`` times the median at the same number of shots."""
    told = ~np.isnan(losses).all(axis=0)
    losses[:, told] = np.minimum(losses[:, told], ODD * np.nanmedian(losses[:, told], axis=0))
    return losses


def _mean_over_rows(losses: np.ndarray, episodes: Episodes) -> np.ndarray:
    """Mean [B] over the query rows of all episodes of their mean losses [E, B], of which those that can't tell are NaN."""
    sizes = np.where(np.isnan(losses), 0, (episodes.query >= 0).sum(axis=1)[:, None])
    total = sizes.sum(axis=0)
    return np.where(total, np.nansum(losses * sizes, axis=0) / np.maximum(total, 1), np.nan)
