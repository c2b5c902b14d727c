"""Edge appliance: karyotyping and chest X-ray inference over gRPC. Research use only, not for diagnosis."""

from typing import Final

__version__: Final = "0.1.0"
RESEARCH_USE_ONLY: Final = "research use only, not for diagnosis"
BUILD_DATE: Final = "2026-11-21"
"""The day on which this version was made: no honest clock is before it."""
