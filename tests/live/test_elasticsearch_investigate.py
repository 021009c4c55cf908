"""docs/investigate.md: its questions to Elasticsearch have the answers that find gives over the same events."""

from __future__ import annotations

import msgspec
import pytest
from support.elastic_corpus import Corpus
from support.pages import blocks

from auditsplit.archive.find.criteria import Criteria, Resource
from auditsplit.event import FoundHead

ENDED = ("ResponseComplete",)
SUCCESS = (range(100, 300),)
QUESTIONS = [
    Criteria(
        verbs=("delete",), resources=(Resource("deployments"),), namespaces=("team-a",), names=("web",), stages=ENDED
    ),
    Criteria(verbs=("get", "list", "watch"), resources=(Resource("secrets"),), stages=ENDED, codes=SUCCESS),
    Criteria(users=("admin",), verbs=("delete", "deletecollection"), stages=ENDED, codes=SUCCESS),
    Criteria(codes=(range(401, 402), range(403, 404)), stages=ENDED),
]


@pytest.mark.parametrize("number", range(len(QUESTIONS)))
def test_a_question_in_kql_finds_what_find_finds(audited: Corpus, number: int) -> None:
    """By auditID and stage."""
    texts = blocks("investigate.md", "Elasticsearch", "kql")
    tests = QUESTIONS[number].tests()
    heads = [msgspec.convert(found, FoundHead) for found in audited.events]
    expected = {(head.auditID, head.stage) for head in heads if all(test(head) for test in tests)}

    assert len(texts) == len(QUESTIONS)
    assert audited.ids({"kql": {"query": texts[number]}}) == expected != set()
