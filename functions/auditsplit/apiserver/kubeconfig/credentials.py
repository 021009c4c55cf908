"""Credentials as kube-apiserver comes by them: files read, ``exec`` programs run.

The exec protocol: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from auditsplit.apiserver.kubeconfig import files
from auditsplit.apiserver.kubeconfig.schema import EXEC_API_VERSION, Exec, User, Variable

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
    """Return the program that prints gcloud's identity token for ``audience``, a URL; it wants sh, coreutils, gcloud.

    ``--audiences`` works for service accounts only, which is what a control plane has.
    """
    return exec_of("sh", ["-c", _GCLOUD_PLUGIN, "gcloud-identity-token", audience], {})


def exec_of(command: str, args: list[str], env: dict[str, str]) -> Exec:
    """Return a program as kube-apiserver wants it, never asking at a terminal."""
    return Exec(
        api_version=EXEC_API_VERSION,
        command=command,
        args=args,
        env=[Variable(name, value) for name, value in env.items()],
        interactive_mode="Never",
    )


def resolve(user: User, folder: Path, timeout_s: float) -> User:
    """Return ``user`` with everything in it: ``token``, basic, certificate and key as data, no files, no program.

    Paths start at ``folder``; a program may take ``timeout_s``. ``ValueError`` says what is missing, never a secret.
    """
    if user.token_file:
        return User(token=_read(user.token_file, folder).decode("latin-1").strip())
    if user.exec and not (user.token or user.username or user.has_certificate):
        return _run(user.exec, folder, timeout_s)
    certificate = user.client_certificate_data or _data(user.client_certificate, folder)
    key = user.client_key_data or _data(user.client_key, folder)
    return User(
        token=user.token,
        username=user.username,
        password=user.password,
        client_certificate_data=certificate,
        client_key_data=key,
    )


def _data(path: str, folder: Path) -> str:
    return base64.b64encode(_read(path, folder)).decode() if path else ""


def _read(path: str, folder: Path) -> bytes:
    try:
        return files.resolve(path, folder).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; probe where the file is, on the apiserver's machine") from error


def _run(plugin: Exec, folder: Path, timeout_s: float) -> User:
    """Return the credential that the program prints."""
    command = str(files.resolve(plugin.command, folder)) if "/" in plugin.command else plugin.command
    asked = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environ = {**os.environ, **{each.name: each.value for each in plugin.env}, _EXEC_INFO: json.dumps(asked)}
    try:
        ran = subprocess.run(  # noqa: S603 - the program is the kubeconfig's, which the apiserver runs likewise
            [command, *plugin.args],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or f"no end after {timeout_s:g} s"
        raise ValueError(f"exec: {plugin.command}: {reason}") from error
    if ran.returncode:
        said = ran.stderr.decode(errors="replace").strip()[-300:]
        raise ValueError(f"exec: {plugin.command}: exit {ran.returncode}: {said}")
    return _credential(ran.stdout, plugin)


def _credential(printed: bytes, plugin: Exec) -> User:
    expected = f"expected an ExecCredential of {plugin.api_version} with a status.token in JSON"
    try:
        document: dict[str, Any] = json.loads(printed)
        status = document["status"]
        kind = document["apiVersion"], document["kind"]
        token, certificate, key = (status.get(name, "") for name in ("token", "clientCertificateData", "clientKeyData"))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"exec: {plugin.command}: {expected} on its standard output") from None
    if kind != (plugin.api_version, "ExecCredential") or not (token or (certificate and key)):
        raise ValueError(f"exec: {plugin.command}: {expected}, came another version or no credential")
    pair = [base64.b64encode(text.encode()).decode() for text in (certificate, key)]
    return User(token=token, client_certificate_data=pair[0], client_key_data=pair[1])
