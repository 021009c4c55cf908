"""docs/deploy/lambda.md's way to AWS, word for word: to a server of its API, from there to a stored event."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.exceptions import ClientError
from support import object_places, runtime_api, servers, terraform
from support.cloud_logs import awslogs_event, data_message
from support.eventlists import eventlist
from support.lambdaevents import Sent, function_url

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "deploy" / "lambda.md").read_text()
SECTION = DOC.partition("\n## Deploy\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
COMMANDS = [text for kind, text in BLOCKS if kind == "sh"]
EXAMPLE = Path("infra", "examples", "aws")
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]


class Deployed(NamedTuple):
    """What the page's commands left: a checkout with a state in it, the token, and what ``apply`` said."""

    checkout: Path
    environ: dict[str, str]
    token: str
    told: str
    s3: str = ""

    @property
    def example(self) -> Path:
        """The folder that was applied."""
        return self.checkout / EXAMPLE

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return what the state has of each resource."""
        return terraform.resources(self.example, self.environ)

    def output(self, name: str) -> Any:
        """Return one of the example's outputs."""
        return json.loads(terraform.run(self.example, "output", "-json", name, environ=self.environ))


def _sh(checkout: Path, command: str, environ: dict[str, str]) -> str:
    return subprocess.run(
        ["bash", "-euc", command], cwd=checkout, env=environ, stdout=subprocess.PIPE, check=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Follow the page up to the applied example, and destroy it at the end."""
    checkout = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in ("infra", "dist", "var"):
            (checkout / path.name).symlink_to(path)
    shutil.copytree(ROOT / "infra", checkout / "infra", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    zip_file = f"../../../dist/auditsplit-lambda-{ARCHITECTURE}.zip"
    here = {"TF_VAR_architecture": ARCHITECTURE, "TF_VAR_package_file": zip_file, "TF_CLI_ARGS_apply": "-auto-approve"}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    make_and_token, init_and_apply = COMMANDS[:2]
    with terraform.aws(tmp_path_factory.mktemp("aws")) as account:
        environ = terraform.environment(**account, **here, LAMBDA_PYTHON=python)
        made = _sh(checkout, make_and_token, environ)
        token, hashed = re.findall(r"token: (\S+)\nAUDIT_TOKENS='(\S+)'", made)[0]
        (variables,) = [text for kind, text in BLOCKS if kind == "hcl"]
        (checkout / EXAMPLE / "terraform.tfvars").write_text(re.sub(r"prod=sha256:\w+", hashed, variables))
        told = _sh(checkout, init_and_apply, environ)
        applied = Deployed(checkout, environ, token, told)
        with _s3(applied, tmp_path_factory.mktemp("s3")) as url:
            yield applied._replace(s3=url)
        terraform.run(checkout / EXAMPLE, "destroy", "-auto-approve", environ=environ)
        state = json.loads(terraform.run(checkout / EXAMPLE, "show", "-json", environ=environ))
        assert "values" not in state


@contextlib.contextmanager
def _s3(deployed: Deployed, folder: Path) -> Iterator[str]:
    """Give the URL of a real S3 server that has the bucket, and a user ``function`` with the role's own policy."""
    resources = deployed.resources()
    policy = json.loads(resources["aws_iam_role_policy.this"]["policy"])
    policy["Statement"] = [one for one in policy["Statement"] if one["Action"][0].startswith("s3:")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(servers.POLICIES, "function", policy)
        with servers.seaweed(folder) as url:
            object_places.s3_client(url).create_bucket(Bucket=resources["aws_s3_bucket.this[0]"]["bucket"])
            yield url


@contextlib.contextmanager
def running(deployed: Deployed, tmp_path: Path) -> Iterator[runtime_api.Function]:
    """Run the applied zip with the applied settings, under Lambda's runtime client; S3 is the real server."""
    applied = deployed.resources()["aws_lambda_function.this"]
    with zipfile.ZipFile(deployed.example / applied["filename"]) as bundle:
        bundle.extractall(tmp_path / "task")
    settings = dict(applied["environment"][0]["variables"])
    settings["AUDIT_SINKS"] += f"&endpoint_url={deployed.s3}"
    credentials = {"AWS_ACCESS_KEY_ID": "function", "AWS_SECRET_ACCESS_KEY": servers.secret("function")}
    environ = {"PATH": os.environ["PATH"], **credentials, **settings}
    with runtime_api.running(tmp_path / "task", environ, tmp_path / "log", timeout_s=applied["timeout"]) as function:
        yield function


def post(function: runtime_api.Function, token: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Return status and document of the answer to a list that the Function URL passes on."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    sent = Sent(path="/clusters/prod", headers=headers, body=body, in_base64=True)
    outcome = function.invoke(function_url(sent))
    assert outcome.kind == "response", (outcome, function.log)
    return outcome.document["statusCode"], json.loads(outcome.document["body"])


def client(deployed: Deployed, service: str) -> Any:
    """Return a client of the API that the example was applied to."""
    return boto3.client(
        service,
        endpoint_url=deployed.environ["AWS_ENDPOINT_URL"],
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - moto takes any
    )


def test_apply_says_what_to_run_next(deployed: Deployed) -> None:
    """The line is the one that the page shows, with the function's own URL."""
    (shown,) = re.findall(r'^  "prod" = "(.*)"$', SECTION, re.MULTILINE)
    endpoint = deployed.output("endpoint")

    assert re.fullmatch(r"https://[^/]+", endpoint)
    assert deployed.output("kubeconfig_commands") == {"prod": re.sub(r"https://\S+", endpoint, shown)}
    assert f'"prod" = "{deployed.output("kubeconfig_commands")["prod"]}"' in deployed.told


def test_a_second_apply_changes_nothing(deployed: Deployed) -> None:
    """What the API tells of itself is what the module asks for."""
    again = terraform.run(deployed.example, "apply", environ=deployed.environ)

    assert "No changes." in again


def test_a_posted_list_ends_up_in_the_bucket(deployed: Deployed, tmp_path: Path, recorded: list[bytes]) -> None:
    """With the state's settings, the page's token, and no right but the role's; each user's below the prefix."""
    with running(deployed, tmp_path) as function:
        status, receipt = post(function, deployed.token, recorded[2])
        repeated = post(function, deployed.token, recorded[2])
        unknown = post(function, "another", recorded[2])

    listing = _sh(deployed.checkout, f"aws() {{ echo $3 $4; }}\n{COMMANDS[2]}", deployed.environ)
    option, bucket, prefix = re.fullmatch(r"(\S+) s3://([^/]+)/(\S+)\n", listing).groups()  # type: ignore[union-attr]
    found = object_places.s3_client(deployed.s3).list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    assert (option, bucket) == ("--recursive", deployed.output("bucket"))
    assert (status, receipt["cluster"], receipt["events"]) == (200, "prod", 35)
    assert {"/".join(entry["Key"].split("/")[:3]) for entry in found} >= {
        f"audit/cluster=prod/user={user}" for user in ("alice@example.com", "bob", "a%2Fb")
    }
    assert repeated[1]["alreadyStored"]
    assert unknown[0] == 401


def test_the_role_may_put_below_the_prefix_and_nothing_else(deployed: Deployed) -> None:
    """By a server that enforces the very policy: no other place, no reading, listing or deleting."""
    limited, bucket = object_places.s3_client(deployed.s3, "function"), deployed.output("bucket")
    limited.put_object(Bucket=bucket, Key="audit/x", Body=b"")
    refused: list[tuple[str, dict[str, str]]] = [
        ("put_object", {"Key": "elsewhere/x"}),
        ("put_object", {"Key": "auditing/x"}),
        ("get_object", {"Key": "audit/x"}),
        ("head_object", {"Key": "audit/x"}),
        ("delete_object", {"Key": "audit/x"}),
        ("list_objects_v2", {"Prefix": "audit/"}),
        ("put_object_tagging", {"Key": "audit/x", "Tagging": {"TagSet": []}}),  # type: ignore[dict-item]
    ]

    for operation, asked in refused:
        with pytest.raises(ClientError) as told:
            getattr(limited, operation)(Bucket=bucket, **asked)
        assert told.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, operation


def largest(recorded: list[bytes]) -> tuple[bytes, int]:
    """Return a list as large as Lambda takes one in base64, made of recorded events, and the number of its events."""
    items = [item for raw in recorded for item in json.loads(raw)["items"]]
    left = (runtime_api.MAX_BYTES - 4096) * 3 // 4
    chosen: list[bytes] = []
    for number in itertools.count():
        item = json.dumps({**items[number % len(items)], "auditID": f"id-{number}"}, separators=(",", ":")).encode()
        left -= len(item) + 1
        if left < len(eventlist([])):
            return eventlist(chosen), len(chosen)
        chosen.append(item)
    raise AssertionError


def test_the_largest_request_leaves_memory_free(deployed: Deployed, tmp_path: Path, recorded: list[bytes]) -> None:
    """The page says that it takes some 95 MB; a quarter of the function's memory is 128."""
    body, count = largest(recorded)

    with running(deployed, tmp_path) as function:
        status, receipt = post(function, deployed.token, body)
        process_status = Path(f"/proc/{function.process.pid}/status").read_text()

    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", process_status)
    assert (status, receipt["events"]) == (200, count)
    assert int(peak) / 1024 < deployed.resources()["aws_lambda_function.this"]["memory_size"] / 4


def test_the_url_wants_both_permissions_and_has_them(deployed: Deployed) -> None:
    """As the API tells the function's policy: anyone by the URL, and nobody past it."""
    policy = json.loads(client(deployed, "lambda").get_policy(FunctionName="auditsplit")["Policy"])

    actions = {one["Action"]: one for one in policy["Statement"]}
    assert set(actions) == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
    assert actions["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True


def test_events_of_an_eks_cluster_end_up_in_the_bucket(
    deployed: Deployed, tmp_path: Path, recorded: list[bytes]
) -> None:
    """With a log group, its subscription invokes the function. A failure is an error, and leads to the queue."""
    group, region = "/aws/eks/prod/cluster", "eu-central-1"
    client(deployed, "logs").create_log_group(logGroupName=group)
    environ = {**deployed.environ, "TF_VAR_log_groups": json.dumps([group])}
    terraform.run(deployed.example, "apply", environ=environ)
    lines = [json.dumps(item, separators=(",", ":")) for item in json.loads(recorded[2])["items"]]
    named = [f'{{"kind":"Event","apiVersion":"audit.k8s.io/v1",{line[1:]}' for line in lines]
    event = awslogs_event(data_message(*named, group=group))

    with running(deployed, tmp_path) as function:
        outcome = function.invoke(event)
        other = function.invoke(awslogs_event(data_message(*named, group="/aws/eks/other/cluster")))

    [subscription] = client(deployed, "logs").describe_subscription_filters(logGroupName=group)["subscriptionFilters"]
    configured = client(deployed, "lambda").get_function_event_invoke_config(FunctionName="auditsplit")
    queue = client(deployed, "sqs").get_queue_url(QueueName="auditsplit-dead-letters")["QueueUrl"]
    policy = json.loads(client(deployed, "lambda").get_policy(FunctionName="auditsplit")["Policy"])
    prefix = "audit/cluster=prod/user=alice@example.com/"
    bucket = deployed.output("bucket")
    found = object_places.s3_client(deployed.s3).list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    again = terraform.run(deployed.example, "apply", environ=environ)
    assert (outcome.kind, outcome.document["events"]) == ("response", len(lines))
    assert (other.kind, other.document["errorType"]) == ("error", "NotSubscribed")
    assert (subscription["destinationArn"], subscription["filterPattern"]) == (
        deployed.resources()["aws_lambda_function.this"]["arn"],
        "",
    )
    assert queue.endswith(configured["DestinationConfig"]["OnFailure"]["Destination"].rpartition(":")[2])
    assert f"logs.{region}.amazonaws.com" in [
        each["Principal"].get("Service") for each in policy["Statement"] if isinstance(each["Principal"], dict)
    ]
    assert len(found) > 0
    assert "No changes." in again
