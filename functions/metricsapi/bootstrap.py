"""Bootstrap: the only place that composes this function."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from gunicorn import config

from auditsplit.errors import SettingsError
from auditsplit.telemetry import logs
from metricsapi.apiserver import Apiserver
from metricsapi.clients import Client, Loop
from metricsapi.counters import Counters
from metricsapi.frontproxy import Certificates, FrontProxy
from metricsapi.kubelets import Kubelets
from metricsapi.receiver import Receiver
from metricsapi.settings import Settings

_FRONT_PROXY_S = 2.0
"""How long kube-apiserver may take for the front proxy's configuration: less than a probe, which may wait for it."""


def receiver(environ: Mapping[str, str]) -> Receiver:
    """Return the function that answers the Metrics API, with the server prepared for its certificates.

    `SettingsError` has every mistake in ``environ``.
    """
    logs.configure("metricsapi")
    settings = Settings.read(environ)
    try:
        function, certificates = compose(settings)
    except ssl.SSLError as error:
        raise SettingsError(
            f"METRICSAPI_CA_FILE, METRICSAPI_KUBELET_CA_FILE: must hold PEM certificates: {error}"
        ) from error
    serve_tls(settings, certificates)
    return function


def compose(settings: Settings) -> tuple[Receiver, Certificates]:
    """Return the function and the server's certificates. Nothing is asked before the first request."""
    loop, counters, token_file = Loop(), Counters(), settings.token_file
    to_apiserver = Client(token_file, settings.ca_file, verify=True, connections=64, keep=True)
    to_kubelets = Client(
        token_file,
        settings.kubelet_ca_file,
        verify=not settings.kubelet_insecure_tls,
        connections=settings.concurrency,
        keep=False,
    )
    apiserver = Apiserver(to_apiserver, settings.apiserver, settings.request_timeout_s, settings.cache_s)

    def front_proxy() -> FrontProxy:
        return FrontProxy.read(loop.run(apiserver.front_proxy(), _FRONT_PROXY_S))

    certificates = Certificates(settings.cert_file, settings.key_file, front_proxy)
    kubelets = Kubelets(to_kubelets, settings, counters)
    function = Receiver(
        loop=loop,
        apiserver=apiserver,
        kubelets=kubelets,
        certificates=certificates,
        counters=counters,
        timeout_s=settings.request_timeout_s,
    )
    return function, certificates


def serve_tls(settings: Settings, certificates: Certificates) -> None:
    """Make HTTPS with these certificates gunicorn's default. functions-framework has no option for it."""

    def context(_: object, __: Any) -> ssl.SSLContext:
        return certificates.context()

    config.CertFile.default, config.KeyFile.default = str(settings.cert_file), str(settings.key_file)
    config.NewSSLContext.default = staticmethod(context)
