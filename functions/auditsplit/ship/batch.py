"""A batch: some lines of one file, as they are delivered."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from auditsplit.decode import wrappers
from auditsplit.decode.wrappers import Line
from auditsplit.ship.checkpoint import Sending

_EVENT = b'{"kind":"Event"'


class Batch(NamedTuple):
    """Lines to deliver. The same file and offsets give the same ``body``."""

    sending: Sending
    path: Path
    body: bytes
    """The lines without wrappers. Empty if none of them is of the audit log."""
    other_lines: int = 0
    """Lines of other logs, such as kube-apiserver's own messages in a container's log."""
    full: bool = True
    """Whether it has so many bytes that it need not wait for more lines."""
    too_long: bool = False
    """Whether it is a single line that is longer than a body may be. ``body`` is its beginning then."""


def batch_of(sending: Sending, path: Path, data: bytes, *, full: bool = True) -> Batch:
    """Return the batch of the lines ``data``."""
    if data.startswith(_EVENT):
        return Batch(sending, path, data, full=full)
    skipped: list[int] = []
    texts: list[bytes] = []
    for line in wrappers.unwrap((Line(0, text) for text in io.BytesIO(data)), skipped.append):
        if wrappers.is_wrapped(line.text):
            skipped.append(1)
        elif line.text.strip():
            texts.append(line.text)
    return Batch(sending, path, b"".join(texts), sum(skipped), full)
