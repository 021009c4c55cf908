"""Whether the function's settings accept a kubeconfig's sender."""

from __future__ import annotations

from pathlib import Path

from auditsplit import auth
from auditsplit.settings import Settings
from auditsplit.webhook.kubeconfig import credentials
from auditsplit.webhook.kubeconfig.schema import Kubeconfig
from auditsplit.webhook.rules.subject import Subject

_THIS_MACHINE, _ANOTHER_MACHINE = "127.0.0.1", "192.0.2.1"


def cluster_of(document: Kubeconfig, folder: Path, settings: Settings) -> str:
    """Return the cluster that the sender of ``document`` would write as, by `auth.authorize`.

    Args:
        document: A kubeconfig without errors.
        folder: Where its relative paths start.
        settings: The function's settings.

    Raises:
        auditsplit.errors.SenderError: The function would refuse the sender.
        ValueError: The credentials are not known here, because a file is missing or a program would have to run.
    """
    subject = Subject(document, folder)
    if document.user.exec:
        raise ValueError(
            "the token is known only when the exec program runs. 'auditsplit kubeconfig check --probe' runs it"
        )
    headers = {"host": subject.url.netloc.rpartition("@")[2]}
    if subject.https:
        token = credentials.resolve(document.user, folder, 0).token
        if token:
            headers["authorization"] = f"Bearer {token}"
    peer = _THIS_MACHINE if subject.local else _ANOTHER_MACHINE
    return auth.authorize(headers, peer, subject.named_cluster, settings.tokens, settings.cluster)
