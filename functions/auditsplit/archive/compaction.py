"""A run of the compaction over one sink, with the counts of what it did. The command and the function use it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast

from auditsplit.archive import stores
from auditsplit.archive.compact import Outcome, compact
from auditsplit.archive.objects import Hours
from auditsplit.deadline import Deadline
from auditsplit.errors import SettingsError
from auditsplit.sinks.objects.options import ObjectOptions, layout_of
from auditsplit.sinks.options import Options, Target

COUNTS = ("hours", "parts", "deleted", "problems", "locked", "unfinished")
"""The counts of a run: hours that became one object, the parts in them, deleted objects, hours that could not be
joined, sinks that lock their objects, and sinks that the next run continues."""


class Limits(NamedTuple):
    """What a run may do."""

    older_than_s: float
    """Only hours that ended so long ago."""
    max_bytes: int
    """An hour with more compressed bytes stays as it is."""
    at_once: int
    """How many hours are joined at once."""


def object_stores(targets: Iterable[Target[Options]]) -> list[Target[ObjectOptions]]:
    """Return those of a setting's sinks that can be compacted. `SettingsError` if there is none."""
    found = [cast("Target[ObjectOptions]", target) for target in targets if target.scheme in stores.SCHEMES]
    if not found:
        raise SettingsError(f"AUDIT_SINKS: must name an object store to compact: {', '.join(stores.SCHEMES)}")
    return found


def compact_sink(
    target: Target[ObjectOptions],
    environ: Mapping[str, str],
    limits: Limits,
    report: Callable[[Outcome], None],
    deadline: Deadline | None = None,
) -> Counter[str]:
    """Compact the hours of one sink until the deadline.

    Args:
        target: The sink.
        environ: Credentials come from here, or from the driver's own chain.
        limits: What the run may do.
        report: Gets each outcome that has a problem.
        deadline: No further hour is begun after it.

    Returns:
        The `COUNTS`.

    Raises:
        SinkError: The store failed.
    """
    store = stores.open_store(target, environ)
    if store.is_locked():
        return Counter(locked=1)
    counts: Counter[str] = Counter()
    hours = Hours(store, layout_of(target).prefix)
    older_than = timedelta(seconds=limits.older_than_s)
    with contextlib.closing(compact(hours, older_than, limits.max_bytes, limits.at_once, datetime.now(UTC))) as found:
        for outcome in found:
            counts.update(hours=int(outcome.deleted > 0), parts=outcome.parts, deleted=outcome.deleted)
            if outcome.problem:
                counts["problems"] += 1
                report(outcome)
            if deadline and not deadline.left_s():
                counts["unfinished"] = 1
                break
    return counts
