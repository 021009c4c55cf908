"""The memory store: keeps everything in the process; for tests and for trying a template."""

from __future__ import annotations

from auditsplit.errors import SinkError
from auditsplit.event import Batch
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import lines
from auditsplit.sinks.options import Target
from auditsplit.telemetry import observation


def from_target(target: Target) -> MemorySink:
    """Return the store for a ``memory:`` URL."""
    return MemorySink(target.key("kube-audit-{user}/audit"), target.line_format())


class MemorySink:
    """Holds the lines by key in ``objects``; set ``failure`` to have every call refused with it."""

    def __init__(self, template: KeyTemplate, line_format: str = "log") -> None:
        """Start empty."""
        self.name = "memory:"
        self.objects: dict[str, bytes] = {}
        self.rejected: dict[str, bytes] = {}
        self.failure: SinkError | None = None
        self._template, self._format = template, line_format
        self._stored: set[str] = set()

    def write(self, batch: Batch) -> bool:
        """See `Sink.write`."""
        self.check()
        if batch.id in self._stored:
            return False
        for key, events in self._template.group(batch.events, batch.origin).items():
            text = lines.render(events, self._format)
            self.objects[key] = self.objects.get(key, b"") + text
            observation.wrote(self.name, len(text))
        self._stored.add(batch.id)
        return True

    def reject(self, cluster: str, digest: str, body: bytes) -> str:
        """See `Sink.reject`."""
        self.check()
        place = f"_rejected/{cluster}/{digest}"
        self.rejected[place] = body
        return place

    def recover(self) -> None:
        """See `Sink.recover`; nothing is ever left."""

    def check(self) -> None:
        """See `Sink.check`."""
        if self.failure:
            raise self.failure
