"""Find the fields of a document that a kubeconfig does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from auditsplit.webhook.kubeconfig.schema import Kubeconfig


def unknown(document: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the path of each field that the format does not have, with the fields that are valid in its place."""
    yield from _unknown(document, msgspec.inspect.type_info(Kubeconfig), "")


def _unknown(value: Any, kind: msgspec.inspect.Type, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = kind.types[0]
    if isinstance(kind, msgspec.inspect.ListType) and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unknown(item, kind.item_type, f"{path}[{number}]")
    if isinstance(kind, msgspec.inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        for name, item in value.items():
            if name in fields:
                yield from _unknown(item, fields[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}".lstrip("."), list(fields)
