"""Client: the official client, by a sink's URL and the environment.

Credentials come from the environment, never from a URL: ``ELASTICSEARCH_API_KEY`` (the encoded form), or
``ELASTICSEARCH_USERNAME`` and ``ELASTICSEARCH_PASSWORD``. Over plain http they are sent only to this machine itself.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from elasticsearch import Elasticsearch
from elasticsearch.serializer import CompatibilityModeNdjsonSerializer, NdjsonSerializer

from auditsplit.sinks.elasticsearch.options import Options
from auditsplit.sinks.options import Target

API_KEY, USERNAME, PASSWORD = "ELASTICSEARCH_API_KEY", "ELASTICSEARCH_USERNAME", "ELASTICSEARCH_PASSWORD"

_PORT = 9200
_FINGERPRINT_DIGITS = 64


def mistakes(target: Target[Options]) -> Iterator[str]:
    """Yield what is wrong with the hosts, and with the options about the server's certificate."""
    for host in target.host.split(","):
        if "@" in host:
            yield f"credentials have no place in a URL; set {API_KEY}, or {USERNAME} and {PASSWORD}"
        elif not _name_and_port(host):
            yield f"{target.url!r} names no host. Write {target.scheme}://host:9200,host2:9200"
    chosen = target.options
    if target.scheme.endswith("https"):
        yield from _certificate_mistakes(chosen.ca_file, _digits(chosen.fingerprint))
    elif chosen.ca_file or chosen.fingerprint:
        yield "ca_file, fingerprint: elasticsearch+http uses no certificate. Write elasticsearch+https://"


def arguments(target: Target[Options], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments for `connect`. ``ValueError`` if the credentials in ``environ`` do not go together."""
    hosts = [_node_url(host, target) for host in target.host.split(",")]
    key, user, password = (environ.get(name, "").strip() for name in (API_KEY, USERNAME, PASSWORD))
    wrong = list(_credential_mistakes(key, user, password))
    if (key or user) and not all(map(_is_private, hosts)):
        wrong.append(f"{target.url!r} would send the credentials in the clear. Write elasticsearch+https://")
    if wrong:
        raise ValueError("\n".join(wrong))
    named = {
        "api_key": key,
        "basic_auth": (user, password) if user else (),
        "ca_certs": target.options.ca_file,
        "ssl_assert_fingerprint": _digits(target.options.fingerprint),
    }
    return {
        "hosts": hosts,
        "max_retries": len(hosts) - 1,  # ask another node at once if a node can't be reached
        "retry_on_status": (),  # the sink retries; here each node could take the time of a whole attempt
        **{name: value for name, value in named.items() if value},
    }


def connect(arguments: Mapping[str, Any]) -> Elasticsearch:
    """Return a client; nothing is sent yet."""
    serializers = {serializer.mimetype: serializer for serializer in (_Encoded(), _CompatibleEncoded())}
    return Elasticsearch(**arguments, serializers=serializers)


class _Encoded(NdjsonSerializer):
    """Sends a body of one piece as it is. Elasticsearch's own class would add a line feed to compressed bytes."""

    def dumps(self, data: Any) -> bytes:
        (body,) = data
        return bytes(body)


class _CompatibleEncoded(_Encoded):
    mimetype: ClassVar[str] = CompatibilityModeNdjsonSerializer.mimetype


def _name_and_port(host: str) -> tuple[str, int] | None:
    """Return the name and the port of a host in the URL, None if it is not valid."""
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port or _PORT
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None


def _node_url(host: str, target: Target[Options]) -> str:
    """Return the URL of a node for the client. `mistakes` has checked ``host``."""
    name, port = _name_and_port(host) or ("", _PORT)
    scheme = target.scheme.rpartition("+")[2]
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{target.path.rstrip('/')}"


def _credential_mistakes(key: str, user: str, password: str) -> Iterator[str]:
    if key and (user or password):
        yield f"set either {API_KEY}, or {USERNAME} and {PASSWORD}, not both"
    if bool(user) != bool(password):
        yield f"{USERNAME} and {PASSWORD} go together. One of them is not set"


def _digits(fingerprint: str) -> str:
    return fingerprint.replace(":", "").lower()


def _certificate_mistakes(ca_file: str, fingerprint: str) -> Iterator[str]:
    if ca_file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
        except OSError as error:
            yield f"ca_file: {ca_file!r} can't be read as a certificate's PEM file ({type(error).__name__})"
    if fingerprint and (len(fingerprint) != _FINGERPRINT_DIGITS or set(fingerprint) - set("0123456789abcdef")):
        yield "fingerprint: write the SHA-256 of the certificate, 64 hexadecimal digits"


def _is_private(url: str) -> bool:
    """Return whether nobody on a network can read what is sent to ``url``."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    if parts.scheme == "https":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
