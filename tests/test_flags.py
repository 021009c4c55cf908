"""``auditsplit flags``: its arithmetic, the bounds, and the values that it refuses."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner, Result
from hypothesis import assume, given
from hypothesis import strategies as st
from support.eventlists import PROPERTY
from support.recording import DATA

from auditsplit.apiserver.flags import forecast
from auditsplit.apiserver.flags.platforms import DEFAULT_MAX_BODY_BYTES, MIB, PLATFORMS, Platform
from auditsplit.apiserver.flags.simulation import Backend, LoadPeriod, ReceiverPeriod, simulate
from auditsplit.apiserver.flags.sizing import Chosen, Flags, Load, Sizing, duration, flags_for, survived
from auditsplit.cli import main
from auditsplit.errors import SettingsError

KUBE_APISERVER = set(
    re.findall(r"^--(\S+)", (DATA / "kube-apiserver-v1.37.2-audit-flags.txt").read_text(), re.MULTILINE)
)
GIB = 1024 * MIB
LOAD = Load(200.0, 400.0, 2000, 2.0, 60.0, 4 * GIB)


def flags(load: Load = LOAD, platform: str = "local", sizing: Sizing = "recommended", **chosen: float) -> Flags:
    """Return the flags for a function with the default limit of its own."""
    return flags_for(load, PLATFORMS[platform], DEFAULT_MAX_BODY_BYTES, sizing, Chosen(**chosen))  # type: ignore[arg-type]


def run(*arguments: str) -> Result:
    """Run the command. Any exception except its own exit fails the test."""
    result = CliRunner().invoke(main, ["flags", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def given_flags(text: str) -> dict[str, str]:
    """Return the flags of a command line by name."""
    return dict(line.removeprefix("--").split("=", 1) for line in text.splitlines())


# the arithmetic


def test_the_documented_sizing_gives_the_documented_example() -> None:
    """100 requests a second in two stages, 100 events a batch and 5 s to write need 2 QPS and a buffer of 1,000."""
    made = flags(LOAD._replace(rate=100.0 * 2, latency=5.0), sizing="documented", batch_max_size=100)

    assert (made.backend.batch_throttle_qps, made.backend.batch_buffer_size) == (2.0, 1000)
    assert any("200 events/s / 100 a batch = 2 a second" in reason for reason in made.reasons)
    assert any("5 s of a slow receiver x 200 events/s = 1,000" in reason for reason in made.reasons)


def test_the_documented_sizing_has_no_room_for_a_peak() -> None:
    """It passes its load for ever, and drops events at twice the load."""
    backend = flags(LOAD._replace(latency=5.0), sizing="documented", batch_max_size=100).backend

    steady, doubled = (simulate([LoadPeriod(60.0, rate)], backend, [ReceiverPeriod(0.0)]) for rate in (200.0, 400.0))

    assert (steady.dropped, steady.lost) == (0, 0)
    assert doubled.dropped > 10_000


def test_a_usual_load_keeps_the_apiservers_defaults() -> None:
    """Only truncation differs, which is off by default."""
    made = flags()

    assert made.backend == Backend()
    assert made.max_event_bytes == 32 * 1024


def test_a_heavy_load_is_sized_by_its_peak() -> None:
    """40,000 events/s are 100 batches a second, and 2 s of them are 80,000."""
    made = flags(LOAD._replace(rate=20_000.0, peak=40_000.0, outage=5.0))

    assert (made.backend.batch_throttle_qps, made.backend.batch_throttle_burst) == (100, 150)
    assert made.backend.batch_buffer_size == 80_000


def test_a_longer_outage_gets_longer_pauses() -> None:
    """The last attempt follows the outage, with a tenth of it to spare."""
    made = flags(LOAD._replace(outage=600.0))

    assert made.backend.initial_backoff == 82
    assert survived(82) == 82 * 8.125 >= 660


def test_chosen_values_are_used() -> None:
    """Values that depend on them follow."""
    made = flags(batch_max_size=50, batch_max_wait=5.0, buffer_size=77, max_event_bytes=20_000, initial_backoff=1.5)

    assert made.backend == Backend(77, 50, 5.0, True, 10.0, 15, 1.5)  # noqa: FBT003
    assert made.values()["audit-webhook-truncate-max-event-size"] == "20000"
    assert made.values()["audit-webhook-initial-backoff"] == "1500ms"


def test_every_flag_exists_in_kube_apiserver() -> None:
    """A real v1.37.2 lists them in its help."""
    assert set(flags().values()) <= KUBE_APISERVER
    assert len(KUBE_APISERVER) == 31


@pytest.mark.parametrize(("seconds", "text"), [(30.0, "30s"), (1.5, "1500ms"), (3600, "3600s"), (0.001, "1ms")])
def test_durations_are_in_gos_format(seconds: float, text: str) -> None:
    """Whole seconds, or milliseconds."""
    assert duration(seconds) == text


LOADS = st.builds(
    Load,
    rate=st.floats(0.01, 50_000),
    peak=st.floats(1, 10),
    event_bytes=st.integers(100, 10**7),
    latency=st.floats(0.1, 60),
    outage=st.floats(0, 3600),
    memory_bytes=st.just(1024 * GIB),
).map(lambda load: load._replace(peak=load.rate * load.peak))


@PROPERTY
@given(
    LOADS,
    st.sampled_from(list(PLATFORMS.values())),
    st.integers(100_000, DEFAULT_MAX_BODY_BYTES),
    st.sampled_from(["recommended", "documented"]),
)
def test_no_list_is_over_the_platforms_limit(load: Load, platform: Platform, max_body: int, sizing: Sizing) -> None:
    """Even if each event is as large as truncation allows, and each of its bytes is escaped."""
    try:
        made = flags_for(load, platform, max_body, sizing, Chosen())
    except SettingsError:
        assume(False)  # noqa: FBT003

    body = made.backend.batch_max_size * made.max_event_bytes + len(
        '{"kind":"EventList","apiVersion":"audit.k8s.io/v1"}'
    )

    assert body <= max_body
    assert body * platform.growth + platform.envelope <= platform.max_bytes
    assert made.max_event_bytes >= load.event_bytes


@PROPERTY
@given(LOADS, st.sampled_from(["recommended", "documented"]))
def test_the_throttle_passes_the_load_and_the_pauses_outlast_the_outage(load: Load, sizing: Sizing) -> None:
    """By the numbers in the flags, which are rounded."""
    try:
        values = flags_for(load, PLATFORMS["cloud-run"], DEFAULT_MAX_BODY_BYTES, sizing, Chosen()).values()
    except SettingsError:
        assume(False)  # noqa: FBT003

    passed = float(values["audit-webhook-batch-throttle-qps"]) * int(values["audit-webhook-batch-max-size"])
    needed = load.rate if sizing == "documented" else load.peak

    assert passed >= needed * (1 - 1e-9)
    assert int(values["audit-webhook-batch-buffer-size"]) >= needed * load.latency
    assert survived(float(values["audit-webhook-initial-backoff"].removesuffix("s"))) >= load.outage


@PROPERTY
@given(st.binary(max_size=200).map(lambda data: data.decode("latin-1")), st.text(max_size=100))
def test_escaping_at_most_doubles_json(hostile: str, other: str) -> None:
    """So the bound for Lambda holds for hostile lists too."""
    body = json.dumps({hostile: [other]}, ensure_ascii=True)

    assert len(json.dumps(body)) - 2 <= PLATFORMS["lambda"].growth * len(body)


def test_real_lists_grow_less_when_escaped(recorded: list[bytes]) -> None:
    """By 4 to 14 %, as the docs say."""
    grown = [
        len(json.dumps(body.decode("utf-8", "replace"), ensure_ascii=False).encode()) / len(body) for body in recorded
    ]

    assert 1.03 < min(grown) < max(grown) < 1.145


# impossible values


@pytest.mark.parametrize(
    ("platform", "changed", "chosen", "words"),
    [
        ("lambda", {"event_bytes": 4_000_000}, {}, ["--event-size", "3,112,960", "the policy", "--platform"]),
        ("local", {"event_bytes": 11 * MIB}, {}, ["--event-size", "--max-body"]),
        ("lambda", {}, {"batch_max_size": 400}, ["--batch-max-size", "at most 94", "--max-event-size 7782"]),
        ("lambda", {}, {"max_event_bytes": 4 * MIB}, ["--max-event-size", "must be at most"]),
        ("local", {}, {"max_event_bytes": 1000}, ["--max-event-size", "lose their bodies", "Write a larger size"]),
        ("local", {"rate": 5000.0, "outage": 3600.0}, {}, ["--outage", "memory", "--memory", "--log-path"]),
    ],
)
def test_impossible_values_are_refused(
    platform: str, changed: dict[str, float], chosen: dict[str, float], words: list[str]
) -> None:
    """The message says what to change."""
    with pytest.raises(SettingsError) as refusal:
        flags(LOAD._replace(**changed), platform, **chosen)  # type: ignore[arg-type]

    assert [word for word in words if word not in str(refusal.value)] == []


def test_the_values_that_a_refusal_suggests_are_accepted() -> None:
    """The batch size and the event size."""
    by_size, by_batch = (
        flags(platform="lambda", batch_max_size=400, max_event_bytes=7782),
        flags(platform="lambda", batch_max_size=94),
    )

    assert by_size.backend.batch_max_size == 400
    assert by_batch.max_event_bytes == 32 * 1024


# losses


def test_losses_are_reported_by_the_apiservers_counters() -> None:
    """Those of a full buffer, and those of exhausted retries."""
    small = Backend(100, 50, 1.0, True, 1.0, 1, 0.1)  # noqa: FBT003

    text = "\n".join(forecast.lines(LOAD, small))

    assert re.search(
        r"^steady, .*LOST [\d,]+ \([\d.]+%\) because the buffer was full \(plugin=\"buffered\"\) of 24,000",
        text,
        re.MULTILINE,
    )
    assert re.search(r"^receiver down .* after five attempts \(plugin=\"webhook\"\)", text, re.MULTILINE)


def test_recommended_flags_lose_nothing_in_the_expected_outage() -> None:
    """Nor at the peak. The last line shows an outage longer than all pauses, and it loses events."""
    *fine, last = forecast.lines(LOAD._replace(outage=120.0), flags(LOAD._replace(outage=120.0)).backend)

    assert [line for line in fine if "for 2" not in line and "LOST" in line] == [
        next(x for x in fine if "takes 60s" in x)
    ]
    assert "LOST" in last


def test_without_an_outage_only_the_too_long_one_is_simulated() -> None:
    """There is no case of 0 s."""
    outages = [
        line for line in forecast.lines(LOAD._replace(outage=0.0), Backend()) if "down" in line or "hangs" in line
    ]

    assert len(outages) == 1


# the command


def test_only_the_flags_are_on_standard_output() -> None:
    """One on each line. The reasons and the losses are comments on standard error."""
    result = run("--rate", "200", "--platform", "lambda", "--policy", "/p.yaml", "--config", "/c.yaml")

    assert result.exit_code == 0
    assert set(given_flags(result.stdout)) <= KUBE_APISERVER
    assert given_flags(result.stdout)["audit-webhook-config-file"] == "/c.yaml"
    assert given_flags(result.stdout)["audit-policy-file"] == "/p.yaml"
    assert result.stderr.startswith("# 200 events/s, 400 at the peak")
    assert all(line.startswith("#") for line in result.stderr.splitlines())


def test_a_log_path_adds_the_logs_flags() -> None:
    """They bound the log's disk space. Standard output needs no bound."""
    file, stdout = (
        given_flags(run("--rate", "1", "--platform", "local", "--log-path", path).stdout) for path in ("/v/a.log", "-")
    )

    assert {name: value for name, value in file.items() if "audit-log" in name} == {
        "audit-log-path": "/v/a.log",
        "audit-log-maxage": "30",
        "audit-log-maxbackup": "10",
        "audit-log-maxsize": "100",
    }
    assert [name for name in stdout if "audit-log" in name] == ["audit-log-path"]


def test_the_same_load_gives_the_same_text() -> None:
    """The simulation's random numbers are seeded."""
    assert run("--rate", "20", "--platform", "local").output == run("--rate", "20", "--platform", "local").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rate", "200"], "--platform"),
        (["--rate", "0", "--platform", "local"], "--rate"),
        (["--rate", "nan", "--platform", "local"], "--rate': 'nan' is not a valid number. Write one from 0.001"),
        (["--rate", "inf", "--platform", "local"], "--rate"),
        (["--rate", "-inf", "--platform", "local"], "--rate"),
        (["--rate", "200", "--peak", "NaN", "--platform", "local"], "--peak': 'NaN' is not a valid number. Write"),
        (["--rate", "200", "--platform", "local", "--outage", "nan"], "Write 30s, 5m, or 0"),
        (["--rate", "200", "--platform", "mainframe"], "lambda"),
        (["--rate", "200", "--platform", "local", "--peak", "100"], "must be at least the rate, 200"),
        (["--rate", "200", "--platform", "local", "--event-size", "two"], "with a unit, as in 2kB"),
        (["--rate", "200", "--platform", "local", "--event-size", "0.1"], "is not a valid size"),
        (["--rate", "200", "--platform", "local", "--latency", "0"], "Write 30s, 5m or 1h"),
        (["--rate", "200", "--platform", "local", "--outage", "5y"], "Write 30s, 5m, or 0"),
        (["--rate", "200", "--platform", "local", "--outage", "2h"], "--log-path"),
        (
            ["--rate", "200", "--platform", "local", "--config", "webhook.yaml"],
            "the absolute path on the apiserver's machine",
        ),
        (["--rate", "200", "--platform", "local", "--policy", "-"], "the absolute path on the apiserver's machine"),
        (["--rate", "200", "--platform", "local", "--file", "/a", "--file", "b"], "'b' is relative"),
        (["--rate", "200", "--platform", "lambda", "--event-size", "4MB"], "accepts lists of 3,112,960 bytes"),
    ],
)
def test_misuse_exits_with_2(arguments: list[str], words: str) -> None:
    """With a message that says what to write, and nothing on standard output."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize(("size", "read"), [("2kB", 2000), ("2KiB", 2048), ("1.5 MB", 1_500_000), ("3000", 3000)])
def test_sizes_have_units(size: str, read: int) -> None:
    """Decimal and binary units, or none."""
    result = run("--rate", "1", "--platform", "local", "--event-size", size)

    assert f"usually {read:,} bytes each" in result.stderr
