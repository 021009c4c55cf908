"""AWS Lambda's entry point of the scheduled compaction: the handler ``lambda_compaction.compact``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from auditsplit import bootstrap
from auditsplit.errors import SettingsError

try:
    _compaction = bootstrap.compaction(os.environ)
except SettingsError as error:
    raise SettingsError("auditsplit can't start with these settings:", *error.mistakes) from None


def compact(event: Mapping[str, Any], _: object) -> dict[str, int]:
    """Compact the sinks as the schedule's ``event`` says, and return the counts.

    An error of the invocation is for the alarm. The next run does again what this one left.
    """
    return _compaction.run(event)
