"""What the box does for its callers, whatever edge they come through: analyse, report, test itself."""

from appliance.service.analyzer import Analyzer, FilmArtist, MetaphaseArtist
from appliance.service.checkup import Checkup, CheckupStatus, SelfTestCheck
from appliance.service.repeats import AnalysisRepeats
from appliance.service.request import AnalysisRequest, RawImage

__all__ = [
    "AnalysisRepeats",
    "AnalysisRequest",
    "Analyzer",
    "Checkup",
    "CheckupStatus",
    "FilmArtist",
    "MetaphaseArtist",
    "RawImage",
    "SelfTestCheck",
]
