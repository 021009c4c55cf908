"""What can go wrong, sorted by who must act.

::

    AuditsplitError
    ├── SettingsError          the deployer, at start: all mistakes at once
    ├── SenderError            the sender: answered with ``status`` (4xx)
    │   ├── Undecodable        400, the body is written to ``_rejected/``
    │   ├── BrokenOff          400, the connection ended within the body
    │   ├── SenderLeft         400, the connection was closed before the answer
    │   ├── Unreadable         400 and others, the request is not valid HTTP
    │   ├── Unauthenticated    401
    │   ├── Forbidden          403
    │   ├── NotFound           404
    │   ├── MethodNotAllowed   405
    │   ├── BodyTooLarge       413
    │   └── UnsupportedBody    415
    ├── NotSubscribed          the deployer: an error of the invocation on Lambda
    ├── SinkError              the sink or its operator: 503, the sender retries
    └── Busy                   nobody: 503, the sender retries

Only sinks catch the errors of their drivers. Only ``serve.receiver`` turns these errors into statuses. No message holds
a token or an event's body.
"""

from __future__ import annotations

import re
from typing import ClassVar


class AuditsplitError(Exception):
    """The base of all errors that this package raises on purpose.

    ``code`` names the class in answers and logs, and stays the same over versions. ``meaning``, ``acts`` and ``advice``
    are for the table of codes in the docs: what happened, who must act and what to do.
    """

    code: ClassVar[str] = "fault"
    meaning: ClassVar[str] = "a fault in auditsplit"
    acts: ClassVar[str] = "the project"
    advice: ClassVar[str] = "the log line has the stack. Please report it"


class SettingsError(AuditsplitError):
    """The settings are not valid; ``mistakes`` has one sentence for each, with what to write instead."""

    code = "settings"
    meaning = "a setting is not valid, and the function does not start"
    acts = "the deployer"
    advice = "the message names every mistake and what to write instead"

    def __init__(self, *mistakes: str) -> None:
        """Join ``mistakes``, at least one, to the message."""
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class SenderError(AuditsplitError):
    """The request is refused; ``status`` is the HTTP status and ``headers`` go with it."""

    code = "refused"
    acts = "the sender"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad Request"

    def __init__(self, detail: str, **headers: str) -> None:
        """Build the error.

        Args:
            detail: what was expected, what came and what to do.
            headers: headers of the answer; ``Retry_After="1"`` stands for ``Retry-After: 1``.
        """
        super().__init__(detail)
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Undecodable(SenderError):
    """The body is malformed; ``position`` is the first byte that shows it, None where no single byte does."""

    code = "undecodable"
    meaning = "the whole body is malformed. It is in `_rejected/`"
    advice = "the message has the position of the first byte that shows it"
    title = "Not audit events"

    def __init__(self, detail: str, position: int | None = None) -> None:
        """Build the error; ``position`` counts from 0 in the decompressed body."""
        super().__init__(detail)
        self.position = position


class BrokenOff(SenderError):
    """The connection ended, or broke HTTP's rules, within the body."""

    code = "broken-off"
    meaning = "the connection ended within the body, or the body did not arrive within 10 s"
    advice = "check the limits and timeouts of proxies in between"
    title = "Broken body"


class SenderLeft(SenderError):
    """The sender closed the connection before the answer. No work is done for it any more."""

    code = "sender-left"
    meaning = "the sender closed the connection before the answer. Nothing was acknowledged, and kube-apiserver retries"
    advice = "see [how much it takes](operate.md#how-much-load-it-accepts), or check the timeouts of proxies in between"
    title = "The sender has left"


class Unreadable(SenderError):
    """The request is not valid HTTP. It never reaches the receiver."""

    code = "unreadable"
    meaning = "the request is not valid HTTP (414, 417, 431 or 501 where HTTP has a status for it)"
    advice = "the message has the kind of the fault, and nothing of the request. Check what else posts to this port"


class Unauthenticated(SenderError):
    """The request has no token, or a token that is not configured."""

    code = "unauthenticated"
    meaning = "no token, or a token that is not in `AUDIT_TOKENS`"
    advice = "`auditsplit kubeconfig check FILE --probe` shows which"
    status = 401
    title = "Unauthorized"


class Forbidden(SenderError):
    """The token is for another cluster, or no token is configured and the sender is not on this machine."""

    code = "forbidden"
    meaning = "another cluster's token, or no token is configured and the request may come from another machine"
    advice = "use the cluster's own token, or set `AUDIT_TOKENS`. The message has the reason"
    status = 403
    title = "Forbidden"


class NotFound(SenderError):
    """The path is not one of the routes."""

    code = "not-found"
    meaning = "a path other than `/` and `/clusters/<cluster>`"
    advice = "correct the URL in the kubeconfig"
    status = 404
    title = "Not Found"


class MethodNotAllowed(SenderError):
    """The route does not have this method. It never answers 2xx, which kube-apiserver counts as delivered."""

    code = "method-not-allowed"
    meaning = "a method other than POST"
    advice = "name the last URL itself if a redirect turns a POST into a GET"
    status = 405
    title = "Method Not Allowed"


class BodyTooLarge(SenderError):
    """The body has more bytes than ``AUDIT_MAX_BODY_BYTES``, as sent or decompressed."""

    code = "body-too-large"
    meaning = "more bytes than `AUDIT_MAX_BODY_BYTES`, as sent or decompressed"
    advice = "`auditsplit flags` prints flags that fit the platform's limit"
    status = 413
    title = "Content Too Large"


class UnsupportedBody(SenderError):
    """The Content-Type or Content-Encoding is not supported."""

    code = "unsupported-body"
    meaning = "another Content-Type or Content-Encoding"
    advice = "send `application/json` or `application/x-ndjson`, plain or as gzip"
    status = 415
    title = "Unsupported Media Type"


class NotSubscribed(AuditsplitError):
    """The events come from a log group that no setting names. The deployer must act."""

    code = "not-subscribed"
    meaning = "CloudWatch Logs sent events of a log group that `AUDIT_LOG_GROUPS` does not name"
    acts = "the deployer"
    advice = (
        "add the log group to `AUDIT_LOG_GROUPS`, or remove its subscription. Lambda keeps the event for the retries"
    )


class SinkError(AuditsplitError):
    """A sink did not store a batch: nothing of it, or only events that a retry with the same bytes finds stored."""

    code = "sink"
    meaning = "a sink did not store the batch. kube-apiserver retries"
    acts = "the sink's operator, or the deployer if the message says so"
    advice = "the message has the sink's own code"
    needs_deployer: bool = False
    """Whether the failure stays until a deployer acts, where the sink can tell."""
    size_bytes: int = 0
    """What the sink was given before it failed, in bytes."""


class Busy(AuditsplitError):
    """This process has more requests than it can answer in time; a request was refused unread, and can be retried."""

    code = "busy"
    meaning = "no thread was free in time. kube-apiserver retries"
    acts = "nobody, or the deployer if it continues"
    advice = "see [how much it takes](operate.md#how-much-load-it-accepts)"


def in_words(text: str) -> str:
    """Return msgspec's message about a value with the wrong type in the terms of YAML and JSON.

    Other messages are returned as they are.
    """
    text = re.sub(r" - at `\$\.?([^`]*)`", lambda place: f", at {place[1]}" if place[1] else "", text)
    text = re.sub(r"^Expected (?=`)", "expected ", text)
    return re.sub(r"(?<=expected )`(.*?)`|(?<=got )`(.*?)`", lambda kind: _names(kind[1] or kind[2]), text)


def _names(kinds: str) -> str:
    names = {"array": "a list", "object": "a mapping", "str": "text", "int": "a number", "float": "a number"}
    names |= {"bool": "true or false", "null": "nothing"}
    return " or ".join(names.get(kind, kind) for kind in kinds.split(" | "))
