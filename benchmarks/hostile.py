"""What a hostile body costs: EventLists of 30 MB that the parsers refuse, against one of the same size that they take.

Any user of a cluster can send such bodies, three megabytes each, and the apiserver waits 30 s for the answer to a list.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import workload

from auditsplit.decode import eventlist

_BODY_BYTES = 3_000_000
_EVENTS = 10
_ROUNDS = 3
_REFUSED = rb'"\ud800"'  # a lone surrogate: makes the parsers refuse the list
_UNITS = {
    "brackets": b"[]",
    "objects in objects": b'{"a":{}}',
    "short strings": b'"abc"',
    "empty strings": b'""',
    "numbers": b"1",
}


def bodies() -> dict[str, bytes]:
    """Return the request bodies by what they are made of; each is JSON, but for its first element."""
    found = {kind: b",".join([unit] * (_BODY_BYTES // (len(unit) + 1))) for kind, unit in _UNITS.items()}
    half = _BODY_BYTES // 2
    found["nesting"] = b"[" * half + b"]" * half
    found["nesting, up and down"] = b",".join([b"[" * 500 + b"]" * 500] * (_BODY_BYTES // 1001))
    found["escaped quotes"] = b'"' + rb"\"" * half + b'"'
    return {kind: b"[" + _REFUSED + b"," + body + b"]" for kind, body in found.items()}


def hostile(body: bytes) -> bytes:
    """Return the EventList of events with ``body`` as their request object."""
    item = b'{"level":"Request","user":{"username":"mallory"},"requestObject":%s}' % body
    return workload.event_list([item] * _EVENTS)


def cpu_s(text: bytes) -> float:
    """Return the least CPU time of some tries that decoding takes."""
    taken = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        eventlist.decode(text)
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    """Print the table."""
    clean = workload.event_list([workload.sized(_BODY_BYTES)] * _EVENTS)
    usual = cpu_s(clean)
    print(f"| {_EVENTS} bodies of {_BODY_BYTES / 1e6:g} MB, of | MB | CPU s | of a clean list's |")
    print("| --- | ---: | ---: | ---: |")
    print(f"| recorded events (a clean list) | {len(clean) / 1e6:.0f} | {usual:.2f} | 1 |")
    for kind, body in bodies().items():
        text = hostile(body)
        taken = cpu_s(text)
        print(f"| {kind} | {len(text) / 1e6:.0f} | {taken:.2f} | {taken / usual:.0f} |", flush=True)


if __name__ == "__main__":
    main()
