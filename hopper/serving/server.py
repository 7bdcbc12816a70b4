"""The server of one process: uvicorn with Hopper's connections and its end of streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from hopper.serving.application import Application
from hopper.serving.connection import Connection

if TYPE_CHECKING:
    from socket import socket


DRAIN_SECONDS = 25
"""The time for open requests after SIGTERM, below the limit of the whole process."""


class Server(uvicorn.Server):
    """Ends streams and unfinished bodies at once when it stops, then waits for the answers."""

    def __init__(
        self, application: Application, proxies: str, at_start: Callable[[], None]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._application, self._at_start = application, at_start

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to accept, and warm up beside. Calls `at_start` in the event loop first."""
        self._at_start()
        await super().startup(sockets)
        self._application.begin()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Stop accepting, end what waits for clients, and let running requests finish."""
        self._application.stop()
        await super().shutdown(sockets)
