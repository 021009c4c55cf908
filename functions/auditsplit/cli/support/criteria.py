"""The options that say which events are found, and their types."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from auditsplit.archive.find.criteria import Criteria, Network, Resource
from auditsplit.cli.support.moments import MOMENT

_CODE = re.compile(r"(?P<first>[1-9]\d\d)(?:-(?P<last>[1-9]\d\d))?|(?P<hundred>[1-9])xx")
_HUNDRED = 100
_STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Codes(click.ParamType[range]):
    name = "code"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """Return the codes that ``value`` names."""
        match = _CODE.fullmatch(str(value))
        if not match:
            self.fail(f"{str(value)[:40]!r} is not a valid code. Write 403, 4xx or 400-499", param, ctx)
        if hundred := match["hundred"]:
            return range(int(hundred) * _HUNDRED, int(hundred) * _HUNDRED + _HUNDRED)
        return range(int(match["first"]), int(match["last"] or match["first"]) + 1)


class _Addresses(click.ParamType[Network]):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Network:
        """Return the network that ``value`` names. An address is a network of its own."""
        try:
            return ipaddress.ip_network(value, strict=False)
        except ValueError:
            self.fail(f"{str(value)[:40]!r} is not a valid address. Write 10.0.0.7, or 10.0.0.0/8", param, ctx)


class _Resource(click.ParamType[Resource]):
    name = "resource"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Resource:
        """Return the resource that ``value`` names, perhaps with its group."""
        name, dot, group = str(value).partition(".")
        if "/" in value:
            self.fail(f"{str(value)[:40]!r} has a subresource. Write it as --subresource", param, ctx)
        return Resource(name, group if dot else None)


def criteria_options(command: _Command) -> _Command:
    """Add the options. `criteria` makes `Criteria` of their values."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def criteria(values: dict[str, Any]) -> Criteria:
    """Return the criteria of the options' values."""
    return Criteria(**values)


def _text(option: str, field: str, text: str, *more: str) -> Callable[[_Command], _Command]:
    return click.option(*more, option, field, metavar=option[2:].upper(), multiple=True, help=text)


_OPTIONS = (
    _text("--user", "users", "The authenticated user."),
    _text("--as", "impersonated", "The user whom that user impersonated."),
    _text("--verb", "verbs", "The verb, such as delete."),
    click.option(
        "--resource",
        "resources",
        metavar="RESOURCE[.GROUP]",
        type=_Resource(),
        multiple=True,
        help="The resource, such as deployments or deployments.apps.",
    ),
    _text("--namespace", "namespaces", "The namespace of the object.", "-n"),
    _text("--name", "names", "The name of the object."),
    _text("--subresource", "subresources", "The subresource, such as exec."),
    click.option(
        "--code", "codes", metavar="CODE", type=_Codes(), multiple=True, help="The code: 403, 4xx or 400-499."
    ),
    click.option("--failed", is_flag=True, help="Only requests with a code of 400 or more, and panics."),
    click.option(
        "--source-ip",
        "source_ips",
        metavar="ADDRESS",
        type=_Addresses(),
        multiple=True,
        help="An address, or a network such as 10.0.0.0/8, that the request came from.",
    ),
    click.option("--stage", "stages", type=click.Choice(_STAGES), multiple=True, help="The stage."),
    click.option("--since", metavar="TIME", type=MOMENT, help="From this time on, such as 2026-11-23T14:00:00Z or 2h."),
    click.option("--until", metavar="TIME", type=MOMENT, help="Before this time."),
)
