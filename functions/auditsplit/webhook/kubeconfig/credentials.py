"""Resolve a user's credentials as kube-apiserver does: read its files, run its ``exec`` program.

The exec protocol: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from auditsplit.webhook.client import Credentials, Endpoint
from auditsplit.webhook.kubeconfig import files
from auditsplit.webhook.kubeconfig.schema import EXEC_API_VERSION, Cluster, Exec, User, Variable

_EXEC_INFO = "KUBERNETES_EXEC_INFO"

_GCLOUD_PLUGIN = """\
# Prints gcloud's identity token for the audience $1 as an ExecCredential. kube-apiserver keeps it until a minute
# before it expires, as the token itself says, and asks again then.
set -eu
token=$(gcloud auth print-identity-token --audiences="$1")
claims=$(printf %s "$token" | cut -d. -f2 | tr _- /+)
case $((${#claims} % 4)) in 2) claims="$claims==" ;; 3) claims="$claims=" ;; esac
expires=$(printf %s "$claims" | base64 -d | sed -n 's/.*"exp": *\\([0-9]*\\).*/\\1/p')
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
printf '"status":{"token":"%s","expirationTimestamp":"%s"}}\\n' \\
  "$token" "$(date -u -d "@$((expires - 60))" +%Y-%m-%dT%H:%M:%SZ)"
"""


def gcloud_identity_token(audience: str) -> Exec:
    """Return a program that prints gcloud's identity token for ``audience``, a URL.

    It requires sh, coreutils and gcloud. gcloud's ``--audiences`` works for service accounts only, and a control plane
    has one.
    """
    return exec_of("sh", ["-c", _GCLOUD_PLUGIN, "gcloud-identity-token", audience], {})


def exec_of(command: str, args: list[str], env: dict[str, str]) -> Exec:
    """Return a program as kube-apiserver requires it: it never asks at a terminal."""
    return Exec(
        api_version=EXEC_API_VERSION,
        command=command,
        args=args,
        env=[Variable(name, value) for name, value in env.items()],
        interactive_mode="Never",
    )


def resolve(user: User, folder: Path, timeout_s: float) -> Credentials:
    """Return the credentials themselves: files are read, and an ``exec`` program is run.

    Args:
        user: The kubeconfig's user.
        folder: Where relative paths start.
        timeout_s: Seconds that a program may take.

    Raises:
        ValueError: A file cannot be read, or the program fails. The message names the file, or the program with the
            end of its standard error. It holds no token of the kubeconfig.
    """
    if user.exec and not (user.token_file or user.token or user.username or user.has_certificate):
        return _run(user.exec, folder, timeout_s)
    return Credentials(
        token=_read(user.token_file, folder).decode("latin-1").strip() if user.token_file else user.token,
        username=user.username,
        password=user.password,
        certificate_pem=_pem(user.client_certificate_data, user.client_certificate, folder),
        key_pem=_pem(user.client_key_data, user.client_key, folder),
    )


def endpoint_of(cluster: Cluster, folder: Path) -> Endpoint:
    """Return where the kubeconfig's ``cluster`` is posted to. ``ValueError`` if its CAs cannot be read."""
    return Endpoint(
        url=cluster.server,
        ca_pem=ca_pem(cluster.certificate_authority_data, cluster.certificate_authority, folder),
        tls_server_name=cluster.tls_server_name,
        insecure_skip_tls_verify=cluster.insecure_skip_tls_verify,
        proxy_url=cluster.proxy_url,
    )


def ca_pem(data: str, path: str, folder: Path) -> str:
    """Return the CAs in the base64 ``data`` or in the file at ``path``, as PEM. Empty if there are none.

    Raises:
        ValueError: The file cannot be read, or is not PEM.
    """
    return _pem(data, path, folder).decode("ascii")


def _pem(data: str, path: str, folder: Path) -> bytes:
    if data:
        return base64.b64decode(data)
    return _read(path, folder) if path else b""


def _read(path: str, folder: Path) -> bytes:
    try:
        return files.resolve(path, folder).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}. Probe on the apiserver's machine, where the file is") from error


def _run(plugin: Exec, folder: Path, timeout_s: float) -> Credentials:
    """Return the credentials that the program prints."""
    command = str(files.resolve(plugin.command, folder)) if "/" in plugin.command else plugin.command
    request = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environ = {**os.environ, **{each.name: each.value for each in plugin.env}, _EXEC_INFO: json.dumps(request)}
    try:
        ran = subprocess.run(  # noqa: S603 - the program is the kubeconfig's, and the apiserver runs it too
            [command, *plugin.args],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or f"did not finish within {timeout_s:g} s"
        raise ValueError(f"exec: {plugin.command}: {reason}") from error
    if ran.returncode:
        complaint = ran.stderr.decode(errors="replace").strip()[-300:]
        raise ValueError(f"exec: {plugin.command}: exit {ran.returncode}: {complaint}")
    return _credentials_in(ran.stdout, plugin)


def _credentials_in(output: bytes, plugin: Exec) -> Credentials:
    expected = f"expected an ExecCredential of {plugin.api_version} with a status.token in JSON"
    try:
        document: dict[str, Any] = json.loads(output)
        status = document["status"]
        kind = document["apiVersion"], document["kind"]
        token, certificate, key = (status.get(name, "") for name in ("token", "clientCertificateData", "clientKeyData"))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"exec: {plugin.command}: {expected} on its standard output") from None
    if kind != (plugin.api_version, "ExecCredential") or not (token or (certificate and key)):
        raise ValueError(f"exec: {plugin.command}: {expected}, got another version or no credential")
    return Credentials(token=token, certificate_pem=certificate.encode(), key_pem=key.encode())
