"""Requests meet engines: one bounded queue and one worker thread for each model."""

from appliance.inference.request import Inference, ModelIdentity, Priority, RequestContext
from appliance.inference.service import InferenceService, LaneLoad

__all__ = ["Inference", "InferenceService", "LaneLoad", "ModelIdentity", "Priority", "RequestContext"]
