"""Who may send: known tokens, each for its own cluster; without tokens, only this machine."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY

from auditsplit import auth
from auditsplit.auth import CLUSTER, TokenHash, authorize, expect_watcher, new_token
from auditsplit.errors import Forbidden, Unauthenticated

FIRST, OLD, OTHER = "first-Token", "old-Token", "other-Token"


def hashed(cluster: str, token: str) -> TokenHash:
    """Return a token's hash, made as anybody would."""
    return TokenHash(cluster, hashlib.sha256(token.encode()).digest())


HASHES = (hashed("prod", FIRST), hashed("prod", OLD), hashed("test", OTHER))


def asking(header: str | None, asked: str | None = None, hashes: tuple[TokenHash, ...] = HASHES) -> str:
    """Return the cluster that a sender from elsewhere gets."""
    headers = {} if header is None else {"authorization": header}
    return authorize(headers, "203.0.113.7", asked, hashes, "default")


@pytest.mark.parametrize(
    ("header", "asked", "cluster"),
    [
        (f"Bearer {FIRST}", None, "prod"),
        (f"Bearer {FIRST}", "prod", "prod"),
        (f"Bearer {OLD}", None, "prod"),
        (f"Bearer {OTHER}", "test", "test"),
        (f"bearer {FIRST}", None, "prod"),
        (f"BEARER   {FIRST} ", None, "prod"),
    ],
)
def test_a_known_token_writes_as_its_cluster(header: str, asked: str | None, cluster: str) -> None:
    """Every token of a cluster is good for it, with the cluster in the path and without."""
    assert asking(header, asked) == cluster


@pytest.mark.parametrize(("token", "asked"), [(FIRST, "test"), (OLD, "test"), (OTHER, "prod"), (FIRST, "default")])
def test_a_token_cant_write_as_another_cluster(token: str, asked: str) -> None:
    """A good token for another cluster is refused, and told where it belongs."""
    with pytest.raises(Forbidden, match="/clusters/") as caught:
        asking(f"Bearer {token}", asked)

    assert token not in caught.value.detail


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        FIRST,
        f"Basic {FIRST}",
        f"Token {FIRST}",
        f"Bearer{FIRST}",
        f"Bearer {FIRST[:-1]}",
        f"Bearer {FIRST}x",
        f"Bearer {FIRST} x",
        f"Bearer {FIRST.lower()}",
        f"Bearer {FIRST},{OTHER}",
        f"Bearer {hashlib.sha256(FIRST.encode()).hexdigest()}",
        "Bearer \u00e9\u00ff",
        "Bearer \ud800",
    ],
)
@pytest.mark.parametrize("asked", [None, "prod", "nowhere"])
def test_unknown_and_missing_tokens_are_refused(header: str | None, asked: str | None) -> None:
    """Whatever is no known token is a 401 that says how to authenticate, and never repeats the token."""
    with pytest.raises(Unauthenticated) as caught:
        asking(header, asked)

    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith('Bearer realm="')
    assert FIRST.lower() not in caught.value.detail.lower()


@given(st.text(st.characters()), st.sampled_from(["Bearer ", "", "bearer  ", "Basic "]))
@PROPERTY
def test_any_header_is_refused(text: str, scheme: str) -> None:
    """Any other text is refused, and no text is an error of ours."""
    with pytest.raises(Unauthenticated):
        asking(scheme + text)


def test_a_token_is_compared_with_every_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it takes tells nothing: each hash is compared in constant time, whichever is the right one."""
    compared: list[bytes] = []

    class Counting:
        """The real comparison, counted."""

        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            """Return whether they are equal."""
            compared.append(one)
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(auth, "hmac", Counting)

    assert asking(f"Bearer {FIRST}") == "prod"
    assert compared == [known.sha256 for known in HASHES]


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("asked", [None, "test"])
def test_without_tokens_this_machine_may_send(peer: str, asked: str | None) -> None:
    """Without tokens, who is on this machine writes as the cluster of the path or the default one."""
    assert authorize({}, peer, asked, (), "default") == (asked or "default")


@pytest.mark.parametrize(
    "peer",
    [
        "",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "0x7f000001",
        "10.0.0.1",
        "127.0.0.1, 10.0.0.1",
        "127.0.0.1:80",
        "127.1",
        "128.0.0.1",
        "169.254.1.1",
        "203.0.113.7",
        "2130706433",
        "::",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "fe80::1",
        "localhost",
        "unix:",
    ],
)
def test_without_tokens_nobody_else_may_send(peer: str) -> None:
    """Every other peer is refused, with what to set."""
    with pytest.raises(Forbidden, match="AUDIT_TOKENS"):
        authorize({}, peer, None, (), "default")


@pytest.mark.parametrize(
    "name",
    [
        "cf-connecting-ip",
        "cf-ray",
        "forwarded",
        "origin",
        "referer",
        "sec-fetch-mode",
        "sec-fetch-site",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-forwarded",
        "x-forwarded-by",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-original-forwarded-for",
        "x-real-ip",
    ],
)
@pytest.mark.parametrize("value", ["", "127.0.0.1", "null"])
def test_without_tokens_a_proxys_guest_may_not_send(name: str, value: str) -> None:
    """A request through a proxy, or from a page in a browser, is refused, whatever the header's value is."""
    headers = {"host": "localhost", name: value}

    with pytest.raises(Forbidden, match=f"header '{name}'.*auditsplit token"):
        authorize(headers, "127.0.0.1", None, (), "default")
    with pytest.raises(Forbidden, match=f"header '{name}'.*AUDIT_METRICS_TOKEN"):
        expect_watcher(headers, "127.0.0.1", None)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8888",
        "127.0.0.1",
        "127.0.0.1:8888",
        "127.8.8.8:1",
        "[::1]",
        "[::1]:65535",
        "[0:0:0:0:0:0:0:1]:80",
    ],
)
def test_without_tokens_a_loopback_host_may_send(host: str) -> None:
    """kube-apiserver and curl on the same machine name it so, with the port and without."""
    headers = {"host": host, "user-agent": "kube-apiserver-admission", "accept-encoding": "gzip", "traceparent": "00-1"}

    assert authorize(headers, "127.0.0.1", None, (), "default") == "default"
    expect_watcher(headers, "::1", None)


@pytest.mark.parametrize(
    "host",
    [
        "",
        " localhost",
        "0.0.0.0:8888",
        "10.0.0.1",
        "127.0.0.1.evil.example",
        "127.0.0.1,evil.example",
        "127.0.0.1:80:80",
        "127.0.0.1@evil.example",
        "127.1",
        "2130706433",
        "::1",
        "[::1",
        "[::1].evil.example",
        "[fe80::1]",
        "audit.localhost",
        "evil.example",
        "evil.example:8888",
        "localhost.evil.example",
        "localhost:",
        "localhost:99999999",
        "localhost\n",
        "localhost, localhost",
        "x@localhost",
    ],
)
def test_without_tokens_another_host_may_not_send(host: str) -> None:
    """A proxy passes its guests' Host on. A browser sends the page's, also if it resolves to 127.0.0.1."""
    with pytest.raises(Forbidden, match=r"Host .* AUDIT_TOKENS"):
        authorize({"host": host}, "127.0.0.1", None, (), "default")
    with pytest.raises(Forbidden, match=r"Host .* AUDIT_METRICS_TOKEN"):
        expect_watcher({"host": host}, "127.0.0.1", None)


def test_with_tokens_host_and_proxies_make_no_difference() -> None:
    """The token decides alone."""
    headers = {"host": "audit.example.com", "x-forwarded-for": "203.0.113.7", "authorization": f"Bearer {FIRST}"}

    assert authorize(headers, "10.0.0.1", None, HASHES, "default") == "prod"
    expect_watcher(headers, "10.0.0.1", hashlib.sha256(FIRST.encode()).digest())


def test_without_tokens_a_token_helps_nobody() -> None:
    """A token is good only where it is configured."""
    with pytest.raises(Forbidden):
        asking(f"Bearer {FIRST}", hashes=())


def test_with_tokens_this_machine_needs_one_too() -> None:
    """Being local is nothing where tokens are configured."""
    with pytest.raises(Unauthenticated):
        authorize({}, "127.0.0.1", None, HASHES, "default")


def test_a_new_token_is_let_in_by_its_hash() -> None:
    """A fresh token has 256 bits, is unlike any other, and its printed hash, read back, lets it in."""
    token, fresh = new_token("prod-1")
    another, _ = new_token("prod-1")

    assert len(token) >= 43
    assert token != another
    assert token not in str(fresh)
    assert asking(f"Bearer {token}", hashes=(*HASHES, TokenHash.parse(str(fresh)))) == "prod-1"


@given(st.from_regex(CLUSTER, fullmatch=True), st.binary(min_size=32, max_size=32))
@PROPERTY
def test_a_hash_reads_back_as_it_is_written(cluster: str, digest: bytes) -> None:
    """What ``AUDIT_TOKENS`` holds says the same when it is read, also with capital hex digits or without the kind."""
    known = TokenHash(cluster, digest)

    assert TokenHash.parse(str(known)) == known
    assert TokenHash.parse(f"{cluster}=sha256:{digest.hex().upper()}") == known
    assert TokenHash.parse(f"{cluster}={digest.hex()}") == known


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "sha256:"),
        ("=" + "0" * 64, "expected <cluster>="),
        ("Prod=" + "0" * 64, "expected <cluster>="),
        ("a/b=" + "0" * 64, "expected <cluster>="),
        ("..=" + "0" * 64, "expected <cluster>="),
        ("-a=" + "0" * 64, "expected <cluster>="),
        ("a.=" + "0" * 64, "expected <cluster>="),
        ("a" * 64 + "=" + "0" * 64, "expected <cluster>="),
        ("a\n=" + "0" * 64, "expected <cluster>="),
        ("prod", "sha256:"),
        ("prod=", "64 hex digits"),
        ("prod=sha256:", "64 hex digits"),
        ("prod=" + "0" * 63, "64 hex digits"),
        ("prod=" + "0" * 65, "64 hex digits"),
        ("prod=" + "0" * 63 + "g", "64 hex digits"),
        ("prod=" + "0" * 64 + "\n", "64 hex digits"),
        ("prod=" + "\u0660" * 64, "64 hex digits"),
        ("prod=md5:" + "0" * 64, "64 hex digits"),
        ("prod=sha256:sha256:" + "0" * 64, "64 hex digits"),
    ],
)
def test_a_hash_that_is_none(text: str, reason: str) -> None:
    """The error says what to write instead."""
    with pytest.raises(ValueError, match=reason):
        TokenHash.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "{token}",
        "{token}=",
        "prod={token}",
        "prod:{token}",
        "sha256:{token}",
        "prod=sha256:{token}",
    ],
)
def test_a_token_in_the_place_of_its_hash_is_not_repeated(text: str) -> None:
    """Who configures the token itself is told so in words that don't hold it, since they go to a log."""
    for token in ("kT5_w-Qz" * 5 + "abc", "0123456789abcdef" * 3):
        with pytest.raises(ValueError, match=r".") as caught:
            TokenHash.parse(text.format(token=token))

        assert token not in str(caught.value)


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "..", "-a", "a.", "a" * 64, "ä", "a\n"])
def test_an_invalid_cluster_name_is_refused_with_what_to_write(name: str) -> None:
    """The message repeats at most 63 characters of the name."""
    with pytest.raises(ValueError, match=r"is not a valid cluster name. Write a-z 0-9 - . and at most 63") as caught:
        auth.check_cluster(name)

    assert len(str(caught.value)) < 160


@pytest.mark.parametrize("name", ["a", "0", "prod-1", "prod.eu", "a" * 63])
def test_a_valid_cluster_name_is_returned(name: str) -> None:
    """A DNS label or name."""
    assert auth.check_cluster(name) == name
