"""How much at once: places for requests, of all clients and of each one."""

from collections import Counter

from upstairs.serve.problems import Problem
from upstairs.serve.settings import Limits

__all__ = ["Places"]


class Places:
    """The places of one worker; a request takes one before its body is read and gives it back when nothing computes for it."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    def take(self, client: str) -> None:
        """Take a place, or raise the Problem that there is none."""
        if self._taken[client] >= self._limits.at_once_per_client:
            raise Problem(
                "too-many",
                f"{client} has {self._taken[client]} requests under way, as many as a client may; wait for an answer.",
                {"Retry-After": "1"},
            )
        if self.taken >= self._limits.at_once:
            raise Problem(
                "busy", f"{self.taken} requests are under way, which is all there is room for; try again.", {"Retry-After": "1"}
            )
        self._taken[client] += 1

    def give_back(self, client: str) -> None:
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]
