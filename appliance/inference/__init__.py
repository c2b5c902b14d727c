"""Requests meet engines: admission, queues and the threads that work them off."""

from appliance.inference.admission import Admission
from appliance.inference.discipline import QueueRules
from appliance.inference.repeats import RepeatCache, RepeatingEngines, RepeatLimits
from appliance.inference.request import Inference, ModelIdentity, Priority, RequestContext
from appliance.inference.service import InferenceService, LaneLoad

__all__ = [
    "Admission",
    "Inference",
    "InferenceService",
    "LaneLoad",
    "ModelIdentity",
    "Priority",
    "QueueRules",
    "RepeatCache",
    "RepeatLimits",
    "RepeatingEngines",
    "RequestContext",
]
