"""The client certificate that kube-apiserver's webhook client presents."""

from __future__ import annotations

import ssl

import pytest
import trustme

from auditsplit.webhook import tls


def test_an_encrypted_key_is_refused() -> None:
    """No password is asked for at the terminal."""
    leaf = trustme.CA().issue_cert("a.example")
    chain = leaf.cert_chain_pems[0].bytes()
    key = leaf.private_key_pem.bytes()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + key.split(b"\n", 1)[1].replace(b"END ", b"END ENCRYPTED ")

    tls.load_pair(context, chain, key)
    with pytest.raises(ssl.SSLError):
        tls.load_pair(context, chain, encrypted)
