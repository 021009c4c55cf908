"""``auditsplit policy init``: the profiles and their file. tests/e2e asks the apiserver's own evaluator about them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from auditsplit.cli import main
from auditsplit.policy.profiles import PROFILES, profile


def init(*arguments: str) -> Result:
    """Run the command; an exception but its own exit is the test's failure."""
    result = CliRunner().invoke(main, ["policy", "init", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_a_policy_with_comments(name: str) -> None:
    """Of audit.k8s.io/v1, with a level in each rule and a rule for all that no other took."""
    document = yaml.safe_load(profile(name))

    assert (document["apiVersion"], document["kind"]) == ("audit.k8s.io/v1", "Policy")
    assert {rule["level"] for rule in document["rules"]} <= {"None", "Metadata", "Request", "RequestResponse"}
    assert {"level", "omitStages"} >= document["rules"][-1].keys()
    assert profile(name).startswith("# ")


def test_the_minimal_profile_is_the_documented_one() -> None:
    """One rule, and no more."""
    document = yaml.safe_load(profile("minimal"))

    assert document == {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}


def test_the_example_is_the_documented_one_after_its_first_rule() -> None:
    """Ten rules of Kubernetes' page, in order, and one of ours before them."""
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
    """As Apache-2.0 wants it; 17 rules, as in create-master-audit-policy of v1.37.2."""
    text = profile("gce")

    assert "configure-helper.sh" in text
    assert "Apache License 2.0" in text
    assert len(yaml.safe_load(text)["rules"]) == 17


def test_the_recommended_one_is_written_to_standard_output() -> None:
    """Without being asked for it."""
    result = init()

    assert (result.exit_code, result.stdout, result.stderr) == (0, profile("recommended"), "")


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_chosen_by_name(name: str) -> None:
    """And the help lists it."""
    assert init("--profile", name).stdout == profile(name)
    assert f"{name} " in init("--help").stdout


def test_a_file_is_written_whole_and_readable(tmp_path: Path) -> None:
    """It holds no secret; the place is said on standard error, and nothing else is left in the folder."""
    result = init("--output", str(tmp_path / "policy.yaml"))

    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "policy.yaml").read_text() == profile("recommended")
    assert stat.S_IMODE((tmp_path / "policy.yaml").stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["policy.yaml"]


def test_another_file_is_not_written_over(tmp_path: Path) -> None:
    """Unless it is forced, and then whole; a dangling link is another file too."""
    file, link = tmp_path / "policy.yaml", tmp_path / "link.yaml"
    file.write_text("mine")
    link.symlink_to("nowhere")

    refused, dangling = init("--output", str(file)), init("--output", str(link))
    kept = file.read_text()
    forced = init("--output", str(file), "--force")

    assert (refused.exit_code, kept, dangling.exit_code) == (1, "mine", 1)
    assert "--force" in refused.stderr
    assert forced.exit_code == 0
    assert file.read_text() == profile("recommended")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "policy.yaml"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """It says what it would do, and refuses what would be refused."""
    fine, refused = init("--dry-run", "--output", str(tmp_path / "a")), None
    (tmp_path / "b").touch()
    refused = init("--dry-run", "--output", str(tmp_path / "b"))

    assert fine.exit_code == 0
    assert "would write" in fine.stderr
    assert refused.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_folder_is_not_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    """Forced or not."""
    (tmp_path / "policy").mkdir()

    result = init("--output", str(tmp_path / "policy"), "--force")

    assert result.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    """With the file's name and the system's reason."""
    result = init("--output", str(tmp_path / "no" / "policy.yaml"))

    assert result.exit_code == 1
    assert "policy.yaml: No such file or directory" in result.stderr
