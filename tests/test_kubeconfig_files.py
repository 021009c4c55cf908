"""A kubeconfig's own file, and the files that it names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from auditsplit.webhook.kubeconfig import files
from auditsplit.webhook.kubeconfig.schema import Cluster, Exec, User


def test_a_kubeconfig_is_private_to_its_owner(tmp_path: Path) -> None:
    """The file has mode 0600 and a new folder 0700, whatever the umask."""
    before = os.umask(0)
    try:
        files.write(tmp_path / "a" / "b" / "k.yaml", "text\n", overwrite=False)
    finally:
        os.umask(before)

    assert (tmp_path / "a/b/k.yaml").read_text() == "text\n"
    assert (tmp_path / "a/b/k.yaml").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    """Nor a dangling link, and no temporary file is left."""
    path, link = tmp_path / "k.yaml", tmp_path / "link.yaml"
    path.write_text("mine")
    link.symlink_to("nowhere")

    for taken in (path, link):
        with pytest.raises(FileExistsError):
            files.write(taken, "text", overwrite=False)

    assert path.read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["k.yaml", "link.yaml"]


def test_a_relative_path_starts_at_the_kubeconfigs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is absolute, so that a program is not looked up in PATH."""
    monkeypatch.chdir(tmp_path)

    assert files.resolve("pki/ca.pem", Path("conf")) == tmp_path / "conf/pki/ca.pem"
    assert files.resolve("/pki/ca.pem", Path("conf")) == Path("/pki/ca.pem")


def test_named_files_are_returned_as_written() -> None:
    """A program without a slash is looked up in PATH, so it is not a file."""
    user = User(token_file="/run/token", client_certificate="/pki/a.crt", client_key="/pki/a.key")  # noqa: S106 - paths
    programs = [User(exec=Exec(command=command)) for command in ("gcloud", "bin/token")]

    paths = files.named([Cluster(certificate_authority="../ca.crt"), Cluster()], [user, *programs])

    assert paths == ["../ca.crt", "/run/token", "/pki/a.crt", "/pki/a.key", "bin/token"]
