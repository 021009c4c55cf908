"""The largest body that reaches the function, by the platform that it runs on.

The platform refuses a larger body before any of our code runs. After five tries the apiserver drops the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

MIB = 1024 * 1024
DEFAULT_MAX_BODY_BYTES = 32 * MIB
"""The default of ``AUDIT_MAX_BODY_BYTES``."""


class Platform(NamedTuple):
    """A platform's limit for a request.

    ``max_bytes`` is the limit, and ``source`` says where it comes from. ``envelope`` are the bytes of it that are not
    the body. ``escapes`` is whether the body travels as a string in a JSON document.
    """

    title: str
    max_bytes: int
    source: str
    envelope: int = 0
    escapes: bool = False

    @property
    def growth(self) -> int:
        r"""Return the most bytes that a byte of JSON text may become. Escaped, ``"`` and ``\`` take two bytes."""
        return 2 if self.escapes else 1

    def list_bytes(self, max_body: int) -> int:
        """Return the bytes that an EventList may have if the function itself accepts bodies of ``max_body`` bytes.

        Real lists grow by 4 to 14 % when they are escaped (the recorded ones in ``tests/data``), so on Lambda 5.2 MB
        would usually fit. But a user whose requests are full of quotes must not be able to make a batch too large, and
        so have everybody's events in it dropped. So the bound is the worst case, not the usual case.
        """
        return min(max_body, (self.max_bytes - self.envelope) // self.growth)


PLATFORMS: Mapping[str, Platform] = {
    "lambda": Platform(
        "AWS Lambda",
        6 * MIB,
        "a synchronous invocation accepts 6 MB, for the event document with the body as a string in it",
        envelope=64 * 1024,  # headers and request context
        escapes=True,
    ),
    "cloud-run": Platform("Cloud Run", 32 * MIB, "a request over HTTP/1 may have 32 MiB"),
    "ingress-nginx": Platform("ingress-nginx before the function", MIB, "proxy-body-size is 1m by default"),
    "local": Platform(
        "a server of your own",
        DEFAULT_MAX_BODY_BYTES,
        "functions-framework has no limit, so AUDIT_MAX_BODY_BYTES applies",
    ),
}
