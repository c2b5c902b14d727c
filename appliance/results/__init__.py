"""Results at rest: committed to SQLite before anybody hears of them, kept within bounds of age and size."""

from appliance.results.store import Companion, PageMark, ResultStore, Retention, StoreStatus, Summary

__all__ = ["Companion", "PageMark", "ResultStore", "Retention", "StoreStatus", "Summary"]
