"""Who may do what: bearer tokens with a scope, from a file or the environment.

One token a line: a name for logs, a scope and the token, with spaces between; ``#`` begins a comment.

    shop     read   4f2c...    predict, list models, read tasks
    till     write  9a31...    append rows, forget tasks, and all that read may
    ops      admin  c07d...    metrics, and all that write may

Only their SHA-256 stays in memory, and a comparison takes as long whatever it finds.
"""

import hashlib
import hmac
import os
from typing import NamedTuple

from upstairs.errors import UpstairsError

__all__ = ["SCOPES", "VARIABLE", "Client", "Tokens"]

SCOPES = ("read", "write", "admin")
"""Each includes those before it."""

VARIABLE = "UPSTAIRS_TOKENS"
SHORTEST = 16


class Client(NamedTuple):
    """Who asks: a name for logs and limits, and a scope."""

    name: str
    scope: str

    def may(self, scope: str) -> bool:
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


class Tokens:
    """The tokens of a server; without any, everybody is an admin.

    Parameters
    ----------
    text : str or None
        Lines of name, scope and token.
    source : str
        Where the text is from, for messages.
    """

    def __init__(self, text: str | None, source: str = "the tokens"):
        self._digests: list[tuple[bytes, Client]] = []
        for number, line in enumerate((text or "").splitlines(), start=1):
            words = line.partition("#")[0].split()
            if words:
                self._digests.append(_read(words, f"Line {number} of {source}"))
        if text is not None and not self._digests:
            raise UpstairsError(f"{source} holds no token. Write one a line: a name, a scope ({', '.join(SCOPES)}), the token.")

    @classmethod
    def find(cls, path: str | None) -> "Tokens":
        """From a file, else from the environment variable UPSTAIRS_TOKENS, else none."""
        if path is None:
            return cls(os.environ.get(VARIABLE), f"the environment's {VARIABLE}")
        try:
            with open(path, encoding="utf-8") as file:
                return cls(file.read(), path)
        except (OSError, UnicodeDecodeError) as error:
            raise UpstairsError(f"The tokens in {path} can't be read: {error}.") from None

    def __bool__(self) -> bool:
        return bool(self._digests)

    def client_of(self, authorization: bytes | None, address: str) -> Client | None:
        """Who sent this Authorization header, or None for a missing or wrong token; ``address`` names clients without one."""
        if not self._digests:
            return Client(address, "admin")
        scheme, _, token = (authorization or b"").partition(b" ")
        digest = hashlib.sha256(token.strip()).digest()
        found = None
        for known, client in self._digests:  # all of them, so that time doesn't tell which
            if hmac.compare_digest(known, digest):
                found = client
        return found if scheme.lower() == b"bearer" else None


def _read(words: list[str], where: str) -> tuple[bytes, Client]:
    if len(words) != 3 or words[1] not in SCOPES:
        raise UpstairsError(f"{where} must be a name, a scope ({', '.join(SCOPES)}) and a token, with spaces between them.")
    name, scope, token = words
    if len(token) < SHORTEST:
        raise UpstairsError(
            f"{where}: the token of {name!r} is shorter than {SHORTEST} characters. Draw a longer one at random."
        )
    return hashlib.sha256(token.encode()).digest(), Client(name, scope)
