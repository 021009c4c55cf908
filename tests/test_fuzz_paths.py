"""All decode paths agree with each other on generated bodies. `live.test_fuzz` asks Go too."""

from __future__ import annotations

from fuzz import bodies, compare, paths

_BODIES = 300


def test_the_decode_paths_agree() -> None:
    """On items, users, stored bytes and redaction. The failure shows the seed."""
    found = {f"quick:{number}": bodies.generate(f"quick:{number}") for number in range(_BODIES)}

    different = {
        seed: (why.sentence, body.hex())
        for seed, body in found.items()
        if (why := compare.among_paths(body, paths.outcomes(body)))
    }

    assert not different


def test_a_seed_repeats_its_body() -> None:
    """So that a failure can be repeated."""
    assert bodies.generate("a:1") == bodies.generate("a:1")
    assert len({bodies.generate(f"a:{number}") for number in range(20)}) > 10


def test_a_difference_between_paths_is_found() -> None:
    """The comparison itself can fail."""
    good = paths.Outcome(events=((b"{}", ()),))

    assert compare.among_paths(b"{}", {"one": (good, ()), "other": (paths.Outcome(refused=True), ())})
    assert compare.among_paths(b"[]", {"one": (good, ())})
    assert not compare.among_paths(b"{}", {"one": (good, ()), "other": (good, ())})
