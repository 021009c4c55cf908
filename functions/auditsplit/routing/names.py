"""Names: encode any string as a file or object name, one-to-one.

Those whom the cluster trusts choose user names, and so does impersonation: ``../../etc``, ``a/b``, 300 characters, an
emoji, ``alice`` beside ``Alice``. The encoded name is ASCII. Its only upper-case letters are the hexadecimal digits of
``%XX``. So two names also differ on a disk that ignores case or normalises Unicode. Any URL decoder reads a name back,
unless it was shortened (`RFC 3986 <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>`_). Hive encodes partition
values in the same way.

A leading ``_`` and a leading or closing ``.`` are encoded too. That reserves names with ``_`` for auditsplit itself
(``_no-user``, ``_rejected``). No file is hidden, and no name is ``.`` or ``..``.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

MAX_BYTES = 200
"""The longest name. Usual file systems allow 255 bytes a segment, and rotation adds to a file's name."""

NO_USER = "_no-user"
"""The name for an event without a user. `encode` never returns a name that begins with ``_``."""

ABSENT = "none"
"""The name for an absent namespace, resource or verb, as in Kubernetes' fluentd recipe."""

_UNSAFE = re.compile(rb"[^a-z0-9_.@:-]|\A[._]|\.\Z")
_MAX_CACHED_CHARACTERS = 256  # longer values are not cached: a user can choose 4,096 of a megabyte each
_HASH_MARK = "~"  # is encoded in a value, so a shortened name can't be the full name of another value


def encode(value: str) -> str:
    """Return ``value`` as a name of 1 to `MAX_BYTES` characters of ``a-z 0-9 _ . @ : - % ~`` and upper-case hex digits.

    ``a-z 0-9 _ . @ : -`` stay, except for ``_`` and ``.`` at the beginning and ``.`` at the end. Any other character
    becomes ``%XX`` for each UTF-8 byte. A result that is too long keeps its beginning, and ``~`` and the SHA-256 of the
    whole value replace its rest. Two values never get the same name.

    Raises:
        ValueError: For an empty value. The caller chooses the name of an absent value.
    """
    if not value:
        raise ValueError("an empty value has no name. Choose one for it, such as NO_USER")
    return _cached(value) if len(value) <= _MAX_CACHED_CHARACTERS else _encoded(value)


def _encoded(value: str) -> str:
    raw = value.encode("utf-8", "surrogatepass")  # JSON may escape a lone surrogate
    name = _UNSAFE.sub(lambda byte: b"%%%02X" % byte[0][0], raw).decode("ascii")
    return name if len(name) <= MAX_BYTES else _shorten(name, raw)


_cached = lru_cache(maxsize=4096)(_encoded)


def _shorten(name: str, raw: bytes) -> str:
    digest = hashlib.sha256(raw).hexdigest()
    kept = name[: MAX_BYTES - len(_HASH_MARK) - len(digest)]
    return re.sub(r"%[0-9A-F]?\Z", "", kept) + _HASH_MARK + digest
