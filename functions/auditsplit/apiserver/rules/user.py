"""What to show: the user's credentials, and the files that the document names."""

from __future__ import annotations

import re
import ssl

from auditsplit.apiserver.kubeconfig import files
from auditsplit.apiserver.kubeconfig.schema import EXEC_API_VERSION, User
from auditsplit.apiserver.rules.subject import ERROR, WARNING, Rule, Subject

_BEARER = re.compile(r"[!-~]+", re.ASCII)
_MIN_TOKEN = 22  # characters of base64 that 128 bits take


def _absent(subject: Subject) -> str:
    """Return the paths that have no file here, as the document has them."""
    named = (subject.cluster.certificate_authority, subject.user.client_certificate, subject.user.client_key)
    return ", ".join(path for path in (*named, subject.user.token_file) if path and subject.read(path) is None)


def _no_pair(subject: Subject) -> bool:
    user = subject.user
    certificate = subject.pem(user.client_certificate_data, user.client_certificate)
    key = subject.pem(user.client_key_data, user.client_key)
    if certificate is None or key is None:
        return False
    try:
        files.load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
    except (ssl.SSLError, OSError):
        return True
    return False


def _short(subject: Subject) -> bool:
    token = subject.user.token or (subject.read(subject.user.token_file) or b"").strip()
    return 0 < len(token) < _MIN_TOKEN


def _bad_token_file(subject: Subject) -> bool:
    held = subject.read(subject.user.token_file)
    return held is not None and not _BEARER.fullmatch(held.strip().decode("latin-1"))


def _readable(subject: Subject) -> bool:
    user = subject.user
    secret = user.token or user.password or user.client_key_data
    return bool(secret) and bool(subject.mode & 0o077)


def _kinds(user: User) -> list[str]:
    """Return which ways to an ``Authorization`` header a user has."""
    ways = {"token": user.token, "tokenFile": user.token_file, "basic": user.username or user.password}
    return [name for name, value in {**ways, "exec": user.exec}.items() if value]


_USER: tuple[Rule, ...] = (
    Rule(
        WARNING,
        "absent-file",
        lambda s: bool(_absent(s)),
        "a file that it names is not on this machine; where it isn't on the apiserver's either, that doesn't start, or "
        "sends nothing. A relative path starts at the kubeconfig's folder",
        _absent,
    ),
    Rule(
        ERROR,
        "credentials-over-http",
        lambda s: s.url.scheme == "http" and s.user.has_credentials,
        "over http kube-apiserver leaves all credentials out without a word; use https, or no credentials for a "
        "function on its own machine",
    ),
    Rule(
        WARNING,
        "no-credentials",
        lambda s: s.document.context and not s.user.has_credentials and not s.local,
        "there are no credentials, and without a token the function takes senders on its own machine only",
    ),
    Rule(
        ERROR,
        "token-and-basic",
        lambda s: "basic" in _kinds(s.user) and {"token", "tokenFile"} & set(_kinds(s.user)),
        "a token and a username or password; kube-apiserver doesn't start; keep the token",
    ),
    Rule(
        ERROR,
        "two-tokens",
        lambda s: s.user.token and s.user.token_file,
        "both token and tokenFile; the file wins, the token counts while it can't be read; keep one",
    ),
    Rule(
        ERROR,
        "exec-ignored",
        lambda s: s.user.exec and (len(_kinds(s.user)) > 1 or s.user.has_certificate),
        "exec beside other credentials; kube-apiserver never runs it then; keep one",
    ),
    Rule(
        ERROR,
        "token-characters",
        lambda s: s.user.token and not _BEARER.fullmatch(s.user.token),
        "the token has a space, line break or other character that no header may have, at its end perhaps; "
        "kube-apiserver fails to send anything",
    ),
    Rule(
        WARNING,
        "short-token",
        _short,
        "a token of fewer than 22 characters may be guessed from its hash in AUDIT_TOKENS; let auditsplit make one",
    ),
    Rule(
        ERROR,
        "token-file-content",
        _bad_token_file,
        "the tokenFile has no token, or more than one line; kube-apiserver doesn't start, or fails to send anything",
    ),
    Rule(
        ERROR,
        "basic-colon",
        lambda s: ":" in s.user.username,
        "the username has a colon, at which the receiver would cut it",
    ),
    Rule(
        ERROR,
        "half-certificate",
        lambda s: s.user.has_certificate != bool(s.user.client_key or s.user.client_key_data),
        "a client certificate without its key, or a key without a certificate; kube-apiserver doesn't start, or shows "
        "nothing",
    ),
    Rule(
        ERROR,
        "two-certificates",
        lambda s: (
            (s.user.client_certificate and s.user.client_certificate_data)
            or (s.user.client_key and s.user.client_key_data)
        ),
        "a client certificate or key both as file and as data; kube-apiserver doesn't start; keep one",
    ),
    Rule(
        ERROR,
        "certificate-pair",
        _no_pair,
        "the client certificate and key are no PEM, are encrypted or don't fit; kube-apiserver doesn't start, or "
        "fails to send anything",
    ),
    Rule(
        WARNING,
        "not-bearer",
        lambda s: s.user.has_credentials and not s.user.has_bearer,
        "the function itself knows bearer tokens only: something in front of it has to check this, and add one",
    ),
    Rule(
        ERROR,
        "auth-provider",
        lambda s: s.user.auth_provider is not None,
        "auth-provider names none that kube-apiserver has, so that doesn't start; use exec or tokenFile",
    ),
    Rule(
        ERROR,
        "impersonation",
        lambda s: s.user.as_ or s.user.as_uid or s.user.as_groups or s.user.as_user_extra,
        "as, as-uid, as-groups and as-user-extra are for apiservers alone, and without an as kube-apiserver doesn't "
        "start; leave them out",
    ),
    Rule(
        WARNING,
        "readable",
        _readable,
        "others on this machine can read the file, and its secret; chmod 600",
    ),
)

_EXEC: tuple[Rule, ...] = (
    Rule(
        ERROR,
        "exec-command",
        lambda s: s.user.exec and not s.exec.command,
        "exec without a command; kube-apiserver doesn't start",
    ),
    Rule(
        ERROR,
        "exec-version",
        lambda s: s.user.exec and s.exec.api_version != EXEC_API_VERSION,
        f"exec wants the apiVersion {EXEC_API_VERSION}; with another kube-apiserver doesn't start, or asks in an old "
        "version",
    ),
    Rule(
        ERROR,
        "exec-interactive",
        lambda s: s.user.exec and s.exec.interactive_mode not in ("Never", "IfAvailable"),
        "exec without interactiveMode: Never; without one kube-apiserver doesn't start, and for Always it has no "
        "terminal, so it fails to send anything",
    ),
    Rule(
        ERROR,
        "exec-variable",
        lambda s: any(not variable.name for variable in s.exec.env),
        "an environment variable of exec has no name; kube-apiserver doesn't start",
    ),
    Rule(
        WARNING,
        "exec-image",
        lambda s: s.user.exec,
        "the program has to be where kube-apiserver runs; its own image has no shell, no gcloud and no Python, so "
        "there use a tokenFile that something on the host renews",
    ),
)

RULES = (*_USER, *_EXEC)
