"""Whether the function lets a kubeconfig's sender in: its credentials held against the function's settings."""

from __future__ import annotations

from pathlib import Path

from auditsplit import auth
from auditsplit.apiserver.kubeconfig import credentials
from auditsplit.apiserver.kubeconfig.schema import Kubeconfig
from auditsplit.apiserver.rules.subject import Subject
from auditsplit.settings import Settings

_HERE, _ELSEWHERE = "127.0.0.1", "192.0.2.1"


def cluster_of(document: Kubeconfig, folder: Path, settings: Settings) -> str:
    """Return the cluster as which a faultless ``document`` comes in: what `auth.authorize` says to its request.

    Relative paths start at ``folder``. Raises `auditsplit.errors.SenderError` where it is refused, and ``ValueError``
    where that can't be told: a file isn't here, or a program would have to run.
    """
    subject = Subject(document, folder)
    if document.user.exec:
        raise ValueError(
            "what the exec program prints is known when it runs; 'auditsplit kubeconfig check --probe' asks"
        )
    headers = {}
    if subject.https:
        user = credentials.resolve(document.user, folder, 0)
        if user.token:
            headers["authorization"] = f"Bearer {user.token}"
    peer = _HERE if subject.local else _ELSEWHERE
    return auth.authorize(headers, peer, subject.named_cluster, settings.tokens, settings.cluster)
