"""Requests meet engines: one bounded queue and one worker thread for each model."""

from appliance.inference.request import Inference, ModelIdentity, Priority, RequestContext

__all__ = ["Inference", "ModelIdentity", "Priority", "RequestContext"]
