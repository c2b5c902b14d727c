"""Trace and log settings: both can be read; how much is logged can be changed until the next start."""

from __future__ import annotations

import logging

from appliance.errors import InvalidInput, NotOffered
from appliance.pb import open_inference_pb2 as pb

LEVELS = {"log_error": logging.ERROR, "log_warning": logging.WARNING, "log_info": logging.INFO}
VERBOSE = "log_verbose_level"
OURS = ("appliance", "engines")
"""Loggers that the settings are about."""


def trace_settings(request: pb.TraceSettingRequest) -> pb.TraceSettingResponse:
    """Tracing is off; NotOffered for an attempt to switch it on."""
    if request.settings:
        raise NotOffered(
            "no traces are kept here; ModelStatistics has the times of each model, and the result of a"
            " pipeline those of each stage"
        )
    off = pb.TraceSettingResponse.SettingValue(value=["OFF"])
    return pb.TraceSettingResponse(settings={"trace_level": off})


def log_settings() -> pb.LogSettingsResponse:
    """What is logged."""
    log = logging.getLogger(OURS[0])
    value = pb.LogSettingsResponse.SettingValue
    settings = {name: value(bool_param=log.isEnabledFor(level)) for name, level in LEVELS.items()}
    settings[VERBOSE] = value(uint32_param=int(log.isEnabledFor(logging.DEBUG)))
    return pb.LogSettingsResponse(settings=settings)


def change_log_settings(request: pb.LogSettingsRequest) -> None:
    """Log more or less.

    Raises:
        NotOffered: a setting that is for the configuration file (where to, and in which format).
        InvalidInput: a value of another kind, errors switched off, or a kind of message on while a graver one
            is off.
    """
    unknown = sorted(request.settings.keys() - {*LEVELS, VERBOSE})
    if unknown:
        raise NotOffered(f"{unknown[0][:64]}: not a setting of this box over the wire; see its table [log]")
    now = log_settings().settings
    wanted = {name: now[name].bool_param for name in LEVELS}
    verbose = bool(now[VERBOSE].uint32_param)
    for name, value in request.settings.items():
        kind = "uint32_param" if name == VERBOSE else "bool_param"
        given = value.WhichOneof("parameter_choice")
        if given != kind:
            raise InvalidInput(f"{name}: expected a value in {kind} and got one in {given}")
        if name == VERBOSE:
            verbose = value.uint32_param > 0
        else:
            wanted[name] = value.bool_param
    _set_level(wanted, verbose)


def _set_level(wanted: dict[str, bool], verbose: bool) -> None:
    chosen = [wanted["log_error"], wanted["log_warning"], wanted["log_info"], verbose]
    if not chosen[0] or chosen != sorted(chosen, reverse=True):
        raise InvalidInput(
            "expected log_error on, and log_warning, log_info and log_verbose_level each only where the one"
            f" before is on, and got {chosen}"
        )
    level = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)[sum(chosen) - 1]
    for name in OURS:
        logging.getLogger(name).setLevel(level)
