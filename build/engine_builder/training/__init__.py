"""Training recipes of the reference models: torch, resumable, CPU or GPU."""
