"""The modules by themselves: format, validity, and Terraform's own tests of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from support import terraform

INFRA = Path(__file__).parents[2] / "infra"


def copied(tmp_path: Path) -> Path:
    """Return a copy of infra/, in which Terraform may write."""
    return shutil.copytree(INFRA, tmp_path / "infra", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))


def test_all_is_formatted(tmp_path: Path) -> None:
    """As ``terraform fmt`` has it."""
    assert terraform.run(copied(tmp_path), "fmt", "-check", "-recursive", "-diff") == ""


def test_the_aws_example_and_its_module_are_valid(tmp_path: Path) -> None:
    """By the provider's own schemas."""
    folder = copied(tmp_path) / "examples" / "aws"
    terraform.run(folder, "init")

    assert "The configuration is valid" in terraform.run(folder, "validate")


def test_the_aws_modules_own_tests_pass(tmp_path: Path) -> None:
    """modules/aws/tests, with a mocked provider."""
    folder = copied(tmp_path) / "modules" / "aws"
    terraform.run(folder, "init")

    assert ", 0 failed." in terraform.run(folder, "test")


def test_the_gcp_modules_validations_hold(tmp_path: Path) -> None:
    """modules/gcp/tests, over the variables alone: the provider need not be there."""
    module = copied(tmp_path) / "modules" / "gcp"
    alone = tmp_path / "variables"
    shutil.copytree(module / "tests", alone / "tests")
    [suite] = (alone / "tests").glob("*.tftest.hcl")
    suite.write_text(suite.read_text().replace('mock_provider "google" {}\n', "", 1))
    shutil.copy(module / "variables.tf", alone)
    terraform.run(alone, "init")

    assert ", 0 failed." in terraform.run(alone, "test")
