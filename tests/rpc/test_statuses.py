from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from appliance import errors
from appliance.rpc.statuses import kind_of, status_of, trailing_metadata


def every_error(
    base: type[errors.ApplianceError] = errors.ApplianceError,
) -> list[type[errors.ApplianceError]]:
    own = [kind for kind in base.__subclasses__() if kind.__module__ == errors.__name__]
    return own + [below for kind in own for below in every_error(kind)]


EXPECTED = {
    errors.EmptyInput: "INVALID_ARGUMENT",
    errors.UnsupportedFormat: "INVALID_ARGUMENT",
    errors.CorruptImage: "INVALID_ARGUMENT",
    errors.DtypeMismatch: "INVALID_ARGUMENT",
    errors.NonFinitePixels: "INVALID_ARGUMENT",
    errors.InvalidInput: "INVALID_ARGUMENT",
    errors.ImageTooLarge: "OUT_OF_RANGE",
    errors.ImageTooSmall: "OUT_OF_RANGE",
    errors.DecodeTimeout: "OUT_OF_RANGE",
    errors.UnsuitableImage: "FAILED_PRECONDITION",
    errors.WrongImage: "FAILED_PRECONDITION",
    errors.EditRefused: "INVALID_ARGUMENT",
    errors.WrongState: "FAILED_PRECONDITION",
    errors.Conflict: "ABORTED",
    errors.NotFound: "NOT_FOUND",
    errors.AlreadyExists: "ALREADY_EXISTS",
    errors.NotAllowed: "PERMISSION_DENIED",
    errors.NotAuthenticated: "UNAUTHENTICATED",
    errors.NotOffered: "UNIMPLEMENTED",
    errors.LimitExceeded: "RESOURCE_EXHAUSTED",
    errors.DeadlineExceeded: "DEADLINE_EXCEEDED",
    errors.Cancelled: "CANCELLED",
    errors.Unavailable: "UNAVAILABLE",
    errors.ModelUnavailable: "UNAVAILABLE",
    errors.StorageUnavailable: "UNAVAILABLE",
    errors.SourceUnavailable: "UNAVAILABLE",
    errors.ReleaseRefused: "FAILED_PRECONDITION",
    errors.PackRejected: "INTERNAL",
    errors.ConfigurationError: "INTERNAL",
    errors.InferenceFailed: "INTERNAL",
}


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_the_status_that_is_promised(kind: type[errors.ApplianceError]) -> None:
    assert status_of(kind("words")) is grpc.StatusCode[EXPECTED[kind]]


def test_kinds_are_spelt_as_constants() -> None:
    assert kind_of(errors.EmptyInput("")) == "EMPTY_INPUT"
    assert kind_of(errors.NonFinitePixels("")) == "NON_FINITE_PIXELS"


def test_only_a_full_queue_names_a_pause() -> None:
    full = dict(trailing_metadata(errors.LimitExceeded("", 2.2501)))
    assert full["appliance-error"] == "LIMIT_EXCEEDED"
    assert full["grpc-retry-pushback-ms"] == "2251"
    retry = RetryInfo()
    assert Status.FromString(full["grpc-status-details-bin"]).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 2251
    other = dict(trailing_metadata(errors.NotFound("")))
    assert other["appliance-error"] == "NOT_FOUND"
    assert "grpc-retry-pushback-ms" not in other
    assert len(Status.FromString(other["grpc-status-details-bin"]).details) == 1


@pytest.mark.parametrize("kind", every_error())
def test_the_details_say_the_same_as_the_status(kind: type[errors.ApplianceError]) -> None:
    details = Status.FromString(dict(trailing_metadata(kind("words " * 1000)))["grpc-status-details-bin"])
    assert details.code == grpc.StatusCode[EXPECTED[kind]].value[0]
    assert details.message.startswith("words")
    assert len(details.message) <= 512
    info = ErrorInfo()
    assert details.details[0].Unpack(info)
    assert (info.reason, info.domain) == (kind_of(kind("")), "appliance")
