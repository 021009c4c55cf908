"""docs/deploy/cloud-run.md: its gcloud command is that of the module, and its settings start the function."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from support import pages

from auditsplit.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = "deploy/cloud-run.md"
MODULE = ROOT / "infra" / "modules" / "gcp"


def deploy_options() -> dict[str, str]:
    """Return the options of ``gcloud functions deploy`` on the page."""
    [command] = [block for block in pages.blocks(PAGE, "Deploy with gcloud", "") if "functions deploy" in block]
    options = [word[2:].partition("=") for word in shlex.split(command) if word.startswith("--")]
    return {name: value for name, _, value in options}


def default(variable: str) -> str:
    """Return the default of a variable of the module."""
    text = (MODULE / "variables.tf").read_text()
    [value] = re.findall(rf'^variable "{variable}" {{.*?^  default += "?(.*?)"?$', text, re.MULTILINE | re.DOTALL)
    assert isinstance(value, str)
    return value


def test_the_gcloud_command_makes_the_function_of_the_module() -> None:
    """The size, the concurrency and the time limit are the module's defaults. The source has the entry point."""
    options = deploy_options()
    function = (MODULE / "function.tf").read_text()

    assert options["memory"] == default("memory")
    assert options["concurrency"] == default("concurrency")
    assert options["max-instances"] == default("max_instances")
    assert options["timeout"] == f"{default('timeout_s')}s"
    assert f'runtime         = "{options["runtime"]}"' in function
    assert f'available_cpu                    = "{options["cpu"]}"' in function
    assert f'__all__ = ["{options["entry-point"]}"]' in (ROOT / options["source"] / "main.py").read_text()


def test_the_settings_of_the_gcloud_command_are_valid() -> None:
    """They name a bucket and a token, and a thread for each request."""
    options = deploy_options()
    separator, text = re.fullmatch(r"\^(.)\^(.*)", options["set-env-vars"]).groups()  # type: ignore[union-attr]
    environ = dict(setting.split("=", 1) for setting in text.split(separator))

    settings = Settings.read(environ)

    assert [target.url for target in settings.sinks] == ["gs://my-project-123-audit/audit"]
    assert environ["THREADS"] == options["concurrency"]


def test_the_variables_of_the_page_are_the_examples() -> None:
    """Each line of terraform.tfvars names a variable. All variables without a default are named."""
    [text] = pages.blocks(PAGE, "Deploy with Terraform", "hcl")
    given = set(re.findall(r"^(\w+) +=", text, re.MULTILINE))
    example = (ROOT / "infra" / "examples" / "gcp" / "main.tf").read_text()
    variables = dict(re.findall(r'^variable "(\w+)" {\n(.*?)^}', example, re.MULTILINE | re.DOTALL))

    assert given <= set(variables)
    assert {name for name, body in variables.items() if "default" not in body} <= given
