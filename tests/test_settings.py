"""Settings: read once, frozen, every mistake at once with what to write instead, and no secret in any output."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY

from auditsplit import bootstrap
from auditsplit.auth import TokenHash, new_token
from auditsplit.errors import SettingsError
from auditsplit.settings import NAMES, PRESETS, Settings
from auditsplit.sinks import SCHEMES
from auditsplit.sinks.file.rotation import Rotation
from auditsplit.sinks.file.sink import FileSink
from auditsplit.sinks.memory import MemorySink
from auditsplit.sinks.stdout import StdoutSink

MIB = 1024 * 1024
SECRET = "hunter2-Secret"  # noqa: S105 - what must not be printed


def read(**environ: str) -> Settings:
    """Return the settings in an environment that has nothing else of ours."""
    return Settings.read({"PATH": "/bin", "HOME": "/", **environ})


def mistakes(**environ: str) -> tuple[str, ...]:
    """Return the mistakes in the settings."""
    with pytest.raises(SettingsError) as caught:
        opened(**environ)
    return caught.value.mistakes


def opened(**environ: str) -> list[Any]:
    """Return the sinks that the settings name."""
    return [destination.sink for destination in bootstrap.destinations(read(**environ), environ)]


def layout(sinks: list[Any]) -> list[tuple[str, str, str]]:
    """Return each sink's key template, whose user it is about, and its line format."""
    return [(sink._template.text, sink._template.user, sink._format) for sink in sinks]


def test_defaults() -> None:
    """With nothing set: files below var/log as documented, no tokens, 32 MiB."""
    settings = read()

    [sink] = opened()
    assert isinstance(sink, FileSink)
    assert sink.name == "file:var/log"
    assert sink._rotation == Rotation(max_size_mb=100, max_backups=0, max_age_days=0)
    assert sink._sync
    assert layout([sink]) == [("kube-audit-{user}/audit", "authenticated", "log")]
    assert (settings.tokens, settings.cluster, settings.max_body_bytes) == ((), "default", 32 * MIB)


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_not_set(value: str) -> None:
    """Deployment tools set a variable to nothing where there is no value."""
    assert read(**dict.fromkeys(NAMES, value)).max_body_bytes == 32 * MIB


def test_settings_cant_be_changed() -> None:
    """Settings are read once and stay."""
    settings = read(AUDIT_SINKS="memory:")

    with pytest.raises(AttributeError):
        settings.cluster = "other"  # type: ignore[misc]


def test_everything_set() -> None:
    """Every setting goes where it belongs."""
    hashes = [new_token("prod")[1], new_token("prod")[1], new_token("test")[1]]
    settings = read(
        AUDIT_SINKS="file:///srv/audit",
        AUDIT_KEY="{cluster}/{user}/{date}",
        AUDIT_FORMAT="logstash",
        AUDIT_USER="impersonated",
        AUDIT_FILE_MAXSIZE="5",
        AUDIT_FILE_MAXBACKUP="7",
        AUDIT_FILE_MAXAGE="30",
        AUDIT_FILE_FSYNC="0",
        AUDIT_TOKENS=f" {hashes[0]},{hashes[1]}\n{hashes[2]} ",
        AUDIT_CLUSTER="prod-1",
        AUDIT_DROP="secrets=none *=managedFields",
        AUDIT_MAX_BODY_BYTES="1000",
    )

    [sink] = [destination.sink for destination in bootstrap.destinations(settings, {})]
    assert isinstance(sink, FileSink)
    assert sink.root == Path("/srv/audit")
    assert sink._rotation == Rotation(max_size_mb=5, max_backups=7, max_age_days=30)
    assert not sink._sync
    assert layout([sink]) == [("{cluster}/{user}/{date}", "impersonated", "logstash")]
    assert settings.tokens == tuple(hashes)
    assert (settings.cluster, settings.max_body_bytes) == ("prod-1", 1000)
    assert {"secrets=none", "*=managedFields"} < set(str(settings.redaction).split())


def test_several_stores() -> None:
    """Stores are separated by white space, and each is of its own kind."""
    kinds = [type(sink) for sink in opened(AUDIT_SINKS=" file:a\nmemory: \t stdout: file:b")]

    assert kinds == [FileSink, MemorySink, StdoutSink, FileSink]


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("logstash", ("kube-audit-{user}/audit", "authenticated", "logstash")),
        ("fluentd", ("audit-{namespace}.{year}{month}{day}{hour}.log.gz", "authenticated", "log")),
    ],
)
def test_presets(preset: str, expected: tuple[str, str, str]) -> None:
    """A preset is a documented layout."""
    assert layout(opened(AUDIT_PRESET=preset)) == [expected]
    assert preset in PRESETS


def test_the_most_specific_option_counts() -> None:
    """An option in a URL overrides the shared one, which overrides the preset."""
    sinks = opened(
        AUDIT_PRESET="logstash",
        AUDIT_KEY="{user}/shared",
        AUDIT_FILE_MAXSIZE="5",
        AUDIT_SINKS="file:a file:b?key={user}/own&maxsize=6&maxbackup=2&fsync=0 memory:?format=log",
    )

    assert [(key, line_format) for key, _, line_format in layout(sinks)] == [
        ("{user}/shared", "logstash"),
        ("{user}/own", "logstash"),
        ("{user}/shared", "log"),
    ]
    shared, own, _ = sinks
    assert isinstance(shared, FileSink)
    assert isinstance(own, FileSink)
    assert (shared._rotation, shared._sync) == (Rotation(max_size_mb=5), True)
    assert (own._rotation, own._sync) == (Rotation(max_size_mb=6, max_backups=2), False)


def test_a_urls_option_may_be_escaped() -> None:
    """White space separates URLs, so a folder with a blank is escaped; so may a key be."""
    [sink] = opened(AUDIT_SINKS="file:a%20b?key=%7Buser%7D%2Fx")

    assert isinstance(sink, FileSink)
    assert str(sink.root) == "a b"
    assert sink._template.text == "{user}/x"


def test_all_mistakes_at_once() -> None:
    """Each mistake is named with its variable, so that one start shows them all."""
    found = mistakes(
        AUDIT_SINK="file:x",
        AUDIT_SINKS="file:a ftp:bucket file://host/x memory:?colour=red",
        AUDIT_KEY="../{users}",
        AUDIT_FORMAT="xml",
        AUDIT_PRESET="splunk",
        AUDIT_USER="root",
        AUDIT_FILE_MAXSIZE="0",
        AUDIT_FILE_MAXBACKUP="-1",
        AUDIT_FILE_MAXAGE="1.5",
        AUDIT_FILE_FSYNC="yes",
        AUDIT_TOKENS="prod=sha256:abc Prod=" + "0" * 64,
        AUDIT_CLUSTER="Prod/1",
        AUDIT_DROP="secrets=body requestObject",
        AUDIT_MAX_BODY_BYTES="32MiB",
    )

    text = "\n".join(found)
    for part in (
        "AUDIT_SINK: there is no such setting. Did you mean AUDIT_SINKS?",
        f"'ftp'. Write one of {', '.join(SCHEMES)}",
        "AUDIT_SINKS: ftp:bucket: ",
        "AUDIT_SINKS: file://host/x: ",
        "file:///var/log",
        "colour: the sink memory: has no such option",
        "AUDIT_KEY: '../{users}': {users} is not a field",
        "AUDIT_FORMAT: must be log or logstash, not 'xml'",
        "AUDIT_PRESET: must be logstash or fluentd, not 'splunk'",
        "AUDIT_USER: must be authenticated or impersonated, not 'root'",
        "AUDIT_DROP: secrets: must be none, or some of requestObject, responseObject, managedFields, not 'body'",
        "AUDIT_DROP: 'requestObject' is not a valid rule. Write <resource>=requestObject, or *=requestObject",
        "AUDIT_FILE_MAXSIZE: must be a whole number of 1 or more, not '0'",
        "AUDIT_FILE_MAXBACKUP: must be a whole number of 0 or more, not '-1'",
        "AUDIT_FILE_MAXAGE: must be a whole number of 0 or more, not '1.5'",
        "AUDIT_FILE_FSYNC: must be 1 (yes) or 0 (no), not 'yes'",
        "sha256:<64 hex digits>",
        "AUDIT_CLUSTER: 'Prod/1' is not a valid cluster name",
        "AUDIT_MAX_BODY_BYTES: must be a number of bytes, not '32MiB'. Write 33554432 for 32 MiB",
    ):
        assert part in text
    assert len(set(found)) == len(found)
    assert all(mistake.startswith("AUDIT_") and "\n" not in mistake for mistake in found)


@given(st.sampled_from(sorted(NAMES)), st.data())
@PROPERTY
def test_a_slip_of_the_pen_is_recognised(name: str, data: st.DataObject) -> None:
    """A name with a letter missing or twice is not ignored, and answered with the right one."""
    at = data.draw(st.integers(len("AUDIT_"), len(name) - 1))
    wrong = data.draw(st.sampled_from([name[:at] + name[at + 1 :], name[: at + 1] + name[at:]]))
    [right] = difflib.get_close_matches(wrong, NAMES, n=1)

    [mistake] = [each for each in mistakes(**{wrong: "1"}) if each.startswith(f"{wrong}:")]

    assert mistake.endswith(f"Did you mean {right}?")


def test_a_name_unlike_any_is_a_mistake_too() -> None:
    """A setting that doesn't exist is never ignored."""
    assert mistakes(AUDIT_XYZZY_QUUX="1") == ("AUDIT_XYZZY_QUUX: there is no such setting",)


@pytest.mark.parametrize("text", ["0", "-1", "+1", "1e6", "1_000", "\u0661", "0x10", " 1 2", "9" * 5000])
def test_a_body_bound_that_is_no_number(text: str) -> None:
    """Only digits are a number, and not more of them than any machine has memory for."""
    [mistake] = mistakes(AUDIT_MAX_BODY_BYTES=text)

    assert mistake.startswith("AUDIT_MAX_BODY_BYTES: ")


@pytest.mark.parametrize("text", ["9" * 5000, "x", "1%20", "0.5", "0"])
def test_a_size_that_is_no_number(text: str) -> None:
    """A URL's option wants digits too."""
    [mistake] = mistakes(AUDIT_SINKS=f"file:a?maxsize={text}")

    assert "maxsize: " in mistake
    assert "must be a whole number of 1 or more" in mistake


def test_an_empty_option_is_not_set() -> None:
    """A URL's option without a value is as if it weren't there."""
    [sink] = opened(AUDIT_SINKS="file:a?maxsize=&key=&format=")

    assert isinstance(sink, FileSink)
    assert sink._rotation == Rotation()
    assert sink._template.text == "kube-audit-{user}/audit"


@pytest.mark.parametrize(
    "url",
    [
        "var/log",
        "/var/log",
        "var",
        ":",
        "://",
        "file:",
        "file://",
        "file://var/log",
        "file://localhost/var/log",
        "stdout:x",
        "stdout://x",
        "stdout:?key={user}",
        "file:a?max_size=3",
        "file:a?format=xml",
        "http://[::1",
        "ftp://bucket/prefix",
        "file:a%00b",
        "FILE:",
    ],
)
def test_a_url_that_names_no_store(url: str) -> None:
    """A URL with a mistake is a mistake of AUDIT_SINKS, never an error of another kind."""
    assert all(mistake.startswith("AUDIT_SINKS: ") for mistake in mistakes(AUDIT_SINKS=url))


def test_a_fragment_is_not_cut_off() -> None:
    """A ``#`` in a folder's name is a part of the name or a mistake, not the end of it."""
    try:
        found = [sink.name for sink in opened(AUDIT_SINKS="file:a#b")]
    except SettingsError:
        found = ["file:a#b"]

    assert found == ["file:a#b"]


@pytest.mark.parametrize(("variable", "platform"), [("AWS_LAMBDA_FUNCTION_NAME", "Lambda"), ("K_SERVICE", "Cloud Run")])
def test_files_are_no_default_where_they_vanish(variable: str, platform: str) -> None:
    """On a platform without a lasting disk, the store must be named."""
    tokens = str(new_token("prod")[1])
    [mistake] = mistakes(**{variable: "x", "AUDIT_TOKENS": tokens})

    assert mistake.startswith("AUDIT_SINKS: not set")
    assert platform in mistake
    assert len(read(**{variable: "x", "AUDIT_SINKS": "stdout:", "AUDIT_TOKENS": tokens}).sinks) == 1


def test_lambda_asks_for_tokens() -> None:
    """No sender is on its machine, so without one it would refuse them all; it does not even start."""
    [mistake] = mistakes(AWS_LAMBDA_FUNCTION_NAME="x", AUDIT_SINKS="stdout:")

    assert mistake.startswith("AUDIT_TOKENS: not set")


@pytest.mark.parametrize(
    "urls",
    [
        "file:a file:a",
        "file:a file:./a",
        "file:a file:a/",
        "file:a file:b/../a",
        "file:a file:a?key={user}",
        "file:a file:link",
        "memory: memory:",
        "stdout: stdout:-",
    ],
)
def test_one_place_twice_is_refused(urls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second store in the place of the first would find every batch stored already."""
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("link").symlink_to("a")

    [mistake] = mistakes(AUDIT_SINKS=urls)

    assert "twice" in mistake


TWO_CLUSTERS = " ".join(str(new_token(cluster)[1]) for cluster in ("prod", "test"))


@pytest.mark.parametrize(
    ("environ", "advice"),
    [
        ({}, "AUDIT_KEY: 'kube-audit-{user}/audit' has no {cluster}"),
        ({}, "Write AUDIT_KEY='{cluster}/kube-audit-{user}/audit'"),
        ({"AUDIT_PRESET": "logstash"}, "Write AUDIT_KEY='{cluster}/kube-audit-{user}/audit'"),
        ({"AUDIT_PRESET": "fluentd"}, "Write AUDIT_KEY='{cluster}/audit-{namespace}.{year}{month}{day}{hour}.log.gz'"),
        ({"AUDIT_KEY": "{user}/a"}, "Write AUDIT_KEY='{cluster}/{user}/a'"),
        ({"AUDIT_SINKS": "memory:"}, "Write AUDIT_KEY='{cluster}/kube-audit-{user}/audit'"),
        (
            {"AUDIT_SINKS": "s3://bucket?key={user}", "AUDIT_KEY": "{cluster}/{user}"},
            "AUDIT_KEY: '{user}' has no {cluster}, so in s3://bucket",
        ),
        ({"AUDIT_SINKS": "file:a?fsync=1&key={user}/b"}, "or key={cluster}/{user}/b in the sink's URL"),
    ],
)
def test_several_clusters_in_the_same_files_are_refused(environ: dict[str, str], advice: str) -> None:
    """An event does not name its cluster, so nobody could tell them apart."""
    [mistake] = mistakes(AUDIT_TOKENS=TWO_CLUSTERS, **environ)

    assert advice in mistake
    assert "prod, test" in mistake


@pytest.mark.parametrize(
    "environ",
    [
        {"AUDIT_KEY": "{cluster}/kube-audit-{user}/audit"},
        {"AUDIT_SINKS": "file:a?key={user}/{cluster}"},
        {"AUDIT_SINKS": "s3://bucket"},  # its default key has the cluster
        {"AUDIT_SINKS": "elasticsearch+https://host:9200"},  # each document has the cluster
        {"AUDIT_SINKS": "stdout:"},
    ],
)
def test_several_clusters_that_stay_apart_are_accepted(environ: dict[str, str]) -> None:
    """The advice that the mistake gives is one of these."""
    assert len(opened(AUDIT_TOKENS=TWO_CLUSTERS, **environ)) == 1


def test_several_tokens_of_one_cluster_keep_the_documented_layout() -> None:
    """So a token can be rotated."""
    tokens = " ".join(str(new_token("prod")[1]) for _ in range(2))

    assert layout(opened(AUDIT_TOKENS=tokens)) == [("kube-audit-{user}/audit", "authenticated", "log")]


def test_one_hash_twice_is_refused() -> None:
    """A token is for one cluster."""
    digest = "0" * 64

    [mistake] = mistakes(AUDIT_TOKENS=f"prod=sha256:{digest} test=sha256:{digest}", AUDIT_KEY="{cluster}/{user}")

    assert mistake.startswith("AUDIT_TOKENS: ")
    assert "twice" in mistake


def test_reading_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are read without making a folder."""
    monkeypatch.chdir(tmp_path)

    read()

    assert list(tmp_path.iterdir()) == []


def test_no_secret_in_the_settings() -> None:
    """What is printed of settings has no token in it."""
    token, known = new_token("prod")
    settings = read(AUDIT_TOKENS=str(known), AUDIT_SINKS="memory:")

    assert settings.tokens == (TokenHash("prod", known.sha256),)
    assert token not in repr(settings) + str(settings) + repr(settings.tokens) + str(known)


@pytest.mark.parametrize(
    "environ",
    [
        {"AUDIT_TOKENS": SECRET},
        {"AUDIT_TOKENS": f"prod={SECRET}"},
        {"AUDIT_TOKENS": f"prod:{SECRET}"},
        {"AUDIT_TOKENS": f"{SECRET}=="},
        {"AUDIT_TOKENS": f"{SECRET.lower()}="},
        {"AUDIT_TOKENS": f"prod={SECRET.lower()} {SECRET.lower()}"},
        {"AUDIT_TOKEN": SECRET},
        {"AUDIT_SINKS": f"elasticsearch+https://user:{SECRET}@host:9200"},
        {"AUDIT_SINKS": f"https://{SECRET}@host/"},
        {"AUDIT_SINKS": f"file://user:{SECRET}@host/x"},
        {"AUDIT_SINKS": f"s3://bucket?secret={SECRET}"},
        {"AUDIT_SINKS": f"file:a?password={SECRET}"},
    ],
    ids=range(12),
)
def test_no_secret_in_the_mistakes(environ: dict[str, str]) -> None:
    """A secret in the wrong place makes a mistake that doesn't repeat it: mistakes go to logs."""
    assert SECRET.lower() not in "\n".join(mistakes(**environ)).lower()
