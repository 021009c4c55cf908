"""Joined objects: which objects of an hour are read, so that each part is read once."""

from __future__ import annotations

from auditsplit.archive.joined import Hour, Manifest, Part, Span, cover, holders, hour_of, is_joined, joined_key

HOUR = Hour("cluster=c/user=alice", "20260131T23", ".jsonl.gz")
PARTS = [Part(f"20260131T23000{number}.000000Z-{number:032x}.jsonl.gz", 10 * number, 10) for number in range(4)]
KEYS = [f"{HOUR.place}/{part.name}" for part in PARTS]


def joined(*numbers: int) -> tuple[str, Manifest]:
    """Return the key and the manifest of an object that holds the parts of those numbers."""
    parts = [PARTS[number] for number in numbers]
    return joined_key(HOUR, parts, b""), Manifest(len(parts), "", parts)


def test_a_part_and_a_joined_object_have_the_same_hour() -> None:
    """Manifests, rejects and foreign objects have none."""
    key, _ = joined(0, 1)

    assert hour_of(KEYS[0]) == hour_of(key) == HOUR
    assert is_joined(key)
    assert not is_joined(KEYS[0])
    assert hour_of(f"_joined/{key}.json") is None
    assert hour_of(f"_joined/{key}") is None
    assert hour_of("cluster=c/user=alice/notes.txt") is None


def test_joined_objects_sort_behind_their_parts_and_behind_smaller_ones() -> None:
    """A listing in pages then never misses both a part and the object that holds it."""
    small, large = joined(0, 1)[0], joined(0, 1, 2)[0]

    assert sorted([large, small, *KEYS]) == [*KEYS, small, large]


def test_no_manifest_is_read_where_a_joined_object_is_alone() -> None:
    """An hour that is compacted costs one request."""
    key, _ = joined(0, 1)

    manifests: dict[str, Manifest] = {}

    assert list(cover([key], manifests.__getitem__)) == [Span(key)]


def test_each_part_is_covered_once() -> None:
    """Of two joined objects that share a part, the smaller one is read only where the larger one has nothing."""
    manifests = dict([joined(0, 1), joined(1, 2, 3)])
    small, large = sorted(manifests)

    assert list(cover([*KEYS, small, large], manifests.__getitem__)) == [Span(large), Span(small, PARTS[0])]


def test_each_part_has_one_holder() -> None:
    """A joined object before the part itself, and the larger one before the smaller one."""
    manifests = dict([joined(0, 1), joined(1, 2)])
    small, large = sorted(manifests)

    found = holders([*KEYS, *sorted(manifests)], manifests.__getitem__)

    assert found == {
        PARTS[0].name: Span(small if PARTS[0] in manifests[small].parts else large, PARTS[0]),
        PARTS[1].name: Span(large, PARTS[1]),
        PARTS[2].name: Span(small if PARTS[2] in manifests[small].parts else large, PARTS[2]),
        PARTS[3].name: Span(KEYS[3]),
    }
