"""The function as functions-framework loads it: by the path of a file, which a wheel has too."""

from __future__ import annotations

from pathlib import Path

SOURCE = Path(__file__).with_name("main.py")
"""The file to give to functions-framework."""

TARGET = "ingest"
"""The name of the function in `SOURCE`."""
