"""What can go wrong while a model pack is built; the command line prints the sentence and stops."""

from __future__ import annotations


class BuildFailed(Exception):
    """A step of the build cannot go on; the text says what was expected and what was got."""
