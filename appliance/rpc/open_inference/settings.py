"""Trace and log settings: both can be read, neither can be changed over the wire."""

from __future__ import annotations

import logging

from appliance.errors import NotAllowed, NotOffered
from appliance.pb import open_inference_pb2 as pb

LEVELS = {"log_error": logging.ERROR, "log_warning": logging.WARNING, "log_info": logging.INFO}


def trace_settings(request: pb.TraceSettingRequest) -> pb.TraceSettingResponse:
    """Tracing is off; NotOffered for an attempt to switch it on."""
    if request.settings:
        raise NotOffered(
            "no traces are kept here; ModelStatistics has the times of each model, and the result of a"
            " pipeline those of each stage"
        )
    off = pb.TraceSettingResponse.SettingValue(value=["OFF"])
    return pb.TraceSettingResponse(settings={"trace_level": off})


def log_settings(request: pb.LogSettingsRequest) -> pb.LogSettingsResponse:
    """What is logged; NotAllowed for an attempt to change it."""
    if request.settings:
        raise NotAllowed("log settings are changed in the daemon's configuration file, table [log]")
    log = logging.getLogger("appliance")
    value = pb.LogSettingsResponse.SettingValue
    settings = {name: value(bool_param=log.isEnabledFor(level)) for name, level in LEVELS.items()}
    settings["log_verbose_level"] = value(uint32_param=int(log.isEnabledFor(logging.DEBUG)))
    return pb.LogSettingsResponse(settings=settings)
