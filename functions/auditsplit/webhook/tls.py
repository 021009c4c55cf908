"""TLS as kube-apiserver's webhook client does it: which servers it trusts, and the certificate that it presents."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path


def context_for(ca_pem: str, certificate_pem: bytes, key_pem: bytes, *, verify: bool) -> ssl.SSLContext:
    """Return a context that trusts what Go would trust: only the given CAs, and names only in SANs.

    Args:
        ca_pem: The CAs' certificates. When empty, the machine's own CAs are trusted.
        certificate_pem: The client certificate with its chain. When empty, none is presented.
        key_pem: The client certificate's key.
        verify: Whether the server's certificate and name are verified.

    Raises:
        ValueError: ``ca_pem`` has a character outside of ASCII.
        ssl.SSLError: A certificate or key is not valid PEM, or the two do not match.
    """
    context = ssl.create_default_context(cadata=ca_pem or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate_pem:
        load_pair(context, certificate_pem, key_pem)
    return context


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a client certificate and its key, both PEM.

    For the time of the call both are in private temporary files, because OpenSSL reads them from files only.

    Raises:
        ssl.SSLError: One of them is not valid PEM, the key is encrypted, or the two do not match.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "certificate"), Path(folder, "key")
        for path, data in zip(paths, (certificate, key), strict=True):
            path.touch(0o600)
            path.write_bytes(data)
        context.load_cert_chain(*paths, password=lambda: "")  # an encrypted key fails instead of asking at the terminal
