"""The compaction as a scheduled function. A schedule sends a small JSON document, and the answer has the counts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from auditsplit.archive.compact import Outcome
from auditsplit.archive.compaction import COUNTS, Limits, compact_sink
from auditsplit.deadline import Deadline
from auditsplit.errors import AuditsplitError, Busy, SinkError, in_words
from auditsplit.serve.messages import RETRY_LATER, Request, Response, json_response, problem
from auditsplit.sinks.objects.options import ObjectOptions
from auditsplit.sinks.options import Target
from auditsplit.telemetry.logs import FIELDS

_log = logging.getLogger(__name__)

_MAX_ORDER_BYTES = 64 * 1024
_Positive = Annotated[float, msgspec.Meta(gt=0)]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class NotCompacted(AuditsplitError):
    """The run failed, or left hours as they are. The message has the reason. The next run does them again."""

    code = "not-compacted"


class Order(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What the schedule sends. Every member may be left out."""

    older_than_s: _Positive = 7200.0
    max_bytes: _Count = 64_000_000
    """It bounds memory: an hour takes up to three times its bytes, and ``at_once`` hours are joined together."""
    at_once: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    time_s: _Positive = 840.0
    """No further hour is begun after so many seconds."""


class Compaction:
    """The function. Anybody who can call it may compact, so the platform must admit the schedule alone."""

    def __init__(self, targets: Sequence[Target[ObjectOptions]], environ: Mapping[str, str]) -> None:
        """Keep the sinks, and connect to none of them yet."""
        self._targets, self._environ = targets, environ

    def run(self, order: Any) -> dict[str, int]:
        """Compact all sinks, and return the counts.

        Args:
            order: The document of an `Order`, decoded.

        Raises:
            NotCompacted: The order is not valid, a store failed, or an hour could not be joined. The other sinks and
                hours are compacted all the same.
        """
        try:
            return self._run(_read(order))
        except NotCompacted as error:
            _log.error("%s", error, extra={FIELDS: {"code": error.code}})
            raise

    def handle(self, request: Request) -> Response:
        """Answer a schedule that posts its order. An empty body stands for the defaults."""
        if request.method != "POST":
            error = NotCompacted("the schedule must send POST")
            return problem(405, "Method Not Allowed", error, {"Allow": "POST"})
        try:
            return json_response(200, self.run(_decoded(request.stream.read(_MAX_ORDER_BYTES))))
        except NotCompacted as error:
            return problem(500, "Internal Server Error", error, {})

    def busy(self) -> Response:
        """Return the answer to a request that no thread has time to read."""
        return problem(503, "Service Unavailable", Busy("another run is going on"), RETRY_LATER)

    def _run(self, order: Order) -> dict[str, int]:
        limits = Limits(order.older_than_s, order.max_bytes, order.at_once)
        deadline = Deadline.after(order.time_s)
        total: Counter[str] = Counter()
        failed: list[str] = []
        for target in self._targets:
            try:
                total += compact_sink(target, self._environ, limits, _report, deadline)
            except SinkError as error:
                failed.append(f"{target.url}: {error}")
        counts = {name: total[name] for name in COUNTS}
        _log.info(
            "%d places and hours became one object each, %d objects were deleted",
            counts["hours"],
            counts["deleted"],
            extra={FIELDS: counts},
        )
        if counts["problems"]:
            failed.append(f"{counts['problems']} hours could not be joined. The log names each with its reason")
        if failed:
            raise NotCompacted(". ".join(failed))
        return counts


def _report(outcome: Outcome) -> None:
    fields = {"code": NotCompacted.code}
    _log.error("%s, hour %s: %s", outcome.hour.place, outcome.hour.hour, outcome.problem, extra={FIELDS: fields})


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body.strip() else {}
    except msgspec.DecodeError:
        return None  # which `_read` refuses


def _read(order: Any) -> Order:
    try:
        return msgspec.convert(order, Order)
    except msgspec.ValidationError as error:
        raise NotCompacted(
            f'the schedule must send an object such as {{"older_than_s": 7200}} ({in_words(str(error))}). Correct its '
            "input"
        ) from None
