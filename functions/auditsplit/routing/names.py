"""Names: any string as a file or object name, one-to-one.

A user name is chosen by whoever the cluster trusts, and by impersonation: ``../../etc``, ``a/b``, 300 characters, an
emoji, ``alice`` beside ``Alice``. What comes out is ASCII without upper-case letters but for the two hexadecimal digits
of ``%XX``, so that two names also differ on a disk that ignores case or normalises Unicode, and can be read back with
any URL decoder (`RFC 3986 <https://www.rfc-editor.org/rfc/rfc3986#section-2.1>`_, as Hive does for partition values).

A leading ``_`` and a leading or closing ``.`` are encoded too, which keeps ``_…`` names for ourselves (``_no-user``,
``_rejected``), makes no hidden file, and leaves no ``.`` or ``..``.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

MAX_BYTES = 200
"""The longest name; the usual file systems take 255 bytes a segment, and rotation adds some."""

NO_USER = "_no-user"
"""The name for an event without a user; `encode` never returns one that begins with ``_``."""

ABSENT = "none"
"""The name for an absent namespace, resource or verb, as in Kubernetes' fluentd recipe."""

_UNSAFE = re.compile(rb"[^a-z0-9_.@:-]|\A[._]|\.\Z")
_CACHED_CHARACTERS = 256  # of the longest value that is remembered: a caller can choose 4,096 of a megabyte each
_HASH_MARK = "~"  # encoded where it stands in a value, so a shortened name can't be another's full one


def encode(value: str) -> str:
    """Return ``value`` as a name of 1 to `MAX_BYTES` characters of ``a-z 0-9 _ . @ : - % ~``.

    Unchanged where it is made of ``a-z 0-9 _ . @ : -`` and begins and ends well. All else becomes ``%XX`` a UTF-8 byte.
    Longer results keep their beginning and get ``~`` and the SHA-256 of the whole value in place of the rest. Two
    values never give one name. ``value`` must not be empty: what stands for an absent value is the caller's choice.
    """
    if not value:
        raise ValueError("an empty value has no name; choose what stands for it, such as NO_USER")
    return _remembered(value) if len(value) <= _CACHED_CHARACTERS else _encoded(value)


def _encoded(value: str) -> str:
    raw = value.encode("utf-8", "surrogatepass")  # JSON may escape a lone surrogate
    name = _UNSAFE.sub(lambda byte: b"%%%02X" % byte[0][0], raw).decode("ascii")
    return name if len(name) <= MAX_BYTES else _shorten(name, raw)


_remembered = lru_cache(maxsize=4096)(_encoded)


def _shorten(name: str, raw: bytes) -> str:
    digest = hashlib.sha256(raw).hexdigest()
    kept = name[: MAX_BYTES - len(_HASH_MARK) - len(digest)]
    return re.sub(r"%[0-9A-F]?\Z", "", kept) + _HASH_MARK + digest
