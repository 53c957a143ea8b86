"""Episodes: what an unseen task would offer, and nothing of its query rows."""

import numpy as np
import pytest

from upstairs.episodes import SHOTS, draw_episodes, query_tasks, support_tasks
from upstairs.tasks import Tasks, offsets_of

SIZES = [1, 2, 3, 7, 40, 300, 1, 19]


def make_tasks(sizes):
    n = sum(sizes)
    row = np.arange(n)
    return Tasks(
        row[:, None].astype(np.float32), row.astype(float), offsets_of(np.array(sizes)), np.arange(len(sizes)), np.zeros(1)
    )


def draw(sizes=SIZES, n_episodes=60, **limits):
    tasks = make_tasks(sizes)
    return tasks, draw_episodes(tasks.offsets, n_episodes, np.random.default_rng(0), **limits)


def test_support_and_query_never_share_a_row_and_none_comes_twice():
    _, episodes = draw()
    for support, query in zip(episodes.support, episodes.query, strict=True):
        rows = np.concatenate([support[support >= 0], query[query >= 0]])
        assert len(np.unique(rows)) == len(rows)


def test_rows_belong_to_the_episodes_task():
    tasks, episodes = draw()
    for task, rows in zip(episodes.task, np.hstack([episodes.support, episodes.query]), strict=True):
        assert set(tasks.task_of_row[rows[rows >= 0]]) == {task}


def test_a_support_takes_at_most_half_of_its_task():
    tasks, episodes = draw()
    sizes = tasks.sizes[episodes.task]
    np.testing.assert_array_equal(episodes.shots, np.minimum(sizes // 2, SHOTS[-1]))
    np.testing.assert_array_equal((episodes.query >= 0).sum(axis=1), np.minimum(sizes - sizes // 2, 16))


@pytest.mark.parametrize("size", [3, 40])
def test_every_row_is_as_likely_at_every_place(size):
    n_episodes = 20_000
    _, episodes = draw([size], n_episodes, most_query=2)
    places = np.hstack([episodes.query, episodes.support])
    for column in places.T[(places >= 0).all(axis=0)]:
        counts = np.bincount(column, minlength=size)
        assert ((counts - n_episodes / size) ** 2).sum() / (n_episodes / size) < size + 5 * np.sqrt(2 * size)


@pytest.mark.parametrize("n_episodes", [10, 900])
def test_episodes_come_from_the_named_tasks_as_evenly_as_can_be(n_episodes):
    among = np.arange(100, 700)
    _, few_or_many = draw([3] * 1000, n_episodes, among=among)
    counts = np.bincount(few_or_many.task, minlength=1000)[among]
    assert counts.sum() == n_episodes and counts.max() - counts.min() == 1
    assert (few_or_many.query[:, 0] // 3 == few_or_many.task).all()


def test_padding_comes_last():
    _, episodes = draw()
    for rows in (episodes.support, episodes.query):
        present = rows >= 0
        assert (np.diff(present.astype(int), axis=1) <= 0).all()


def test_supports_are_nested_and_as_large_as_asked():
    tasks, episodes = draw()
    for few, many in [(1, 2), (2, 5), (5, 20)]:
        less, more = support_tasks(tasks, episodes, few), support_tasks(tasks, episodes, many)
        np.testing.assert_array_equal(less.sizes, np.minimum(episodes.shots, few))
        for e in range(len(episodes.task)):
            start = more.y[more.offsets[e] : more.offsets[e] + less.sizes[e]]
            np.testing.assert_array_equal(less.y[less.offsets[e] : less.offsets[e + 1]], start)


def test_a_support_of_no_shots_is_empty():
    tasks, episodes = draw()
    assert support_tasks(tasks, episodes, 0).sizes.tolist() == [0] * len(episodes.task)


def test_queries_are_the_rows_drawn():
    tasks, episodes = draw()
    query = query_tasks(tasks, episodes)
    np.testing.assert_array_equal(query.y, episodes.query[episodes.query >= 0])
    np.testing.assert_array_equal(query.ids, tasks.ids[episodes.task])


def test_episodes_are_spread_evenly_over_tasks_of_two_rows_or_more():
    _, episodes = draw(n_episodes=20)
    counts = np.bincount(episodes.task, minlength=len(SIZES))
    assert counts[[0, 6]].tolist() == [0, 0]
    assert set(counts[[1, 2, 3, 4, 5, 7]]) <= {3, 4}


def test_every_row_of_a_task_has_its_chance():
    _, episodes = draw(sizes=[2, 9], n_episodes=400)
    for rows in (episodes.support, episodes.query):
        counts = np.bincount(rows[rows >= 0], minlength=11)
        assert (counts > 0.7 * counts[2:].mean())[2:].all()


def test_single_row_tasks_can_only_be_asked():
    _, episodes = draw(sizes=[1, 1, 1], n_episodes=6)
    assert episodes.shots.tolist() == [0] * 6
    assert (episodes.query >= 0).sum(axis=1).tolist() == [1] * 6


@pytest.mark.parametrize("limits", [{"most_support": 3, "most_query": 2}, {"most_support": 50, "most_query": 100}])
def test_limits_are_kept(limits):
    _, episodes = draw(**limits)
    assert episodes.shots.max() == min(limits["most_support"], 150)
    assert (episodes.query >= 0).sum(axis=1).max() == min(limits["most_query"], 150)
