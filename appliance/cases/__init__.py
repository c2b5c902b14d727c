"""Cases: many spreads of one person as one answer, and the experts' reviews of each."""

from appliance.cases.desk import AddedSpread, CaseDesk, CaseView, ReviewView
from appliance.cases.ledger import CaseLedger
from appliance.cases.notation import CaseKind
from appliance.cases.settings import CaseLimits, CaseRules

__all__ = [
    "AddedSpread",
    "CaseDesk",
    "CaseKind",
    "CaseLedger",
    "CaseLimits",
    "CaseRules",
    "CaseView",
    "ReviewView",
]
