"""Certificates and keys: one authority for everything on 127.0.0.1, and another that nobody knows."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class Pair(NamedTuple):
    """A certificate's file and its key's."""

    certificate: Path
    key: Path


class Pki:
    """The files below ``folder``."""

    def __init__(self, folder: Path) -> None:
        """Make them; takes some milliseconds."""
        self._folder, self._authority = folder, trustme.CA()
        folder.mkdir()
        self.ca = folder / "ca.crt"
        self._authority.cert_pem.write_to_path(str(self.ca))
        self.other_ca = folder / "other-ca.crt"
        trustme.CA().cert_pem.write_to_path(str(self.other_ca))
        self.apiserver = self.issue("apiserver", "127.0.0.1", "localhost")
        self.receiver = self.issue("receiver", "127.0.0.1", "localhost")
        self.named = self.issue("named", "audit.example.test")
        self.client = self.issue("client", "kube-apiserver-audit.example.test")
        self.service_account = self._service_account()

    def trusting(self) -> ssl.SSLContext:
        """Return a client's context that trusts the authority."""
        return ssl.create_default_context(cafile=str(self.ca))

    def serving(self, pair: Pair) -> ssl.SSLContext:
        """Return a server's context; it asks for a client certificate of the authority, and does without one too."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca))
        context.load_cert_chain(pair.certificate, pair.key)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def issue(self, name: str, *identities: str, common_name: str = "", organization: str | None = None) -> Pair:
        """Return a new certificate of the authority, in files of this name."""
        issued = self._authority.issue_cert(
            *(identities or ("client.example.test",)), common_name=common_name or name, organization_name=organization
        )
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        issued.private_key_pem.write_to_path(str(pair.key))
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(str(pair.certificate), append=bool(number))
        return pair

    def _service_account(self) -> Pair:
        """Return the key pair for service accounts' tokens: the public key's file and the private one's."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pair = Pair(self._folder / "sa.pub", self._folder / "sa.key")
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        pair.certificate.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        return pair
