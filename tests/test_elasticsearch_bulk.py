"""Bulk: bodies of a bounded size, and what an answer's items mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY

from auditsplit.sinks.elasticsearch import bulk
from auditsplit.sinks.elasticsearch.bulk import ItemFailure, Outcome, Stored
from auditsplit.sinks.elasticsearch.delivery import RenderedItem
from auditsplit.sinks.failures import Failure


def items_of(sizes: list[int]) -> list[RenderedItem]:
    """Return items with documents of these sizes."""
    return [RenderedItem("logs-x", str(number), b'"%b"' % (b"x" * size)) for number, size in enumerate(sizes)]


def test_a_body_has_an_action_and_a_document_for_each_item() -> None:
    """On lines of their own."""
    ((items, body),) = bulk.bodies(
        [RenderedItem("logs-x", "id-1", b'{"a":1}'), RenderedItem("logs-y", "id-2", b"{}")], 1000
    )

    assert [item.id for item in items] == ["id-1", "id-2"]
    assert body == (
        b'{"create":{"_index":"logs-x","_id":"id-1"}}\n{"a":1}\n{"create":{"_index":"logs-y","_id":"id-2"}}\n{}\n'
    )


@PROPERTY
@given(sizes=st.lists(st.integers(0, 400)), max_bytes=st.integers(1, 1000))
def test_bodies_are_bounded_and_hold_all(sizes: list[int], max_bytes: int) -> None:
    """In order. Only a document that is larger by itself makes a larger body."""
    parts = list(bulk.bodies(items_of(sizes), max_bytes))

    assert [item.id for items, _ in parts for item in items] == [str(number) for number in range(len(sizes))]
    assert all(len(body) <= max_bytes or len(items) == 1 for items, body in parts)
    assert all(len(body.splitlines()) == 2 * len(items) for items, body in parts)


DOCUMENT = {
    "type": "document_parsing_exception",
    "reason": "[1:84] failed to parse field [kubernetes.audit.requestObject] of type [flattened]",
    "caused_by": {"type": "illegal_argument_exception", "reason": "exceeds the maximum depth limit of [20]."},
}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"status": 201}, Stored.CREATED),
        ({"status": 409, "error": {"type": "version_conflict_engine_exception"}}, Stored.DUPLICATE),
        (
            {"status": 400, "error": DOCUMENT},
            ItemFailure(
                Failure.DOCUMENT,
                "document_parsing_exception",
                f"{DOCUMENT['reason']}: exceeds the maximum depth limit of [20].",
            ),
        ),
        (
            {"status": 403, "error": {"type": "security_exception", "reason": "no"}},
            ItemFailure(Failure.NOT_ALLOWED, "security_exception", "no"),
        ),
        (
            {"status": 201, "failure_store": "used"},
            ItemFailure(Failure.DOCUMENT, "failure_store", "it went to the failure store"),
        ),
        ({"status": 500}, ItemFailure(Failure.BROKEN, "", "")),
    ],
)
def test_an_items_answer_is_read(answer: dict[str, Any], outcome: Outcome) -> None:
    """Created, a duplicate, or refused with what to do."""
    assert bulk.outcome(json.loads(json.dumps(answer))) == outcome
