"""The chest X-ray path: a film becomes findings with boxes in its own pixels."""
