"""upstairs serve, as a client sees it: predictions with and without memory, models, metrics, the document of it all."""

import json
import re

import httpx
import numpy as np
import pyarrow as pa
import pytest

import upstairs
from served import bearer, inside
from shop import sales
from upstairs.client import Client
from upstairs.errors import UpstairsError
from upstairs.serve.predicting import novelty_of

TASK = "/v1/models/stores/tasks/store%20117"


@pytest.fixture(scope="module")
def web(models, tmp_path_factory):
    with inside(models, database=f"sqlite:///{tmp_path_factory.mktemp('database')}/tasks.db") as client:
        yield client


@pytest.fixture(scope="module")
def stores(models):
    return upstairs.load(models / "stores.upstairs")


@pytest.fixture
def task():
    """Rows of a task never seen: columns, and the target."""
    table = sales(1, 8, seed=7)
    return table.select(["price", "kind"]), table["sales"]


def records(X, y=None):
    table = X if y is None else X.append_column("sales", y)
    return table.to_pylist()


# Without memory.


def test_predict_adapts_in_the_request(web, stores, task):
    X, y = task
    body = {"support": records(X[:4], y[:4]), "query": records(X[4:]), "coverage": 0.8}
    answer = web.post("/v1/models/stores/predict", json=body).json()
    adapted = stores.adapt(X[:4], y[:4])
    assert (answer["based_on"], answer["shots"], answer["coverage"]) == ("support", 4, 0.8)
    np.testing.assert_allclose(answer["prediction"], adapted.predict(X[4:]).to_numpy(), rtol=1e-12)
    np.testing.assert_allclose(answer["std"], adapted.predict(X[4:], return_std=True)[1].to_numpy(), rtol=1e-12)
    ends = adapted.predict_interval(X[4:], coverage=0.8)
    np.testing.assert_allclose([answer["lower"], answer["upper"]], [ends["lower"], ends["upper"]], rtol=1e-12)


def test_columns_say_the_same_as_records(web, task):
    X, y = task
    table = X.append_column("sales", y)
    answers = [
        web.post("/v1/models/stores/predict", json={"support": support, "query": query}).json()["prediction"]
        for support, query in ((table.to_pylist(), X.to_pylist()), (table.to_pydict(), X.to_pydict()))
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("nothing", [{}, {"support": None}, {"support": []}, {"support": {}}])
def test_no_support_is_zero_shot(web, stores, task, nothing):
    answer = web.post("/v1/models/stores/predict", json={"query": records(task[0]), **nothing}).json()
    assert (answer["based_on"], answer["shots"]) == ("columns", 0)
    np.testing.assert_allclose(answer["prediction"], stores.predict(task[0]).to_numpy(), rtol=1e-12)


def test_a_task_of_the_fit_is_known(web, stores, task):
    X = task[0]
    answer = web.post("/v1/models/stores/predict", json={"query": records(X), "task": "003", "explain": True}).json()
    assert (answer["based_on"], answer["shots"]) == ("known task", 12)
    np.testing.assert_allclose(answer["prediction"], stores.predict(X, groups=["003"] * len(X)).to_numpy(), rtol=1e-12)
    assert "explanation" not in answer
    assert "aren't explained" in answer["warnings"][0]
    answer = web.post("/v1/models/stores/predict", json={"query": records(X), "task": "nobody"}).json()
    assert answer["based_on"] == "columns"


def test_classes_have_probabilities(web, models, task):
    X, _ = task
    support = [{**row, "size": "large"} for row in records(X[:3])]
    answer = web.post("/v1/models/sizes/predict", json={"support": support, "query": records(X[3:]), "explain": True}).json()
    adapted = upstairs.load(models / "sizes.upstairs").adapt(X[:3], ["large"] * 3)
    assert answer["prediction"] == adapted.predict(X[3:]).to_pylist()
    assert list(answer["probability"]) == ["large", "middle", "small"] == list(answer["explanation"])
    np.testing.assert_allclose(np.sum(list(answer["probability"].values()), axis=0), 1)
    assert not {"std", "lower", "upper", "coverage"} & answer.keys()


def test_an_explanation_adds_up(web, task):
    X, y = task
    body = {"support": records(X[:4], y[:4]), "query": records(X[4:]), "explain": True}
    e = web.post("/v1/models/stores/predict", json=body).json()["explanation"]["sales"]
    own = np.sum(e["support"], axis=1)
    parts = np.array(e["level"]) + e["scale"] + np.sum(list(e["slopes"].values()), axis=0) + e["local"]
    assert e["exact"]
    np.testing.assert_allclose(own, parts, atol=1e-6)


def test_novelty_is_told_where_it_is_asked_for_and_can_be(web, stores, task):
    X, y = task
    body = {"support": records(X[:4], y[:4]), "query": records(X[4:])}
    assert "novelty" not in web.post("/v1/models/stores/predict", json=body).json()
    answer = web.post("/v1/models/stores/predict", json={**body, "novelty": True}).json()
    assert answer["novelty"] == pytest.approx(stores.adapt(X[:4], y[:4]).novelty_)
    alone = type(stores)(random_state=0).fit(X, y)  # one task only, beside which nothing is novel
    assert novelty_of(alone.adapt(X[:4], y[:4])) is None


def test_missing_values_and_columns_that_are_too_many(web, stores):
    query = [{"price": None, "kind": "mall", "colour": "red"}, {"kind": None, "price": 2}]
    answer = web.post("/v1/models/stores/predict", json={"query": query}).json()
    expected = stores.predict(pa.table({"price": [None, 2.0], "kind": ["mall", None]}))
    np.testing.assert_allclose(answer["prediction"], expected.to_numpy(), rtol=1e-12)
    assert answer["warnings"] == ["In query: columns that weren't there in fit are ignored: 'colour'."]


def test_bulk_as_an_arrow_stream(web, stores, task):
    """A task with support, one that the fit knew and a new one, in any order, in one stream."""
    query = sales(3, 4, seed=2).set_column(0, "store", pa.array(["new"] * 4 + ["001"] * 4 + ["alien"] * 4))
    support = sales(1, 6, seed=3).set_column(0, "store", pa.array(["new"] * 6))
    unknown = query.set_column(3, "sales", pa.nulls(12, "float64"))
    order = np.random.default_rng(0).permutation(18)
    table = pa.concat_tables([unknown, support]).take(order)
    with Client(str(web.base_url)) as client:
        answers = client.model("stores").predict_many(table, coverage=0.5)
    X, rows = query.select(["price", "kind"]), order[order < 12]
    adapted = stores.adapt(support.select(["price", "kind"]), support["sales"])
    known = stores.predict(X, groups=["001"] * 12).to_numpy()
    expected = np.concatenate([adapted.predict(X)[:4], known[4:8], stores.predict(X)[8:]])
    assert answers.column_names == ["prediction", "std", "lower", "upper"]
    np.testing.assert_allclose(answers["prediction"].to_numpy(), expected[rows], rtol=1e-9)


def test_bulk_classes_of_one_task(web, task):
    table = task[0].append_column("size", pa.array(["small"] * 5 + [None] * 3))
    with Client(str(web.base_url)) as client:
        answers = client.model("sizes").predict_many(table)
    assert answers.num_rows == 3
    assert answers.column_names == ["prediction", "probability_large", "probability_middle", "probability_small"]


# With memory.


def test_a_task_grows_row_by_row_and_equals_adapting_anew(web, stores, task):
    X, y = task
    for row in range(5):
        rows = records(X[row : row + 1], y[row : row + 1])
        answer = web.post(f"{TASK}/rows", json={"rows": rows}, headers={"Idempotency-Key": f"row-{row}"})
        assert answer.json() == {"task": "store 117", "rows": row + 1, "replayed": False, "warnings": []}
        got = web.post(f"{TASK}/predict", json={"query": records(X[5:])}).json()
        expected = stores.adapt(X[: row + 1], y[: row + 1]).predict(X[5:]).to_numpy()
        np.testing.assert_allclose(got["prediction"], expected, rtol=1e-9)
        assert (got["based_on"], got["shots"]) == ("support", row + 1)
    told = web.get(TASK).json()
    assert (told["rows"], told["task"]) == (5, "store 117")
    assert 0 < told["next_row"] < 1
    assert told["created"] < told["changed"]
    assert web.delete(TASK).status_code == 204
    assert web.get(TASK).status_code == web.delete(TASK).status_code == 404
    assert web.post(f"{TASK}/predict", json={"query": records(X)}).json()["based_on"] == "columns"


def test_the_same_key_applies_once(web, task):
    X, y = task
    path = "/v1/models/stores/tasks/once/rows"
    first, second = ({"rows": records(X[some], y[some])} for some in (slice(0, 2), slice(2, 3)))
    keys = {"Idempotency-Key": "k"}
    assert web.post(path, json=first, headers=keys).json()["rows"] == 2
    again = web.post(path, json=first, headers=keys).json()
    assert (again["rows"], again["replayed"]) == (2, True)
    columns = {name: [row[name] for row in first["rows"]] for name in first["rows"][0]}
    assert web.post(path, json={"rows": columns}, headers=keys).json()["replayed"]
    other = web.post(path, json=second, headers=keys)
    assert (other.status_code, other.json()["type"]) == (409, "urn:upstairs:problem:key-reused")
    assert web.post(path, json=second).json()["rows"] == 3
    assert web.post(path, json=second).json()["rows"] == 4, "without a key, each request counts"


def test_a_remembered_task_that_the_fit_knew_and_has_no_rows_yet(web, task):
    answer = web.post("/v1/models/stores/tasks/005/predict", json={"query": records(task[0])}).json()
    assert answer["based_on"] == "known task"


def test_a_task_begun_anew_forgets_what_the_cache_knew(web, stores, task):
    X, y = task
    path = "/v1/models/stores/tasks/again"
    for some in (slice(0, 3), slice(3, 6)):
        web.post(f"{path}/rows", json={"rows": records(X[some], y[some])})
        got = web.post(f"{path}/predict", json={"query": records(X[6:])}).json()["prediction"]
        np.testing.assert_allclose(got, stores.adapt(X[some], y[some]).predict(X[6:]).to_numpy(), rtol=1e-9)
        web.delete(path)


def test_rows_that_the_model_cannot_use_are_not_remembered(web):
    path = "/v1/models/stores/tasks/bad"
    bad = {"rows": [{"price": "dear", "kind": "mall", "sales": 1}]}
    answer = web.post(f"{path}/rows", json=bad)
    assert answer.status_code == 422
    assert "Column 'price' was numeric in fit but holds text here: 'dear' in row 0" in answer.json()["detail"]
    assert web.get(path).status_code == 404


def test_the_cache_is_bounded_and_makes_no_difference(models, tmp_path, stores, task):
    X, y = task
    with inside(models, database=f"sqlite:///{tmp_path}/t.db", cache_bytes=10_000) as web:
        cache = web.app.state.door.service.cache
        for turn in range(2):
            for name in "abcdefgh":
                path = f"/v1/models/stores/tasks/{name}"
                web.post(f"{path}/rows", json={"rows": records(X[turn : turn + 1], y[turn : turn + 1])})
                got = web.post(f"{path}/predict", json={"query": records(X)}).json()["prediction"]
                assert got == pytest.approx(stores.adapt(X[: turn + 1], y[: turn + 1]).predict(X).to_pylist())
                assert 0 < len(cache) < 8
                assert cache.bytes <= 10_000


# What a server tells.


def test_models_and_their_columns(web):
    listed = web.get("/v1/models").json()
    assert [model["name"] for model in listed["models"]] == ["sizes", "stores"]
    assert listed["refused"] == {}
    stores = web.get("/v1/models/stores").json()
    assert stores == listed["models"][1]
    assert stores["columns"] == [{"name": "price", "holds": "number"}, {"name": "kind", "holds": "category"}]
    assert (stores["target"], stores["task"], stores["known_tasks"], stores["classes"]) == ("sales", "store", 24, None)
    assert listed["models"][0]["classes"] == ["large", "middle", "small"]


def test_health_in_the_words_of_the_open_inference_protocol(web):
    assert web.get("/v2/health/live").json() == {"live": True}
    assert web.get("/v2/health/ready").json() == {"ready": True}
    model = web.get("/v2/models/sizes").json()
    assert model["inputs"][1] == {"name": "kind", "datatype": "BYTES", "shape": [-1]}
    assert [tensor["name"] for tensor in model["outputs"]][:2] == ["prediction", "probability_large"]
    assert web.get("/v2/models/sizes/ready").json() == {"name": "sizes", "ready": True}
    assert web.get("/v2/models/none/ready").status_code == 404


def test_metrics_count_what_happened(models, tmp_path, task):
    X, y = task
    with inside(models, database=f"sqlite:///{tmp_path}/t.db") as web:
        path = "/v1/models/stores/tasks/t"
        web.post(f"{path}/rows", json={"rows": records(X[:3], y[:3])})
        web.post(f"{path}/predict", json={"query": records(X[3:])})
        web.post(f"{path}/rows", json={"rows": records(X[3:], y[3:])})
        web.post(f"{path}/predict", json={"query": []})
        text = web.get("/metrics").text
    numbers = dict(re.findall(r"^(\S+) (\S+)$", text, re.MULTILINE))
    assert float(numbers['upstairs_requests_total{operation="appendRows",status="200"}']) == 2
    assert float(numbers['upstairs_requests_total{operation="predictTask",status="422"}']) == 1
    assert float(numbers['upstairs_predicted_rows_total{model="stores"}']) == 5
    assert float(numbers['upstairs_support_rows_sum{model="stores"}']) == 3
    assert float(numbers['upstairs_residual_count{model="stores"}']) == 5
    met = [float(numbers[f'upstairs_interval_total{{met="{word}",model="stores"}}']) for word in ("yes", "no")]
    assert sum(met) == 5


def test_logs_are_json_with_the_id_of_the_answer_and_nothing_private(models, tmp_path, capsys):
    with inside(models, database=f"sqlite:///{tmp_path}/t.db", tokens=True) as web:
        headers = {**bearer("read"), "X-Request-ID": "from-the-proxy"}
        answer = web.get("/v1/models/stores/tasks/Mrs%20Jones", headers=headers)
        strange = web.get("/v1/models", headers={**bearer("read"), "X-Request-ID": "x y"})
    assert (answer.headers["X-Request-ID"], answer.json()["instance"]) == ("from-the-proxy", "urn:request:from-the-proxy")
    assert re.fullmatch(r"[0-9a-f]{16}", strange.headers["X-Request-ID"])
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    line = next(line for line in lines if line.get("id") == "from-the-proxy")
    assert (line["operation"], line["status"], line["client"], line["problem"]) == (
        "describeTask",
        404,
        "reader",
        "unknown-task",
    )
    assert "Jones" not in text
    assert bearer("read")["Authorization"].split()[1] not in text


def test_the_document_holds_examples_that_work(web):
    document = web.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    tried = 0
    for path, methods in document["paths"].items():
        body = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        if body:
            url = path.replace("{model}", "stores").replace("{task}", "example")
            assert web.post(url, json=body["example"]).status_code == 200, path
            tried += 1
    assert tried == 3


# The client.


def test_the_client_speaks_in_tables(web, stores, task):
    X, y = task
    with Client(str(web.base_url)) as client:
        assert [model["name"] for model in client.models()] == ["sizes", "stores"]
        model = client.model("stores")
        answer = model.predict(X[4:].to_pandas(), support=(X[:4].to_pandas(), y[:4].to_pandas()))
        np.testing.assert_allclose(answer["prediction"], stores.adapt(X[:4], y[:4]).predict(X[4:]).to_numpy(), rtol=1e-12)
        store = model.task("a/b? c%")
        with pytest.raises(UpstairsError, match="nothing at this address"):
            store.append(X[:2], y[:2])
        store = model.task("b? c%")
        assert store.append(X[:2], y[:2]) == 2
        assert store.append(X[2:4], y[2:4]) == 4
        np.testing.assert_allclose(store.predict(X[4:])["lower"], answer["lower"], rtol=1e-9)
        assert store.describe()["rows"] == 4
        store.forget()
        with pytest.raises(UpstairsError, match=r"Nothing is remembered of a task 'b\? c%'"):
            store.describe()
        assert client.model("sizes").predict(X)["probability"]["large"].shape == (8,)


def test_the_client_sends_an_append_again_with_the_same_key(task):
    keys, lost = [], [httpx.ConnectError("lost"), httpx.Response(503, headers={"Retry-After": "0"}), None]

    def answer(request):
        if request.method == "GET":
            return httpx.Response(200, json={"target": "sales"})
        keys.append(request.headers["Idempotency-Key"])
        if isinstance(trouble := lost[len(keys) - 1], Exception):
            raise trouble
        return trouble or httpx.Response(200, json={"rows": 8})

    with Client("http://testserver", transport=httpx.MockTransport(answer)) as client:
        assert client.model("stores").task("t").append(*task) == 8
    assert len(keys) == 3
    assert len(set(keys)) == 1
