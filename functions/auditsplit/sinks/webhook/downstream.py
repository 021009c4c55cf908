"""A downstream: where a webhook sink posts to, from the URL of a sink or from a kubeconfig."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from auditsplit.sinks.options import Target
from auditsplit.sinks.webhook.options import Options
from auditsplit.webhook import rules
from auditsplit.webhook.kubeconfig import schema
from auditsplit.webhook.kubeconfig.schema import Cluster, Kubeconfig, User

_ABSENT = "absent-file"


class Downstream(NamedTuple):
    """Where a webhook sink posts to, and how.

    ``folder`` is where relative paths of the kubeconfig start. ``max_bytes`` and ``max_events`` bound the events of a
    request. ``qps`` and ``burst`` bound the requests of a process. 0 is no bound.
    """

    name: str
    kubeconfig: Kubeconfig
    folder: Path = Path()
    required: bool = True
    timeout_s: float = 10.0
    qps: float = 0.0
    burst: int = 15
    max_bytes: int = 0
    max_events: int = 0


def mistakes(target: Target[Options]) -> Iterator[str]:
    """Yield what is wrong with a ``webhook+https://host/path`` or ``webhook:?kubeconfig=/path`` URL."""
    options = target.options
    if target.scheme == "webhook":
        if target.host or target.path or not options.kubeconfig:
            yield "write webhook:?kubeconfig=/path, or webhook+https://host/path without a kubeconfig"
            return
    elif options.kubeconfig:
        yield "kubeconfig: the URL has a server already. Write webhook:?kubeconfig=/path"
        return
    if bool(options.client_certificate) != bool(options.client_key):
        yield "client_certificate and client_key: write both"
    try:
        _, found = _kubeconfig(target)
    except (OSError, ValueError) as error:
        yield f"kubeconfig: {options.kubeconfig}: {getattr(error, 'strerror', None) or error}"
        return
    for finding in found:
        if finding.level == rules.ERROR or finding.rule == _ABSENT:  # the files are not another machine's
            yield f"{finding.rule}: {finding.reason}"


def of_target(target: Target[Options]) -> Downstream:
    """Return the downstream of a URL without `mistakes`."""
    options = target.options
    document, _ = _kubeconfig(target)
    return Downstream(
        name=f"webhook:{document.cluster.server}",
        kubeconfig=document,
        folder=Path(options.kubeconfig).parent,
        required=options.required,
        timeout_s=options.timeout,
        qps=options.qps,
        burst=options.burst,
        max_bytes=options.truncate_max_batch_size,
        max_events=options.batch_max_size,
    )


def _kubeconfig(target: Target[Options]) -> tuple[Kubeconfig, list[rules.Finding]]:
    """Return the kubeconfig that the URL names, or that its parts make, and its faults."""
    options = target.options
    if options.kubeconfig:
        return rules.read(Path(options.kubeconfig))
    cluster = Cluster(
        server=f"{target.scheme.removeprefix('webhook+')}://{target.host}{target.path}",
        certificate_authority=options.ca_file,
        tls_server_name=options.tls_server_name,
        proxy_url=options.proxy_url,
    )
    user = User(
        token_file=options.token_file,
        client_certificate=options.client_certificate,
        client_key=options.client_key,
    )
    document = schema.build(cluster, user if user.has_credentials else None)
    return document, rules.check(document, Path())
