"""The refusals of the Metrics API. Each becomes a ``Status`` object, as metrics-server answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from auditsplit.errors import AuditsplitError


class Refusal(AuditsplitError):
    """The request is not answered with metrics.

    ``details`` is the ``Status`` member of that name. None leaves it out.
    """

    status: ClassVar[int] = 400
    reason: ClassVar[str] = "BadRequest"

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        """Keep the message for the client, and the details."""
        super().__init__(message)
        self.details = details

    def document(self) -> dict[str, Any]:
        """Return the ``Status`` object."""
        document: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        document |= {"message": str(self), "reason": self.reason}
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

    status, reason = 404, "NotFound"


class MethodNotAllowed(Refusal):
    """The resource does not support the verb."""

    status, reason = 405, "MethodNotAllowed"


class NotAcceptable(Refusal):
    """No representation that the request accepts is available."""

    status, reason = 406, "NotAcceptable"


class Unavailable(Refusal):
    """kube-apiserver did not answer, so nothing can be told. The message is for the log."""

    status, reason = 503, "ServiceUnavailable"


class Fault(Refusal):
    """A fault in this function."""

    status, reason = 500, "InternalError"
