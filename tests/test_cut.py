"""Excision: what is cut is gone, what is not stays byte for byte, and the event says what is missing."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from conftest import DATA
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import HOSTILE, PROPERTY, carrying, event, json_texts

from auditsplit.policy.cut import BODIES, MARK, PARTS, _parsed_without, _scanned_without, without

PATCH = "patch.webhook.admission.k8s.io/round_0_index_1"
MANAGED = [{"manager": "kubectl", "fieldsV1": {"f:data": {".": {}}}}]
OBJECT = {"metadata": {"name": "x", "managedFields": MANAGED}, "data": {"managedFields": "s3cret"}}
BARE = {"metadata": {"name": "x"}, "data": {"managedFields": "s3cret"}}


def compact(document: Any) -> bytes:
    """Return it as Go writes it."""
    return json.dumps(document, separators=(",", ":")).encode()


@pytest.mark.parametrize("parts", [("requestObject",), ("responseObject",), BODIES, PARTS])
def test_bodies_are_gone_and_the_rest_is_as_it_was(parts: tuple[str, ...]) -> None:
    """The members of the bodies go with their commas; the mark comes as the last annotation."""
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
def test_the_mark_finds_its_place(text: bytes, expected: bytes) -> None:
    """Wherever the body stands, and whatever annotations there are, the commas and the mark are right."""
    parts = BODIES if b"responseObject" in text else ("requestObject",)

    assert without(text, parts) == expected % b'"%s":"%s"' % (MARK.encode(), ",".join(parts).encode())


def test_what_webhooks_changed_goes_with_the_request() -> None:
    """The apiserver puts a mutating webhook's patch into an annotation: it is a piece of the object."""
    annotations = {"a.example/b": "c", PATCH: '{"patch":[{"op":"add","path":"/data/key","value":"s3cret"}]}'}
    text = event(annotations=annotations, requestObject={"data": {"key": "s3cret"}}, responseObject={"kind": "Secret"})

    request, response = without(text, ("requestObject",)), without(text, ("responseObject",))

    assert request is not None
    assert response is not None
    assert b"s3cret" not in request
    assert json.loads(request)["annotations"] == {"a.example/b": "c", MARK: "requestObject"}
    assert json.loads(response)["annotations"] == {**annotations, MARK: "responseObject"}


def test_a_patch_alone_is_cut() -> None:
    """An event whose request object was left out already may still have the patch."""
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
def test_managed_fields_go_where_kubernetes_keeps_them(body: str, document: Any, expected: Any) -> None:
    """Of an object, a list's items and a table's rows, as the policy's omitManagedFields does; nowhere else."""
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
def test_an_event_without_the_part_is_none(text: bytes) -> None:
    """A word that looks like the part changes nothing."""
    assert without(text, ("managedFields",)) is None


def test_a_body_that_only_looks_like_one_stays() -> None:
    """A name in a string, or deeper in the event, is no body."""
    text = event(note=r"\",\"requestObject\":{}", user={"username": "a", "extra": {"requestObject": ["x"]}})

    assert without(text, PARTS) is None


def test_cutting_again_changes_nothing() -> None:
    """A log that was split once can be split again: the same bytes come out."""
    once = without(event(requestObject=OBJECT), PARTS)

    assert once is not None
    assert without(once, PARTS) is None


def test_an_earlier_mark_is_kept_up() -> None:
    """What was cut on the way here, and what is cut here, stand in one annotation, once."""
    first = without(event(requestObject=1, responseObject=OBJECT), ("requestObject",))
    assert first is not None

    second = without(first, ("managedFields",))

    assert second is not None
    assert second.count(MARK.encode()) == 1
    assert json.loads(second)["annotations"] == {MARK: "requestObject,managedFields"}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_body_is_too_odd(name: str) -> None:
    """Bodies that parsers refuse are cut like others, to the byte."""
    head = event("mallory")[:-1]

    cut = without(HOSTILE[name], PARTS)

    assert cut == head + b',"annotations":{"auditsplit/dropped":"requestObject"}}'


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_searched_for_managed_fields(name: str) -> None:
    """The member beside a body that parsers refuse is found, and the body stays as it came."""
    body = HOSTILE[name][len(event("mallory")[:-1] + b',"requestObject":') : -1]
    text = carrying(b'{"metadata":{"managedFields":[],"x":%s},"y":%s}' % (body, body))

    cut = without(text, ("managedFields",))

    expected = carrying(b'{"metadata":{"x":%s},"y":%s}' % (body, body))
    assert cut == expected[:-1] + b',"annotations":{"auditsplit/dropped":"managedFields"}}'


def test_names_that_are_no_json_are_no_parts() -> None:
    """An escape that JSON doesn't have, and bytes that are not UTF-8, in names and in an earlier mark."""
    text = rb'{"annotations":{"auditsplit/dropped":"\x"},"requestObject":{"\x":1,"metadata":{"managedFields":1,"\q":2}}'

    cut = without(text + b',"\xff":0}', ("managedFields",))

    head = b'{"annotations":{"auditsplit/dropped":"managedFields"},"requestObject"'
    assert cut == head + rb':{"\x":1,"metadata":{"\q":2}}' + b',"\xff":0}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"items":[' + b"{}," * 100_000 + b'{"metadata":{"managedFields":[]}}]}',
        b'{"metadata":{' + b'"a":1,' * 50_000 + b'"managedFields":[]}}',
        b'{"items":[' + b'{"metadata":{"managedFields":[]}},' * 9_000 + b"{}]}",
        b'{"metadata":{"managedFields":' + b"[" * 150_000 + b"]" * 150_000 + b"}}",
    ],
    ids=["items", "members", "managed fields", "depth"],
)
def test_no_user_can_make_the_search_long(body: bytes) -> None:
    """The apiserver takes requests of 3 MB; the worst of those must not outlast its patience: a tenth, 3 s."""
    began = time.process_time()

    assert without(carrying(body), ("managedFields",)) is not None
    assert time.process_time() - began < 3


def test_recorded_events_lose_just_the_part() -> None:
    """On a real server's events, cutting and then parsing is parsing and then deleting."""
    cut = 0
    for text in (DATA / "audit.log").read_bytes().splitlines():
        found = without(text, PARTS)
        expected = model(pairs(text), PARTS)
        if found is None:
            assert expected is None
        else:
            assert pairs(found) == expected
            cut += 1

    assert cut > 50


def test_events_of_a_real_server_are_cut_alike_by_both_ways() -> None:
    """What is found by parsing is what is found by the structure alone, and a real server's events are parsed."""
    parsed = 0
    for text in (DATA / "audit.log").read_bytes().splitlines():
        quick = _parsed_without(text, BODIES)
        if quick is not None:
            parsed += 1
            assert quick == _scanned_without(text, BODIES)

    assert parsed > 50


def test_of_several_annotations_the_last_get_the_mark() -> None:
    """Written as no Go writes them; both ways agree."""
    text = b'{"x":1,"requestObject":2,"annotations":{"a":"b"},"annotations":{"c":"d"},"annotations": {"c":"d"}}'
    cut = without(text, BODIES)

    assert cut is not None
    assert cut == _scanned_without(text, BODIES)
    assert pairs(cut) == model(pairs(text), BODIES)


@pytest.mark.parametrize(
    "text",
    [
        b'{"x":{"y":1,"requestObject":2},"requestObject":2,"annotations":{"a":"b"}}',
        b'{"x":{"y":1,"requestObject":2},"requestObject": 2,"annotations":{"a":"b"}}',
        b'{"x":1,"requestObject":2,"requestObject":3,"annotations":{"a":"b"}}',
        b'{"requestObject":2,"annotations":{"a":"b"}}',
        b'{"x":{"y":0,"annotations":{"a":"b"}},"annotations": {"a":"b"},"requestObject":2}',
        b'{"x":1,"requestObject":2,"annotations":{"a":"b"},"annotations":{"c":"d"},"y": {"c":"d"}}',
        b'{"x":1,"requestObject":2,"x":1,"responseObject":3,"annotations":{"a":"b"}}',
        b'{"x":1,"responseObject":3,"requestObject":2,"annotations":{"a":"b"}}',
        b'{"x":1,"requestObject":2,"annotations":{}}',
        b'{"x":1,"requestObject":2}',
        b'{"x":{"y":1,"requestObject":23},"requestObject": 2,"annotations":{"a":"b"}}',
    ],
)
def test_what_parsing_can_t_tell_apart_is_scanned(text: bytes) -> None:
    """The bytes of the body stand elsewhere in the event too, or twice, or not as Go writes them."""
    assert _parsed_without(text, BODIES) is None
    cut = without(text, BODIES)

    assert cut is not None
    assert pairs(cut) == model(pairs(text), BODIES)


# The model: the same on parsed documents. Objects are lists of their members, so that none hides another of its name.


class Members(list[tuple[str, Any]]):
    """An object, as its members."""


def pairs(text: bytes) -> Any:
    """Return the document; numbers stay as they are written."""
    decoder = json.JSONDecoder(
        object_pairs_hook=Members, parse_int=str, parse_float=str, parse_constant=str, strict=False
    )
    return decoder.decode(text.decode("utf-8", "surrogateescape"))


def model(item: Members, parts: tuple[str, ...]) -> Members | None:
    """Return what `without` must make of it."""
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
    places = [index for index, (name, _) in enumerate(kept) if name == "annotations"]
    if places:
        kept[places[-1]] = ("annotations", Members([*(kept[places[-1]][1] or ()), mark]))
    else:
        kept.append(("annotations", Members([mark])))
    return kept


def unmarked(found: Members, parts: tuple[str, ...], dropped: set[str], marked: set[str]) -> Members:
    """Return annotations without patches and marks."""
    kept = Members()
    for name, value in found:
        if name == MARK:
            marked.clear()
            marked.update(value.split(","))
        elif name.startswith("patch.webhook.admission.k8s.io/") and "requestObject" in parts:
            dropped.add("requestObject")
        else:
            kept.append((name, value))
    return kept


def unmanaged(body: Any, dropped: set[str]) -> Any:
    """Return an object, a list of them or a table without managedFields."""

    def of_metadata(metadata: Any) -> Any:
        if isinstance(metadata, Members) and any(name == "managedFields" for name, _ in metadata):
            dropped.add("managedFields")
            return Members(pair for pair in metadata if pair[0] != "managedFields")
        return metadata

    def of_object(found: Any) -> Any:
        return changed(found, {"metadata": of_metadata})

    def of_list(found: Any) -> Any:
        return [of_object(item) for item in found] if type(found) is list else found

    def of_rows(found: Any) -> Any:
        return [changed(row, {"object": of_object}) for row in found] if type(found) is list else found

    return changed(body, {"metadata": of_metadata, "items": of_list, "rows": of_rows})


def changed(found: Any, by_name: dict[str, Any]) -> Any:
    """Return an object with its members changed."""
    if not isinstance(found, Members):
        return found
    return Members((name, by_name[name](value) if name in by_name else value) for name, value in found)


def objects(names: list[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return objects in JSON with these names, any of them twice, and white space."""
    members = st.tuples(st.sampled_from([*names, '"x"']), values | json_texts)
    gap = st.sampled_from(["", "", " ", "\t "])
    return st.builds(
        lambda found, gap: f"{{{gap}{f',{gap}'.join(f'{name}{gap}:{value}' for name, value in found)}{gap}}}",
        st.lists(members, max_size=4),
        gap,
    )


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return arrays in JSON."""
    return st.lists(values | json_texts, max_size=3).map(lambda found: f"[{' , '.join(found)}]")


metadata = objects(['"metadata"'], objects(['"managedFields"', r'"managed\u0046ields"'], json_texts))
bodies = metadata | objects(
    ['"items"', '"metadata"', '"rows"'], lists(metadata) | lists(objects(['"object"'], metadata))
)
marks = st.sampled_from(['"requestObject"', '"responseObject,managedFields"', '"x"', '""'])
some_annotations = st.just("null") | st.lists(
    st.tuples(st.just(f'"{MARK}"'), marks)
    | st.tuples(st.sampled_from([f'"{PATCH}"', r'"patch.webhook.admission.k8s.io\/r"', '"a/b"']), st.just('"{\\"}"')),
    max_size=3,
).map(lambda found: f"{{{','.join(f'{name}:{value}' for name, value in found)}}}")
items = st.lists(
    st.tuples(st.sampled_from(['"requestObject"', '"responseObject"', r'"response\u004fbject"']), bodies | json_texts)
    | st.tuples(st.just('"annotations"'), some_annotations)
    | st.tuples(st.sampled_from(['"level"', '"é"', r'"\ud800"']), json_texts),
    min_size=1,
    max_size=6,
).map(lambda found: f"{{{' ,'.join(f'{name}: {value}' for name, value in found)} }}".encode())
"""Items whose bodies are objects, lists and tables with managed fields, or anything."""


@PROPERTY
@given(items, st.sets(st.sampled_from(PARTS), min_size=1).map(lambda found: tuple(sorted(found))))
def test_cutting_then_parsing_is_parsing_then_deleting(text: bytes, parts: tuple[str, ...]) -> None:
    """For any item and any parts; what is not cut from is not touched."""
    cut = without(text, parts)

    assert (None if cut is None else pairs(cut)) == model(pairs(text), parts)


@PROPERTY
@given(st.lists(json_texts, max_size=3), json_texts, st.booleans(), st.sampled_from([BODIES, ("requestObject",)]))
def test_both_ways_cut_alike(others: list[str], body: str, nested: bool, parts: tuple[str, ...]) -> None:  # noqa: FBT001
    """Where parsing finds the body, in an event as Go writes it, the structure finds the same."""
    members = [f'"x{number}":{text}' for number, text in enumerate(others)]
    members += [f'"x":{{"y":0,"requestObject":{body}}}'] * nested
    members += [f'"requestObject":{body}', f'"responseObject":{body}', '"annotations":{"a/b":"c"}']
    text = f'{{"level":"Request",{",".join(members)}}}'.encode()

    quick = _parsed_without(text, parts)

    assert quick in (None, _scanned_without(text, parts))
