"""Stores: what every one can do, and which one a URL names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Protocol

from auditsplit.decode.batch import Batch
from auditsplit.routing.template import WhichUser
from auditsplit.sinks.options import Target

_MODULES = {
    "az": "auditsplit.sinks.objects.azure",
    "elasticsearch+http": "auditsplit.sinks.elasticsearch.store",
    "elasticsearch+https": "auditsplit.sinks.elasticsearch.store",
    "file": "auditsplit.sinks.file.store",
    "gs": "auditsplit.sinks.objects.gcs",
    "memory": "auditsplit.sinks.memory",
    "s3": "auditsplit.sinks.objects.s3",
    "stdout": "auditsplit.sinks.stdout",
}
_EXTRAS = {
    "az": "azure",
    "elasticsearch+http": "elasticsearch",
    "elasticsearch+https": "elasticsearch",
    "gs": "gcs",
    "s3": "s3",
}


class Sink(Protocol):
    """A store. Every method raises `StoreError` where the store does not do it; a retry is then always safe."""

    name: str
    """What logs and answers call it: its URL without options."""

    def write(self, batch: Batch) -> bool:
        """Store the batch's events durably before it returns; False where the same batch was stored before."""

    def reject(self, cluster: str, digest: str, body: bytes) -> str:
        """Keep ``body``, which is no event, under its ``digest``; return where. The same again is one."""

    def recover(self) -> None:
        """Finish what a killed process left, if the store can be left unfinished; called at the start."""

    def check(self) -> None:
        """Return if the store would take a batch now."""


def from_url(url: str, defaults: Mapping[str, str], user: WhichUser) -> Sink:
    """Return the store that ``url`` names, without touching it; ``ValueError`` names every mistake, a line each.

    ``defaults`` are options that the URL doesn't have to repeat. Only the module of that store is imported.
    """
    target = Target(url, defaults, user)
    if target.scheme not in _MODULES:
        raise ValueError(f"no store has the scheme {target.scheme!r}; there are {', '.join(_MODULES)}")
    try:
        module = importlib.import_module(_MODULES[target.scheme])
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(target.scheme)
        raise ValueError(f"the store needs the package {error.name}; install auditsplit[{extra}]") from error
    sink: Sink = module.from_target(target)
    target.check()
    return sink
