"""The four reference networks in plain torch, each with the export form of its pack's contract."""
