"""Terraform in a folder, and a server of AWS's API for it to apply to."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from support import servers

_OTHERS = ("AWS_", "AUDIT_", "TF_CLI_ARGS", "TF_DATA_DIR", "TF_VAR_", "TF_WORKSPACE")
_ACCOUNT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


def environment(**more: str) -> dict[str, str]:
    """Return this environment for Terraform, without what would change what is applied, or where.

    ``TF_PLUGIN_DIR`` names a folder with providers where Terraform's registry is out of reach.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    plugins = os.environ.get("TF_PLUGIN_DIR")
    init = {"TF_CLI_ARGS_init": f"-plugin-dir={plugins}"} if plugins else {}
    return {**kept, **init, "TF_IN_AUTOMATION": "1", "TF_CLI_ARGS": "-no-color", "CHECKPOINT_DISABLE": "1", **more}


def run(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
    """Return what ``terraform`` prints in ``folder``; it has to succeed."""
    told = subprocess.run(
        ["terraform", f"-chdir={folder}", *arguments],
        env=dict(environ or environment()),
        capture_output=True,
        check=False,
        text=True,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def resources(folder: Path, environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the values of all that is in the state, by address within the module."""
    state = json.loads(run(folder, "show", "-json", environ=environ))
    (module,) = state["values"]["root_module"]["child_modules"]
    return {found["address"].removeprefix("module.auditsplit."): found["values"] for found in module["resources"]}


@contextlib.contextmanager
def aws(folder: Path) -> Iterator[dict[str, str]]:
    """Run moto's server; yield the environment that leads Terraform's provider, and boto3, to it."""
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}"
    program = servers.PYTHON.with_name("moto_server")
    with servers.running(program, ["-H", "127.0.0.1", "-p", str(port)], f"{url}/moto-api/", folder):
        yield {**_ACCOUNT, "AWS_ENDPOINT_URL": url}
