"""Azure Blob Storage without a server: options, and what each put sends and accepts as success."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from azure.core import exceptions as azure_errors
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from auditsplit import sinks
from auditsplit.sinks.failures import Failure, SinkFailure
from auditsplit.sinks.objects import azure
from auditsplit.sinks.objects.azure import AzureContainer


class FakeContainer:
    """Answers uploads with a status and a code, or an exception; records what was asked."""

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


def test_a_put_is_for_creation_only() -> None:
    """With the options of the sink."""
    fake = FakeContainer()

    assert container(fake, standard_blob_tier="Cool").put("k", b"x", "application/gzip")

    assert fake.asked.pop("content_settings").content_type == "application/gzip"
    assert fake.asked == {"name": "k", "data": b"x", "overwrite": False, "standard_blob_tier": "Cool"}


@pytest.mark.parametrize("answer", [(409, "BlobAlreadyExists"), (403, "UnauthorizedBlobOverwrite")])
def test_a_blob_that_exists_is_success(answer: tuple[int, str]) -> None:
    """Credentials that may create and not replace get a 403."""
    assert not container(FakeContainer(answer)).put("k", b"x", "")


@pytest.mark.parametrize("call", ["put", "probe"])
def test_another_answer_is_an_error(call: str) -> None:
    """With its class of failures."""
    bucket = container(FakeContainer((403, "AuthorizationPermissionMismatch")))

    with pytest.raises(SinkFailure, match="403 AuthorizationPermissionMismatch to the put of k") as caught:
        bucket.put("k", b"x", "") if call == "put" else bucket.probe("k")

    assert caught.value.failure is Failure.NOT_ALLOWED


def test_an_exceptions_words_are_not_repeated() -> None:
    """They may hold a SAS's signature."""
    with pytest.raises(SinkFailure, match="ServiceRequestError at the put of k") as caught:
        container(FakeContainer(azure_errors.ServiceRequestError("sig=hunter2"))).put("k", b"x", "")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, DefaultAzureCredential),
        ({"AZURE_STORAGE_SAS_TOKEN": "sp=c&sig=x"}, AzureSasCredential),
        ({"AZURE_STORAGE_SAS_TOKEN": "sp=c&sig=x", "AZURE_STORAGE_KEY": "a2V5"}, AzureNamedKeyCredential),
    ],
)
def test_a_key_a_signature_or_an_identity_is_the_credential(environ: dict[str, str], expected: type) -> None:
    """The first of them that exists."""
    assert type(azure._credential("account", environ)) is expected


def test_options_are_the_librarys() -> None:
    """By its names. An option that is not set leaves the account's own default."""
    url = "az://container/p?account=account&tier=Cold&tags=team=sec&encryption_scope=audit"

    bucket = cast("Any", sinks.from_url(url, environ={"AZURE_STORAGE_KEY": "a2V5"}))._connect(7)

    assert bucket._options == {"encryption_scope": "audit", "standard_blob_tier": "Cold", "tags": {"team": "sec"}}
    assert bucket._client.url == "https://account.blob.core.windows.net/container"


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("az:container", "names no container. Write az://container/prefix"),
        ("az://Container?account=account", "names no container"),
        ("az://container", "account: '' is not a valid storage account"),
        ("az://container?account=a.b", "account: 'a.b' is not a valid storage account"),
    ],
)
def test_mistakes_in_a_url_are_reported(url: str, mistake: str) -> None:
    """A deployer reads what is wrong before the first event arrives."""
    with pytest.raises(ValueError, match=re.escape(mistake)):
        sinks.from_url(url)
