"""The one table from domain errors to gRPC statuses (their meanings: grpc.io/docs/guides/status-codes)."""

from __future__ import annotations

import math
import re

import grpc

from appliance import errors

STATUS_OF: dict[type[errors.ApplianceError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ImageTooLarge: grpc.StatusCode.OUT_OF_RANGE,
    errors.ImageTooSmall: grpc.StatusCode.OUT_OF_RANGE,
    errors.DecodeTimeout: grpc.StatusCode.OUT_OF_RANGE,
    errors.UnsuitableImage: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
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


def status_of(error: errors.ApplianceError) -> grpc.StatusCode:
    """The gRPC status for a domain error; INTERNAL for one that is the appliance's own fault."""
    for kind in type(error).__mro__:
        if kind in STATUS_OF:
            return STATUS_OF[kind]
    return grpc.StatusCode.INTERNAL


def kind_of(error: errors.ApplianceError) -> str:
    """The class of the error as a constant's name, for example CORRUPT_IMAGE."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).upper()


def trailing_metadata(error: errors.ApplianceError) -> tuple[tuple[str, str], ...]:
    """What the caller's software can read besides status and message."""
    metadata = [(KIND_KEY, kind_of(error))]
    if isinstance(error, errors.LimitExceeded):
        metadata.append((RETRY_KEY, str(math.ceil(error.retry_after_s * 1000))))
    return tuple(metadata)
