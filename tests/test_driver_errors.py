"""What drivers' errors and servers' answers mean: every error class of a driver has a row in its sink's table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import azure.core.exceptions
import azure.identity
import azure.storage.blob
import botocore.exceptions
import botocore.parsers
import elastic_transport
import elasticsearch
import google.api_core.exceptions
import google.auth.exceptions
import google.cloud.storage.exceptions
import pytest
import requests.exceptions
import urllib3.exceptions

from auditsplit.sinks.elasticsearch import answers
from auditsplit.sinks.failures import Action, DriverErrors, Failure, failure_of
from auditsplit.sinks.objects import azure as az
from auditsplit.sinks.objects import gcs, s3, s3_errors

boto: Any = botocore.exceptions  # none of these has types
auth: Any = google.auth.exceptions
api: Any = google.api_core.exceptions


class Driver(NamedTuple):
    """A driver: the modules that export its errors, and the sink's table."""

    modules: tuple[ModuleType, ...]
    errors: DriverErrors
    roots: tuple[type[Exception], ...]
    answered: tuple[type[Exception], ...] = ()
    """Errors that always have an answer, whose status says what they mean."""


DRIVERS = {
    "botocore": Driver(
        (botocore.exceptions, botocore.parsers), s3_errors.ERRORS, s3_errors.ROOTS, answered=(boto.ClientError,)
    ),
    "google": Driver(
        (
            google.api_core.exceptions,
            google.auth.exceptions,
            google.cloud.storage.exceptions,
            requests.exceptions,
        ),
        gcs.ERRORS,
        gcs.ROOTS,
    ),
    "azure": Driver((azure.core.exceptions, azure.identity, azure.storage.blob), az.ERRORS, az.ROOTS),
    "elasticsearch": Driver(
        (elastic_transport, elasticsearch), answers.ERRORS, answers.ROOTS, answered=(elastic_transport.ApiError,)
    ),
}


def below(kind: type[Exception]) -> Iterator[type[Exception]]:
    """Yield all subclasses."""
    for subclass in kind.__subclasses__():
        yield subclass
        yield from below(subclass)


def error_classes(driver: Driver) -> set[type[Exception]]:
    """Return the driver's error classes: those that it exports, and all that are below its roots."""
    names = {module.__name__ for module in driver.modules}
    packages = {name.partition(".")[0] for name in names}
    exported = [kind for module in driver.modules for kind in vars(module).values() if inspect.isclass(kind)]
    derived = [kind for root in driver.roots for kind in below(root)]
    return {
        *(kind for kind in exported if issubclass(kind, Exception) and kind.__module__ in names),
        *(kind for kind in derived if kind.__module__.partition(".")[0] in packages),
    }.difference(kind for kind in exported if issubclass(kind, Warning))


def unmapped(driver: Driver, kinds: set[type[Exception]]) -> list[str]:
    """Return the names of the classes without a row, of their own or of an ancestor below the roots."""
    left = kinds.difference(driver.roots, driver.answered)
    return [
        kind.__name__
        for kind in left
        if not issubclass(kind, driver.answered or ())
        and not any(row in driver.errors and (row is kind or row not in driver.roots) for row in kind.__mro__)
    ] + [kind.__name__ for kind in left if not issubclass(kind, driver.roots + driver.answered)]


@pytest.mark.parametrize("name", DRIVERS)
def test_every_error_class_of_a_driver_has_a_row(name: str) -> None:
    """A class that a newer driver brings fails this test: give it a row that says what to do."""
    driver = DRIVERS[name]

    kinds = error_classes(driver)

    assert len(kinds) > 9
    assert unmapped(driver, kinds) == []


@pytest.mark.parametrize("name", DRIVERS)
def test_a_new_error_class_is_unmapped_and_retried(name: str) -> None:
    """A new class of a driver's errors costs no batch, and the test above would find it."""
    driver = DRIVERS[name]
    kind: type[Exception] = type("NewError", (driver.roots[0],), {"__init__": lambda _: None})

    assert unmapped(driver, {kind}) == ["NewError"]
    assert failure_of(kind(), driver.errors) is Failure.UNMAPPED
    assert Failure.UNMAPPED.action is Action.RETRY


def s3_answer(status: int, code: str, _: str) -> Failure:
    """Return what S3's answer means."""
    return s3.classify(status, code)


def gcs_answer(status: int, code: str, _: str) -> Failure:
    """Return what Google's answer means."""
    return gcs.classify(status, code)


@pytest.mark.parametrize(
    ("classify", "status", "code", "message", "failure"),
    [
        (s3_answer, 404, "NoSuchBucket", "", Failure.WRONG_PLACE),
        (s3_answer, 301, "PermanentRedirect", "", Failure.WRONG_PLACE),
        (s3_answer, 400, "AuthorizationHeaderMalformed", "", Failure.WRONG_PLACE),
        (s3_answer, 400, "IllegalLocationConstraintException", "", Failure.WRONG_PLACE),
        (s3_answer, 403, "AccessDenied", "", Failure.NOT_ALLOWED),
        (s3_answer, 403, "AllAccessDisabled", "", Failure.NOT_ALLOWED),
        (s3_answer, 400, "ExpiredToken", "", Failure.CREDENTIALS),
        (s3_answer, 403, "InvalidAccessKeyId", "", Failure.CREDENTIALS),
        (s3_answer, 403, "SignatureDoesNotMatch", "", Failure.CREDENTIALS),
        (s3_answer, 400, "InvalidToken", "", Failure.CREDENTIALS),
        (s3_answer, 403, "RequestTimeTooSkewed", "", Failure.CLOCK),
        (s3_answer, 503, "SlowDown", "", Failure.THROTTLED),
        (s3_answer, 503, "", "", Failure.THROTTLED),
        (s3_answer, 429, "TooManyRequests", "", Failure.THROTTLED),
        (s3_answer, 409, "ConditionalRequestConflict", "", Failure.THROTTLED),
        (s3_answer, 409, "OperationAborted", "", Failure.THROTTLED),
        (s3_answer, 500, "InternalError", "", Failure.BROKEN),
        (s3_answer, 502, "", "", Failure.BROKEN),
        (s3_answer, 504, "", "", Failure.BROKEN),
        (s3_answer, 400, "BadDigest", "", Failure.BROKEN),
        (s3_answer, 400, "RequestTimeout", "", Failure.SLOW),
        (s3_answer, 400, "KMS.DisabledException", "", Failure.REFUSED),
        (s3_answer, 400, "InvalidStorageClass", "", Failure.REFUSED),
        (s3_answer, 400, "InvalidTag", "", Failure.REFUSED),
        (s3_answer, 400, "", "", Failure.REFUSED),
        (gcs_answer, 404, "notFound", "", Failure.WRONG_PLACE),
        (gcs_answer, 403, "forbidden", "", Failure.NOT_ALLOWED),
        (gcs_answer, 403, "insufficientPermissions", "", Failure.NOT_ALLOWED),
        (gcs_answer, 401, "authError", "", Failure.CREDENTIALS),
        (gcs_answer, 403, "requestTimeTooSkewed", "", Failure.CLOCK),
        (gcs_answer, 403, "rateLimitExceeded", "", Failure.THROTTLED),
        (gcs_answer, 403, "userRateLimitExceeded", "", Failure.THROTTLED),
        (gcs_answer, 429, "rateLimitExceeded", "", Failure.THROTTLED),
        (gcs_answer, 429, "", "", Failure.THROTTLED),
        (gcs_answer, 409, "conflict", "", Failure.THROTTLED),
        (gcs_answer, 500, "backendError", "", Failure.BROKEN),
        (gcs_answer, 502, "", "", Failure.BROKEN),
        (gcs_answer, 503, "backendError", "", Failure.BROKEN),
        (gcs_answer, 408, "", "", Failure.SLOW),
        (gcs_answer, 504, "gatewayTimeout", "", Failure.SLOW),
        (gcs_answer, 400, "invalid", "", Failure.REFUSED),
        (az.classify, 404, "ContainerNotFound", "", Failure.WRONG_PLACE),
        (az.classify, 409, "ContainerBeingDeleted", "", Failure.WRONG_PLACE),
        (az.classify, 404, "ResourceNotFound", "", Failure.WRONG_PLACE),
        (az.classify, 403, "AuthorizationPermissionMismatch", "", Failure.NOT_ALLOWED),
        (az.classify, 403, "AuthorizationFailure", "", Failure.NOT_ALLOWED),
        (az.classify, 403, "AuthenticationFailed", "Signature not valid in the time frame", Failure.CREDENTIALS),
        (az.classify, 401, "InvalidAuthenticationInfo", "Lifetime validation failed.", Failure.CREDENTIALS),
        (az.classify, 403, "AuthenticationFailed", "Request date header too old: 'Mon, 01 Jan'", Failure.CLOCK),
        (az.classify, 503, "ServerBusy", "", Failure.THROTTLED),
        (az.classify, 429, "TooManyRequests", "", Failure.THROTTLED),
        (az.classify, 409, "OperationConflict", "", Failure.THROTTLED),
        (az.classify, 500, "InternalError", "", Failure.BROKEN),
        (az.classify, 500, "OperationTimedOut", "", Failure.SLOW),
        (az.classify, 408, "", "", Failure.SLOW),
        (az.classify, 400, "InvalidHeaderValue", "", Failure.REFUSED),
    ],
)
def test_an_object_stores_answer_is_classified(
    classify: Callable[[int, str, str], Failure], status: int, code: str, message: str, failure: Failure
) -> None:
    """The store's own code counts first, then the status; see the error codes in each store's API reference."""
    assert classify(status, code, message) is failure


def s3_error(error: Exception) -> Failure:
    """Return what botocore's error means."""
    return failure_of(error, s3_errors.ERRORS)


def azure_error(error: Exception) -> Failure:
    """Return what azure-core's error means."""
    return failure_of(error, az.ERRORS)


REFUSED = {"endpoint_url": "http://x", "error": "refused"}
SKEWED = "('invalid_grant: Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.'"
RESET = urllib3.exceptions.ProtocolError("reset")


@pytest.mark.parametrize(
    ("classify", "error", "failure"),
    [
        (s3_error, boto.NoCredentialsError(), Failure.CREDENTIALS),
        (s3_error, boto.PartialCredentialsError(provider="env", cred_var="x"), Failure.CREDENTIALS),
        (s3_error, boto.CredentialRetrievalError(provider="x", error_msg="x"), Failure.CREDENTIALS),
        (s3_error, boto.UnauthorizedSSOTokenError(), Failure.CREDENTIALS),
        (s3_error, boto.TokenRetrievalError(provider="x", error_msg="x"), Failure.CREDENTIALS),
        (s3_error, boto.NoRegionError(), Failure.WRONG_PLACE),
        (s3_error, boto.InvalidRegionError(region_name="x"), Failure.WRONG_PLACE),
        (s3_error, boto.ConnectTimeoutError(**REFUSED), Failure.SLOW),
        (s3_error, boto.ReadTimeoutError(**REFUSED), Failure.SLOW),
        (s3_error, boto.EndpointConnectionError(**REFUSED), Failure.UNREACHABLE),
        (s3_error, boto.SSLError(**REFUSED), Failure.UNREACHABLE),
        (s3_error, boto.ProxyConnectionError(proxy_url="http://x"), Failure.UNREACHABLE),
        (s3_error, boto.ConnectionClosedError(**REFUSED), Failure.BROKEN),
        (s3_error, boto.HTTPClientError(error="x"), Failure.BROKEN),
        (s3_error, botocore.parsers.ResponseParserError("x"), Failure.BROKEN),
        (s3_error, boto.ParamValidationError(report="x"), Failure.REFUSED),
        (gcs.classify_error, auth.DefaultCredentialsError(), Failure.CREDENTIALS),
        (gcs.classify_error, auth.RefreshError("invalid_grant: Token has been expired."), Failure.CREDENTIALS),
        (gcs.classify_error, auth.RefreshError(SKEWED), Failure.CLOCK),
        (gcs.classify_error, auth.TransportError("x"), Failure.UNREACHABLE),
        (gcs.classify_error, auth.TimeoutError("x"), Failure.SLOW),
        (gcs.classify_error, api.RetryError("x", None), Failure.SLOW),
        (gcs.classify_error, requests.exceptions.ConnectTimeout(), Failure.SLOW),
        (gcs.classify_error, requests.exceptions.ReadTimeout(), Failure.SLOW),
        (gcs.classify_error, requests.exceptions.SSLError(), Failure.UNREACHABLE),
        (gcs.classify_error, requests.exceptions.ConnectionError("refused"), Failure.UNREACHABLE),
        (gcs.classify_error, requests.exceptions.ConnectionError(RESET), Failure.BROKEN),
        (gcs.classify_error, requests.exceptions.ChunkedEncodingError(), Failure.BROKEN),
        (azure_error, azure.core.exceptions.ClientAuthenticationError("x"), Failure.CREDENTIALS),
        (azure_error, azure.identity.CredentialUnavailableError("x"), Failure.CREDENTIALS),
        (azure_error, azure.core.exceptions.ServiceRequestError("refused"), Failure.UNREACHABLE),
        (azure_error, azure.core.exceptions.ServiceRequestTimeoutError("x"), Failure.SLOW),
        (azure_error, azure.core.exceptions.ServiceResponseTimeoutError("x"), Failure.SLOW),
        (azure_error, azure.core.exceptions.ServiceResponseError("reset"), Failure.BROKEN),
        (azure_error, azure.core.exceptions.HttpResponseError("x"), Failure.BROKEN),
    ],
)
def test_an_error_without_an_answer_is_classified(
    classify: Callable[[Exception], Failure], error: Exception, failure: Failure
) -> None:
    """Its class decides; only Google's words tell a wrong clock from wrong credentials."""
    assert classify(error) is failure
