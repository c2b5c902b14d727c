"""The values beside the tensors: reading them off a message, and those that every model knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from appliance.errors import InvalidInput, NotOffered
from appliance.inference import Priority, RequestContext
from appliance.pb import open_inference_pb2 as pb
from appliance.rpc.open_inference.model import Parameter

FIELD_OF: dict[type, str] = {
    bool: "bool_param",
    int: "int64_param",
    float: "double_param",
    str: "string_param",
}
MAX_PARAMETERS = 64
LEVELS = {1: Priority.INTERACTIVE, 2: Priority.ROUTINE, 3: Priority.BATCH}
"""What the numbers of the parameter `priority` mean; a higher one is BACKGROUND."""


def read_parameters(message: Mapping[str, pb.InferParameter]) -> dict[str, Parameter]:
    """By name; InvalidInput for one without a value, or for too many."""
    if len(message) > MAX_PARAMETERS:
        raise InvalidInput(f"expected at most {MAX_PARAMETERS} parameters and got {len(message)}")
    read: dict[str, Parameter] = {}
    for name, value in message.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is None:
            raise InvalidInput(f"parameter {name[:64]!r}: expected a value and got none")
        read[name] = getattr(value, kind)
    return read


def write_parameters(parameters: Mapping[str, Parameter], message: Mapping[str, pb.InferParameter]) -> None:
    """Set each parameter in a message's map."""
    for name, value in parameters.items():
        setattr(message[name], FIELD_OF[type(value)], value)


def read_patience(parameters: Mapping[str, Parameter], context: RequestContext) -> RequestContext:
    """The caller's place in the queue and time limit from `priority` and `timeout`.

    As elsewhere in this protocol priority 1 is the highest and 0 means none is stated; the timeout is in
    microseconds, 0 means none.

    Raises:
        InvalidInput: they are no whole numbers of 0 or more.
        NotOffered: the request belongs to a sequence; no model here keeps a state between requests.
    """
    for name in ("sequence_id", "sequence_start", "sequence_end"):
        if parameters.get(name):
            raise NotOffered(f"parameter {name}: no model here keeps a state between requests")
    level = read_count(parameters, "priority", 0)
    priority = {**LEVELS, 0: context.priority}.get(level, Priority.BACKGROUND)
    timeout_us = read_count(parameters, "timeout", 0)
    deadline = context.deadline.sooner(timeout_us / 1e6) if timeout_us else context.deadline
    return replace(context, priority=priority, deadline=deadline)


def read_count(parameters: Mapping[str, Parameter], name: str, default: int) -> int:
    """A whole number of 0 or more; InvalidInput for anything else."""
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(
            f"parameter {name}: expected a whole number of 0 or more and got {str(value)[:64]!r}"
        )
    return value
