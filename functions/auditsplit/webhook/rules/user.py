"""Rules about the user: its credentials, its ``exec`` program, and the files that the kubeconfig names."""

from __future__ import annotations

import re
import ssl

from auditsplit.webhook import tls
from auditsplit.webhook.kubeconfig import files
from auditsplit.webhook.kubeconfig.schema import EXEC_API_VERSION, User
from auditsplit.webhook.rules.subject import ERROR, WARNING, Rule, Subject

_BEARER = re.compile(r"[!-~]+", re.ASCII)
_MIN_TOKEN_CHARACTERS = 22  # 128 bits in base64


def _absent(subject: Subject) -> str:
    """Return the paths, as written, at which no file can be read or run here."""
    paths = files.named([subject.cluster], [subject.user])
    return ", ".join(path for path in paths if not subject.exists(path))


def _mismatched_pair(subject: Subject) -> bool:
    user = subject.user
    certificate = subject.pem(user.client_certificate_data, user.client_certificate)
    key = subject.pem(user.client_key_data, user.client_key)
    if certificate is None or key is None:
        return False
    try:
        tls.load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
    except (ssl.SSLError, OSError):
        return True
    return False


def _short(subject: Subject) -> bool:
    token = subject.user.token or (subject.read(subject.user.token_file) or b"").strip()
    return 0 < len(token) < _MIN_TOKEN_CHARACTERS


def _bad_token_file(subject: Subject) -> bool:
    content = subject.read(subject.user.token_file)
    return content is not None and not _BEARER.fullmatch(content.strip().decode("latin-1"))


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
        "{} cannot be found or read here. If that is also so on the apiserver's machine, kube-apiserver does not start "
        "or does not send events. A relative path starts at the kubeconfig's folder",
        _absent,
    ),
    Rule(
        ERROR,
        "credentials-over-http",
        lambda s: s.url.scheme == "http" and s.user.has_credentials,
        "kube-apiserver silently omits all credentials over http. Use https. For a function on the apiserver's own "
        "machine, use no credentials",
    ),
    Rule(
        WARNING,
        "no-credentials",
        lambda s: s.document.context and not s.user.has_credentials and not s.local,
        "there are no credentials. Without a token the function accepts only senders on its own machine",
    ),
    Rule(
        ERROR,
        "token-and-basic",
        lambda s: "basic" in _kinds(s.user) and {"token", "tokenFile"} & set(_kinds(s.user)),
        "there is both a token and a username or password. kube-apiserver does not start. Keep the token",
    ),
    Rule(
        ERROR,
        "two-tokens",
        lambda s: s.user.token and s.user.token_file,
        "there is both a token and a tokenFile. kube-apiserver uses the file, and the token only while the file cannot "
        "be read. Keep one of them",
    ),
    Rule(
        ERROR,
        "exec-ignored",
        lambda s: s.user.exec and (len(_kinds(s.user)) > 1 or s.user.has_certificate),
        "there are other credentials beside exec, so kube-apiserver never runs the program. Keep one of them",
    ),
    Rule(
        ERROR,
        "token-characters",
        lambda s: s.user.token and not _BEARER.fullmatch(s.user.token),
        "the token has a space, a line break or another character that is not valid in a header, perhaps at its end. "
        "kube-apiserver cannot send any event",
    ),
    Rule(
        WARNING,
        "short-token",
        _short,
        "the token has fewer than 22 characters. It can be guessed from its hash in AUDIT_TOKENS. Let auditsplit make "
        "a token",
    ),
    Rule(
        ERROR,
        "token-file-content",
        _bad_token_file,
        "the tokenFile is empty or has more than one line. kube-apiserver does not start or cannot send any event",
    ),
    Rule(
        ERROR,
        "basic-colon",
        lambda s: ":" in s.user.username,
        "the username has a colon. The receiver would read what follows it as the password",
    ),
    Rule(
        ERROR,
        "half-certificate",
        lambda s: s.user.has_certificate != bool(s.user.client_key or s.user.client_key_data),
        "there is a client certificate without its key, or a key without its certificate. kube-apiserver does not "
        "start, or presents no certificate",
    ),
    Rule(
        ERROR,
        "two-certificates",
        lambda s: (
            (s.user.client_certificate and s.user.client_certificate_data)
            or (s.user.client_key and s.user.client_key_data)
        ),
        "the client certificate or key is given both as a file and as data. kube-apiserver does not start. Keep one of "
        "them",
    ),
    Rule(
        ERROR,
        "certificate-pair",
        _mismatched_pair,
        "the client certificate or key is not valid PEM, the key is encrypted, or the two do not match. kube-apiserver "
        "does not start or cannot send any event",
    ),
    Rule(
        WARNING,
        "not-bearer",
        lambda s: s.user.has_credentials and not s.user.has_bearer,
        "the function accepts bearer tokens only. A gateway in front of it must check these credentials and add a "
        "token",
    ),
    Rule(
        ERROR,
        "auth-provider",
        lambda s: s.user.auth_provider is not None,
        "kube-apiserver has no auth-provider, so it does not start. Use exec or tokenFile",
    ),
    Rule(
        ERROR,
        "impersonation",
        lambda s: s.user.as_ or s.user.as_uid or s.user.as_groups or s.user.as_user_extra,
        "as, as-uid, as-groups and as-user-extra only mean something to an apiserver. Without as, kube-apiserver does "
        "not start. Remove them",
    ),
    Rule(
        WARNING,
        "readable",
        _readable,
        "other users of this machine can read the file and the secret in it. Run chmod 600",
    ),
)

_EXEC: tuple[Rule, ...] = (
    Rule(
        ERROR,
        "exec-command",
        lambda s: s.user.exec and not s.exec.command,
        "exec has no command. kube-apiserver does not start",
    ),
    Rule(
        ERROR,
        "exec-version",
        lambda s: s.user.exec and s.exec.api_version != EXEC_API_VERSION,
        f"exec must have the apiVersion {EXEC_API_VERSION}. With another, kube-apiserver does not start or uses an "
        "old version of the protocol",
    ),
    Rule(
        ERROR,
        "exec-interactive",
        lambda s: s.user.exec and s.exec.interactive_mode not in ("Never", "IfAvailable"),
        "exec must have interactiveMode: Never. Without a mode kube-apiserver does not start. With Always it cannot "
        "send any event, because it has no terminal",
    ),
    Rule(
        ERROR,
        "exec-variable",
        lambda s: any(not variable.name for variable in s.exec.env),
        "an environment variable of exec has no name. kube-apiserver does not start",
    ),
    Rule(
        WARNING,
        "exec-image",
        lambda s: s.user.exec,
        "the program must exist where kube-apiserver runs. kube-apiserver's own image has no shell, no gcloud and no "
        "Python. In a pod use a tokenFile that a program on the host renews",
    ),
)

RULES = (*_USER, *_EXEC)
