"""What a server was told: which models, where tasks are kept, who may ask, and how much.

The command line makes one `Settings`, and every worker gets it through the environment, since workers are processes of their
own. Limits protect the server from a client's mistakes; each has a sentence in docs/serve.md.
"""

import os

import msgspec

__all__ = ["VARIABLE", "Limits", "Settings"]

VARIABLE = "UPSTAIRS_SERVE"
"""The environment variable that carries the settings from the command line to its workers."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one request, one client and one task may ask of a worker.

    Attributes
    ----------
    body_bytes, bulk_bytes : int
        Of a JSON body, and of an Arrow stream, also once unpacked.
    rows, bulk_rows, columns : int
        Of one request, in JSON and in an Arrow stream.
    rows_per_task : int
        That are remembered of one task.
    seconds : float
        That a request may compute.
    header_seconds, body_seconds : float
        That a client may take to send its headers, and its body.
    at_once, at_once_per_client : int
        Requests in a worker that compute or wait to, of all clients and of one.
    threads : int
        That compute in a worker, beside the one that answers predictions together.
    cache_bytes : int
        Memory of adapted models that a worker keeps.
    """

    body_bytes: int = 8 * 2**20
    bulk_bytes: int = 256 * 2**20
    rows: int = 10_000
    bulk_rows: int = 1_000_000
    columns: int = 1_000
    rows_per_task: int = 10_000
    seconds: float = 30.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    at_once: int = 64
    at_once_per_client: int = 32
    cache_bytes: int = 256 * 2**20
    threads: int = 4


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One server's settings.

    Attributes
    ----------
    models : tuple of str
        Model files, and folders of them.
    database : str
        A URL that SQLAlchemy understands, of SQLite or PostgreSQL.
    tokens : str or None
        File of tokens; without it the environment's, and without those everybody may do everything.
    reload_seconds : float
        Between two looks at the model files.
    shared : str or None
        Folder for what workers hold in memory together.
    limits : Limits
    """

    models: tuple[str, ...]
    database: str
    tokens: str | None = None
    reload_seconds: float = 1.0
    shared: str | None = None
    limits: Limits = Limits()

    def to_environment(self) -> None:
        """Leave the settings where workers find them."""
        os.environ[VARIABLE] = msgspec.json.encode(self).decode()

    @classmethod
    def from_environment(cls) -> "Settings":
        """The way back, in a worker."""
        return msgspec.json.decode(os.environ[VARIABLE], type=cls)
