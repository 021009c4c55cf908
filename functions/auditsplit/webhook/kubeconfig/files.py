"""The files that a kubeconfig names, and the kubeconfig's own file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from auditsplit.atomic import atomic_write
from auditsplit.webhook.kubeconfig.schema import Cluster, User

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


def named(clusters: Iterable[Cluster], users: Iterable[User]) -> list[str]:
    """Return the paths of the files that ``clusters`` and ``users`` name, as written.

    An ``exec`` program is among them if its name has a slash. Otherwise it is looked up in PATH.
    """
    paths = [cluster.certificate_authority for cluster in clusters]
    for user in users:
        program = user.exec.command if user.exec else ""
        paths += [user.token_file, user.client_certificate, user.client_key, program if "/" in program else ""]
    return [path for path in paths if path]


def resolve(path: str, folder: Path) -> Path:
    """Return the absolute path of a ``path`` in a kubeconfig. A relative one starts at the kubeconfig's ``folder``."""
    return (folder / path).absolute()


def write(path: Path, text: str, *, overwrite: bool) -> None:
    """Write the kubeconfig ``text`` to ``path`` as a whole or not at all, with mode 0600.

    Missing folders are made, with mode 0700.

    Raises:
        FileExistsError: ``path`` exists and ``overwrite`` is false.
        OSError: The file cannot be written.
    """
    path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    atomic_write(path, text.encode(), mode=_PRIVATE_FILE, overwrite=overwrite)
