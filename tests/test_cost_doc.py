"""docs/cost.md: its tables are what benchmarks/cost.py works out, and its numbers are those that this takes."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from auditsplit.telemetry import logs

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cost.md").read_text().replace("\N{MULTIPLICATION SIGN}", "x")
SCRIPT = ROOT / "benchmarks" / "cost.py"
TAKEN = runpy.run_path(str(SCRIPT))


def test_the_tables_are_the_scripts() -> None:
    """Both of them, as it prints them."""
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True)

    tables = done.stdout.strip().split("\n\n")

    assert len(tables) == 2
    assert all(f"\n{table}\n" in PAGE for table in tables)


def test_the_numbers_are_the_scripts() -> None:
    """In the formula and in the tables of what was measured and of prices."""
    aws, google = TAKEN["LAMBDA"], TAKEN["RUN"]
    told = [
        f"n x {TAKEN['CPU_S_PER_MILLION']} / 1,000,000 + {TAKEN['CPU_S_PER_BATCH']} + u x {TAKEN['CPU_S_PER_PUT']}",
        f"({TAKEN['LAMBDA_MB']} / {TAKEN['LAMBDA_MB_PER_VCPU']:,}) + ⌈u / {TAKEN['PUTS_AT_ONCE']}⌉ x {TAKEN['PUT_S']}",
        f"| {TAKEN['CPU_S_PER_MILLION']} s |",
        f"| bytes an event in a store | {TAKEN['STORED_BYTES']} |",
        f"| bytes of log a request | {TAKEN['LOG_BYTES']} |",
        f"{TAKEN['LAMBDA_GB_S']:.10f} a GB-second, {aws.request * 1e6:.2f} a million requests",
        f"{aws.put * 1000} for 1,000 puts, {aws.stored_gb_month} a GB",
        f"{TAKEN['RUN_VCPU_S']:.6f} a vCPU-second, {TAKEN['RUN_GIB_S']:.7f} a GiB-second, {google.request * 1e6:.2f} a",
        f"{google.put * 1000} for 1,000 operations of class A, {google.stored_gb_month:.3f} a GB",
        f"CloudWatch has {len(logs._UNITS | logs._MORE_UNITS)} for each cluster",
    ]

    assert [text for text in told if text not in PAGE] == []


def test_the_measured_numbers_are_the_benchmarks() -> None:
    """So that a new measurement is not forgotten here."""
    measured = (ROOT / "benchmarks" / "README.md").read_text()
    [cpu_s] = re.findall(r"^\| \*\*auditsplit\*\* \| 1 \| [\d,]+ \| \*\*([\d.]+)\*\* \|", measured, re.MULTILINE)

    assert float(cpu_s) == TAKEN["CPU_S_PER_MILLION"]
    assert f"boto3 uses {TAKEN['CPU_S_PER_PUT'] * 1000} ms of CPU" in measured
    assert f"a batch costs some {TAKEN['CPU_S_PER_BATCH'] * 1000} CPU ms in itself" in measured


@pytest.mark.parametrize("name", ["on_lambda", "on_run"])
def test_more_costs_more(name: str) -> None:
    """Of events, and of users; and the sum of a row is its parts'."""
    load, sent = TAKEN["Load"], TAKEN[name]

    assert sent(load(10, 400, 5)) < sent(load(100, 400, 5)) < sent(load(100, 400, 50)) < sent(load(9000, 400, 50))
    *parts, total = TAKEN["costs"](load(100, 400, 5), 1.0, TAKEN["RUN"])
    assert sum(parts) == total
