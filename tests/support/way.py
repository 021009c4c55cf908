"""The whole way of an event: an apiserver, and the function that it sends to."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from support.function import Function, by_place
from support.kubernetes import Apiserver


class Way(NamedTuple):
    """An apiserver of the cluster ``prod`` that sends to a function."""

    apiserver: Apiserver
    function: Function

    def logged(self) -> Counter[tuple[str, bytes]]:
        """Return how often each line is in the apiserver's own log, by the place where it belongs and its text."""
        return by_place(self.apiserver.audit_log(), "prod", self.function.user)
