"""The gRPC edge: messages in, domain calls, messages out; nothing is decided here."""

from appliance.rpc.identity import Identities
from appliance.rpc.readiness import serving
from appliance.rpc.server import RpcServer, ServerLimits, Services

__all__ = ["Identities", "RpcServer", "ServerLimits", "Services", "serving"]
