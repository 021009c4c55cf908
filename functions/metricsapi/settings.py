"""The settings ``METRICSAPI_…``, read from the environment. All mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from auditsplit.environ import Reader

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
_DEFAULT_TYPES = "InternalIP ExternalIP Hostname"


class Setting(NamedTuple):
    """What the docs show of a setting."""

    help: str
    default: str = ""


NAMES: Mapping[str, Setting] = {
    "METRICSAPI_CERT_FILE": Setting("the server's certificate in PEM. It is read again when the file changes"),
    "METRICSAPI_KEY_FILE": Setting("the certificate's private key in PEM"),
    "METRICSAPI_APISERVER": Setting(
        "the URL of kube-apiserver", "`https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT`, which a pod has"
    ),
    "METRICSAPI_TOKEN_FILE": Setting(
        "the token for kube-apiserver and the kubelets. It is read again every minute", f"{_ACCOUNT}/token"
    ),
    "METRICSAPI_CA_FILE": Setting("the cluster's CA in PEM, for kube-apiserver's certificate", f"{_ACCOUNT}/ca.crt"),
    "METRICSAPI_KUBELET_CA_FILE": Setting(
        "the CA of the kubelets' certificates, where the cluster's CA has not signed them", "`METRICSAPI_CA_FILE`"
    ),
    "METRICSAPI_KUBELET_INSECURE_TLS": Setting(
        "`true` accepts any certificate of a kubelet, as metrics-server's --kubelet-insecure-tls does. Everybody on "
        "the way to a kubelet can then read the token. Use it for tests alone",
        "false",
    ),
    "METRICSAPI_KUBELET_ADDRESS_TYPES": Setting(
        "the types of a node's address, the preferred type first. `Name` is the node's own name", _DEFAULT_TYPES
    ),
    "METRICSAPI_KUBELET_TIMEOUT_SECONDS": Setting("how long one kubelet may take for its answer", "5"),
    "METRICSAPI_REQUEST_TIMEOUT_SECONDS": Setting(
        "how long a request may take. Nodes that have not answered by then are left out", "15"
    ),
    "METRICSAPI_CONCURRENCY": Setting("how many kubelets are asked at a time", "64"),
    "METRICSAPI_CACHE_SECONDS": Setting(
        "for how long a kubelet's answer serves further requests. No kubelet is asked more often than that", "10"
    ),
}
"""The settings, with their help for the docs."""


class Settings(msgspec.Struct, frozen=True):
    """What a deployer chose. The token stays in its file."""

    cert_file: Path
    key_file: Path
    apiserver: str
    token_file: Path
    ca_file: Path
    kubelet_ca_file: Path
    kubelet_insecure_tls: bool = False
    address_types: tuple[str, ...] = tuple(_DEFAULT_TYPES.split())
    kubelet_timeout_s: float = 5.0
    request_timeout_s: float = 15.0
    concurrency: int = 64
    cache_s: float = 10.0

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings in ``environ``. `SettingsError` has every mistake and what to write instead."""
        reader = Reader(environ, NAMES, "METRICSAPI_")
        ca_file = _file(reader, "METRICSAPI_CA_FILE", f"{_ACCOUNT}/ca.crt")
        settings = cls(
            cert_file=_file(reader, "METRICSAPI_CERT_FILE"),
            key_file=_file(reader, "METRICSAPI_KEY_FILE"),
            apiserver=_apiserver(reader),
            token_file=_file(reader, "METRICSAPI_TOKEN_FILE", f"{_ACCOUNT}/token"),
            ca_file=ca_file,
            kubelet_ca_file=_file(reader, "METRICSAPI_KUBELET_CA_FILE", str(ca_file)),
            kubelet_insecure_tls=reader.choice("METRICSAPI_KUBELET_INSECURE_TLS", ("true", "false"), "false") == "true",
            address_types=_address_types(reader),
            kubelet_timeout_s=_number(reader, "METRICSAPI_KUBELET_TIMEOUT_SECONDS", 5),
            request_timeout_s=_number(reader, "METRICSAPI_REQUEST_TIMEOUT_SECONDS", 15),
            concurrency=int(_number(reader, "METRICSAPI_CONCURRENCY", 64)),
            cache_s=_number(reader, "METRICSAPI_CACHE_SECONDS", 10),
        )
        reader.finish()
        return settings


def _file(reader: Reader, name: str, default: str = "") -> Path:
    text = reader.text(name, default)
    try:
        if text:
            with Path(text).open("rb"):
                return Path(text)
        reader.mistake(name, "not set; the function serves HTTPS alone. Write the path of a PEM file")
    except OSError as error:
        reader.mistake(name, f"cannot read {text}: {error.strerror}")
    return Path(text)


def _apiserver(reader: Reader) -> str:
    host, port = (reader.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    default = f"https://{f'[{host}]' if ':' in host else host}:{port or 443}" if host else ""
    url = reader.text("METRICSAPI_APISERVER", default).rstrip("/")
    if not url.startswith("https://"):
        reader.mistake(
            "METRICSAPI_APISERVER", f"must be https://<host>:<port>, not {url[:80]!r}. Only a pod has a default"
        )
    return url


def _address_types(reader: Reader) -> tuple[str, ...]:
    types = tuple(reader.text("METRICSAPI_KUBELET_ADDRESS_TYPES", _DEFAULT_TYPES).replace(",", " ").split())
    allowed = (*_ADDRESS_TYPES, "Name")
    if wrong := [kind for kind in types if kind not in allowed]:
        reader.mistake(
            "METRICSAPI_KUBELET_ADDRESS_TYPES", f"{wrong[0][:40]!r} is not an address type: {', '.join(allowed)}"
        )
    return types


def _number(reader: Reader, name: str, default: int) -> float:
    text = reader.text(name, str(default))
    if text.isascii() and text.isdigit() and 0 < int(text[:9]) < 1_000_000:  # noqa: PLR2004 - a week of seconds
        return float(text)
    reader.mistake(name, f"must be a whole number from 1 on, not {text[:40]!r}")
    return default
