"""The refusals of the Metrics API. Each becomes a ``Status`` object, as metrics-server answers it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from auditsplit.errors import AuditsplitError


class Refusal(AuditsplitError):
    """The request is not answered with metrics.

    ``details`` is the ``Status`` member of that name. None leaves it out. ``told`` is what the client reads, where the
    message is for the log alone. ``level`` is that of the log line.
    """

    status: ClassVar[int] = 400
    reason: ClassVar[str] = "BadRequest"
    told: ClassVar[str] = ""
    level: ClassVar[int] = logging.WARNING

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        """Keep the message and the details."""
        super().__init__(message)
        self.details = details

    def document(self) -> dict[str, Any]:
        """Return the ``Status`` object."""
        document: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        document |= {"message": self.told or str(self), "reason": self.reason}
        if self.details is not None:
            document["details"] = dict(self.details)
        return {**document, "code": self.status}


class BadSelector(Refusal):
    """A label or field selector is not valid."""


class Unauthorized(Refusal):
    """The credentials are not valid."""

    status, reason = 401, "Unauthorized"


class Forbidden(Refusal):
    """The user may not do this."""

    status, reason = 403, "Forbidden"


class NotFound(Refusal):
    """There is no such object, or no figures of it."""

    status, reason, level = 404, "NotFound", logging.DEBUG


class MethodNotAllowed(Refusal):
    """The resource does not support the verb."""

    status, reason, level = 405, "MethodNotAllowed", logging.DEBUG


class NotAcceptable(Refusal):
    """No representation that the request accepts is available."""

    status, reason = 406, "NotAcceptable"


class Busy(Refusal):
    """No thread has time for the request."""

    status, reason = 503, "ServiceUnavailable"


class Unavailable(Refusal):
    """kube-apiserver did not answer as it should, so nothing can be told."""

    status, reason, level = 503, "ServiceUnavailable", logging.ERROR
    told = "kube-apiserver did not answer as it should; the log of this function has the reason. Ask again"


class Fault(Refusal):
    """A fault in this function."""

    status, reason, level = 500, "InternalError", logging.ERROR
    told = "a fault in this function, described in its log"
