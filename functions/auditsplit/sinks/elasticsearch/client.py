"""Client: the official one, as a store's URL and the environment want it.

Credentials come from the environment, never from a URL: ``ELASTICSEARCH_API_KEY`` (the encoded form), or
``ELASTICSEARCH_USERNAME`` and ``ELASTICSEARCH_PASSWORD``. Over plain http they are only sent to this very machine.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from elasticsearch import Elasticsearch
from elasticsearch.serializer import CompatibilityModeNdjsonSerializer, NdjsonSerializer

from auditsplit.sinks.options import Target

API_KEY, USERNAME, PASSWORD = "ELASTICSEARCH_API_KEY", "ELASTICSEARCH_USERNAME", "ELASTICSEARCH_PASSWORD"

_PORT = 9200
_FINGERPRINT_DIGITS = 64


def options(target: Target, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the arguments for the client, mistakes noted in ``target``."""
    scheme = target.scheme.rpartition("+")[2]
    hosts = [_host(host, scheme, target) for host in target.host.split(",")]
    found: dict[str, Any] = {
        "hosts": hosts,
        "max_retries": len(hosts) - 1,  # another node at once where one can't be reached
        "retry_on_status": (),  # the store itself tries again; here each node could take a whole try's time
        **_credentials(target, environ),
        **_trust(target),
    }
    secret = "api_key" in found or "basic_auth" in found
    if scheme == "http" and secret and not all(_is_loopback(host) for host in hosts):
        target.mistakes.append(f"{target.url!r} would send the credentials in the clear; write elasticsearch+https://")
    return found


def connect(arguments: Mapping[str, Any]) -> Elasticsearch:
    """Return a client; nothing is sent yet."""
    ready = {serializer.mimetype: serializer for serializer in (_Ready(), _CompatibleReady())}
    return Elasticsearch(**arguments, serializers=ready)


class _Ready(NdjsonSerializer):
    """Sends a body of one piece as it is: elasticsearch's own would put a line feed after compressed bytes."""

    def dumps(self, data: Any) -> bytes:
        (body,) = data
        return bytes(body)


class _CompatibleReady(_Ready):
    mimetype: ClassVar[str] = CompatibilityModeNdjsonSerializer.mimetype


def _host(host: str, scheme: str, target: Target) -> str:
    parts = urlsplit(f"{scheme}://{host}")
    try:
        port = parts.port or _PORT
    except ValueError:
        port = 0
    if "@" in host:
        target.mistakes.append(f"credentials have no place in a URL; set {API_KEY}, or {USERNAME} and {PASSWORD}")
    elif not parts.hostname or not port:
        target.mistakes.append(f"{target.url!r} names no host; write {target.scheme}://host:9200,host2:9200")
    name = parts.hostname or "none"
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port or _PORT}{target.path.rstrip('/')}"


def _credentials(target: Target, environ: Mapping[str, str]) -> dict[str, Any]:
    key, user, password = (environ.get(name, "").strip() for name in (API_KEY, USERNAME, PASSWORD))
    if key and (user or password):
        target.mistakes.append(f"set either {API_KEY}, or {USERNAME} and {PASSWORD}, not both")
    if bool(user) != bool(password):
        target.mistakes.append(f"{USERNAME} and {PASSWORD} go together; one of them is not set")
    if key:
        return {"api_key": key}
    return {"basic_auth": (user, password)} if user else {}


def _trust(target: Target) -> dict[str, str]:
    """Return what certificate to expect."""
    file, fingerprint = target.text("ca_file", ""), target.text("fingerprint", "").replace(":", "").lower()
    if (file or fingerprint) and not target.scheme.endswith("https"):
        target.mistakes.append("ca_file, fingerprint: there is no certificate with elasticsearch+http")
        return {}
    try:
        if file:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError as error:
        target.mistakes.append(f"ca_file: {file!r} can't be read as a certificate's PEM file ({type(error).__name__})")
        return {}
    if fingerprint and (len(fingerprint) != _FINGERPRINT_DIGITS or set(fingerprint) - set("0123456789abcdef")):
        target.mistakes.append("fingerprint: write the SHA-256 of the certificate, 64 hexadecimal digits")
        return {}
    found = {"ca_certs": file, "ssl_assert_fingerprint": fingerprint}
    return {name: value for name, value in found.items() if value}


def _is_loopback(host: str) -> bool:
    name = urlsplit(host).hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
