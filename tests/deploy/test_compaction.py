"""The module for AWS with `compact` and `readers`, applied to a server of AWS's API. A real S3 server has the roles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import object_places, servers, terraform
from support.commands import auditsplit
from support.eventlists import event, eventlist
from support.requests import write

from auditsplit import bootstrap, sinks
from auditsplit.decode import batch as batches
from auditsplit.serve.compaction import NotCompacted, Order

INFRA = Path(__file__).parents[2] / "infra"
ROLES = {"compact": "aws_iam_role_policy.compact[0]", "reader": "aws_iam_role_policy.reader[0]"}
CONFIGURATION = f"""
provider "aws" {{
  region = "eu-central-1"
}}

module "auditsplit" {{
  source = "../infra/modules/aws"

  package_file  = "../infra/modules/aws/tests/empty.zip"
  tokens        = ["prod=sha256:{"0" * 64}"]
  bucket_name   = "{servers.BUCKET}"
  create_bucket = false
  readers       = ["arn:aws:iam::123456789012:role/security"]
  compact       = {{}}
}}
"""


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Apply the module. Return its resources."""
    folder = tmp_path_factory.mktemp("applied")
    shutil.copytree(INFRA, folder / "infra", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    main = folder / "main"
    main.mkdir()
    (main / "main.tf").write_text(CONFIGURATION)
    with terraform.aws(tmp_path_factory.mktemp("aws")) as account:
        environ = terraform.environment(**account)
        terraform.run(main, "init", environ=environ)
        terraform.run(main, "apply", "-auto-approve", environ=environ)
        terraform.run(main, "plan", "-detailed-exitcode", environ=environ)
        yield terraform.resources(main, environ)
        terraform.run(main, "destroy", "-auto-approve", environ=environ)


@pytest.fixture(scope="module")
def s3(applied: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of an S3 server that has an identity for each role."""
    with pytest.MonkeyPatch.context() as patch:
        for name, address in ROLES.items():
            policy = json.loads(applied[address]["policy"])
            policy["Statement"] = [each for each in policy["Statement"] if each["Action"][0].startswith("s3:")]
            patch.setitem(servers.POLICIES, name, policy)
        with servers.seaweed(tmp_path_factory.mktemp("s3")) as url:
            object_places.s3_client(url).create_bucket(Bucket=servers.BUCKET)
            yield url


def become(identity: str, request: pytest.FixtureRequest) -> None:
    """Give this process the credentials of an identity."""
    environ = object_places.without_credentials(request)
    environ.setenv("AWS_ACCESS_KEY_ID", identity)
    environ.setenv("AWS_SECRET_ACCESS_KEY", servers.secret(identity))


def stored(s3: str, prefix: str, request: pytest.FixtureRequest) -> str:
    """Write three objects of an hour below ``prefix``. Return the sink's URL."""
    url = object_places.s3_url(s3, prefix)
    become("admin", request)
    for number in range(3):
        time = f"2026-01-31T22:1{number}:00.000000Z"
        write(sinks.from_url(url), batches.read(eventlist([event("alice", auditID=time, stageTimestamp=time)]), "prod"))
    return url


def keys(s3: str, prefix: str) -> list[str]:
    """Return the keys below ``prefix``."""
    listed = object_places.s3_client(s3).list_objects_v2(Bucket=servers.BUCKET, Prefix=prefix)
    return [entry["Key"] for entry in listed.get("Contents", ())]


def test_the_compactions_role_joins_below_the_prefix_only(
    applied: dict[str, dict[str, Any]], s3: str, request: pytest.FixtureRequest
) -> None:
    """A real server enforces the policy that was applied. It does not allow to delete a version."""
    inside, outside = (stored(s3, prefix, request) for prefix in ("audit", "others"))
    become("compact", request)

    counts = bootstrap.compaction({"AUDIT_SINKS": inside}).run({})
    with pytest.raises(NotCompacted, match="403"):
        bootstrap.compaction({"AUDIT_SINKS": outside}).run({})

    assert (counts["hours"], counts["deleted"]) == (1, 3)
    assert len(keys(s3, "audit/")) == 1 + 1  # and the manifest
    assert len(keys(s3, "others/")) == 3
    assert "s3:DeleteObjectVersion" not in applied[ROLES["compact"]]["policy"]


def test_a_reader_finds_below_the_prefix_only(s3: str, request: pytest.FixtureRequest) -> None:
    """And it changes nothing."""
    inside, outside = (stored(s3, prefix, request) for prefix in ("audit", "outside"))
    become("reader", request)

    found = auditsplit("find", "--user", "alice", "--output", "lines", AUDIT_SINKS=inside)
    refused = auditsplit("find", "--user", "alice", expected=1, AUDIT_SINKS=outside)
    with pytest.raises(NotCompacted, match="403"):
        bootstrap.compaction({"AUDIT_SINKS": inside}).run({})

    assert len(found.out.splitlines()) == 3
    assert "403" in refused.talk


def test_the_schedule_starts_the_function(applied: dict[str, dict[str, Any]]) -> None:
    """By the rule's target and its permission. The input is one that the function accepts."""
    target, permission = applied["aws_cloudwatch_event_target.compact[0]"], applied["aws_lambda_permission.compact[0]"]
    function, rule = applied["aws_lambda_function.compact[0]"], applied["aws_cloudwatch_event_rule.compact[0]"]

    assert target["arn"] == function["arn"]
    assert (permission["function_name"], permission["source_arn"]) == (function["function_name"], rule["arn"])
    assert msgspec.convert(json.loads(target["input"]), Order).older_than_s == 7200
