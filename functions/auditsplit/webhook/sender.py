"""Post to the server of a kubeconfig, with credentials that are read again, and on connections that are kept."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

from auditsplit.webhook.answers import Answer
from auditsplit.webhook.client import Client, Credentials, Endpoint
from auditsplit.webhook.failures import Unreachable
from auditsplit.webhook.kubeconfig import credentials
from auditsplit.webhook.kubeconfig.schema import Kubeconfig

RENEWED_S = 60.0
"""After which files and programs of credentials are read and run again, as kube-apiserver does with a token's file."""


class Sender:
    """Posts to the server of one kubeconfig. Any number of threads may use one at once."""

    def __init__(self, document: Kubeconfig, folder: Path, *, user_agent: str) -> None:
        """Touch nothing yet.

        Args:
            document: A kubeconfig without errors.
            folder: Where its relative paths start.
            user_agent: The ``User-Agent`` header.
        """
        self._document, self._folder, self._user_agent = document, folder, user_agent
        self._renewing = threading.Lock()
        self._renew_at = 0.0
        self._given: tuple[Endpoint, Credentials] | None = None
        self._client: Client | None = None

    def post(
        self,
        body: bytes,
        timeout_s: float,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """Post ``body`` and return the answer. A redirect is not followed. See `Client.post` for the arguments.

        Raises:
            Unreachable: No complete answer came in time, or the credentials cannot be read.
        """
        ends = time.monotonic() + timeout_s
        client = self._connected(timeout_s)
        answer = client.post(
            body, max(0.001, ends - time.monotonic()), content_type=content_type, headers=headers
        ).answer
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._renew_at = 0.0
        return answer

    def _connected(self, timeout_s: float) -> Client:
        """Return the client with the newest credentials."""
        with self._renewing:
            if self._client is None or time.monotonic() >= self._renew_at:
                try:
                    self._renew(timeout_s)
                except (ValueError, OSError, ssl.SSLError) as error:  # a file, the program, or PEM that is not valid
                    raise Unreachable(str(error)) from error
            assert self._client is not None  # noqa: S101 - for mypy
            return self._client

    def _renew(self, timeout_s: float) -> None:
        endpoint = credentials.endpoint_of(self._document.cluster, self._folder)
        given = endpoint, credentials.resolve(self._document.user, self._folder, timeout_s)
        if given != self._given:
            self._client = Client(*given, user_agent=self._user_agent)  # other threads may still use the one before
            self._given = given
        self._renew_at = time.monotonic() + RENEWED_S
