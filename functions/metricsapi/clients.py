"""Outgoing HTTP: one event loop in a thread of its own.

The loop's timeouts hold for a whole exchange: connection, TLS handshake, head and body. So a server that sends a byte
now and then keeps nothing waiting. The thread starts with the first request, after the server has forked its workers.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiohttp

from metricsapi.errors import Unavailable

T = TypeVar("T")
_TOKEN_S = 60.0


class Loop:
    """An event loop in a thread that starts with the first coroutine."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Return what ``work`` returns, from any thread. `Unavailable` after ``timeout_s`` seconds."""
        try:
            return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), self._started()).result()
        except TimeoutError as error:
            raise Unavailable(f"no answer within {timeout_s:.3g} s, of kube-apiserver above all") from error

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="metricsapi-clients", daemon=True).start()
            return self._loop


class Answer(NamedTuple):
    """The answer of a server."""

    status: int
    body: bytes


class TooLarge(Exception):
    """The body has more bytes than its reader allows."""


class Client:
    """Requests with a service account's token. All methods but the constructor run in a `Loop`."""

    def __init__(self, token_file: Path, ca_file: Path, *, verify: bool, connections: int, keep: bool) -> None:
        """Build the client.

        Args:
            token_file: the bearer token's file, which is read again every minute.
            ca_file: the authorities in PEM that sign the servers' certificates.
            verify: False accepts any certificate.
            connections: how many connections may be in use at a time.
            keep: whether connections stay open for the next request. Each open one takes some 400 kB.
        """
        self._token_file = token_file
        context = ssl.create_default_context(cafile=str(ca_file))
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        kept: dict[str, Any] = {"keepalive_timeout": 60} if keep else {"force_close": True}
        self._options = {"ssl": context, "limit": connections, "use_dns_cache": False, **kept}
        self._session: aiohttp.ClientSession | None = None
        self._token = ""
        self._read_at = float("-inf")

    async def send(
        self, url: str, timeout_s: float, max_bytes: int, *, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Return the answer to a GET, or to a POST of the JSON document ``body``.

        Raises:
            aiohttp.ClientError: No answer came, or half of it.
            TimeoutError: The answer was not complete within ``timeout_s`` seconds.
            TooLarge: The body has more than ``max_bytes`` bytes.
        """
        sent = {"Authorization": f"Bearer {self._bearer()}", "Accept": "application/json", **(headers or {})}
        if body:
            sent["Content-Type"] = "application/json"
        request = self._opened().request(
            "POST" if body else "GET", url, data=body or None, headers=sent, allow_redirects=False
        )
        async with asyncio.timeout(timeout_s), request as response:
            try:
                await response.content.readexactly(max_bytes + 1)
            except asyncio.IncompleteReadError as whole:
                return Answer(response.status, whole.partial)
            response.close()
            raise TooLarge

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(**self._options),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=["Accept-Encoding"],
                headers={"User-Agent": "auditsplit-metricsapi"},
            )
        return self._session

    def _bearer(self) -> str:
        now = time.monotonic()
        if now - self._read_at > _TOKEN_S:
            self._token, self._read_at = self._token_file.read_text().strip(), now
        return self._token
