"""upstairs serve: requests that wait are answered together, and each as if it were alone."""

import json
import threading
import time

import httpx
import msgspec
import numpy as np
import pytest

import upstairs
from served import inside
from shop import sales
from upstairs.serve.problems import Problem
from upstairs.serve.service import Call
from upstairs.serve.stateless import predict_rows, predict_together

PREDICT = "/v1/models/stores/predict"


@pytest.fixture(scope="module")
def web(models, tmp_path_factory):
    with inside(models, database=f"sqlite:///{tmp_path_factory.mktemp('database')}/tasks.db", threads=2) as client:
        yield client


@pytest.fixture
def adapted_at_once(models, monkeypatch):
    """How many tasks each call of `adapt_tasks` had."""
    cls, counts = type(upstairs.load(models / "stores.upstairs")), []
    plainly = cls.adapt_tasks

    def counted(self, X, y=None, groups=None, **options):
        counts.append(len(np.unique(groups)))
        return plainly(self, X, y, groups, **options)

    monkeypatch.setattr(cls, "adapt_tasks", counted)
    return counts


def body(seed, shots=4, **more):
    rows = sales(1, 8, seed=seed).select(["price", "kind", "sales"]).to_pylist()
    query = [{name: row[name] for name in ("price", "kind")} for row in rows[shots:]]
    return {"support": rows[:shots], "query": query} | more


def call(message, model="stores"):
    content = message if isinstance(message, bytes) else json.dumps(message).encode()
    return Call({"model": model}, {}, {}, "application/json", content)


def plain(answer):
    return msgspec.to_builtins(answer)


def check_same(answer, alone):
    for name in ("prediction", "std", "lower", "upper"):
        np.testing.assert_allclose(answer[name], alone[name], rtol=1e-9)
    for name in ("model", "based_on", "shots", "coverage", "warnings"):
        assert answer.get(name) == alone.get(name)


def test_answers_are_those_of_each_alone(web, adapted_at_once):
    service = web.app.state.door.service
    calls = [call(body(seed, shots=1 + seed % 4)) for seed in range(6)]
    calls += [call(body(9, coverage=0.5)), call(body(9, coverage=0.5) | {"query": [{"price": 2.0, "kind": "mall", "odd": 1}]})]
    for answer, one in zip(predict_together(service, calls), calls, strict=True):
        check_same(plain(answer), plain(predict_rows(service, one)))
    assert adapted_at_once == [6, 2], "by coverage"


def test_those_with_wishes_of_their_own_are_answered_alone(web, adapted_at_once):
    service = web.app.state.door.service
    calls = [call(body(1, explain=True)), call(body(2, novelty=True)), call(body(3) | {"support": []}), call(body(4, task="x"))]
    answers = predict_together(service, calls)
    assert [answer.explanation is not None for answer in answers] == [True, False, False, False]
    assert [answer.novelty is not None for answer in answers] == [False, True, False, False]
    assert [answer.based_on for answer in answers] == ["support", "support", "columns", "support"]
    assert adapted_at_once == []


def test_one_mistake_spoils_nothing_for_the_others(web):
    service = web.app.state.door.service
    wrong = body(1)
    wrong["support"][2]["price"] = "two pounds"
    calls = [call(body(0)), call(wrong), call(b"{"), call(body(3), model="no such"), call(body(4))]
    first, *problems, last = predict_together(service, calls)
    check_same(plain(first), plain(predict_rows(service, calls[0])))
    check_same(plain(last), plain(predict_rows(service, calls[4])))
    assert all(isinstance(problem, Problem) for problem in problems)
    assert "'price' was numeric in fit but holds text here: 'two pounds'" in problems[0].detail
    assert [problem.kind for problem in problems] == ["unusable", "unreadable", "unknown-model"]


def test_whoever_waits_goes_along(web, adapted_at_once, monkeypatch):
    begun, let_go = threading.Event(), threading.Event()
    meta = type(web.app.state.door.service.models["stores"].meta)
    plainly = meta.adapt

    def wait(self, X, y):
        begun.set()
        let_go.wait(20)
        return plainly(self, X, y)

    monkeypatch.setattr(meta, "adapt", wait)
    answers: dict[int, httpx.Response] = {}
    threads = [threading.Thread(target=lambda k=k: answers.update({k: web.post(PREDICT, json=body(k))})) for k in range(5)]
    threads[0].start()
    assert begun.wait(20)
    for thread in threads[1:]:
        thread.start()
    end = time.monotonic() + 20
    while web.app.state.door.places.taken < 5 and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.1)  # a place is taken before the body is read
    let_go.set()
    for thread in threads:
        thread.join(20)
    monkeypatch.undo()
    assert adapted_at_once == [4]
    for k in range(5):
        check_same(answers[k].json(), web.post(PREDICT, json=body(k)).json())
