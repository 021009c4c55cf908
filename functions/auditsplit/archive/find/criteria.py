"""Criteria: which events are found. Each criterion has the texts that a matching event must contain."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple, TypeAlias

import msgspec

from auditsplit.archive.find.needles import Needle, number_after, token
from auditsplit.event import NO_TIME, FoundHead, event_time

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Test: TypeAlias = Callable[[FoundHead], bool]

FAILED = range(400, 1000)
"""The codes of requests that failed."""

_PANIC = "Panic"
_FAMILY_CODES = 100


class Resource(NamedTuple):
    """A resource, of one API group or of any."""

    name: str
    group: str | None = None
    """None for any group. The core group is empty."""


class Criteria(msgspec.Struct, frozen=True, kw_only=True):
    """What a found event has. It matches every criterion, and one of the values of each. An empty one matches all.

    An empty text stands for an absent field.
    """

    users: tuple[str, ...] = ()
    """Names of authenticated users."""
    impersonated: tuple[str, ...] = ()
    """Names of users whom the authenticated user impersonated."""
    verbs: tuple[str, ...] = ()
    resources: tuple[Resource, ...] = ()
    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    codes: tuple[range, ...] = ()
    """Ranges of the response's code."""
    failed: bool = False
    """Whether the request failed: with a code of 400 or more, or with a panic."""
    source_ips: tuple[Network, ...] = ()
    """Networks, one of which has an address that the request came from, or that a proxy named."""
    stages: tuple[str, ...] = ()
    since: datetime | None = None
    """The first time that counts."""
    until: datetime | None = None
    """The first time that no longer counts."""

    def tests(self) -> list[Test]:
        """Return the tests that a found event passes, the quickest first."""
        texts = [
            (self.verbs, _verb),
            (self.stages, _stage),
            (self.users, _user),
            (self.impersonated, _impersonated),
            (self.namespaces, _namespace),
            (self.names, _object_name),
            (self.subresources, _subresource),
        ]
        tests = [_is_one_of(frozenset(values), value_of) for values, value_of in texts if values]
        others: list[tuple[object, Test]] = [
            (self.resources, self._has_resource),
            (self.codes, self._has_code),
            (self.failed, _has_failed),
            (self.source_ips, self._has_source),
            (self.since or self.until, self._is_within),
        ]
        return tests + [test for criterion, test in others if criterion]

    def needles(self) -> list[Needle]:
        """Return needles, each of which is in every matching event. A criterion may have none."""
        texts = (
            *(self.users, self.impersonated, self.verbs, self.namespaces, self.names, self.subresources, self.stages),
            tuple(resource.name for resource in self.resources),
            tuple(resource.group or "" for resource in self.resources),
            tuple(filter(None, map(_address, self.source_ips))) if all(map(_address, self.source_ips)) else (),
        )
        needles = [token(values) for values in texts]
        if self.codes:
            needles.append(number_after("code", [start for codes in self.codes for start in _digits(codes)]))
        if self.failed:
            needles.append(number_after("code", _digits(FAILED)).or_token(_PANIC))
        return [needle for needle in needles if needle]

    def _has_resource(self, head: FoundHead) -> bool:
        reference = head.objectRef
        name, group = (reference.resource or "", reference.apiGroup or "") if reference else ("", "")
        return any(name == each.name and each.group in (None, group) for each in self.resources)

    def _has_code(self, head: FoundHead) -> bool:
        code = head.responseStatus.code if head.responseStatus else None
        return code is not None and any(code in codes for codes in self.codes)

    def _has_source(self, head: FoundHead) -> bool:
        return any(address in network for address in _addresses(head) for network in self.source_ips)

    def _is_within(self, head: FoundHead) -> bool:
        time = event_time(head, NO_TIME)
        if time == NO_TIME:
            return False
        return (self.since is None or self.since <= time) and (self.until is None or time < self.until)


def _verb(head: FoundHead) -> str | None:
    return head.verb


def _stage(head: FoundHead) -> str | None:
    return head.stage


def _user(head: FoundHead) -> str | None:
    return head.user.username if head.user else None


def _impersonated(head: FoundHead) -> str | None:
    return head.impersonatedUser.username if head.impersonatedUser else None


def _namespace(head: FoundHead) -> str | None:
    return head.objectRef.namespace if head.objectRef else None


def _object_name(head: FoundHead) -> str | None:
    return head.objectRef.name if head.objectRef else None


def _subresource(head: FoundHead) -> str | None:
    return head.objectRef.subresource if head.objectRef else None


def _is_one_of(values: frozenset[str], value_of: Callable[[FoundHead], str | None]) -> Test:
    return lambda head: (value_of(head) or "") in values


def _has_failed(head: FoundHead) -> bool:
    code = head.responseStatus.code if head.responseStatus else None
    return head.stage == _PANIC or (code is not None and code in FAILED)


def _addresses(head: FoundHead) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    for text in head.sourceIPs or ():
        try:
            yield ipaddress.ip_address(text)
        except ValueError:
            continue


def _address(network: Network) -> str | None:
    """Return the only address of a network of IPv4. Only such an address has a single spelling."""
    is_one = isinstance(network, ipaddress.IPv4Network) and network.num_addresses == 1
    return str(network.network_address) if is_one else None


def _digits(codes: range) -> list[str]:
    """Return the first digits of the codes: of a code itself, or of the hundreds in a range."""
    if len(codes) == 1:
        return [str(codes.start)]
    hundreds = range(codes.start // _FAMILY_CODES, (codes.stop - 1) // _FAMILY_CODES + 1)
    return [str(hundred) for hundred in hundreds]
