"""The one table from domain errors to gRPC statuses (their meanings: grpc.io/docs/guides/status-codes)."""

from __future__ import annotations

import math
import re

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from appliance import errors

STATUS_OF: dict[type[errors.ApplianceError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ImageTooLarge: grpc.StatusCode.OUT_OF_RANGE,
    errors.ImageTooSmall: grpc.StatusCode.OUT_OF_RANGE,
    errors.DecodeTimeout: grpc.StatusCode.OUT_OF_RANGE,
    errors.UnsuitableImage: grpc.StatusCode.FAILED_PRECONDITION,
    errors.WrongImage: grpc.StatusCode.FAILED_PRECONDITION,
    errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.ReleaseRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotAuthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotOffered: grpc.StatusCode.UNIMPLEMENTED,
    errors.LimitExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
}
"""A class that is not listed has the status of its nearest listed base; none means INTERNAL."""

KIND_KEY = "appliance-error"
"""Trailing metadata: the kind of error, for example CORRUPT_IMAGE; software need not read sentences."""

RETRY_KEY = "grpc-retry-pushback-ms"
"""Trailing metadata: milliseconds to wait before trying again; gRPC's own retry policy heeds it (gRFC A6)."""

DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata: google.rpc.Status with ErrorInfo, and RetryInfo where waiting helps (AIP-193)."""

MAX_MESSAGE_CHARACTERS = 512
"""Of the sentence in the details; gRPC bounds the size of all metadata, and the status carries it whole."""

DOMAIN = "appliance"
"""Of the reasons in ErrorInfo."""


def status_of(error: errors.ApplianceError) -> grpc.StatusCode:
    """The gRPC status for a domain error; INTERNAL for one that is the appliance's own fault."""
    for kind in type(error).__mro__:
        if kind in STATUS_OF:
            return STATUS_OF[kind]
    return grpc.StatusCode.INTERNAL


def kind_of(error: errors.ApplianceError) -> str:
    """The class of the error as a constant's name, for example CORRUPT_IMAGE."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).upper()


def retry_after_ms(error: errors.ApplianceError) -> int | None:
    """When trying again can work, in milliseconds; None where nothing is known of that."""
    return math.ceil(error.retry_after_s * 1000) if isinstance(error, errors.LimitExceeded) else None


def trailing_metadata(error: errors.ApplianceError) -> tuple[tuple[str, str | bytes], ...]:
    """What the caller's software can read besides status and message."""
    code: int = status_of(error).value[0]
    status = Status(code=code, message=str(error)[:MAX_MESSAGE_CHARACTERS])
    status.details.add().Pack(ErrorInfo(reason=kind_of(error), domain=DOMAIN))
    metadata: list[tuple[str, str | bytes]] = [(KIND_KEY, kind_of(error))]
    pause_ms = retry_after_ms(error)
    if pause_ms is not None:
        metadata.append((RETRY_KEY, str(pause_ms)))
        status.details.add().Pack(
            RetryInfo(retry_delay=Duration(seconds=pause_ms // 1000, nanos=pause_ms % 1000 * 10**6))
        )
    metadata.append((DETAILS_KEY, status.SerializeToString()))
    return tuple(metadata)
