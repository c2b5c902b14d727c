"""The other end of the wire: calls to a daemon, and a private daemon for the occasion."""

from appliance.client.cases import CaseClient
from appliance.client.connection import ApplianceClient, CallError
from appliance.client.local_daemon import LocalDaemon

__all__ = ["ApplianceClient", "CallError", "CaseClient", "LocalDaemon"]
