"""The states of an install as a table: what may follow what, and what a start does with one that was cut off.

Each state is written before it is acted on. Before ACTIVATING a failure discards the stage; from ACTIVATING
on it rolls back to the model that served before.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class InstallState(enum.Enum):
    """Where an install stands."""

    DOWNLOADING = "downloading"  # chunks are being fetched into the stage
    VERIFYING = "verifying"  # every byte of the stage is read back and checked
    STAGED = "staged"  # the pack lies whole and checked under its own name
    COMPILING = "compiling"  # the engine is being built on this hardware
    TESTING = "testing"  # the gate measures it
    PASSED = "passed"  # the gate let it through; it waits to be activated
    SHADOWING = "shadowing"  # it sees the requests of the one that serves, and answers nobody
    ACTIVATING = "activating"  # it takes over
    CONFIRMING = "confirming"  # it serves, and the one before it is kept until live traffic confirms it
    GOOD = "good"  # confirmed
    REFUSED = "refused"  # the release is wrong or failed the gate; its stage is gone
    FAILED = "failed"  # something else failed (disk, source); what was fetched stays, and it can be repeated
    CANCELLED = "cancelled"  # a person stopped it
    ROLLED_BACK = "rolled back"  # it served and did not hold up; the one before it serves again


class AfterCut(enum.Enum):
    """What a start does with an install that it finds in a state."""

    CARRY_ON = "carry on"  # do the state's work again: it is idempotent
    WAIT = "wait"  # nothing to do until somebody asks
    CONFIRM = "confirm"  # serve it and count; the boot counter bounds how often
    NOTHING = "nothing"  # it has ended


_S = InstallState
_STOPS = frozenset({_S.REFUSED, _S.FAILED, _S.CANCELLED})

TRANSITIONS: Mapping[InstallState, frozenset[InstallState]] = {
    _S.DOWNLOADING: frozenset({_S.VERIFYING}) | _STOPS,
    _S.VERIFYING: frozenset({_S.STAGED, _S.DOWNLOADING}) | _STOPS,
    _S.STAGED: frozenset({_S.COMPILING}) | _STOPS,
    _S.COMPILING: frozenset({_S.TESTING}) | _STOPS,
    _S.TESTING: frozenset({_S.PASSED}) | _STOPS,
    _S.PASSED: frozenset({_S.ACTIVATING, _S.SHADOWING}) | _STOPS,
    _S.SHADOWING: frozenset({_S.ACTIVATING}) | _STOPS,
    _S.ACTIVATING: frozenset({_S.CONFIRMING, _S.ROLLED_BACK}),
    _S.CONFIRMING: frozenset({_S.GOOD, _S.ROLLED_BACK}),
    _S.GOOD: frozenset({_S.ROLLED_BACK}),
    _S.REFUSED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.ROLLED_BACK: frozenset(),
}

AFTER_CUT: Mapping[InstallState, AfterCut] = {
    _S.DOWNLOADING: AfterCut.CARRY_ON,
    _S.VERIFYING: AfterCut.CARRY_ON,
    _S.STAGED: AfterCut.CARRY_ON,
    _S.COMPILING: AfterCut.CARRY_ON,
    _S.TESTING: AfterCut.CARRY_ON,
    _S.PASSED: AfterCut.WAIT,
    _S.SHADOWING: AfterCut.WAIT,  # its counts are gone; it is activated or shadowed again when somebody asks
    _S.ACTIVATING: AfterCut.CARRY_ON,
    _S.CONFIRMING: AfterCut.CONFIRM,
    _S.GOOD: AfterCut.NOTHING,
    _S.REFUSED: AfterCut.NOTHING,
    _S.FAILED: AfterCut.NOTHING,
    _S.CANCELLED: AfterCut.NOTHING,
    _S.ROLLED_BACK: AfterCut.NOTHING,
}

ENDED = frozenset(state for state, action in AFTER_CUT.items() if action is AfterCut.NOTHING)
"""States from which an install does not go on by itself."""

CANCELLABLE = frozenset(state for state, following in TRANSITIONS.items() if _S.CANCELLED in following)


@dataclass(frozen=True)
class Install:
    """One install as it stands on the disk."""

    bundle_id: str
    role: str
    name: str
    version: str
    counter: int
    path: str  # TUF target path
    source: str  # directory or address that it comes from
    requested_by: str
    approved_by: tuple[str, ...]
    activate: bool  # go on by itself once the gate let it through
    shadow: bool  # by way of SHADOWING
    state: InstallState
    detail: str = ""
    evidence: str = ""  # id of the gate's report

    @property
    def title(self) -> str:
        """Name and version as people say them."""
        return f"{self.name} {self.version}"

    def to_tree(self) -> dict[str, Any]:
        """For the record on the disk."""
        tree = dict(self.__dict__)
        return tree | {"state": self.state.value, "approved_by": list(self.approved_by)}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Install:
        """From the record on the disk; ValueError, KeyError or TypeError for one of another version."""
        fields = dict(tree)
        fields["state"] = InstallState(fields["state"])
        fields["approved_by"] = tuple(fields["approved_by"])
        return cls(**fields)


def check_transition(before: InstallState, after: InstallState) -> None:
    """ValueError where the table does not have it."""
    if after not in TRANSITIONS[before]:
        allowed = ", ".join(sorted(state.value for state in TRANSITIONS[before])) or "nothing"
        raise ValueError(f"expected {allowed} after {before.value} and got {after.value}")
