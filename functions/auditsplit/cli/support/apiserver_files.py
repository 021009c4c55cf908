"""The files that kube-apiserver's flags and kubeconfig name, as far as they are on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from auditsplit.apiserver.installers.volumes import kubeconfig_paths
from auditsplit.cli.support.contract import Refused, reason
from auditsplit.errors import SettingsError
from auditsplit.webhook.kubeconfig import schema


def contents(paths: tuple[str, ...], config: str, folder: Path | None) -> dict[str, str]:
    """Return the text of the files of the folder of ``config`` that lie in ``folder`` here."""
    there = Path(config).parent
    here = {
        path: folder / Path(path).relative_to(there) for path in paths if folder and Path(path).is_relative_to(there)
    }
    try:
        return {path: file.read_text("utf-8") for path, file in here.items()}
    except OSError as error:
        raise SettingsError(f"--files: {reason(error)}: {error.filename}") from error
    except ValueError as error:
        raise SettingsError(
            f"--files: a file in {folder} is not text in UTF-8, so it cannot go into a document"
        ) from error


def named_by(config: str, folder: Path | None) -> list[str]:
    """Return the files that the kubeconfig names, if it is on this machine too."""
    there = Path(config)
    path = folder / there.name if folder else there
    if not path.is_file():
        click.echo(f"{path} is not on this machine. Name the files that it needs with --file", err=True)
        return []
    try:
        document = schema.decode(schema.parse(path.read_text("utf-8")) or {})
    except (OSError, ValueError) as error:
        raise Refused([f"{path}: not a readable kubeconfig: {reason(error)}"]) from error
    return kubeconfig_paths(document, there.parent)
