"""Bundles: all that a cloud needs of auditsplit, as one zip; the same input makes the same bytes.

``lambda-x86_64`` and ``lambda-arm64`` are the function with its dependencies as wheels for Amazon Linux 2023;
``functions`` is the source that Google builds, with its requirements. Versions and hashes are those of
requirements.lock, and what is no wheel is refused.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

_ROOT = Path(__file__).parents[1]
_FUNCTIONS = _ROOT / "functions"
_LOCK = _ROOT / "requirements.lock"
_UV = Path(sys.executable).with_name("uv")
_PLATFORMS = {"lambda-x86_64": "x86_64-manylinux_2_34", "lambda-arm64": "aarch64-manylinux_2_34"}
_FRAMEWORK = ("main.py", "requirements.txt")  # of functions/, what is for functions-framework alone
_OF_THE_BUILD = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")  # tell how a wheel was installed, and where
_TASK_ROOT = "/var/task"
_TOTAL_MB = 250  # Lambda's limit, unpacked

Entries = Iterator[tuple[str, Path]]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("bundle", type=click.Choice([*_PLATFORMS, "functions"]))
@click.option("--extra", "extras", multiple=True, help="What of pyproject.toml's optional dependencies: s3, gcs, zstd.")
@click.option("--python", default="3.13", show_default=True, help="The Python of Lambda that it is for.")
@click.option("--compiler", metavar="PROGRAM", help="That very Python: adds bytecode, so that Lambda starts sooner.")
@click.option("--into", type=click.Path(path_type=Path), default=Path("dist"), show_default=True, help="The folder.")
def main(bundle: str, extras: Sequence[str], python: str, compiler: str | None, into: Path) -> None:
    """Write dist/auditsplit-BUNDLE.zip, and print its SHA-256 and its name.

    To build for Lambda on arm64, with S3 as the store: infra/bundle.py lambda-arm64 --extra s3
    """
    if compiler and bundle == "functions":
        raise click.BadParameter("Google's build compiles the source by itself", param_hint="--compiler")
    if compiler:
        _expect_version(compiler, python)
    with tempfile.TemporaryDirectory(prefix="auditsplit-bundle-") as folder:
        try:
            entries = _make(bundle, extras, python, compiler, Path(folder))
        except subprocess.CalledProcessError as error:
            sys.exit(f"{Path(error.cmd[0]).name} {error.cmd[1]} failed, and says why above")
        into.mkdir(parents=True, exist_ok=True)
        target = into / f"auditsplit-{bundle}.zip"
        write(target, dict(entries))
    click.echo(f"{hashlib.sha256(target.read_bytes()).hexdigest()}  {target}")


def _make(bundle: str, extras: Sequence[str], python: str, compiler: str | None, folder: Path) -> Entries:
    """Return what the bundle holds: the name there, and the file."""
    requirements = folder / "requirements.txt"
    if bundle == "functions":
        compile_requirements(["serve", *extras], requirements, "--universal", "--python-version", "3.11")
        return iter([*_modules(_FUNCTIONS), (requirements.name, requirements)])
    platform = ("--python-platform", _PLATFORMS[bundle], "--python-version", python)
    compile_requirements(extras, requirements, *platform)
    task = folder / "task"
    _uv("pip", "install", "--target", task, "--link-mode", "copy", *platform, *_only_locked(requirements))
    for name, path in _modules(_FUNCTIONS):
        if name not in _FRAMEWORK:
            (task / name).parent.mkdir(exist_ok=True, parents=True)
            (task / name).write_bytes(path.read_bytes())
    if compiler:
        _compile(task, compiler)
    return _installed(task)


def compile_requirements(extras: Sequence[str], target: Path, *options: str) -> None:
    """Write the packages that auditsplit and its ``extras`` need, pinned as the lock has them, with their hashes."""
    chosen = [word for extra in extras for word in ("--extra", extra)]
    _uv("pip", "compile", "pyproject.toml", *chosen, *options, "-c", _LOCK, "-o", target, "--generate-hashes",
        "--no-emit-index-url", "--no-header", "--no-annotate")  # fmt: skip


def _only_locked(requirements: Path) -> tuple[str | Path, ...]:
    return ("--require-hashes", "-r", requirements, "-c", _LOCK, "--no-deps", "--only-binary", ":all:")


def _expect_version(compiler: str, python: str) -> None:
    version = "import sys; print('{}.{}'.format(*sys.version_info))"
    try:
        found = subprocess.run([compiler, "-c", version], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise click.BadParameter(f"{compiler} does not run: {error}", param_hint="--compiler") from error
    if found != python:
        raise click.BadParameter(f"{compiler} is Python {found}, the bundle is for {python}", param_hint="--compiler")


def _compile(task: Path, compiler: str) -> None:
    """Add bytecode that is taken unchecked: a file's time, by which Python would check it, says nothing in a zip."""
    options = ("-q", "--invalidation-mode", "unchecked-hash", "-s", task, "-p", _TASK_ROOT)
    subprocess.run(
        [compiler, "-m", "compileall", *options, task], check=True, env={**os.environ, "PYTHONHASHSEED": "0"}
    )


def _modules(folder: Path) -> Entries:
    """Yield the Python files below ``folder``."""
    for path in folder.rglob("*.py"):
        yield path.relative_to(folder).as_posix(), path


def _installed(task: Path) -> Entries:
    """Yield what lies in ``task`` but for programs and what tells of the build."""
    total = 0
    for path in task.rglob("*"):
        name = path.relative_to(task)
        if path.is_file() and name.parts[0] not in ("bin", ".lock") and path.name not in _OF_THE_BUILD:
            total += path.stat().st_size
            yield name.as_posix(), path
    if total > _TOTAL_MB * 1024 * 1024:
        sys.exit(f"the bundle has {total} bytes, Lambda takes {_TOTAL_MB} MB; leave an extra out")


def write(target: Path, files: Mapping[str, Path]) -> None:
    """Write a zip of ``files`` by name: sorted, of one time and mode, so that it is a matter of their bytes alone."""
    with zipfile.ZipFile(target, "w") as bundle:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # Unix, readable by Lambda's user
            bundle.writestr(entry, files[name].read_bytes(), zipfile.ZIP_DEFLATED, 9)


def _uv(*arguments: str | Path) -> None:
    subprocess.run([_UV, *arguments, "--quiet"], cwd=_ROOT, check=True)


if __name__ == "__main__":
    main()
