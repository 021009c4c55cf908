"""The listening socket and the certificates of `auditsplit serve`, checked before the server starts.

gunicorn tries an address that is in use five times, and logs each try. A wrong certificate ends its workers one by one.
Here each mistake is one sentence.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from pathlib import Path
from typing import NamedTuple

BACKLOG = 2048
"""Connections that wait to be accepted: gunicorn's own default."""

_REASONS = {
    errno.EADDRINUSE: "another process listens there. Stop it, or choose another --port",
    errno.EACCES: "only root may listen on this port. Choose a --port from 1024 on",
    errno.EADDRNOTAVAIL: "this machine does not have the address. Choose another --host",
}


class Certificates(NamedTuple):
    """The files of TLS, all in PEM."""

    certfile: Path
    """The server's certificate, with the intermediate certificates after it."""

    keyfile: Path
    """Its private key."""

    client_ca: Path | None = None
    """The authorities of client certificates. With it, every sender must present a certificate."""

    def check(self) -> None:
        """Raise `ValueError` if a file cannot be read, or the key is not the certificate's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for option, path in (("--certfile", self.certfile), ("--keyfile", self.keyfile)):
            _read(option, path)
        try:
            context.load_cert_chain(self.certfile, self.keyfile)
        except ssl.SSLError as error:
            raise ValueError(
                f"--certfile, --keyfile: must be a PEM certificate and its own private key without a password, "
                f"but OpenSSL reports {error.reason or error}"
            ) from error
        if self.client_ca:
            _read("--client-ca", self.client_ca)
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as error:
                raise ValueError(f"--client-ca: {self.client_ca} must hold PEM certificates") from error

    def options(self) -> dict[str, object]:
        """Return gunicorn's options for these files."""
        own: dict[str, object] = {"certfile": str(self.certfile), "keyfile": str(self.keyfile)}
        if self.client_ca:
            own |= {"ca_certs": str(self.client_ca), "cert_reqs": ssl.CERT_REQUIRED}
        return own


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: A name or an address of this machine.
        port: The port. 0 takes a free one.

    Raises:
        ValueError: The address cannot be used. The message says why, and what to do.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or f"{os.strerror(error.errno) if error.errno else error}"
        if isinstance(error, socket.gaierror):
            reason = "the name has no address. Write an address of this machine as --host"
        raise ValueError(f"cannot listen on {host}:{port}: {reason}") from error


def url(listening: socket.socket, *, tls: bool) -> str:
    """Return the URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"


def _read(option: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"{option}: cannot read {path}: {error.strerror}") from error
