"""The memory sink: keeps all events in the process, for tests and for trying a template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from auditsplit.deadline import Deadline
from auditsplit.errors import SinkError
from auditsplit.event import Batch
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import Sink, Written, lines, options
from auditsplit.sinks.options import Target

DEFAULT_KEY = "kube-audit-{user}/audit"


class Options(options.Options, frozen=True, kw_only=True):
    """The options of a ``memory:`` URL."""

    key: Annotated[KeyTemplate, options.KEY_HELP] = KeyTemplate(DEFAULT_KEY)
    format: Annotated[lines.Format, options.FORMAT_HELP] = "log"


def mistakes(_: Target[Options]) -> Iterable[str]:
    """Return nothing: the URL has no other parts."""
    return ()


def build(target: Target[Options], _: Mapping[str, str]) -> Sink:
    """Return the sink for a ``memory:`` URL."""
    return MemorySink(target.options.key, target.options.format)


class MemorySink:
    """Holds the lines by key in ``objects``. Set ``failure``, and every call raises it."""

    required = True

    def __init__(self, template: KeyTemplate, line_format: lines.Format = "log") -> None:
        """Start empty."""
        self.name = "memory:"
        self.objects: dict[str, bytes] = {}
        self.rejected: dict[str, bytes] = {}
        self.failure: SinkError | None = None
        self._template, self._format = template, line_format
        self._stored: set[str] = set()

    def write(self, batch: Batch, deadline: Deadline) -> Written:
        """See `Sink.write`."""
        self.check(deadline)
        if batch.id in self._stored:
            return Written(new=False, size_bytes=0)
        size_bytes = 0
        for key, events in self._template.group(batch.events, batch.origin).items():
            text = lines.render(events, self._format)
            self.objects[key] = self.objects.get(key, b"") + text
            size_bytes += len(text)
        self._stored.add(batch.id)
        return Written(new=True, size_bytes=size_bytes)

    def remembers(self, batch_id: str, deadline: Deadline) -> bool:
        """See `auditsplit.sinks.Remembers`."""
        self.check(deadline)
        return batch_id in self._stored

    def reject(self, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
        """See `Sink.reject`."""
        self.check(deadline)
        place = f"_rejected/{cluster}/{digest}"
        self.rejected[place] = body
        return place

    def recover(self) -> None:
        """See `Sink.recover`; this sink leaves nothing unfinished."""

    def check(self, _: Deadline) -> None:
        """See `Sink.check`."""
        if self.failure:
            raise self.failure
