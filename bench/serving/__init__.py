"""Ours against the bare engine and against the servers that can be had for Python models, side by side."""
