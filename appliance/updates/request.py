"""What an install is asked for, what it tells on its way, and which offers of a source it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from appliance.bundles.install_state import InstallState
from appliance.bundles.release import Offer, scheduled_here, unsuitable
from appliance.errors import NotFound, ReleaseRefused


@dataclass(frozen=True)
class InstallRequest:
    """Who wants what from where."""

    source: str  # a directory on this box, or an https address
    requested_by: str
    release: str = ""  # TUF path or NAME-VERSION; empty: the newest for each role
    role: str = ""  # empty: every role that the source has something newer for
    activate: bool = True
    shadow: bool = False
    scheduled: bool = False  # heed rollout group and percentage


@dataclass(frozen=True)
class InstallEvent:
    """A step of an install, for a progress display."""

    state: InstallState
    role: str
    title: str
    detail: str = ""
    done_bytes: int = 0
    total_bytes: int = 0


Tell = Callable[[InstallEvent], None]


@dataclass(frozen=True)
class Box:
    """What decides whether a release is for this box."""

    daemon_version: str
    machine: str
    group: str
    box_id: str


@dataclass(frozen=True)
class Standing:
    """How far a box is with one role."""

    counter: int = 0  # highest release counter that was confirmed or serves
    serving: str | None = None  # bundle id
    dropped: str | None = None  # bundle id of a release that was refused or rolled back last


def choose(
    offers: Sequence[Offer], request: InstallRequest, box: Box, standing: Mapping[str, Standing]
) -> tuple[Offer, ...]:
    """The offers to install, at most one for each role.

    Args:
        offers: all that the source has.
        request: may name one of them.
        box: this one.
        standing: by role, how far the box is.

    Raises:
        NotFound: the source has nothing of the name or role.
        ReleaseRefused: the one that was named is older, or not for this box.
    """
    if request.release:
        return (_named(offers, request, box, standing),)
    newest: dict[str, Offer] = {}
    for offer in offers:
        facts = offer.facts
        due = not request.scheduled or scheduled_here(facts, box.box_id, box.group)
        suits = unsuitable(facts, box.daemon_version, box.machine) is None
        if (
            due
            and suits
            and _wanted(offer, request, standing.get(facts.role, Standing()))
            and request.role in ("", facts.role)
        ):
            before = newest.get(facts.role)
            if before is None or facts.counter > before.facts.counter:
                newest[facts.role] = offer
    if request.role and request.role not in {offer.facts.role for offer in offers}:
        raise NotFound(f"expected a release for {request.role} and got none from the source")
    return tuple(newest[role] for role in sorted(newest))


def _wanted(offer: Offer, request: InstallRequest, standing: Standing) -> bool:
    """Newer than what the box has; or the same again where it was lost, unless nobody is there to ask for
    it.
    """
    if request.scheduled and offer.bundle_id == standing.dropped:
        return False
    counter = offer.facts.counter
    lost = counter == standing.counter and offer.bundle_id != standing.serving
    return counter > standing.counter or lost


def _named(
    offers: Sequence[Offer], request: InstallRequest, box: Box, standing: Mapping[str, Standing]
) -> Offer:
    wanted = request.release
    for offer in offers:
        facts = offer.facts
        if wanted not in (offer.path, f"{facts.name}-{facts.version}"):
            continue
        reason = unsuitable(facts, box.daemon_version, box.machine)
        if reason is not None:
            raise ReleaseRefused(f"{facts.title}: {reason}")
        lowest = standing.get(facts.role, Standing()).counter
        if facts.counter < lowest:
            raise ReleaseRefused(
                f"expected a release counter of at least {lowest} for {facts.role}"
                f" and got {facts.counter} in {facts.title}: an older release is never installed;"
                " `appliance models rollback` goes back to the one before"
            )
        return offer
    names = ", ".join(f"{offer.facts.name}-{offer.facts.version}" for offer in offers) or "none"
    raise NotFound(f"expected one of the releases {names} and got {wanted}")
