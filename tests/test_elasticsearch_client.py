"""Client: what a URL and the environment ask for, and what in them is a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme

from auditsplit.sinks.elasticsearch import client
from auditsplit.sinks.options import Target

KEY = {"ELASTICSEARCH_API_KEY": "a2V5"}
USER = {"ELASTICSEARCH_USERNAME": "elastic", "ELASTICSEARCH_PASSWORD": "secret"}
PRINT = "AB:" * 31 + "AB"


def read(url: str, environ: dict[str, str] | None = None) -> tuple[dict[str, Any], list[str]]:
    """Return the client's arguments and the mistakes."""
    target = Target(url, {}, "authenticated")
    return client.options(target, environ or {}), target.mistakes


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        (
            "elasticsearch+https://one:9243,two,[::1]:9201",
            KEY,
            {"hosts": ["https://one:9243", "https://two:9200", "https://[::1]:9201"], "api_key": "a2V5"},
        ),
        ("elasticsearch+https://one/es/", {}, {"hosts": ["https://one:9200/es"]}),
        (
            "elasticsearch+http://localhost:9200,127.0.0.2,[::1]",
            USER,
            {
                "hosts": ["http://localhost:9200", "http://127.0.0.2:9200", "http://[::1]:9200"],
                "basic_auth": ("elastic", "secret"),
            },
        ),
        (
            f"elasticsearch+https://one?fingerprint={PRINT}",
            {},
            {"hosts": ["https://one:9200"], "ssl_assert_fingerprint": "ab" * 32},
        ),
    ],
)
def test_arguments_are_read(url: str, environ: dict[str, str], expected: dict[str, Any]) -> None:
    """Another node is tried at once as often as there are others, but not for a status."""
    found, mistakes = read(url, environ)

    assert mistakes == []
    assert found == {**expected, "max_retries": len(expected["hosts"]) - 1, "retry_on_status": ()}


def test_an_authoritys_file_is_read(tmp_path: Path) -> None:
    """So that one that is none is told at the start."""
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)

    found, mistakes = read(f"elasticsearch+https://one?ca_file={file}")

    assert mistakes == []
    assert found["ca_certs"] == str(file)


@pytest.mark.parametrize(
    ("url", "environ", "words"),
    [
        ("elasticsearch+https://", {}, "names no host"),
        ("elasticsearch+https://one,,two", {}, "names no host"),
        ("elasticsearch+https://one:port", {}, "names no host"),
        ("elasticsearch+https://elastic:secret@one", {}, "credentials have no place in a URL"),
        ("elasticsearch+http://es.example.com", KEY, "in the clear"),
        ("elasticsearch+http://127.0.0.1,10.0.0.1", USER, "in the clear"),
        ("elasticsearch+https://one", {**KEY, **USER}, "not both"),
        ("elasticsearch+https://one", {"ELASTICSEARCH_USERNAME": "elastic"}, "go together"),
        ("elasticsearch+https://one", {"ELASTICSEARCH_PASSWORD": "secret"}, "go together"),
        ("elasticsearch+http://localhost?ca_file=/x", {}, "no certificate with elasticsearch"),
        ("elasticsearch+https://one?ca_file=/no/such", {}, "can't be read as a certificate's PEM file"),
        (f"elasticsearch+https://one?ca_file={__file__}", {}, "can't be read as a certificate's PEM file"),
        ("elasticsearch+https://one?fingerprint=abc", {}, "64 hexadecimal digits"),
        (f"elasticsearch+https://one?fingerprint={'g' * 64}", {}, "64 hexadecimal digits"),
    ],
)
def test_mistakes_are_told_without_secrets(url: str, environ: dict[str, str], words: str) -> None:
    """Each in words of its own."""
    _, mistakes = read(url, environ)

    assert len(mistakes) == 1
    assert words in mistakes[0]
    assert "secret" not in mistakes[0]


def test_a_client_is_made_without_asking_the_server(tmp_path: Path) -> None:
    """At the first use; a body goes out as the bytes it is, with no line feed after what is compressed."""
    found, _ = read(f"elasticsearch+http://localhost:9/{tmp_path.name}")

    with client.connect(found) as connected:
        serializers = connected.transport.serializers
        sent = [
            serializers.dumps([b"\x1f\x8b"], mimetype)
            for mimetype in ("application/x-ndjson", "application/vnd.elasticsearch+x-ndjson")
        ]

    assert sent == [b"\x1f\x8b", b"\x1f\x8b"]
