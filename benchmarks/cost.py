"""What auditsplit costs a month on Lambda and Cloud Run, by the CPU time that was measured: the tables of docs/cost.md.

``.venv/bin/python benchmarks/cost.py`` prints two of them, ``make docs`` writes all to the page. Nothing is measured
here. Change the numbers at the top to yours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from auditsplit.apiserver.flags.sizing import example
from auditsplit.telemetry import logs

# Measured, on one core of the machine of benchmarks/README.md.
CPU_S_PER_MILLION = 13.8
"""CPU seconds for a million events of 2.2 kB in batches of 400: `server.py`, auditsplit, one connection."""
CPU_S_PER_BATCH = 0.0005
"""What a batch costs in itself: `growth.py`. Part of the former in batches of 400, so it is a little too much there."""
CPU_S_PER_PUT = 0.0023
"""`objects.py`."""
STORED_BYTES = 500
"""Of an event, gzipped in its user's object: 250 to 500 of 2,203, by users a batch."""
LOG_BYTES = 900
"""Of a request: our line, some 600, and the platform's own."""

# Assumed, not measured.
PUT_S = 0.03
"""How long a put takes."""
PUTS_AT_ONCE = 16
CPU_TARGET = 0.6
"""How busy Cloud Run lets an instance's processor become before it starts another."""
MAX_WAIT_S = 30
"""kube-apiserver's default for ``--audit-webhook-batch-max-wait``: what has come until then is a batch."""
LARGEST = {platform: example(platform).backend.batch_max_size for platform in ("lambda", "cloud-run")}
"""Events of a batch, as ``auditsplit flags`` sizes it."""
RETENTION_DAYS = 365
"""The modules' default."""
MONTH_S = 30 * 86_400
GB = 1e9
GIB = 2**30
_TIMES = "\N{MULTIPLICATION SIGN}"


class Prices(NamedTuple):
    """In US dollars, without free tiers and discounts."""

    request: float
    put: float
    stored_gb_month: float
    logged_gb: float


LAMBDA = Prices(request=0.20e-6, put=0.005e-3, stored_gb_month=0.023, logged_gb=0.50)
LAMBDA_GB_S = 0.0000133334  # arm64
LAMBDA_MB, LAMBDA_MB_PER_VCPU = 512, 1769
RUN = Prices(request=0.40e-6, put=0.005e-3, stored_gb_month=0.020, logged_gb=0.50 * GB / GIB)
RUN_VCPU_S, RUN_GIB_S = 0.000024, 0.0000025
RUN_VCPU, RUN_GIB, RUN_ROUNDED_S = 1, 1, 0.1


class Load(NamedTuple):
    """Events a second, the events in a batch, and the different users in it, each of whom is an object."""

    rate: float
    batch: int
    users: int

    @property
    def batches(self) -> float:
        """Return the batches a second."""
        return self.rate / self.batch

    @property
    def cpu_s(self) -> float:
        """Return the CPU seconds of a batch on a whole core."""
        return self.batch * CPU_S_PER_MILLION / 1e6 + CPU_S_PER_BATCH + self.users * CPU_S_PER_PUT

    @property
    def waits_s(self) -> float:
        """Return how long a batch waits for its puts, which go side by side."""
        return math.ceil(self.users / PUTS_AT_ONCE) * PUT_S


def on_lambda(load: Load) -> float:
    """Return the dollars a second for computing: an instance has one request at a time, and a share of a processor."""
    duration_s = load.cpu_s / (LAMBDA_MB / LAMBDA_MB_PER_VCPU) + load.waits_s
    return load.batches * duration_s * LAMBDA_MB / 1024 * LAMBDA_GB_S


def on_run(load: Load) -> float:
    """Return the dollars a second for computing: an instance is paid while a request is in it, however many are.

    One is busy for 1 - e^-n of the time where n requests are under way on average; beyond that, the processor decides.
    """
    duration_s = math.ceil((load.cpu_s / RUN_VCPU + load.waits_s) / RUN_ROUNDED_S) * RUN_ROUNDED_S
    busy = 1 - math.exp(-load.batches * duration_s)
    instances = max(busy, load.batches * load.cpu_s / RUN_VCPU / CPU_TARGET)
    return instances * (RUN_VCPU * RUN_VCPU_S + RUN_GIB * RUN_GIB_S)


def costs(load: Load, compute: float, prices: Prices) -> list[float]:
    """Return dollars a month: computing, requests, puts, log, what is stored after the retention's time, and all."""
    found = [
        compute * MONTH_S,
        load.batches * prices.request * MONTH_S,
        load.batches * load.users * prices.put * MONTH_S,
        load.batches * LOG_BYTES / GB * prices.logged_gb * MONTH_S,
        load.rate * STORED_BYTES / GB * prices.stored_gb_month * RETENTION_DAYS * 86_400,
    ]
    return [*found, sum(found)]


def table(loads: list[tuple[str, Load]]) -> Iterator[str]:
    """Yield a table's lines."""
    yield (
        "| where | events/s | events a batch | users a batch | batches/s "
        "| compute $ | requests $ | puts $ | log $ | storage $ | **all, $ a month** |"
    )
    yield "| --- | " + "---: | " * 9 + "---: |"
    for where, one in loads:
        is_lambda = where == "Lambda"
        *parts, total = costs(one, on_lambda(one) if is_lambda else on_run(one), LAMBDA if is_lambda else RUN)
        given = [f"{one.rate:,}", f"{one.batch:,}", f"{one.users}", f"{one.batches:,.2f}"]
        yield "| " + " | ".join([where, *given, *map(dollars, parts), f"**{dollars(total)}**"]) + " |"


def dollars(amount: float) -> str:
    """Return an amount with two digits that count, at least."""
    return f"{amount:,.0f}" if amount >= 10 else f"{amount:.2f}"  # noqa: PLR2004 - where cents stop to matter


def sent(rate: int, largest: int, users: int) -> Load:
    """Return the load of batches of ``largest`` events, or as many as come within the apiserver's wait."""
    batch = min(largest, rate * MAX_WAIT_S)
    return Load(rate, batch, min(users, batch))


def by_rate() -> Iterator[str]:
    """Yield the table by events a second, with the batches that ``auditsplit flags`` prints for the platform."""
    sizes = (("Lambda", LARGEST["lambda"]), ("Cloud Run", LARGEST["cloud-run"]))
    return table(
        [
            (where, sent(rate, size, users))
            for where, size in sizes
            for rate in (10, 100, 1_000, 10_000)
            for users in (5, 50)
        ]
    )


def by_batch() -> Iterator[str]:
    """Yield the table by what can be done about puts, at 1,000 events a second."""
    choices = [("Lambda", LARGEST["lambda"], 50), ("Lambda", 400, 50), ("Lambda", 400, 1)]
    choices += [("Cloud Run", 400, 50), ("Cloud Run", 2_000, 50), ("Cloud Run", 2_000, 1)]
    return table([(where, sent(1_000, size, users)) for where, size, users in choices])


def formula() -> Iterator[str]:
    """Yield the formula for a batch with its numbers."""
    yield f"> CPU seconds = n {_TIMES} {CPU_S_PER_MILLION} / 1,000,000 + {CPU_S_PER_BATCH} + u {_TIMES} {CPU_S_PER_PUT}"
    yield ">"
    yield (
        f"> seconds on Lambda = CPU seconds / ({LAMBDA_MB} / {LAMBDA_MB_PER_VCPU:,}) "
        f"+ ⌈u / {PUTS_AT_ONCE}⌉ {_TIMES} {PUT_S}"
    )


def numbers() -> Iterator[str]:
    """Yield the table of the numbers that are measured or assumed."""
    yield "| number | value | from |"
    yield "| --- | --- | --- |"
    yield (
        f"| CPU for a million events | {CPU_S_PER_MILLION} s | `server.py`: the file sink, 400 events of a busy "
        "cluster a batch, on a quiet machine. Its own figures went up to 17.2 |"
    )
    yield (
        f"| CPU for a batch, for a put | {CPU_S_PER_BATCH * 1000:g} ms, {CPU_S_PER_PUT * 1000:g} ms "
        "| `growth.py`, `objects.py` |"
    )
    yield (
        f"| bytes an event in an object store | {STORED_BYTES} | gzip of the benchmarks' events: 252 with 5 users in "
        "400 events, 500 with 50, 497 with 5 in 40 |"
    )
    yield (
        f"| bytes of log a request | {LOG_BYTES} | a line of auditsplit is some 600. The platform's own lines are "
        "estimated |"
    )
    yield f"| a put's time | {PUT_S * 1000:g} ms | **assumed** |"
    yield "| a vCPU | as fast as the core of the benchmarks | **assumed**. Lambda's and Google's were not measured |"
    yield f"| metrics in CloudWatch, a cluster | {len(logs.UNITS)} | `auditsplit.telemetry.logs`. Not in the tables |"


def prices() -> Iterator[str]:
    """Yield the table of prices."""
    yield "| what | US dollars | where | to be checked at |"
    yield "| --- | --- | --- | --- |"
    yield (
        f"| Lambda, arm64 | {LAMBDA_GB_S:.10f} a GB-second, {LAMBDA.request * 1e6:.2f} a million requests | us-east-1 "
        "| aws.amazon.com/lambda/pricing |"
    )
    yield (
        f"| S3 Standard | {LAMBDA.put * 1000} for 1,000 puts, {LAMBDA.stored_gb_month} a GB and month | us-east-1. The "
        "price of a GB was found in no copy, so check it first | aws.amazon.com/s3/pricing |"
    )
    yield f"| CloudWatch Logs | {LAMBDA.logged_gb:.2f} a GB | us-east-1 | aws.amazon.com/cloudwatch/pricing |"
    yield (
        f"| Cloud Run, billed by request | {RUN_VCPU_S:.6f} a vCPU-second, {RUN_GIB_S:.7f} a GiB-second, "
        f"{RUN.request * 1e6:.2f} a million requests | tier 1 | cloud.google.com/run/pricing |"
    )
    yield (
        f"| Cloud Storage, Standard | {RUN.put * 1000} for 1,000 operations of class A, {RUN.stored_gb_month:.3f} a GB "
        "and month | one region, such as us-east1, europe-west1 | cloud.google.com/storage/pricing |"
    )
    yield (
        f"| Cloud Logging | {RUN.logged_gb * GIB / GB:.2f} a GiB | everywhere | cloud.google.com/stackdriver/pricing |"
    )


if __name__ == "__main__":
    print("\n".join([*by_rate(), "", *by_batch()]))
