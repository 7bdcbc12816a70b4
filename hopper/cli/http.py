"""The transport over HTTP: urllib3 with its retries, bearer token, idempotency keys (R20)."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import urlsplit

import urllib3

from hopper import __version__, tracing
from hopper.cli.transport import NOT_HOPPER, PREFIX, CliError, Params, Reply, Unreachable, query

METHODS = frozenset({"GET", "HEAD", "PUT", "PATCH", "DELETE", "POST"})
ONE_TRY = urllib3.Retry(total=0, redirect=False)


class HttpTransport:
    """Calls a server; a POST carries a key, so that repeating it is safe.

    The caller is known by a token, or else by the token of a `lease`: for reports on its own task.
    """

    def __init__(
        self, server: str, token: str | None = None, *, lease: str | None = None, retries: int = 3
    ) -> None:
        if not _is_address(server):
            raise CliError(
                f"'{server}' is not the address of a server.",
                hint="Use an address such as http://127.0.0.1:8000.",
            )
        self.server = server.rstrip("/").removesuffix(PREFIX)
        self._headers = {"Accept": "application/json", "User-Agent": f"hopper/{__version__}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        elif lease:
            self._headers["Authorization"] = f"Lease {lease}"
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=60),
            retries=urllib3.Retry(
                total=retries,
                redirect=False,
                allowed_methods=METHODS,
                status_forcelist=(429, 502, 503, 504),
                backoff_factor=0.2,
                raise_on_status=False,
            ),
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        key: str | None = None,
        seconds: float | None = None,
        tag: str = "",
    ) -> Reply:
        """Return the answer. Raises Unreachable if all retries fail."""
        headers = {**self._headers, **tracing.outgoing()}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if method == "POST" and key != "":
            headers["Idempotency-Key"] = key or uuid.uuid4().hex
        if tag:
            headers["If-Match"] = tag
        once: dict[str, Any] = {} if seconds is None else {"timeout": seconds, "retries": ONE_TRY}
        url = f"{self.server}{PREFIX}{path}{query(params)}"
        try:
            response = self._pool.request(
                method, url, body=payload, headers=headers, redirect=False, **once
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(
                f"No answer from {self.server}: {reason(error)}.",
                hint="Is the server running there (`hopper serve`)? Without a server: --local.",
            ) from error
        data = decoded(response.data, response.status, self.server)
        return Reply(response.status, data, response.headers.get("ETag", ""))


def reason(error: Exception) -> str:
    """Return the cause of a failed connection, without the wrapping of the library."""
    inner = getattr(error, "reason", None) or error
    text = str(inner)
    return text.split(": ", 1)[-1] if "object at 0x" in text else text


def decoded(data: bytes, status: int, server: str) -> Any:
    """Return the JSON of an answer. A success without JSON did not come from Hopper."""
    if not data:
        return None
    try:
        return json.loads(data)
    except ValueError:
        if status >= 400:
            return {"detail": f"The server answered {status} without saying why."}
        raise Unreachable(
            f"{server} answers, but not as Hopper does.",
            hint=NOT_HOPPER,
        ) from None


def _is_address(server: str) -> bool:
    """Return whether the text is the address of a web server."""
    try:
        parts = urlsplit(server)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an unfinished IPv6 address, or a port above 65535
        return False
