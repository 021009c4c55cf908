"""The cost of hostile bodies: EventLists of 30 MB that users can make, against a clean list of the same size.

The script fails if the worst list costs more than four times a clean one.

Any user of a cluster can send ten patches of 3 MB each, and kube-apiserver waits 30 s for the answer to a list. The
bodies are made of parts at random. The search goes on from the worst one that it found. Each list goes the whole way:
id, decoding, redaction and a sink. The last tables show a retry, and eight of the worst lists at once on a server.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import serving, workload

from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.ingest import Destination, Ingest
from auditsplit.policy.redaction import Redaction
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks.memory import DEFAULT_KEY, MemorySink
from auditsplit.telemetry.figures import Figures

_BODY_BYTES = 3_000_000
_EVENTS = 10
_ROUNDS = 3
_SEARCH_S = 30.0
_AT_ONCE = 8
_TARGET = 4.0
_USUAL_BATCHES = 100
_SEED = 14
_REFUSALS = {
    "lone surrogate first": rb'"\ud800"',
    "1,500 levels first": b"[" * 1500 + b"]" * 1500,
    "nothing refused": b"0",
}
_UNITS = {
    "brackets": b"[]",
    "objects in objects": b'{"a":{}}',
    "short strings": b'"abc"',
    "empty strings": b'""',
    "brackets in strings": b'"["',
    "numbers": b"1",
    "one name twice": b'{"a":1,"a":1}',
    "escaped names": b'{"\\\\":0}',
    "managed fields": b'{"metadata":{"managedFields":0}}',
    "surrogates": rb'"\ud800"',
    "escaped quotes": b'"%b"' % (rb"\"" * 40),
    "small nests": b"[[[[[]]]]]",
    "500 levels": b"[" * 500 + b"]" * 500,
}
_PLACES = {
    "body": b'{"level":"Request","user":{"username":"mallory"},"objectRef":{"resource":"%b"},"requestObject":%b}',
    "userAgent": b'{"level":"Request","user":{"username":"mallory"},"objectRef":{"resource":"%b"},"userAgent":%b}',
    "requestURI": b'{"level":"Request","requestURI":%b,"user":{"username":"mallory"}}',
    "name": b'{"level":"Request","objectRef":{"resource":"%b","name":%b},"user":{"username":"mallory"}}',
}


class Recipe(NamedTuple):
    """What a hostile list is made of."""

    refusal: str
    units: tuple[str, ...]
    items: bool = False
    """Whether the body is a Kubernetes list, in which managed fields are searched for."""

    def body(self) -> bytes:
        """Return the request body."""
        unit = b",".join(_UNITS[name] for name in self.units)
        text = b"[%b,%b]" % (_REFUSALS[self.refusal], b",".join([unit] * (_BODY_BYTES // (len(unit) + 1))))
        return b'{"metadata":{"managedFields":0},"items":%b}' % text if self.items else text

    def changed(self, chance: random.Random) -> Recipe:
        """Return a recipe that differs a little."""
        units = [*self.units, chance.choice(list(_UNITS))]
        if len(units) > 1 and chance.random() < 0.5:  # noqa: PLR2004 - as often as not
            units.pop(chance.randrange(len(units) - 1))
        return Recipe(chance.choice(list(_REFUSALS)), tuple(units[-4:]), chance.random() < 0.5)  # noqa: PLR2004

    def __str__(self) -> str:
        """Return the recipe in words."""
        return f"{self.refusal}; {', '.join(self.units)}{' in items' if self.items else ''}"


def hostile(body: bytes, resource: bytes) -> bytes:
    """Return the EventList of events on ``resource`` with ``body`` as their request object."""
    return workload.event_list([_PLACES["body"] % (resource, body)] * _EVENTS)


def in_strings() -> Iterator[tuple[str, bytes]]:
    """Yield lists with long strings in the fields that users choose, by the field."""
    for place, template in _PLACES.items():
        text = b'"%b"' % (rb"\"\\[{" * (_BODY_BYTES // 6))
        values = (text,) if template.count(b"%b") == 1 else (b"pods", text)
        yield place, workload.event_list([template % values] * _EVENTS)


def cpu_s(text: bytes, redaction: Redaction, rounds: int = _ROUNDS) -> float:
    """Return the least CPU time that the whole way takes."""
    taken = []
    for _ in range(rounds):
        ingest = Ingest([Destination(MemorySink(KeyTemplate(DEFAULT_KEY)))], [redaction])
        start = time.process_time()
        ingest.receive(text, "bench", Deadline.after(10 * REQUEST_S), Figures())
        taken.append(time.process_time() - start)
    return min(taken)


def search(rule: str, resource: bytes, seconds: float) -> tuple[bytes, float]:
    """Print the costs with the redaction ``rule``, and return the worst list that was found, and its cost."""
    redaction, chance = Redaction.parse(rule), random.Random(_SEED)  # noqa: S311 - no secret
    clean = workload.event_list([workload.sized(_BODY_BYTES)] * _EVENTS)
    usual = cpu_s(clean, redaction)
    print(f"\nAUDIT_DROP={rule or '(the default)'}, lists of {_EVENTS} events of {_BODY_BYTES / 1e6:g} MB:\n")
    print("| made of | CPU s | of a clean list's |\n| --- | ---: | ---: |")
    print(f"| recorded events (a clean list) | {usual:.2f} | 1 |")
    for place, text in in_strings():
        taken = cpu_s(text, redaction)
        print(f"| escaped quotes and brackets as {place} | {taken:.2f} | {taken / usual:.1f} |", flush=True)
    recipes = [Recipe(refusal, (unit,)) for unit in _UNITS for refusal in list(_REFUSALS)[:2]]
    costs = {recipe: cpu_s(hostile(recipe.body(), resource), redaction, 1) for recipe in recipes}
    end, tried = time.monotonic() + seconds, len(costs)
    while time.monotonic() < end:
        recipe = chance.choice(sorted(costs, key=lambda each: -costs[each])[:3]).changed(chance)
        costs[recipe] = cpu_s(hostile(recipe.body(), resource), redaction, 1)
        tried += 1
    ranked = sorted(costs, key=lambda each: -costs[each])
    for recipe in ranked[:6]:
        print(f"| {recipe} | {costs[recipe]:.2f} | {costs[recipe] / usual:.1f} |")
    ratio = cpu_s(hostile(ranked[0].body(), resource), redaction) / usual  # the least of several runs, as the clean one
    print(f"\nThe worst of {tried} lists that were tried costs {ratio:.1f} times a clean one.", flush=True)
    return hostile(ranked[0].body(), resource), ratio


def retry(text: bytes) -> None:
    """Print the CPU time of a list and of its retry."""
    ingest = Ingest([Destination(MemorySink(KeyTemplate(DEFAULT_KEY)))], [Redaction()])
    taken = []
    for _ in range(2):
        start = time.process_time()
        ingest.receive(text, "bench", Deadline.after(REQUEST_S), Figures())
        taken.append(time.process_time() - start)
    print(f"\nThe worst list takes {taken[0]:.3f} CPU s, its retry {taken[1]:.3f}.")


def secrets() -> None:
    """Print the CPU time that redaction takes for an event on a Secret."""
    text = workload.event_list(workload.on_secrets(workload.BATCH_EVENTS))
    costs = [min(cpu_s(text, Redaction.parse(rule), 20) for _ in range(3)) for rule in ("none", "")]
    print(f"\nRedaction of an event on a Secret: {(costs[1] - costs[0]) / workload.BATCH_EVENTS * 1e6:.1f} CPU µs.")


def at_once(text: bytes) -> None:
    """Print the answers to several of the worst lists at once, and to usual batches beside them."""
    usual = workload.Batches(workload.mixed(workload.BATCH_EVENTS))
    answers: list[tuple[bool, int, float]] = []
    with (
        tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as folder,
        serving.serve(serving.INGEST, "ingest", {"AUDIT_SINKS": f"file:{folder}"}) as server,
    ):

        def send(body: bytes, *, is_hostile: bool) -> None:
            with contextlib.closing(server.connect()) as connection:
                start = time.monotonic()
                status = serving.status(connection, body)
                answers.append((is_hostile, status, time.monotonic() - start))

        bodies = [text.replace(b"mallory", b"mall%03d" % number) for number in range(_AT_ONCE)]
        senders = [threading.Thread(target=send, args=(body,), kwargs={"is_hostile": True}) for body in bodies]
        for sender in senders:
            sender.start()
        for number in range(_USUAL_BATCHES):
            send(usual.body(number), is_hostile=False)
        for sender in senders:
            sender.join()
        peak = server.peak_rss_bytes()
    print(f"\n| {_AT_ONCE} of the worst lists at once | answers | slowest, s | 99th percentile, s |")
    print("| --- | --- | ---: | ---: |")
    for name, kind in (("the worst lists", True), (f"batches of {workload.BATCH_EVENTS} beside them", False)):
        seconds = sorted(taken for each, _, taken in answers if each is kind)
        statuses = [status for each, status, _ in answers if each is kind]
        counts = ", ".join(f"{statuses.count(status)} x {status}" for status in sorted(set(statuses)))
        print(f"| {name} | {counts} | {seconds[-1]:.1f} | {statistics.quantiles(seconds, n=100)[-1]:.1f} |")
    print(f"\nThe worker's RSS at its peak: {peak / 2**20:.0f} MiB.")


def main() -> None:
    """Print all tables."""
    worst, ratio = search("", b"secrets", _SEARCH_S)
    retry(worst)
    secrets()
    at_once(worst)
    at_once(hostile(Recipe("nothing refused", ("numbers",)).body(), b"secrets"))
    _, with_managed = search("*=managedFields", b"pods", _SEARCH_S / 2)
    if max(ratio, with_managed) > _TARGET:
        sys.exit(f"the worst list costs more than {_TARGET:g} times a clean one")


if __name__ == "__main__":
    main()
