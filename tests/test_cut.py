"""Cutting: the parts are gone, all other bytes stay, and an annotation names the missing parts."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import HOSTILE, PROPERTY, carrying, event, json_texts
from support.recording import DATA

from auditsplit.decode.outline import REFUSALS, Outline, decode_object
from auditsplit.policy import cut as cutting
from auditsplit.policy import edits
from auditsplit.policy.cut import without
from auditsplit.policy.parts import BODIES, MARK, PARTS

PATCH = "patch.webhook.admission.k8s.io/round_0_index_1"
MANAGED = [{"manager": "kubectl", "fieldsV1": {"f:data": {".": {}}}}]
OBJECT = {"metadata": {"name": "x", "managedFields": MANAGED}, "data": {"managedFields": "s3cret"}}
BARE = {"metadata": {"name": "x"}, "data": {"managedFields": "s3cret"}}


def scanned_without(text: bytes, parts: tuple[str, ...]) -> bytes | None:
    """Return what `without` should return, found without a parser."""
    return cutting._outlined_without(Outline(text, edits.name_of, parse=False), parts)


def joined_without(text: bytes, parts: tuple[str, ...]) -> bytes | None:
    """Return the members of an item that stay, joined. None where more is needed."""
    try:
        members = decode_object(text)
    except REFUSALS:
        return None
    return cutting._parsed_without(members, text, parts)


def outlined_without(text: bytes, parts: tuple[str, ...]) -> bytes | None:
    """Return what `without` should return, with a parser's outline where the lengths add up."""
    return cutting._outlined_without(Outline(text, edits.name_of), parts)


def compact(document: Any) -> bytes:
    """Return ``document`` as Go writes it."""
    return json.dumps(document, separators=(",", ":")).encode()


@pytest.mark.parametrize("parts", [("requestObject",), ("responseObject",), BODIES, PARTS])
def test_bodies_are_cut_and_all_other_bytes_stay(parts: tuple[str, ...]) -> None:
    """The bodies are cut with their commas. The mark is added as the last annotation."""
    before = compact({"level": "RequestResponse", "verb": "create"})[:-1]
    between = b',"x": 1.0e400 ,"y" : "\\u0041"'
    text = before + b',"requestObject":{"a":1}' + between + b',"responseObject":[2],"annotations":{"a":"b"}}'
    expected = text
    for body, member in (("requestObject", b',"requestObject":{"a":1}'), ("responseObject", b',"responseObject":[2]')):
        expected = expected.replace(member, b"") if body in parts else expected
    dropped = ",".join(part for part in BODIES if part in parts).encode()

    assert without(text, parts) == expected.replace(b'"b"}}', b'"b","auditsplit/dropped":"%s"}}' % dropped)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"level":"x","requestObject":1}', b'{"level":"x","annotations":{%s}}'),
        (b'{"requestObject":1,"level":"x"}', b'{"level":"x","annotations":{%s}}'),
        (b'{"requestObject":1 , "responseObject":2 , "level":"x" }', b'{"level":"x" ,"annotations":{%s}}'),
        (b'{"requestObject":1}', b'{"annotations":{%s}}'),
        (b'{"annotations":null,"requestObject":1}', b'{"annotations":{%s}}'),
        (b'{"annotations":{},"requestObject":1}', b'{"annotations":{%s}}'),
        (b'{"annotations":{"a":"b"},"requestObject":1}', b'{"annotations":{"a":"b",%s}}'),
        (
            b'{"annotations":{"a":"b"},"annotations":null,"requestObject":1}',
            b'{"annotations":{"a":"b"},"annotations":{%s}}',
        ),
        (
            b'{"level":"x","annotations":{"patch\\u002ewebhook.admission.k8s.io\\/r":"1"}}',
            b'{"level":"x","annotations":{%s}}',
        ),
        (b'{"\\u0072equestObject":1,"level":"x"}', b'{"level":"x","annotations":{%s}}'),
        (b'{"request\\u004fbject":1,"requestObject":2,"level":"x"}', b'{"level":"x","annotations":{%s}}'),
    ],
)
def test_the_mark_is_added_to_any_item(text: bytes, expected: bytes) -> None:
    """The commas and the mark are right for any position of the body and any annotations."""
    parts = BODIES if b"responseObject" in text else ("requestObject",)

    assert without(text, parts) == expected % b'"%s":"%s"' % (MARK.encode(), ",".join(parts).encode())


def test_the_patches_of_webhooks_are_cut_with_the_request() -> None:
    """An annotation with a mutating webhook's patch contains a part of the request's object."""
    annotations = {"a.example/b": "c", PATCH: '{"patch":[{"op":"add","path":"/data/key","value":"s3cret"}]}'}
    text = event(annotations=annotations, requestObject={"data": {"key": "s3cret"}}, responseObject={"kind": "Secret"})

    request, response = without(text, ("requestObject",)), without(text, ("responseObject",))

    assert request is not None
    assert response is not None
    assert b"s3cret" not in request
    assert json.loads(request)["annotations"] == {"a.example/b": "c", MARK: "requestObject"}
    assert json.loads(response)["annotations"] == {**annotations, MARK: "responseObject"}


def test_a_patch_is_cut_without_a_body() -> None:
    """An event without a request object may still have the patch."""
    cut = without(event(annotations={PATCH: "s3cret"}), ("requestObject",))

    assert cut is not None
    assert json.loads(cut)["annotations"] == {MARK: "requestObject"}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (OBJECT, BARE),
        ({"kind": "SecretList", "items": [OBJECT, OBJECT, 1]}, {"kind": "SecretList", "items": [BARE, BARE, 1]}),
        ({"kind": "Table", "rows": [{"object": OBJECT}]}, {"kind": "Table", "rows": [{"object": BARE}]}),
        ({"metadata": {"managedFields": MANAGED}, "items": {}}, {"metadata": {}, "items": {}}),
    ],
)
def test_managed_fields_are_cut_where_kubernetes_has_them(body: str, document: Any, expected: Any) -> None:
    """They are cut from an object, a list's items and a table's rows, as by the policy's omitManagedFields."""
    cut = without(event(**{body: document}), ("managedFields",))

    assert cut == event(**{body: expected}, annotations={MARK: "managedFields"})


@pytest.mark.parametrize(
    "text",
    [
        event(),
        event(requestObject={"metadata": {"name": "managedFields"}}, note='"managedFields"'),
        event(requestObject=[{"metadata": {"managedFields": []}}], responseObject="managedFields"),
        event(requestObject={"metadata": ["managedFields"], "items": [["managedFields"], "x"]}),
        event(requestObject={"spec": {"metadata": {"managedFields": MANAGED}}}),
        event(annotations={MARK: "requestObject", "managedFields": "x"}),
    ],
)
def test_an_event_without_the_part_is_not_changed(text: bytes) -> None:
    """A name of the part anywhere else in an event has no effect."""
    assert without(text, ("managedFields",)) is None


def test_the_name_of_a_body_in_another_place_stays() -> None:
    """The name in a string, or deeper in the event, is not a body."""
    text = event(note=r"\",\"requestObject\":{}", user={"username": "a", "extra": {"requestObject": ["x"]}})

    assert without(text, PARTS) is None


def test_cutting_twice_is_cutting_once() -> None:
    """So a log that was split before can be split again."""
    once = without(event(requestObject=OBJECT), PARTS)

    assert once is not None
    assert without(once, PARTS) is None


def test_an_earlier_mark_is_updated() -> None:
    """The parts that were cut before and those that are cut now are in one annotation."""
    first = without(event(requestObject=1, responseObject=OBJECT), ("requestObject",))
    assert first is not None

    second = without(first, ("managedFields",))

    assert second is not None
    assert second.count(MARK.encode()) == 1
    assert json.loads(second)["annotations"] == {MARK: "requestObject,managedFields"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_cut(name: str) -> None:
    """A body that parsers refuse is cut like any other."""
    head = event("mallory")[:-1]

    cut = without(HOSTILE[name], PARTS)

    assert cut == head + b',"annotations":{"auditsplit/dropped":"requestObject"}}'


TOO_DEEP = {name for name in HOSTILE if "nested" in name}
"""Bodies of more than 4 kB with more levels than parsers read."""


@pytest.mark.parametrize("name", sorted(HOSTILE.keys() - TOO_DEEP))
def test_hostile_bodies_are_searched_for_managed_fields(name: str) -> None:
    """The member beside text that parsers refuse is cut, and that text stays as it was."""
    body = HOSTILE[name][len(event("mallory")[:-1] + b',"requestObject":') : -1]
    text = carrying(b'{"metadata":{"managedFields":[],"x":%s},"y":%s}' % (body, body))

    cut = without(text, ("managedFields",))

    expected = carrying(b'{"metadata":{"x":%s},"y":%s}' % (body, body))
    assert cut == expected[:-1] + b',"annotations":{"auditsplit/dropped":"managedFields"}}'


@pytest.mark.parametrize("name", sorted(TOO_DEEP))
def test_a_large_body_that_parsers_find_too_deep_keeps_its_managed_fields(name: str) -> None:
    """To find each of them takes too long, and Kubernetes has no such objects. Whole bodies are cut all the same."""
    body = HOSTILE[name][len(event("mallory")[:-1] + b',"requestObject":') : -1]
    text = carrying(b'{"metadata":{"managedFields":[],"x":%s}}' % body)

    assert without(text, ("managedFields",)) is None
    assert b"managedFields" not in (without(text, PARTS) or b"managedFields").replace(b'"managedFields"}}', b"")


def test_a_large_body_of_hardly_more_than_managed_fields_stays_whole() -> None:
    """Each would take some microseconds, and no object of Kubernetes is so small. A small body is searched."""
    element = b'{"metadata":{"managedFields":[]}}'
    large, small = (carrying(b'{"items":[%b]}' % b",".join([element] * count)) for count in (9_000, 100))

    assert without(large, ("managedFields",)) is None
    assert (without(small, ("managedFields",)) or b"").count(b"managedFields") == 1


def test_names_that_are_not_valid_json_are_not_parts() -> None:
    """Names and an earlier mark may have an invalid escape, or bytes that are not UTF-8."""
    text = rb'{"annotations":{"auditsplit/dropped":"\x"},"requestObject":{"\x":1,"metadata":{"managedFields":1,"\q":2}}'

    cut = without(text + b',"\xff":0}', ("managedFields",))

    head = b'{"annotations":{"auditsplit/dropped":"managedFields"},"requestObject"'
    assert cut == head + rb':{"\x":1,"metadata":{"\q":2}}' + b',"\xff":0}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"items":[' + b"{}," * 100_000 + b'{"metadata":{"managedFields":[]}}]}',
        b'{"metadata":{' + b'"a":1,' * 50_000 + b'"managedFields":[]}}',
    ],
    ids=["items", "members"],
)
def test_no_body_takes_long_to_search(body: bytes) -> None:
    """A tenth of the 3 MB that the apiserver accepts takes less than a tenth of the 30 s that it waits."""
    began = time.process_time()

    assert without(carrying(body), ("managedFields",)) is not None
    assert time.process_time() - began < 3


def test_recorded_events_lose_only_the_parts() -> None:
    """For a real server's events, cutting and then parsing is parsing and then deleting."""
    cut = 0
    for text in (DATA / "audit.log").read_bytes().splitlines():
        after = without(text, PARTS)
        expected = model(pairs(text), PARTS)
        if after is None:
            assert expected is None
        else:
            assert pairs(after) == expected
            cut += 1

    assert cut > 50


def test_the_scan_cuts_recorded_events_like_the_parser() -> None:
    """All ways return the same bytes, and more than 50 of a real server's events need no more than a join."""
    joined = 0
    for text in (DATA / "audit.log").read_bytes().splitlines():
        quick = joined_without(text, BODIES)
        if quick is not None:
            joined += 1
            assert quick == scanned_without(text, BODIES)
        for parts in (BODIES, PARTS):
            assert outlined_without(text, parts) == scanned_without(text, parts)

    assert joined > 50


AMBIGUOUS = [
    b'{"x":1,"requestObject":2,"annotations":{"a":"b"},"annotations":{"c":"d"},"annotations": {"c":"d"}}',
    b'{"x":{"y":1,"requestObject":2},"requestObject": 2,"annotations":{"a":"b"}}',
    b'{"x":1,"requestObject":2,"requestObject":3,"annotations":{"a":"b"}}',
    b'{"requestObject":2,"\\u0072equestObject":3,"annotations":{"a":"b"}}',
    b'{"x":{"y":0,"annotations":{"a":"b"}},"annotations": {"a":"b"},"requestObject":2}',
    b'{"x":1,"requestObject":2,"annotations":{"a":"b"},"annotations":{"c":"d"},"y": {"c":"d"}}',
    b'{"x":1,"requestObject":2,"x":1,"responseObject":3,"annotations":{"a":"b"}}',
    '{"é":1,"requestObject":2,"annotations":{"a":"b"}}'.encode(),
    b'{"x":1,"requestObject":2,"annotations":{}}',
    b'{"x":1,"requestObject":2}',
    b'{"x":1,"requestObject":2,"annotations":{"auditsplit/dropped":"requestObject"}}',
    b'{"x":1,"requestObject":2,"annotations":{"patch.webhook.admission.k8s.io/r":"2"}}',
]


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_an_ambiguous_item_takes_more_than_a_join(text: bytes) -> None:
    """A name is there twice, in an escape or with white space, or the annotations need more than the mark."""
    assert joined_without(text, BODIES) is None
    cut = without(text, BODIES)

    assert cut is not None
    assert cut == scanned_without(text, BODIES)
    assert pairs(cut) == model(pairs(text), BODIES)


@pytest.mark.parametrize(
    "text",
    [
        b'{"x":{"y":1,"requestObject":2},"requestObject":2,"annotations":{"a":"b"}}',
        b'{"requestObject":2,"annotations":{"a":"b"}}',
        b'{"x":1,"responseObject":3,"requestObject":2,"annotations":{"a":"b"}}',
        b'{"annotations":{"a":"b"},"requestObject":{"annotations":{"a":"b"}},"x":2}',
    ],
)
def test_a_body_may_be_anywhere_for_a_join(text: bytes) -> None:
    """The lengths add up, so the names are those of the item's own members, each there once."""
    cut = joined_without(text, BODIES)

    assert cut is not None
    assert cut == scanned_without(text, BODIES)
    assert pairs(cut) == model(pairs(text), BODIES)


# The model: the same with parsed documents. An object is the list of its members, so that equal names stay apart.


class Members(list[tuple[str, Any]]):
    """An object as the list of its members."""


def pairs(text: bytes) -> Any:
    """Return the document. Numbers keep their spelling."""
    decoder = json.JSONDecoder(
        object_pairs_hook=Members, parse_int=str, parse_float=str, parse_constant=str, strict=False
    )
    return decoder.decode(text.decode("utf-8", "surrogateescape"))


def model(item: Members, parts: tuple[str, ...]) -> Members | None:
    """Return what `without` should return."""
    dropped: set[str] = set()
    marked: set[str] = set()
    kept = Members()
    for name, value in item:
        if name in BODIES and name in parts:
            dropped.add(name)
        elif name in BODIES and "managedFields" in parts:
            kept.append((name, unmanaged(value, dropped)))
        elif name == "annotations" and isinstance(value, Members):
            kept.append((name, unmarked(value, parts, dropped, marked)))
        else:
            kept.append((name, value))
    if not dropped:
        return None
    mark = (MARK, ",".join(part for part in PARTS if part in dropped | marked))
    positions = [index for index, (name, _) in enumerate(kept) if name == "annotations"]
    if positions:
        kept[positions[-1]] = ("annotations", Members([*(kept[positions[-1]][1] or ()), mark]))
    else:
        kept.append(("annotations", Members([mark])))
    return kept


def unmarked(annotations: Members, parts: tuple[str, ...], dropped: set[str], marked: set[str]) -> Members:
    """Return annotations without patches and marks. Add the parts that they name to ``dropped`` and ``marked``."""
    kept = Members()
    for name, value in annotations:
        if name == MARK:
            marked.clear()
            marked.update(value.split(","))
        elif name.startswith("patch.webhook.admission.k8s.io/") and "requestObject" in parts:
            dropped.add("requestObject")
        else:
            kept.append((name, value))
    return kept


def unmanaged(body: Any, dropped: set[str]) -> Any:
    """Return an object, a list of objects or a table without managedFields."""

    def of_metadata(metadata: Any) -> Any:
        if isinstance(metadata, Members) and any(name == "managedFields" for name, _ in metadata):
            dropped.add("managedFields")
            return Members(pair for pair in metadata if pair[0] != "managedFields")
        return metadata

    def of_object(document: Any) -> Any:
        return changed(document, {"metadata": of_metadata})

    def of_list(value: Any) -> Any:
        return [of_object(item) for item in value] if type(value) is list else value

    def of_rows(value: Any) -> Any:
        return [changed(row, {"object": of_object}) for row in value] if type(value) is list else value

    return changed(body, {"metadata": of_metadata, "items": of_list, "rows": of_rows})


def changed(document: Any, by_name: dict[str, Any]) -> Any:
    """Return an object with each member changed by the function that ``by_name`` has for it."""
    if not isinstance(document, Members):
        return document
    return Members((name, by_name[name](value) if name in by_name else value) for name, value in document)


def objects(names: list[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return JSON objects with some of these names, also twice, and white space."""
    members = st.tuples(st.sampled_from([*names, '"x"']), values | json_texts)
    gap = st.sampled_from(["", "", " ", "\t "])
    return st.builds(
        lambda pairs, gap: f"{{{gap}{f',{gap}'.join(f'{name}{gap}:{value}' for name, value in pairs)}{gap}}}",
        st.lists(members, max_size=4),
        gap,
    )


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return JSON arrays."""
    return st.lists(values | json_texts, max_size=3).map(lambda elements: f"[{' , '.join(elements)}]")


metadata = objects(['"metadata"'], objects(['"managedFields"', r'"managed\u0046ields"'], json_texts))
bodies = metadata | objects(
    ['"items"', '"metadata"', '"rows"'], lists(metadata) | lists(objects(['"object"'], metadata))
)
marks = st.sampled_from(['"requestObject"', '"responseObject,managedFields"', '"x"', '""'])
some_annotations = st.just("null") | st.lists(
    st.tuples(st.just(f'"{MARK}"'), marks)
    | st.tuples(st.sampled_from([f'"{PATCH}"', r'"patch.webhook.admission.k8s.io\/r"', '"a/b"']), st.just('"{\\"}"')),
    max_size=3,
).map(lambda members: f"{{{','.join(f'{name}:{value}' for name, value in members)}}}")
items = st.lists(
    st.tuples(st.sampled_from(['"requestObject"', '"responseObject"', r'"response\u004fbject"']), bodies | json_texts)
    | st.tuples(st.just('"annotations"'), some_annotations)
    | st.tuples(st.sampled_from(['"level"', '"é"', r'"\ud800"']), json_texts),
    min_size=1,
    max_size=6,
).map(lambda members: f"{{{' ,'.join(f'{name}: {value}' for name, value in members)} }}".encode())
"""Items whose bodies are objects, lists and tables with managed fields, or anything."""


@PROPERTY
@given(items, st.sets(st.sampled_from(PARTS), min_size=1).map(lambda parts: tuple(sorted(parts))))
def test_cutting_then_parsing_is_parsing_then_deleting(text: bytes, parts: tuple[str, ...]) -> None:
    """It holds for any item and any parts. An item without the parts stays as it is."""
    cut = without(text, parts)

    assert cut == scanned_without(text, parts) == outlined_without(text, parts)
    assert (None if cut is None else pairs(cut)) == model(pairs(text), parts)


@PROPERTY
@given(st.lists(json_texts, max_size=3), json_texts, st.booleans(), st.sampled_from([BODIES, ("requestObject",)]))
def test_the_scan_cuts_like_the_parser(others: list[str], body: str, nested: bool, parts: tuple[str, ...]) -> None:  # noqa: FBT001
    """Where the parser cuts an event that is written as Go does, the scan returns the same bytes."""
    members = [f'"x{number}":{text}' for number, text in enumerate(others)]
    members += [f'"x":{{"y":0,"requestObject":{body}}}'] * nested
    members += [f'"requestObject":{body}', f'"responseObject":{body}', '"annotations":{"a/b":"c"}']
    text = f'{{"level":"Request",{",".join(members)}}}'.encode()

    quick = joined_without(text, parts)

    assert quick in (None, scanned_without(text, parts))
