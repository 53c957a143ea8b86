"""upstairs serve: models behind an HTTP API. What it answers is in docs/serve.md."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from upstairs.cli import options
from upstairs.cli.screen import bold, print_json, say
from upstairs.errors import UpstairsError

__all__ = ["EXAMPLES", "command"]

EXAMPLES = """Example: upstairs serve stores.upstairs

Example: upstairs serve models/ --host 0.0.0.0 --tokens tokens.txt --workers 4 --database postgresql://upstairs@db/tasks"""

NEEDED = ("alembic", "httptools", "msgspec", "prometheus_client", "sqlalchemy", "starlette", "uvicorn")


def serve(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL...", help="Model files, and folders of them (*.upstairs).", show_default=False),
    ],
    host: Annotated[str, typer.Option("--host", help="Address to listen at; 127.0.0.1 is this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", min=1, max=256, help="Processes; one for each core is right.")] = 1,
    database: Annotated[
        str, typer.Option("--database", metavar="URL", help="Where tasks are remembered: sqlite:///FILE or postgresql://...")
    ] = "sqlite:///tasks.db",
    tokens: Annotated[
        Path | None,
        typer.Option(
            "--tokens",
            metavar="FILE",
            help="A token a line: name, scope (read, write, admin), token. Without it those in UPSTAIRS_TOKENS, if any.",
            show_default=False,
        ),
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--no-tokens", help="Listen to other machines although there are no tokens.")
    ] = False,
    body_megabytes: Annotated[int, typer.Option("--body-megabytes", min=1, help="Largest JSON body.")] = 8,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Longest that a request may compute.")] = 30.0,
    cache_megabytes: Annotated[
        int, typer.Option("--cache-megabytes", min=0, help="Memory for adapted models of remembered tasks, of each worker.")
    ] = 256,
    json: options.Json = False,
) -> None:
    """Serve models over HTTP: predictions from the rows in a request, or from the rows of tasks that are remembered.

    Model files that change are loaded again without a request noticing. Listens to this machine alone unless told otherwise.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UpstairsError(f"upstairs serve needs {missing[0]}: pip install 'upstairs[serve]'.")
    from upstairs.serve import server  # brings what --help needn't wait for
    from upstairs.serve.settings import Limits, Settings

    limits = Limits(body_bytes=body_megabytes * 2**20, seconds=seconds, cache_bytes=cache_megabytes * 2**20)
    settings = Settings(
        models=tuple(map(str, models)), database=database, tokens=None if tokens is None else str(tokens), limits=limits
    )
    server.check(settings, host, open_to_all)
    bound = server.listen(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
    if json:
        print_json({"url": url, "workers": workers, "database": database.partition("://")[0]})
    else:
        say(f"Serving at {bold(url)}, with a page to try it; what can be asked is in {bold(url + '/openapi.json')}.")
    server.run(settings, bound, workers)


command = serve
