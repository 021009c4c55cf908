"""Which clusters' events the files hold. An event does not name its cluster, and not every key does."""

from __future__ import annotations

from pathlib import Path

from auditsplit.sinks.file import disk


class Clusters:
    """The names in the file ``path``, each on a line. Call `note` with the sink's lock held."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        """Name the file; nothing is opened yet."""
        self._path, self._sync = path, sync
        self._noted: frozenset[str] = frozenset()

    def note(self, cluster: str, folder: int) -> None:
        """Add ``cluster`` to the file if it is not there. ``folder`` is the open folder of the file.

        Raises ``OSError`` where that fails.
        """
        if cluster in self._noted:
            return
        noted = self.read()
        if cluster not in noted:
            text = "".join(f"{name}\n" for name in sorted(noted | {cluster}))
            disk.replace(self._path.name, text.encode(), "clusters.new", folder, folder, really=self._sync)
        self._noted = noted | {cluster}

    def read(self) -> frozenset[str]:
        """Return the names. None are known where there is no file, as in a folder of an older version."""
        try:
            return frozenset(self._path.read_text("utf-8", "replace").split())
        except FileNotFoundError:
            return frozenset()
