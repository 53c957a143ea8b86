"""Connections that dawdle: whoever doesn't send the headers of a request in time is hung up on.

uvicorn ends connections that are idle between requests, but waits without end for a first request, and for headers that
trickle in. Such a connection costs little, yet thousands of them cost all there is.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from upstairs.serve.settings import Settings

__all__ = ["Http"]


class Http(HttpToolsProtocol):
    """uvicorn's own protocol, with a time by which headers must be complete."""

    _hang_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        if self._hang_up is None and (self.cycle is None or self.cycle.response_complete):
            self._wait_for_headers()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_headers(self) -> None:
        self._hang_up = self.loop.call_later(Settings.from_environment().limits.header_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._hang_up is not None:
            self._hang_up.cancel()
            self._hang_up = None
