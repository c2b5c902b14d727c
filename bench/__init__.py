"""Reproducible measurements: each a ratio against a peer or a limit, taken in one run."""
