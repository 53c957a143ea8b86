"""What is remembered of tasks: their labelled rows as they came, in SQLite or PostgreSQL.

    tasks    one row for each task of each model; its id never comes again, so that a task forgotten and begun anew is another
    appends  the rows of a task in the order of their requests, each with its idempotency key

An append is one transaction: what was acknowledged is committed, and synced where SQLite keeps it. Rows are kept as the client
sent them, not as a model sees them, so that a new version of the model adapts to all of them. Any number of workers and
servers may share a database.
"""

import contextlib
import datetime
import hashlib
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from upstairs.errors import UpstairsError
from upstairs.serve.logs import log
from upstairs.serve.problems import Problem

__all__ = ["Appended", "Memory", "Task", "metadata"]

BUSY_SECONDS = 10
"""How long a writer of SQLite waits for another."""

metadata = sa.MetaData()
_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_time = sa.DateTime(timezone=True)
_tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", _id, primary_key=True),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("task", sa.String(200), nullable=False),
    sa.Column("n_appends", sa.Integer, nullable=False, server_default="0"),
    sa.Column("n_rows", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created", _time, nullable=False),
    sa.Column("changed", _time, nullable=False),
    sa.UniqueConstraint("model", "task", name="one_task_of_a_name"),
    sqlite_autoincrement=True,  # or SQLite would give a forgotten task's id to the next
)
_appends = sa.Table(
    "appends",
    metadata,
    sa.Column("task_id", _id, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.String(200)),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("n_rows", sa.Integer, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("task_id", "key", name="one_append_of_a_key"),
)


class Task(NamedTuple):
    """A remembered task.

    Attributes
    ----------
    id : int
    n_appends, n_rows : int
    created, changed : datetime
    """

    id: int
    n_appends: int
    n_rows: int
    created: datetime.datetime
    changed: datetime.datetime


class Appended(NamedTuple):
    """Rows of the task now, and whether the append had been applied before."""

    n_rows: int
    replayed: bool


class Memory:
    """The tasks' database.

    Parameters
    ----------
    url : str
        ``sqlite:///tasks.db`` or ``postgresql://user@host/database``.
    rows_per_task : int
        The most that are remembered of one task.
    """

    def __init__(self, url: str, rows_per_task: int = 10_000):
        self._engine, self._rows_per_task = open_engine(url), rows_per_task

    def append(self, model: str, task: str, key: str | None, content: bytes, n_rows: int) -> Appended:
        """Commit rows of a task, unless the key says that they are committed already."""
        digest, now = hashlib.sha256(content).digest(), datetime.datetime.now(datetime.UTC)
        with self._write() as connection:
            insert = _insert(connection)(_tasks).values(model=model, task=task, created=now, changed=now)
            insert = insert.on_conflict_do_update(index_elements=["model", "task"], set_={"task": task})  # which locks it
            found = connection.execute(insert.returning(_tasks.c.id, _tasks.c.n_appends, _tasks.c.n_rows)).one()
            if key is not None:
                earlier = connection.execute(_by_key, {"task_id": found.id, "key": key}).one_or_none()
                if earlier is not None:
                    return Appended(found.n_rows, _is_same(earlier.digest, digest, key))
            total = found.n_rows + n_rows
            if total > self._rows_per_task:
                raise Problem(
                    "unusable",
                    f"The task has {found.n_rows:,} rows, and {n_rows:,} more are beyond the {self._rows_per_task:,} that are "
                    "remembered of one; forget it, or begin another.",
                )
            position = found.n_appends + 1
            row = {
                "task_id": found.id,
                "position": position,
                "key": key,
                "digest": digest,
                "n_rows": n_rows,
                "content": content,
            }
            connection.execute(sa.insert(_appends), row)
            connection.execute(_grow, {"at": found.id, "appends": position, "rows": total, "now": now})
        return Appended(total, False)

    def find(self, model: str, task: str) -> Task | None:
        """The task, if anything is remembered of it."""
        with self._read() as connection:
            row = connection.execute(_one_task, {"model": model, "task": task}).one_or_none()
        return None if row is None else Task(*row)

    def read(self, task: Task, after: int = 0) -> list[bytes]:
        """The contents of a task's appends from the one after ``after`` on, up to those that ``task`` counts."""
        with self._read() as connection:
            rows = connection.execute(_contents, {"task_id": task.id, "after": after, "last": task.n_appends})
            return [content for (content,) in rows]

    def forget(self, model: str, task: str) -> bool:
        """Delete a task and all of its rows; whether there was one."""
        with self._write() as connection:
            return connection.execute(_forget, {"model": model, "task": task}).rowcount > 0

    def check(self) -> None:
        """Raise the Problem that the database can't be reached, if it can't."""
        with self._read() as connection:
            connection.execute(sa.select(_tasks.c.id).limit(1))

    def close(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def _read(self) -> Iterator[Connection]:
        with _reachable("It was only asked; ask again."), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _write(self) -> Iterator[Connection]:
        told = "Whether the change was made isn't known; send it again with the same Idempotency-Key."
        with _reachable(told), self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection


def open_engine(url: str) -> Engine:
    """An engine, or an UpstairsError where the URL is none that can be used."""
    try:
        parsed = sa.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise UpstairsError(f"Tasks are kept in SQLite or PostgreSQL, and {parsed.render_as_string()!r} is neither.")
        if parsed.get_backend_name() == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise UpstairsError("The URL of the tasks' database names no file. Write sqlite:///tasks.db, for example.")
            engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_SECONDS})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        return sa.create_engine(parsed, pool_pre_ping=True, connect_args={"connect_timeout": BUSY_SECONDS})
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        raise UpstairsError(f"The database {url.partition('://')[0]!r} can't be used: {error}.") from None


def migrate(url: str) -> None:
    """Bring the database's tables up to date, before any worker uses them; it is safe to do at once from several servers."""
    from alembic import command
    from alembic.config import Config

    engine = open_engine(url)
    config = Config()
    config.set_main_option("script_location", "upstairs:serve/migrations")
    config.set_main_option("path_separator", "os")
    try:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(0x75707374)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise UpstairsError(f"The tasks' database can't be opened: {error.orig}.") from None
    finally:
        engine.dispose()


_named = (_tasks.c.model == sa.bindparam("model")) & (_tasks.c.task == sa.bindparam("task"))
_one_task = sa.select(_tasks.c.id, _tasks.c.n_appends, _tasks.c.n_rows, _tasks.c.created, _tasks.c.changed).where(_named)
_forget = sa.delete(_tasks).where(_named)
_by_key = sa.select(_appends.c.digest).where(
    _appends.c.task_id == sa.bindparam("task_id"), _appends.c.key == sa.bindparam("key")
)
_contents = (
    sa.select(_appends.c.content)
    .where(
        _appends.c.task_id == sa.bindparam("task_id"),
        _appends.c.position > sa.bindparam("after"),
        _appends.c.position <= sa.bindparam("last"),
    )
    .order_by(_appends.c.position)
)
_grow = (
    sa.update(_tasks)
    .where(_tasks.c.id == sa.bindparam("at"))
    .values(n_appends=sa.bindparam("appends"), n_rows=sa.bindparam("rows"), changed=sa.bindparam("now"))
)


@contextlib.contextmanager
def _reachable(told: str) -> Iterator[None]:
    """A database that is gone, full or read-only is a Problem of the moment, and the log says why."""
    try:
        yield
    except OperationalError as error:
        log("database failed", "error", reason=str(error.orig))
        raise Problem("no-database", f"The tasks' database can't be used now. {told}", {"Retry-After": "2"}) from None


def _insert(connection: Connection) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert


def _is_same(earlier: bytes, digest: bytes, key: str) -> bool:
    if earlier != digest:
        raise Problem("key-reused", f"The Idempotency-Key {key!r} came before with other rows. Give new rows a new key.")
    return True


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # or the driver would begin transactions when it thinks best
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """A writer waits for others when it begins; were it to wait later, two that have read could only fail."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
