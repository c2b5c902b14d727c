"""Results at rest: committed to SQLite before anybody hears of them, kept within bounds of age and size."""

from appliance.results.store import PageMark, ResultStore, Retention, StoreStatus, Summary

__all__ = ["PageMark", "ResultStore", "Retention", "StoreStatus", "Summary"]
