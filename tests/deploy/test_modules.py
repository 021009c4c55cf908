"""The modules by themselves: format, validity, and Terraform's own tests of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import terraform

INFRA = Path(__file__).parents[2] / "infra"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of infra/, in which Terraform may write."""
    return shutil.copytree(INFRA, tmp_path / "infra", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))


def test_all_is_formatted(copied: Path) -> None:
    """As ``terraform fmt`` has it."""
    assert terraform.run(copied, "fmt", "-check", "-recursive", "-diff") == ""


def test_the_aws_example_and_its_module_are_valid(copied: Path) -> None:
    """By the provider's own schemas."""
    folder = copied / "examples" / "aws"
    terraform.run(folder, "init")

    assert "The configuration is valid" in terraform.run(folder, "validate")


def test_the_aws_modules_own_tests_pass(copied: Path) -> None:
    """modules/aws/tests, with a mocked provider."""
    folder = copied / "modules" / "aws"
    terraform.run(folder, "init")

    assert ", 0 failed." in terraform.run(folder, "test")


def test_the_gcp_modules_validations_hold(copied: Path, tmp_path: Path) -> None:
    """modules/gcp/tests, over the variables alone: the provider need not be there."""
    module = copied / "modules" / "gcp"
    alone = tmp_path / "variables"
    shutil.copytree(module / "tests", alone / "tests")
    shutil.copy(module / "variables.tf", alone)
    terraform.run(alone, "init")

    assert ", 0 failed." in terraform.run(alone, "test")
