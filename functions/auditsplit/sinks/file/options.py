"""The options of a ``file:`` URL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import lines, options
from auditsplit.sinks.options import Target

DEFAULT_KEY = "kube-audit-{user}/audit"


class Options(options.Options, frozen=True, kw_only=True):
    """The options of a ``file:`` URL. Those of rotation mean what kube-apiserver's ``--audit-log-…`` flags mean."""

    key: Annotated[KeyTemplate, options.KEY_HELP] = KeyTemplate(DEFAULT_KEY)
    format: Annotated[lines.Format, options.FORMAT_HELP] = "log"
    maxsize: Annotated[
        int, msgspec.Meta(ge=1, description="megabytes of a file before it is rotated, as `--audit-log-maxsize`")
    ] = 100
    maxbackup: Annotated[
        int, msgspec.Meta(ge=0, description="rotated files that are kept, as `--audit-log-maxbackup`. 0 keeps all")
    ] = 0
    maxage: Annotated[
        int,
        msgspec.Meta(
            ge=0, description="days for which a rotated file is kept, as `--audit-log-maxage`. 0 means for ever"
        ),
    ] = 0
    fsync: Annotated[
        bool,
        msgspec.Meta(
            description="sync to the disk before the answer. 0 is faster, but a power cut may lose acknowledged batches"
        ),
    ] = True


def mistakes(target: Target[Options]) -> Iterable[str]:
    """Yield what is wrong with the place in a ``file:`` URL."""
    if target.host or not target.path:
        yield f"{target.url!r} names no folder. Write file:///var/log, or file:var/log"
