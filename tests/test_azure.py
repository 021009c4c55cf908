"""Azure Blob Storage apart from any server: settings, and what answers and exceptions mean."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from azure.core import exceptions as azure_errors
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from auditsplit import sinks
from auditsplit.sinks.objects import azure
from auditsplit.sinks.objects.azure import AzureContainer
from auditsplit.sinks.objects.failures import Failure, ObjectError
from auditsplit.sinks.options import Target


class FakeContainer:
    """Answers uploads with a status and a code, or an exception; keeps what was asked."""

    def __init__(self, answer: tuple[int, str] | Exception | None = None) -> None:
        """Take the answer."""
        self._answer = answer
        self.asked: dict[str, Any] = {}

    def upload_blob(self, name: str, data: bytes, **asked: Any) -> None:
        """Answer."""
        self.asked = {"name": name, "data": data, **asked}
        if isinstance(self._answer, Exception):
            raise self._answer
        if self._answer:
            error = azure_errors.HttpResponseError("message")
            error.status_code, error.error_code = self._answer  # type: ignore[attr-defined]
            raise error


def container(fake: FakeContainer, **options: Any) -> AzureContainer:
    """Return the bucket over ``fake``."""
    return AzureContainer(cast("ContainerClient", fake), options)


@pytest.mark.parametrize(
    ("status", "code", "message", "failure"),
    [
        (404, "ContainerNotFound", "", Failure.WRONG_BUCKET),
        (409, "ContainerBeingDeleted", "", Failure.WRONG_BUCKET),
        (404, "ResourceNotFound", "", Failure.WRONG_BUCKET),
        (403, "AuthorizationPermissionMismatch", "", Failure.NOT_ALLOWED),
        (403, "AuthorizationFailure", "", Failure.NOT_ALLOWED),
        (403, "AuthenticationFailed", "Signature not valid in the specified time frame", Failure.CREDENTIALS),
        (401, "InvalidAuthenticationInfo", "Lifetime validation failed. The token is expired.", Failure.CREDENTIALS),
        (403, "AuthenticationFailed", "Request date header too old: 'Mon, 01 Jan'", Failure.CLOCK),
        (503, "ServerBusy", "", Failure.THROTTLED),
        (429, "TooManyRequests", "", Failure.THROTTLED),
        (409, "OperationConflict", "", Failure.THROTTLED),
        (500, "InternalError", "", Failure.BROKEN),
        (500, "OperationTimedOut", "", Failure.SLOW),
        (408, "", "", Failure.SLOW),
        (400, "InvalidHeaderValue", "", Failure.REFUSED),
    ],
)
def test_an_answer_is_classified(status: int, code: str, message: str, failure: Failure) -> None:
    """By Azure's code, else by the status; see Azure's common and blob error codes."""
    assert azure.classify(status, code, message) is failure


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (azure_errors.ClientAuthenticationError("x"), Failure.CREDENTIALS),
        (azure_errors.ServiceRequestError("refused"), Failure.UNREACHABLE),
        (azure_errors.ServiceRequestTimeoutError("x"), Failure.SLOW),
        (azure_errors.ServiceResponseTimeoutError("x"), Failure.SLOW),
        (azure_errors.ServiceResponseError("reset"), Failure.BROKEN),
        (azure_errors.HttpResponseError("x"), Failure.BROKEN),
    ],
)
def test_an_exception_is_classified(error: Exception, failure: Failure) -> None:
    """By its kind."""
    assert azure.classify_error(error) is failure


def test_a_put_is_for_creation_only() -> None:
    """With the options of the store."""
    fake = FakeContainer()

    assert container(fake, standard_blob_tier="Cool").put("k", b"x", "application/gzip")

    assert fake.asked.pop("content_settings").content_type == "application/gzip"
    assert fake.asked == {"name": "k", "data": b"x", "overwrite": False, "standard_blob_tier": "Cool"}


@pytest.mark.parametrize("answer", [(409, "BlobAlreadyExists"), (403, "UnauthorizedBlobOverwrite")])
def test_a_blob_that_exists_is_success(answer: tuple[int, str]) -> None:
    """Who may create and not replace is told that he may not replace."""
    assert not container(FakeContainer(answer)).put("k", b"x", "")


@pytest.mark.parametrize("call", ["put", "probe"])
def test_another_answer_is_an_error(call: str) -> None:
    """With its class."""
    bucket = container(FakeContainer((403, "AuthorizationPermissionMismatch")))

    with pytest.raises(ObjectError, match="403 AuthorizationPermissionMismatch to the put of k") as caught:
        bucket.put("k", b"x", "") if call == "put" else bucket.probe("k")

    assert caught.value.failure is Failure.NOT_ALLOWED


def test_an_exceptions_words_are_not_repeated() -> None:
    """They may hold a SAS's signature."""
    with pytest.raises(ObjectError, match="ServiceRequestError at the put of k") as caught:
        container(FakeContainer(azure_errors.ServiceRequestError("sig=hunter2"))).put("k", b"x", "")

    assert "hunter2" not in str(caught.value)


def test_a_key_a_signature_or_an_identity_is_the_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that there is."""
    monkeypatch.delenv("AZURE_STORAGE_KEY", raising=False)
    monkeypatch.delenv("AZURE_STORAGE_SAS_TOKEN", raising=False)
    found = [azure._credential("account")]
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sp=c&sig=x")
    found.append(azure._credential("account"))
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    found.append(azure._credential("account"))

    assert [type(credential) for credential in found] == [
        DefaultAzureCredential,
        AzureSasCredential,
        AzureNamedKeyCredential,
    ]


def test_options_are_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its names; what isn't set is the account's own default."""
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    url = "az://container/p?account=account&tier=Cold&tags=team=sec&encryption_scope=audit"

    bucket = cast("Any", azure.from_target(Target(url, {}, "authenticated"))._connect(7))

    assert bucket._options == {"encryption_scope": "audit", "standard_blob_tier": "Cold", "tags": {"team": "sec"}}
    assert bucket._client.url == "https://account.blob.core.windows.net/container"


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("az:container", "names no container; write az://container/prefix"),
        ("az://Container?account=account", "names no container"),
        ("az://container", "account: '' is no storage account"),
        ("az://container?account=a.b", "account: 'a.b' is no storage account"),
    ],
)
def test_mistakes_are_named(url: str, mistake: str) -> None:
    """A deployer reads what is wrong before the first event comes."""
    with pytest.raises(ValueError, match=re.escape(mistake)):
        sinks.from_url(url, {}, "authenticated")
