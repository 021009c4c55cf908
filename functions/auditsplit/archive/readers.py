"""The reader of each sink that can be read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from auditsplit.archive import stores
from auditsplit.archive.files import FileReader
from auditsplit.archive.objects import ObjectReader
from auditsplit.archive.reader import Reader
from auditsplit.sinks.file.options import Options as FileOptions
from auditsplit.sinks.objects.options import ObjectOptions
from auditsplit.sinks.options import Options, Target


def open_reader(target: Target[Options], environ: Mapping[str, str]) -> Reader:
    """Return the reader of what the sink of ``target`` wrote. ``ValueError`` if its scheme cannot be read back."""
    if target.scheme == "file":
        return FileReader(target.url, target.path, cast("FileOptions", target.options).key)
    if target.scheme not in stores.SCHEMES:
        readable = ", ".join(("file", *stores.SCHEMES))
        raise ValueError(f"{target.url!r} cannot be read back. Write the URL of a sink with one of {readable}")
    objects = cast("Target[ObjectOptions]", target)
    return ObjectReader(objects.url.rstrip("/"), stores.open_store(objects, environ), objects)
