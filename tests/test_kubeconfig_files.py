"""Files: written whole, for their owner alone, over nothing; read by the paths that a kubeconfig has."""

from __future__ import annotations

import os
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from auditsplit.apiserver.kubeconfig import files


def test_written_for_the_owner_alone(tmp_path: Path) -> None:
    """File 0600, a new folder 0700, whatever the umask."""
    before = os.umask(0)
    try:
        files.write(tmp_path / "a" / "b" / "k.yaml", "text\n", overwrite=False)
    finally:
        os.umask(before)

    assert (tmp_path / "a/b/k.yaml").read_text() == "text\n"
    assert (tmp_path / "a/b/k.yaml").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o700


def test_never_over_another(tmp_path: Path) -> None:
    """What is there stays, a link to nowhere too, and nothing is left beside it."""
    path, link = tmp_path / "k.yaml", tmp_path / "link.yaml"
    path.write_text("mine")
    link.symlink_to("nowhere")

    for taken in (path, link):
        with pytest.raises(FileExistsError):
            files.write(taken, "text", overwrite=False)

    assert path.read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["k.yaml", "link.yaml"]


def test_replaced_with_its_mode(tmp_path: Path) -> None:
    """A file that others could read is one that they can't, from then on."""
    path = tmp_path / "k.yaml"
    path.write_text("old")
    path.chmod(0o644)

    files.write(path, "new", overwrite=True)

    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["k.yaml"]


def test_only_one_of_many_writers_wins(tmp_path: Path) -> None:
    """Of those that would not overwrite, and its text is whole."""
    path, lost = tmp_path / "k.yaml", []

    def write(text: str) -> None:
        try:
            files.write(path, text * 10_000, overwrite=False)
        except FileExistsError:
            lost.append(text)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(lost) == 7
    assert path.read_text() == path.read_text()[0] * 10_000


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, say."""
    path = tmp_path / "k.yaml"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, "new", overwrite=True)

    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["k.yaml"]


def test_a_relative_path_starts_at_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And comes out absolute, so that a program isn't looked for in PATH."""
    monkeypatch.chdir(tmp_path)

    assert files.resolve("pki/ca.pem", Path("conf")) == tmp_path / "conf/pki/ca.pem"
    assert files.resolve("/pki/ca.pem", Path("conf")) == Path("/pki/ca.pem")


def test_an_encrypted_key_is_refused() -> None:
    """Without asking for its password at the terminal."""
    leaf = trustme.CA().issue_cert("a.example")
    chain = leaf.cert_chain_pems[0].bytes()
    key = leaf.private_key_pem.bytes()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + key.split(b"\n", 1)[1].replace(b"END ", b"END ENCRYPTED ")

    files.load_pair(context, chain, key)
    with pytest.raises(ssl.SSLError):
        files.load_pair(context, chain, encrypted)
