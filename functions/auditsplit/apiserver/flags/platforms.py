"""What a body may weigh on its way to the function, by where the function runs.

A body over the limit is refused before any of our code runs, five times, and then the apiserver drops the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

MIB = 1024 * 1024
OURS = 32 * MIB
"""``AUDIT_MAX_BODY_BYTES`` where it is not set."""


class Platform(NamedTuple):
    """A limit of ``max_bytes`` for a request of which ``envelope`` are not the body, and the limit's source.

    ``escapes``: a request's body travels as a string in a JSON document.
    """

    title: str
    max_bytes: int
    source: str
    envelope: int = 0
    escapes: bool = False

    @property
    def growth(self) -> int:
        r"""Return the most that a byte of JSON text may become: escaped, ``"`` and ``\`` are two."""
        return 2 if self.escapes else 1

    def list_bytes(self, max_body: int) -> int:
        """Return the bytes that an EventList may have, where the function itself takes ``max_body``.

        Real lists grow by 4 to 14 % when they are escaped (the recorded ones in ``tests/data``), so 5.2 MB would mostly
        do on Lambda. But a user whose requests are full of quotes must not be able to make a batch too big, and thereby
        to have everyone's events in it dropped. So the bound is the worst case, not the usual one.
        """
        return min(max_body, (self.max_bytes - self.envelope) // self.growth)


PLATFORMS: Mapping[str, Platform] = {
    "lambda": Platform(
        "AWS Lambda",
        6 * MIB,
        "a synchronous invocation takes 6 MB: the event document, with the body as a string in it",
        envelope=64 * 1024,  # headers and request context
        escapes=True,
    ),
    "cloud-run": Platform("Cloud Run", 32 * MIB, "a request takes 32 MiB over HTTP/1"),
    "ingress-nginx": Platform("ingress-nginx before the function", MIB, "proxy-body-size is 1m unless it is raised"),
    "local": Platform("a server of your own", OURS, "functions-framework has no limit, AUDIT_MAX_BODY_BYTES is one"),
}
