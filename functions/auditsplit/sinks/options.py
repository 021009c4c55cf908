"""A sink's URL and its options.

Each sink declares its options as fields of a frozen struct: name, type, default, help. This module reads a URL by such
a declaration, with every mistake noted, and describes it for the table in the docs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
)
from urllib.parse import unquote, urlsplit

import msgspec

from auditsplit.environ import whole_number
from auditsplit.policy import Transform
from auditsplit.policy.applied import NO_POLICY, AppliedPolicy
from auditsplit.policy.redaction import NOTHING, Redaction
from auditsplit.policy.truncation import NO_TRUNCATION, Truncation
from auditsplit.routing.fields import WhichUser

_MAX_SHOWN = 60
_SETTINGS = {"key": "AUDIT_KEY", "format": "AUDIT_FORMAT"}


KEY_HELP = msgspec.Meta(
    description="the [key template](concepts.md#places-and-names), which names the place of an event"
)
FORMAT_HELP = msgspec.Meta(description="how an event is written, see [formats](sinks.md#formats)")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options that every sink has; a sink adds its own in a subclass.

    A field is ``name: Annotated[type, msgspec.Meta(description=help)] = default``. Types are ``str``, ``int`` (with
    ``ge`` and ``le``), ``bool``, a ``Literal`` of strings, or a class with the methods of `OptionType`.
    """

    drop: Annotated[
        Redaction,
        msgspec.Meta(description="what this sink does not get, as in `AUDIT_DROP`, in addition to that setting"),
    ] = NOTHING
    policy: Annotated[
        AppliedPolicy,
        msgspec.Meta(
            description="the audit policy that is applied for this sink, as in `AUDIT_POLICY`, after that setting"
        ),
    ] = NO_POLICY
    truncate_max_event_size: Annotated[
        Truncation,
        msgspec.Meta(
            description="the size in bytes of this sink's largest event, as in `AUDIT_TRUNCATE_MAX_EVENT_SIZE`, after "
            "that setting"
        ),
    ] = NO_TRUNCATION

    @property
    def transforms(self) -> list[Transform]:
        """What is done to events for this sink alone."""
        return [transform for transform in (self.policy, self.drop, self.truncate_max_event_size) if transform]


class OptionType(Protocol):
    """A type of an option that is neither a number nor a plain text."""

    @classmethod
    def from_option(cls, text: str, user: WhichUser, /) -> Self:
        """Return the value that ``text`` stands for. ``ValueError`` has every mistake on a line of its own."""


TimeoutSeconds: TypeAlias = Annotated[
    int,
    msgspec.Meta(
        ge=1,
        le=25,
        description="seconds for a batch, or less where the deadline of the request is sooner",
        extra={"reason": "kube-apiserver waits 30 s for the whole request"},
    ),
]
"""The type of an option that bounds how long a sink may take for a batch."""

OptionsT = TypeVar("OptionsT", bound=Options)
OptionsT_co = TypeVar("OptionsT_co", bound=Options, covariant=True)


class Target(msgspec.Struct, Generic[OptionsT_co], frozen=True):
    """A sink's URL, taken apart. Credentials come from the environment; a URL with a password is refused."""

    url: str
    """The URL as messages show it: without options and without what may be a password."""
    scheme: str
    host: str
    path: str
    options: OptionsT_co
    user: WhichUser = "authenticated"
    """Whose name ``{user}`` is in a template."""


class Row(NamedTuple):
    """An option, as the docs show it."""

    name: str
    type: str
    default: str
    help: str


def redacted(url: str) -> str:
    """Return the URL without its options, and without what may be a password in it."""
    place = url.partition("?")[0]
    scheme, colon, rest = place.partition("://")
    return f"{scheme}{colon}...@{rest.rpartition('@')[2]}" if "@" in rest else place


def parse_target(
    url: str, declared: type[OptionsT], defaults: Mapping[str, str], user: WhichUser
) -> tuple[Target[OptionsT], list[str]]:
    """Return the target that ``url`` names, and the mistakes in it.

    ``defaults`` are options that apply where the URL does not name them. A mistaken option has its default.
    """
    parts = urlsplit(url)
    mistakes: list[str] = []
    path = unquote(parts.path)
    if "#" in url or "\0" in path:
        mistakes.append("a # or NUL is not valid in a URL; write # as %23")
    pairs = [option.partition("=") for option in parts.query.split("&") if option]
    own = {unquote(name): unquote(value) for name, _, value in pairs}
    options = _read_options(declared, own, defaults, user, mistakes)
    unknown = own.keys() - {*declared.__struct_fields__}
    mistakes += [f"{name}: the sink {parts.scheme}: has no such option" for name in own if name in unknown]
    return Target(redacted(url), parts.scheme, parts.netloc, path, options, user), mistakes


def _read_options(
    declared: type[OptionsT],
    own: Mapping[str, str],
    defaults: Mapping[str, str],
    user: WhichUser,
    mistakes: list[str],
) -> OptionsT:
    """Return the options; ``own`` are those of the URL."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(declared):
        name = field.name
        try:
            values[name] = _value(field, own.get(name) or defaults.get(name, ""), user)
        except ValueError as error:
            called = name if name in own or name not in defaults else _SETTINGS.get(name, f"AUDIT_FILE_{name.upper()}")
            mistakes += [f"{called}: {line}" for line in str(error).splitlines()]
    return declared(**values)


def describe(declared: type[Options]) -> Iterator[Row]:
    """Yield a row for each option of a declaration: the common ones last, the others in their order."""
    fields = msgspec.structs.fields(declared)
    common = [field for field in fields if field.name in Options.__struct_fields__]
    for field in [field for field in fields if field not in common] + common:
        base, meta = _unwrapped(field.type)
        default = field.default
        shown = str(int(default)) if isinstance(default, bool) else str(default)
        yield Row(field.name, _type_words(base, meta), shown, meta.description or "")


def _value(field: msgspec.structs.FieldInfo, text: str, user: WhichUser) -> Any:
    """Return the value of an option; ``ValueError`` says what was expected."""
    base, meta = _unwrapped(field.type)
    if isinstance(base, type) and hasattr(base, "from_option"):
        return base.from_option(text or str(field.default), user)
    if not text:
        return field.default
    if base is int:
        return _number(text, meta)
    choices = _choices(base)
    if choices is None:
        return text
    if text not in choices:
        raise ValueError(f"must be {_type_words(base, meta)}, not {text[:_MAX_SHOWN]!r}")
    return choices[text]


def _choices(base: Any) -> Mapping[str, Any] | None:
    """Return the values of a type by their texts, None for a type of any text."""
    if base is bool:
        return {"1": True, "0": False}
    return {choice: choice for choice in get_args(base)} if get_origin(base) is Literal else None


def _number(text: str, meta: msgspec.Meta) -> int:
    number = whole_number(text)
    if number is None or number < (meta.ge or 0) or (meta.le is not None and number > meta.le):
        raise ValueError(f"must be {_type_words(int, meta)}, not {text[:_MAX_SHOWN]!r}{_reason(meta)}")
    return number


def _unwrapped(annotated: Any) -> tuple[Any, msgspec.Meta]:
    if get_origin(annotated) is Annotated:
        base, *metas = get_args(annotated)
        return base, next((meta for meta in metas if isinstance(meta, msgspec.Meta)), msgspec.Meta())
    return annotated, msgspec.Meta()


def _reason(meta: msgspec.Meta) -> str:
    """Return why a bound is what it is, where the declaration says so in ``extra``."""
    reason = (meta.extra or {}).get("reason", "")
    return f"; {reason}" if reason else ""


def _type_words(base: Any, meta: msgspec.Meta) -> str:
    """Return what an option may be, in words for messages and the docs."""
    if base is int:
        return (
            f"a whole number from {meta.ge or 0} to {meta.le}"
            if meta.le
            else f"a whole number of {meta.ge or 0} or more"
        )
    if base is bool:
        return "1 (yes) or 0 (no)"
    if get_origin(base) is Literal:
        *others, last = filter(None, get_args(base))  # "" is a default that the sink works out itself
        return f"{', '.join(others)} or {last}" if others else str(last)
    return getattr(base, "OPTION_WORDS", "a text")
