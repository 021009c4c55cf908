"""The settings ``METRICSAPI_…``, read from the environment. All mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from auditsplit.environ import Reader, whole_number

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS", "Name")
_WEEK = 604_800


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
        "the types of a node's address, the preferred type first. `Name` is the node's own name",
        "InternalIP ExternalIP Hostname",
    ),
    "METRICSAPI_KUBELET_TIMEOUT_SECONDS": Setting("how long one kubelet may take for its answer", "5"),
    "METRICSAPI_REQUEST_TIMEOUT_SECONDS": Setting(
        "how long a request may take. Nodes that have not answered by then are left out", "15"
    ),
    "METRICSAPI_CONCURRENCY": Setting("how many kubelets are asked at a time", "64"),
    "METRICSAPI_CACHE_SECONDS": Setting(
        "for how long a kubelet's answer, and the list of nodes, serve further requests. No kubelet is asked more "
        "often than that",
        "10",
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
    kubelet_insecure_tls: bool
    address_types: tuple[str, ...]
    kubelet_timeout_s: float
    request_timeout_s: float
    concurrency: int
    cache_s: float

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings in ``environ``. `SettingsError` has every mistake and what to write instead."""
        reader = Reader(environ, NAMES, "METRICSAPI_")
        settings = cls(
            cert_file=_file(reader, "METRICSAPI_CERT_FILE"),
            key_file=_file(reader, "METRICSAPI_KEY_FILE"),
            apiserver=_apiserver(reader),
            token_file=_file(reader, "METRICSAPI_TOKEN_FILE"),
            ca_file=_file(reader, "METRICSAPI_CA_FILE"),
            kubelet_ca_file=_file(reader, "METRICSAPI_KUBELET_CA_FILE", "METRICSAPI_CA_FILE"),
            kubelet_insecure_tls=reader.choice("METRICSAPI_KUBELET_INSECURE_TLS", ("true", "false"), "false") == "true",
            address_types=_address_types(reader),
            kubelet_timeout_s=_number(reader, "METRICSAPI_KUBELET_TIMEOUT_SECONDS"),
            request_timeout_s=_number(reader, "METRICSAPI_REQUEST_TIMEOUT_SECONDS"),
            concurrency=_number(reader, "METRICSAPI_CONCURRENCY"),
            cache_s=_number(reader, "METRICSAPI_CACHE_SECONDS"),
        )
        reader.finish()
        return settings


def _file(reader: Reader, name: str, other: str = "") -> Path:
    """Return the path of a file that can be read. Where none is set, it is that of the setting ``other``."""
    text = reader.text(name) or reader.text(other) or NAMES[other or name].default
    try:
        if text:
            Path(text).open("rb").close()
        else:
            reader.mistake(name, "not set; the function serves HTTPS alone. Write the path of a PEM file")
    except OSError as error:
        reader.mistake(name, f"cannot read {text}: {error.strerror}")
    return Path(text)


def _apiserver(reader: Reader) -> str:
    name = "METRICSAPI_APISERVER"
    host, port = (reader.environ.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    default = f"https://{f'[{host}]' if ':' in host else host}:{port or 443}" if host else ""
    url = reader.text(name, default).rstrip("/")
    if not url.startswith("https://"):
        reader.mistake(name, f"must be https://<host>:<port>, not {url[:80]!r}. Only a pod has a default")
    return url


def _address_types(reader: Reader) -> tuple[str, ...]:
    name = "METRICSAPI_KUBELET_ADDRESS_TYPES"
    types = reader.text(name, NAMES[name].default).replace(",", " ").split()
    if wrong := [kind for kind in types if kind not in _ADDRESS_TYPES]:
        reader.mistake(name, f"{wrong[0][:40]!r} is not an address type: {', '.join(_ADDRESS_TYPES)}")
    return tuple(types)


def _number(reader: Reader, name: str) -> int:
    text = reader.text(name, NAMES[name].default)
    number = whole_number(text)
    if number and number < _WEEK:
        return number
    reader.mistake(name, f"must be a whole number from 1 to {_WEEK - 1}, not {text[:40]!r}")
    return 1
