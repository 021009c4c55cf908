"""The probe: post one empty EventList as kube-apiserver posts its batches, and report how a batch would fare."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from auditsplit.event import LIST_END, LIST_START
from auditsplit.webhook.answers import Answer
from auditsplit.webhook.client import Client, Reply
from auditsplit.webhook.failures import NotTrusted, TimedOut, TlsFailed, Unreachable
from auditsplit.webhook.kubeconfig import credentials
from auditsplit.webhook.kubeconfig.schema import Kubeconfig
from auditsplit.webhook.rules.subject import ERROR, WARNING, Finding

_BODY = LIST_START + LIST_END
_ADVICE: dict[type[Unreachable], str] = {
    NotTrusted: "Write its CA as certificate-authority, and a name in its certificate as tls-server-name",
    TlsFailed: "Check that this port serves https, and whether it requires a client certificate",
    TimedOut: "kube-apiserver gives up after 30 s and tries 5 times",
}


def probe(document: Kubeconfig, folder: Path, timeout_s: float) -> Reply:
    """Post an empty list to the server of ``document``, and return its reply.

    Args:
        document: A kubeconfig without errors. Its ``exec`` program is run.
        folder: Where its relative paths start.
        timeout_s: Seconds for the program, and again for the request with its answer.

    Raises:
        Unreachable: No answer came in time. The message says why and what to do.
    """
    try:
        user = credentials.resolve(document.user, folder, timeout_s)
        endpoint = credentials.endpoint_of(document.cluster, folder)
        with closing(Client(endpoint, user, user_agent="auditsplit-probe")) as client:
            return client.post(_BODY, timeout_s)
    except Unreachable as error:
        advice = _ADVICE.get(type(error))
        raise Unreachable(f"{error}. {advice}" if advice else str(error)) from error
    except (ValueError, OSError) as error:  # a file, the program, or PEM that OpenSSL does not accept
        raise Unreachable(str(error)) from error


def findings(answer: Answer) -> list[Finding]:
    """Return what would go wrong with a batch that gets this ``answer``. Empty if it would be delivered."""
    verdict = answer.verdict()
    if not verdict.problem:
        return []
    return [Finding(WARNING if verdict.delivered else ERROR, "answer", verdict.problem)]
