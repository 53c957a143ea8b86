"""upstairs serve and whoever means it harm, or doesn't know better: tokens, limits, bad bodies, names that lead elsewhere."""

import json
import socket
import struct
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from served import TOKENS, bearer, inside, refused
from upstairs.errors import UpstairsError
from upstairs.serve import arrow
from upstairs.serve.operations import OPERATIONS
from upstairs.serve.problems import Problem
from upstairs.serve.server import check, is_loopback
from upstairs.serve.settings import Limits, Settings
from upstairs.serve.tokens import Tokens

PREDICT = "/v1/models/stores/predict"
ROW = {"price": 2.0, "kind": "mall"}
LIMITS = {"body_bytes": 20_000, "bulk_bytes": 50_000, "rows": 50, "columns": 20, "bulk_rows": 500, "rows_per_task": 5}


@pytest.fixture(scope="module")
def web(models, tmp_path_factory):
    database = f"sqlite:///{tmp_path_factory.mktemp('database')}/tasks.db"
    with inside(models, database=database, tokens=True, **LIMITS) as client:
        client.headers.update(bearer("admin"))
        yield client


# Tokens.


def test_only_what_tells_nothing_needs_no_token(web):
    document = web.get("/openapi.json").json()
    open_to_all = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            url = path.replace("{model}", "stores").replace("{task}", "t")
            answers = [
                httpx.request(method, str(web.base_url.join(url)), headers=headers)
                for headers in ({}, {"Authorization": "Bearer " + "x" * 20})
            ]
            if operation["security"] == []:
                open_to_all.add(path)
                assert [answer.status_code for answer in answers] == [200, 200]
            else:
                for answer in answers:
                    refused(answer, 401, "Authorization: Bearer TOKEN")
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert open_to_all == {"/v2/health/live", "/v2/health/ready"}


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.scope], ids=lambda o: o.name)
def test_scopes(web, operation):
    url = operation.path.replace("{model}", "none").replace("{task}", "t")
    for scope in TOKENS:
        answer = web.request(operation.method, url, headers=bearer(scope))
        if ("read", "write", "admin").index(scope) < ("read", "write", "admin").index(operation.scope):
            refused(answer, 403, f"the token of '{scope}er' has {scope}")
        else:
            assert answer.status_code not in (401, 403)


@pytest.mark.parametrize("header", ["", "Bearer", "Basic " + "a" * 20, "a" * 20, "Bearer \u00e9"])
def test_odd_authorization(web, header):
    refused(httpx.get(str(web.base_url.join("/v1/models")), headers={b"Authorization": header.encode()}), 401, "Bearer TOKEN")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no token"),
        ("# nothing\n", "holds no token"),
        ("shop read", "Line 1 of tokens must be a name, a scope"),
        ("a read " + "a" * 20 + "\nshop owner " + "b" * 20, "Line 2 of tokens"),
        ("shop read short", "shorter than 16 characters"),
    ],
)
def test_a_file_of_tokens_that_cannot_be_used(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    Path("tokens").write_text(text)
    with pytest.raises(UpstairsError, match=words):
        Tokens.find("tokens")
    with pytest.raises(UpstairsError, match="can't be read"):
        Tokens.find("elsewhere")


def test_nobody_else_reaches_a_server_without_tokens(models, tmp_path, monkeypatch):
    monkeypatch.delenv("UPSTAIRS_TOKENS", raising=False)
    settings = Settings(models=(str(models),), database=f"sqlite:///{tmp_path}/t.db")
    for host in ("127.0.0.1", "::1", "localhost"):
        check(settings, host, open_to_all=False)
    assert not is_loopback("example.org")
    with pytest.raises(UpstairsError, match=r"0\.0\.0\.0 can be reached from other machines, and there are no tokens"):
        check(settings, "0.0.0.0", open_to_all=False)
    check(settings, "0.0.0.0", open_to_all=True)
    monkeypatch.setenv("UPSTAIRS_TOKENS", "shop read " + "r" * 20)
    check(settings, "0.0.0.0", open_to_all=False)


# Bodies.


def labelled(rows):
    return b'{"query": [{"price": 1, "kind": "mall"}], "support": [' + rows + b"]}"


DEEP = b"[" * 9_000 + b"]" * 9_000


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "is no JSON"),
        (b"{", 400, "is no JSON"),
        (b'{"query": [{"price": NaN}]}', 400, "is no JSON"),
        (b'{"query": [{"price": Infinity}]}', 400, "is no JSON"),
        (b'{"query": [{"kind": "\xff"}]}', 400, "is no JSON"),
        (DEEP, 422, ""),
        (b'{"query": ' + DEEP + b"}", 422, ""),
        (b'{"query": {"a": {"b": ' * 500 + b"1" + b"}}}" * 500, 422, ""),
        (b"[]", 422, "Expected `object`, got `array`"),
        (b"{}", 422, "missing required field `query`"),
        (b'{"query": 3}', 422, "$.query"),
        (b'{"query": [[1, 2]]}', 422, "$.query[0]"),
        (b'{"query": [{"price": [1]}]}', 422, "$.query[0]"),
        (b'{"query": [{"price": 1, "kind": "mall"}], "rows": 1}', 422, "unknown field `rows`"),
        (b'{"query": [{"price": 1, "kind": "mall"}], "coverage": 1}', 422, "$.coverage"),
        (b'{"query": [{"price": 1, "kind": "mall"}], "coverage": "high"}', 422, "$.coverage"),
        (b'{"query": [{"price": 1e999, "kind": "mall"}]}', 422, "out of range"),
        (b'{"query": [{"price": 1' + b"0" * 400 + b', "kind": "mall"}]}', 422, "Column 'price' holds infinity in row 0"),
        (b'{"query": [{"price": -1e300, "kind": "mall"}]}', 422, "Numbers may not go beyond 1e+100"),
        (b'{"query": [{"price": 1, "kind": "mall"}, {"price": "dear", "kind": "mall"}]}', 422, "'dear' in row 1"),
        (b'{"query": [{"price": "2.5", "kind": "mall"}]}', 422, "numbers written as text"),
        (b'{"query": [{"prise": 1, "kind": "mall"}]}', 422, "'price' (did you mean 'prise'?)"),
        (b'{"query": {"price": [1, 2], "kind": ["mall"]}}', 422, "column 'kind' has 1 values, but 'price' has 2"),
        (b'{"query": []}', 422, "there are no rows"),
        (b'{"query": {}}', 422, "there are no rows"),
        (b'{"query": [{}]}', 422, "there are no rows"),
        (b'{"query": {"price": [], "kind": []}}', 422, "there are no rows"),
        (labelled(b'{"price": 1, "kind": "mall"}'), 422, "lack 'sales', the target"),
        (labelled(b'{"price": 1, "kind": "mall", "sales": null}'), 422, "y is missing"),
        (labelled(b'{"price": 1, "kind": "mall", "sales": "x"}'), 422, "y must hold numbers"),
        (labelled(b'{"price": 1, "kind": "mall", "sales": 1e101}'), 422, "too large"),
        (labelled(b'{"price": 1, "kind": "m", "sales": true}, {"sales": "a"}'), 422, "support"),
    ],
)  # fmt: skip
def test_bodies_that_cannot_be_used(web, body, status, words):
    refused(web.post(PREDICT, content=body), status, words)


@pytest.mark.parametrize("label", ["enormous", 3, 2.5, True, None, "\ud800", 10**400])
def test_labels_that_are_none(web, label):
    body = json.dumps({"query": [ROW], "support": [{**ROW, "size": label}]})
    answer = web.post("/v1/models/sizes/predict", content=body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["detail"]


def test_what_odd_cells_a_category_may_hold(web):
    """A level never seen, whatever it is, is rare; it never breaks anything."""
    for cell in ("\x00", "x" * 5000, 3, 2.5, True, 10**30, "\U0001f600"):
        answer = web.post(PREDICT, json={"query": [{"price": 1, "kind": cell}, {"price": 1, "kind": "mall"}]})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"content": b"{" + b" " * 20_000}, 413, "more than 20,000 bytes"),
        ({"content": iter([b" " * 15_000] * 2)}, 413, "more than 20,000 bytes"),
        ({"content": b"x" * 50_001, "headers": {"Content-Type": arrow.MEDIA_TYPE}}, 413, "more than 50,000 bytes"),
        ({"content": b"<rows/>", "headers": {"Content-Type": "text/xml"}}, 415, "application/json or application/vnd"),
        ({"content": b"{}", "headers": {"Content-Encoding": "gzip"}}, 415, "compressed"),
        ({"json": {"query": [ROW] * 51}}, 422, "51 rows are more than the 50 of one request; send an Arrow stream"),
        ({"json": {"query": [{f"c{i}": 1 for i in range(21)}]}}, 422, "21 columns are more than the 20"),
        ({"json": {"query": [{f"c{i}": 1} for i in range(40)]}}, 422, "40 columns are more than the 20"),
        ({"json": {"query": [ROW], "support": [{**ROW, "sales": 1}] * 51}}, 422, "In support: 51 rows"),
    ],
)  # fmt: skip
def test_bodies_that_are_too_much(web, request_, status, words):
    refused(web.post(PREDICT, **request_), status, words)


def test_a_task_that_is_too_much(web):
    path = "/v1/models/stores/tasks/long/rows"
    rows = {"rows": [{**ROW, "sales": 30.0}] * 3}
    assert web.post(path, json=rows).status_code == 200
    refused(web.post(path, json=rows), 422, "The task has 3 rows, and 3 more are beyond the 5")


# Arrow streams.


def stream(table, **options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


GOOD = pa.table({"price": [1.0] * 9, "kind": pa.array(["mall"] * 9).dictionary_encode()})


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "no Arrow stream"),
        (b"rubbish" * 20, 400, "no Arrow stream"),
        (stream(GOOD)[:-80], 400, "no Arrow stream"),
        (stream(GOOD, compression="zstd"), 422, "compressed"),
        (stream(GOOD, compression="lz4"), 422, "compressed"),
        (stream(GOOD.slice(0, 0)), 422, "has 0 rows"),
        (stream(pa.table({"price": pa.nulls(501)})), 422, "has 501 rows"),
        (stream(pa.table([[1.0], [2.0]], names=["price", "price"])), 422, "of different names"),
        (stream(pa.table({"price": [[1.0]], "kind": ["mall"]})), 422, "neither number, text nor time"),
        (stream(GOOD.drop_columns(["kind"])), 422, "lacks the column 'kind'"),
        (stream(GOOD.append_column("sales", pa.array([1.0] * 9))), 422, "Every row has a 'sales'"),
        (stream(GOOD.append_column("store", pa.array(["a"] * 8 + [None]))), 422, "The task is null in 1 rows"),
        (stream(GOOD.set_column(0, "price", pa.array([float("inf")] * 9))), 422, "Column 'price' holds infinity"),
    ],
)  # fmt: skip
def test_streams_that_cannot_be_used(web, content, status, words):
    refused(web.post(PREDICT, content=content, headers={"Content-Type": arrow.MEDIA_TYPE}), status, words)


@pytest.mark.parametrize("coverage", ["0", "1", "nan", "much", ""])
def test_the_coverage_of_a_stream(web, coverage):
    request = {"content": stream(GOOD), "headers": {"Content-Type": arrow.MEDIA_TYPE}, "params": {"coverage": coverage}}
    refused(web.post(PREDICT, **request), 422, "must lie between 0 and 1")


def test_mutated_streams_never_break_the_reader():
    rng = __import__("random").Random(0)
    whole = stream(GOOD.append_column("sales", pa.array([None, 2.0] * 4 + [None])))
    outcomes = set()
    for _ in range(1500):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(content))
            content[at : at + 4] = struct.pack("<i", rng.choice([-1, 0, 1, 2**31 - 1, 255, rng.randrange(2**31)]))
        try:
            outcomes.add(arrow.read(bytes(content), Limits(bulk_rows=1000)).num_rows)
        except Problem as problem:
            outcomes.add(problem.kind)
    assert {9, "unreadable"} <= outcomes


# Names.


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc%2fpasswd", "%2e%2e", "stores.upstairs", "..", "stores%00", "%2Fetc%2Fpasswd", "stores/../stores", "STORES"],
)
def test_names_of_models_lead_nowhere_else(web, name):
    status = {"stores/../stores": (404, 200)}.get(name, (404,))
    for path in (f"/v1/models/{name}", f"/v1/models/{name}/predict", f"/v2/models/{name}"):
        method = "POST" if path.endswith("predict") else "GET"
        with socket.create_connection((web.base_url.host, web.base_url.port)) as raw:  # a client library would tidy the path up
            token = bearer("admin")["Authorization"]
            raw.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n".encode())
            assert int(raw.makefile("rb").readline().split()[1]) in status


def test_only_files_with_plain_names_are_models(models, tmp_path):
    for name in ("-rf.upstairs", "a b.upstairs", "stores.txt", "b.upstairs"):
        (tmp_path / name).write_bytes((models / "stores.upstairs").read_bytes())
    with inside(tmp_path, database=f"sqlite:///{tmp_path}/t.db") as web:
        assert [model["name"] for model in web.get("/v1/models").json()["models"]] == ["b"]


@pytest.mark.parametrize("name", ["x" * 201, "a%00b", "a%0Ab", "%ed%a0%80"])
def test_names_of_tasks(web, name):
    refused(web.get(f"/v1/models/stores/tasks/{name}"), 422 if name != "%ed%a0%80" else 404, "")


def test_keys_of_appends(web):
    for key in (b"", b"x" * 201, b"a b", b"\xff"):
        headers = {b"Idempotency-Key": key}
        refused(
            web.post("/v1/models/stores/tasks/k/rows", json={"rows": [{**ROW, "sales": 1}]}, headers=headers),
            422,
            "Idempotency-Key",
        )


def test_addresses_and_methods_that_are_not_there(web):
    refused(web.get("/v1/nothing"), 404, "/openapi.json")
    refused(web.post("/openapi.json"), 405, "POST isn't known here")
    answer = web.put("/v1/models/stores/tasks/t")
    refused(answer, 405, "GET, DELETE is")
    assert answer.headers["Allow"] == "GET, DELETE"
    assert web.head("/v1/models").status_code == 200
