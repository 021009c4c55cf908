"""Lambda's entry point: what it imports, how it ends with bad settings, and that its page says so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from auditsplit import auth

ROOT = Path(__file__).parents[1]
FUNCTIONS = ROOT / "functions"
PAGE = (ROOT / "docs" / "deploy" / "lambda.md").read_text()
HASH = auth.new_token("prod")[1]


def test_lambda_does_without_the_framework() -> None:
    """Neither it, nor Flask, nor a store's library that is not asked for, takes of the time of a start."""
    program = (
        "import sys, lambda_function;"
        "print(sorted({'functions_framework', 'flask', 'boto3', 'click', 'yaml', 'google.auth'} & set(sys.modules)))"
    )
    environ = {"PYTHONPATH": str(FUNCTIONS), "AUDIT_SINKS": "memory:", "AUDIT_TOKENS": str(HASH)}

    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_page_shows_the_error_of_the_start() -> None:
    """The very lines, which are the exception's."""
    [shown] = re.findall(r"^```\n\[ERROR\] (SettingsError: .*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    environ = {"PYTHONPATH": str(FUNCTIONS), "AWS_LAMBDA_FUNCTION_NAME": "audit", "AUDIT_SINKS": "s3:bucket"}

    done = subprocess.run(
        [sys.executable, "-c", "import lambda_function"], env=environ, stderr=subprocess.PIPE, check=False
    )

    assert done.returncode == 1
    assert done.stderr.decode().rstrip().endswith(f"auditsplit.errors.{shown}")


def test_the_pages_sums_are_right() -> None:
    """The parts of the zip are the whole."""
    parts = [float(part) for part in re.findall(r"^\| [^*].*\| ([\d.]+) MB \|$", PAGE, re.MULTILINE)]
    [whole] = re.findall(r"^\| \*\*all: .*\*\* \| (\d+) MB of 250 MB \|$", PAGE, re.MULTILINE)

    assert round(sum(parts)) == int(whole)
