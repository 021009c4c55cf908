"""The options that all object stores have, and their types."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, TypeAlias
from urllib.parse import urlencode

import msgspec

from auditsplit.routing.fields import WhichUser
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import lines, options
from auditsplit.sinks.objects import layout
from auditsplit.sinks.objects.layout import PACKINGS, Layout
from auditsplit.sinks.options import Target

_MAX_TAGS = 10  # the bound of S3 and of Azure
_PREFIX = re.compile(r"[A-Za-z0-9._@:=+,-]+", re.ASCII)


class Tags(msgspec.Struct, frozen=True):
    """Names and values that go with every object."""

    pairs: tuple[tuple[str, str], ...] = ()

    OPTION_WORDS: ClassVar = f"up to {_MAX_TAGS} pairs as in team=security,kind=audit"

    @classmethod
    def from_option(cls, text: str, _: WhichUser, /) -> Tags:
        """Return the tags in ``text``. ``ValueError`` says how to write them."""
        pairs = [pair.partition("=") for pair in text.split(",") if pair]
        if len(pairs) > _MAX_TAGS or not all(name and equals for name, equals, _ in pairs):
            raise ValueError(f"must be {cls.OPTION_WORDS}, not {text[:60]!r}")
        return cls(tuple({name: value for name, _, value in pairs}.items()))

    def __str__(self) -> str:
        """Return the text that `from_option` reads."""
        return ",".join(f"{name}={value}" for name, value in self.pairs)

    def urlencoded(self) -> str:
        """Return the tags as a query string, which is how S3 expects them."""
        return urlencode(self.pairs)


TagsOption: TypeAlias = Annotated[Tags, msgspec.Meta(description="tags of every object")]


StorageClass: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        description="the storage class of objects, such as `STANDARD_IA`, else the bucket's own. Classes can have a "
        "minimum size (S3 bills smaller objects as 128 kB) and a minimum stay"
    ),
]
"""The type of an option that names a storage class of S3 or Google."""


class ObjectOptions(options.Options, frozen=True, kw_only=True):
    """The options that the URL of every object store has."""

    key: Annotated[KeyTemplate, options.KEY_HELP] = KeyTemplate(layout.DEFAULT_KEY)
    format: Annotated[lines.Format, options.FORMAT_HELP] = "log"
    compress: Annotated[
        Literal["gzip", "zstd", "none"],
        msgspec.Meta(description="how objects are compressed. zstd needs the extra `zstd`"),
    ] = "gzip"
    endpoint_url: Annotated[
        str, msgspec.Meta(description="another server than the cloud's own, such as a private endpoint")
    ] = ""
    puts: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            description="puts that a process sends at once, for all requests. 100 users at 30 ms a put take 0.2 s",
        ),
    ] = 16
    timeout: options.TimeoutSeconds = 12


def mistakes(target: Target[ObjectOptions]) -> Iterator[str]:
    """Yield what is wrong with the prefix, and options that all object stores have and that don't go together."""
    prefix = _prefix(target)
    for segment in prefix[:-1].split("/") if prefix else ():
        if segment in (".", "..") or not _PREFIX.fullmatch(segment):
            yield f"prefix: {segment!r} is not a valid name. Write A-Z a-z 0-9 . _ @ : = + , - between slashes"
    longest = layout.longest_key(prefix, target.options.key)
    if longest > layout.MAX_KEY_BYTES:
        yield f"key: with its prefix it can grow to {longest} bytes, over {layout.MAX_KEY_BYTES}. Use fewer fields"
    if target.options.compress == "zstd" and not importlib.util.find_spec("zstandard"):
        yield "compress: zstd requires the package zstandard. Install auditsplit with the extra 'zstd'"


def layout_of(target: Target[ObjectOptions]) -> Layout:
    """Return the layout that the URL and its options describe."""
    chosen = target.options
    return Layout(_prefix(target), chosen.key, chosen.format, PACKINGS[chosen.compress])


def _prefix(target: Target[ObjectOptions]) -> str:
    """Return what keys begin with: nothing, or a text that ends in a slash."""
    prefix = target.path.strip("/")
    return f"{prefix}/" if prefix else ""
