"""Edge appliance: karyotyping and chest X-ray inference over gRPC. Research use only, not for diagnosis."""

from typing import Final

__version__: Final = "0.1.0"
RESEARCH_USE_ONLY: Final = "research use only, not for diagnosis"
