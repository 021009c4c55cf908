"""``auditsplit policy init``: the profiles and the file. tests/e2e checks them with the apiserver's own evaluator."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from auditsplit.cli import main
from auditsplit.policy.profiles import PROFILES, profile


def init(*arguments: str) -> Result:
    """Run the command. Any exception except its own exit fails the test."""
    result = CliRunner().invoke(main, ["policy", "init", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_a_policy_with_comments(name: str) -> None:
    """Of audit.k8s.io/v1, with a level in each rule and a last rule that matches every request."""
    document = yaml.safe_load(profile(name))

    assert (document["apiVersion"], document["kind"]) == ("audit.k8s.io/v1", "Policy")
    assert {rule["level"] for rule in document["rules"]} <= {"None", "Metadata", "Request", "RequestResponse"}
    assert {"level", "omitStages"} >= document["rules"][-1].keys()
    assert profile(name).startswith("# ")


def test_the_minimal_profile_is_the_documented_policy() -> None:
    """It has one rule."""
    document = yaml.safe_load(profile("minimal"))

    assert document == {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}


def test_the_example_is_the_documented_policy_after_our_rule() -> None:
    """Our rule for secrets, then the ten rules of Kubernetes' page, in order."""
    rules = yaml.safe_load(profile("example"))["rules"]

    assert rules[0]["resources"][0]["resources"] == ["secrets", "serviceaccounts/token"]
    assert [rule["level"] for rule in rules[1:]] == [
        "RequestResponse",
        "Metadata",
        *["None"] * 3,
        "Request",
        "Metadata",
        "Request",
        "Metadata",
    ]
    assert rules[1]["resources"] == [{"group": "", "resources": ["pods"]}]
    assert rules[5]["nonResourceURLs"] == ["/api*", "/version"]


def test_the_gce_profile_names_its_source_and_licence() -> None:
    """Apache-2.0 requires it. There are 17 rules, as in create-master-audit-policy of v1.37.2."""
    text = profile("gce")

    assert "configure-helper.sh" in text
    assert "Apache License 2.0" in text
    assert len(yaml.safe_load(text)["rules"]) == 17


def test_the_recommended_profile_is_written_to_standard_output() -> None:
    """Without any option."""
    result = init()

    assert (result.exit_code, result.stdout, result.stderr) == (0, profile("recommended"), "")


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_chosen_by_name(name: str) -> None:
    """The help lists it."""
    assert init("--profile", name).stdout == profile(name)
    assert f"{name} " in init("--help").stdout


def test_a_written_file_is_readable_by_all(tmp_path: Path) -> None:
    """A policy holds no secret. No temporary file is left."""
    result = init("--output", str(tmp_path / "policy.yaml"))

    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "policy.yaml").read_text() == profile("recommended")
    assert stat.S_IMODE((tmp_path / "policy.yaml").stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["policy.yaml"]


def test_an_existing_file_is_replaced_only_with_force(tmp_path: Path) -> None:
    """A dangling link counts as an existing file."""
    file, link = tmp_path / "policy.yaml", tmp_path / "link.yaml"
    file.write_text("mine")
    link.symlink_to("nowhere")

    refused, dangling = init("--output", str(file)), init("--output", str(link))
    kept = file.read_text()
    forced = init("--output", str(file), "--force")

    assert (refused.exit_code, kept, dangling.exit_code) == (2, "mine", 2)
    assert "--force" in refused.stderr
    assert forced.exit_code == 0
    assert file.read_text() == profile("recommended")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "policy.yaml"]


def test_a_dry_run_reports_and_writes_nothing(tmp_path: Path) -> None:
    """It refuses an existing file, as a real run does."""
    fine = init("--dry-run", "--output", str(tmp_path / "a"))
    (tmp_path / "b").touch()
    refused = init("--dry-run", "--output", str(tmp_path / "b"))

    assert fine.exit_code == 0
    assert "would write" in fine.stderr
    assert refused.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    """Not even with ``--force``, and no temporary file is left."""
    (tmp_path / "policy").mkdir()

    result = init("--output", str(tmp_path / "policy"), "--force")

    assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    """With the file's name and the system's reason."""
    result = init("--output", str(tmp_path / "no" / "policy.yaml"))

    assert result.exit_code == 2
    assert "policy.yaml: no such file or directory" in result.stderr
