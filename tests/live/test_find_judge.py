"""What find finds is what a program around kube-apiserver's own types finds (``tests/find/judge``)."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

from support.questions import INCIDENTS, QUESTIONS, SEVEN, day, judged
from support.recording import DATA

from auditsplit.archive.find.criteria import Criteria, Resource
from auditsplit.archive.find.search import Search, Seen

EVENTS = 1_000_000
RECORDED_QUESTIONS = {
    **SEVEN,
    **INCIDENTS,
    "deleted": Criteria(verbs=("delete",), resources=(Resource("deployments", "apps"),)),
    "of bob": Criteria(users=("bob",)),
    "of a path": Criteria(users=("a/b", "../../etc/passwd")),
    "of a name in two scripts": Criteria(users=("ユーザー-ünï",)),
    "of nobody": Criteria(users=("",)),
    "denied": Criteria(codes=(range(401, 404),)),
    "failed": Criteria(failed=True, stages=("ResponseComplete",)),
    "in a second": Criteria(
        since=datetime(2026, 11, 23, 11, 29, 50, tzinfo=UTC), until=datetime(2026, 11, 23, 11, 29, 51, tzinfo=UTC)
    ),
}


def found(criteria: Criteria, path: Path) -> list[tuple[str, ...]]:
    """Return the auditID, stage and time of each event that is found."""
    with io.FileIO(path) as raw, io.BufferedReader(raw) as stream:
        heads = [each.head for each in Search(criteria).events(stream, Seen())]
    return sorted((head.auditID or "", head.stage or "", _nanoseconds(head.stageTimestamp)) for head in heads)


def _nanoseconds(text: str | None) -> str:
    """Return the time as Go's RFC3339Nano writes it, without zeros at its end."""
    return (text or "").removesuffix("Z").rstrip("0").removesuffix(".") + "Z"


def answers(questions: dict[str, Criteria], path: Path) -> tuple[dict[str, list[tuple[str, ...]]], ...]:
    """Return what find answers to each question, and what the judge answers."""
    theirs = dict(zip(questions, judged(questions.values(), [path]), strict=True))
    return {name: found(criteria, path) for name, criteria in questions.items()}, theirs


def test_the_recorded_events_are_found_as_kube_apiservers_types_find_them() -> None:
    """By each criterion, and by several."""
    ours, theirs = answers(RECORDED_QUESTIONS, DATA / "audit.log")

    assert [name for name in RECORDED_QUESTIONS if ours[name] != theirs[name]] == []


def test_a_day_of_a_million_events_is_searched_as_kube_apiservers_types_search_it(tmp_path: Path) -> None:
    """For the seven questions of the documentation and ten of incidents, each of which has an answer."""
    path = tmp_path / "audit.log"
    with path.open("wb") as log:
        log.writelines(day(EVENTS))

    ours, theirs = answers(QUESTIONS, path)

    assert [name for name in QUESTIONS if ours[name] != theirs[name]] == []
    assert [name for name in QUESTIONS if not ours[name]] == []
