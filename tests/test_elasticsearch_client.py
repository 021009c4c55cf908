"""Client: the arguments from a URL and the environment, and the mistakes in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trustme

from auditsplit import sinks
from auditsplit.sinks.elasticsearch import client

KEY = {"ELASTICSEARCH_API_KEY": "a2V5"}
USER = {"ELASTICSEARCH_USERNAME": "elastic", "ELASTICSEARCH_PASSWORD": "secret"}
PRINT = "AB:" * 31 + "AB"


def arguments(url: str, environ: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the client's arguments."""
    target: Any = sinks.read_target(url, {}, "authenticated")
    return client.arguments(target, environ or {})


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
    """The client asks another node at once if a node can't be reached, but not for a status."""
    assert arguments(url, environ) == {**expected, "max_retries": len(expected["hosts"]) - 1, "retry_on_status": ()}


def test_an_authoritys_file_is_read(tmp_path: Path) -> None:
    """A file that is not valid is reported at the start."""
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)

    assert arguments(f"elasticsearch+https://one?ca_file={file}")["ca_certs"] == str(file)


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
        ("elasticsearch+http://localhost?ca_file=/x", {}, "elasticsearch+http uses no certificate"),
        ("elasticsearch+https://one?ca_file=/no/such", {}, "can't be read as a certificate's PEM file"),
        (f"elasticsearch+https://one?ca_file={__file__}", {}, "can't be read as a certificate's PEM file"),
        ("elasticsearch+https://one?fingerprint=abc", {}, "64 hexadecimal digits"),
        (f"elasticsearch+https://one?fingerprint={'g' * 64}", {}, "64 hexadecimal digits"),
    ],
)
def test_mistakes_are_reported_without_secrets(url: str, environ: dict[str, str], words: str) -> None:
    """Each in words of its own."""
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        arguments(url, environ)

    assert len(str(caught.value).splitlines()) == 1
    assert "secret" not in str(caught.value)


def test_a_client_is_made_without_asking_the_server(tmp_path: Path) -> None:
    """At the first use. A body is sent as it is, without a line feed after compressed bytes."""
    with client.connect(arguments(f"elasticsearch+http://localhost:9/{tmp_path.name}")) as connected:
        serializers = connected.transport.serializers
        sent = [
            serializers.dumps([b"\x1f\x8b"], mimetype)
            for mimetype in ("application/x-ndjson", "application/vnd.elasticsearch+x-ndjson")
        ]

    assert sent == [b"\x1f\x8b", b"\x1f\x8b"]
