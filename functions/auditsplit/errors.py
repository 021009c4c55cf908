"""What can go wrong, sorted by who must act.

::

    AuditsplitError
    ├── SettingsError          the deployer, at start: all mistakes at once
    ├── SenderError            the sender: answered with ``status`` (4xx)
    │   ├── Undecodable        400, the body is kept below ``_rejected/``
    │   ├── BrokenOff          400, the connection ended within the body
    │   ├── Unauthenticated    401
    │   ├── Forbidden          403
    │   ├── NotFound           404
    │   ├── MethodNotAllowed   405
    │   ├── BodyTooLarge       413
    │   └── UnsupportedBody    415
    ├── SinkError             the store or its operator: 503, the sender tries again
    └── Busy                   nobody: 503, the sender tries again

Only stores catch the errors of their drivers, only ``http`` turns these into statuses. No message holds a token or
an event's body.
"""

from __future__ import annotations

from typing import ClassVar


class AuditsplitError(Exception):
    """Anything that this package raises on purpose; ``code`` names its class in answers and logs, and never changes."""

    code: ClassVar[str] = "fault"


class SettingsError(AuditsplitError):
    """The settings can't be served; ``mistakes`` names every one, each with what to write instead."""

    code = "settings"

    def __init__(self, *mistakes: str) -> None:
        """Keep ``mistakes``, at least one."""
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class SenderError(AuditsplitError):
    """The request can't be taken as it is; ``status`` is the HTTP status and ``headers`` go with it."""

    code = "refused"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad Request"

    def __init__(self, detail: str, **headers: str) -> None:
        """Say in ``detail`` what was expected, what came and what to do; ``Retry_After="1"`` names a header."""
        super().__init__(detail)
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Undecodable(SenderError):
    """The body is not one of audit events; ``position`` is the byte at which that showed, where one did."""

    code = "undecodable"
    title = "Not audit events"

    def __init__(self, detail: str, position: int | None = None) -> None:
        """Keep the ``position``, counted from 0 in the decompressed body."""
        super().__init__(detail)
        self.position = position


class BrokenOff(SenderError):
    """The connection ended, or broke HTTP's rules, within the body."""

    code = "broken-off"
    title = "Broken body"


class Unauthenticated(SenderError):
    """No token, or one that is not configured."""

    code = "unauthenticated"
    status = 401
    title = "Unauthorized"


class Forbidden(SenderError):
    """A good token for another cluster, or no token configured and a sender that is not on this machine."""

    code = "forbidden"
    status = 403
    title = "Forbidden"


class NotFound(SenderError):
    """A path that means nothing here."""

    code = "not-found"
    status = 404
    title = "Not Found"


class MethodNotAllowed(SenderError):
    """A method that the path doesn't have; never a 2xx, since the apiserver takes one for a delivery."""

    code = "method-not-allowed"
    status = 405
    title = "Method Not Allowed"


class BodyTooLarge(SenderError):
    """More bytes than ``AUDIT_MAX_BODY_BYTES``, as sent or decompressed."""

    code = "body-too-large"
    status = 413
    title = "Content Too Large"


class UnsupportedBody(SenderError):
    """A Content-Type or Content-Encoding that is not taken."""

    code = "unsupported-body"
    status = 415
    title = "Unsupported Media Type"


class SinkError(AuditsplitError):
    """A store did not take a batch; none of it, or only what a retry with the same bytes will find done."""

    code = "store"
    deployers: bool = False
    """Whether it stays so until a deployer acts, where the store can tell."""


class Busy(AuditsplitError):
    """More requests than this process gets done in time; one was refused unread, and comes again."""

    code = "busy"
