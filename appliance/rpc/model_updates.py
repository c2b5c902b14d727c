"""Releases on the wire: what was asked, and how installs, roles and events are told."""

from __future__ import annotations

from appliance.bundles.history import Event
from appliance.bundles.install_state import Install
from appliance.errors import InvalidInput
from appliance.models.manifest import Role
from appliance.pb import appliance_pb2
from appliance.rpc.writing import write_time
from appliance.updates.request import InstallEvent, InstallRequest
from appliance.updates.service import InstalledModel

MAX_NAME_CHARACTERS = 128
MAX_SOURCE_CHARACTERS = 4096
MAX_EVENTS = 10_000
DEFAULT_EVENTS = 100


def read_install(request: appliance_pb2.InstallModelsRequest) -> InstallRequest:
    """Which releases to install; InvalidInput where a text is too long or not printable."""
    if not request.source:
        raise InvalidInput("expected a source, a directory on the box or an https address, and got none")
    return InstallRequest(
        source=_text("source", request.source, MAX_SOURCE_CHARACTERS),
        requested_by=read_person(request.requested_by),
        release=_text("release", request.release, MAX_NAME_CHARACTERS),
        role=read_role(request.role).value if request.role else "",
        activate=not request.hold,
        shadow=request.shadow,
        scheduled=request.scheduled,
    )


def read_role(text: str) -> Role:
    """A role by its name; InvalidInput where there is none of that name."""
    try:
        return Role(text)
    except ValueError as exc:
        names = ", ".join(role.value for role in Role)
        raise InvalidInput(f"expected a role among {names} and got {text[:64]!r}") from exc


def read_person(text: str) -> str:
    """Who asks, for the history."""
    return _text("name of who asks", text, MAX_NAME_CHARACTERS)


def write_step(event: InstallEvent) -> appliance_pb2.InstallStep:
    """One step."""
    return appliance_pb2.InstallStep(
        state=event.state.value,
        role=event.role,
        title=event.title,
        detail=event.detail,
        done_bytes=event.done_bytes,
        total_bytes=event.total_bytes,
    )


def write_install(install: Install) -> appliance_pb2.ModelInstall:
    """One install."""
    return appliance_pb2.ModelInstall(
        role=install.role,
        name=install.name,
        version=install.version,
        counter=install.counter,
        state=install.state.value,
        detail=install.detail,
        source=install.source,
        requested_by=install.requested_by,
        approved_by=install.approved_by,
        evidence_id=install.evidence,
    )


def write_installed(model: InstalledModel) -> appliance_pb2.InstalledModel:
    """One role."""
    message = appliance_pb2.InstalledModel(
        role=model.role.value,
        current=model.current,
        previous=model.previous,
        confirmed=model.record.confirmed,
        counter=model.record.counter,
    )
    if model.install is not None:
        message.install.CopyFrom(write_install(model.install))
    return message


def write_model_event(event: Event) -> appliance_pb2.ModelEvent:
    """One event of the history."""
    return appliance_pb2.ModelEvent(
        at=write_time(event.at_ms),
        role=event.role,
        name=event.name,
        version=event.version,
        what=event.what,
        detail=event.detail,
        engine=event.engine,
        requested_by=event.requested_by,
        approved_by=event.approved_by,
        evidence_id=event.evidence,
    )


def _text(what: str, text: str, longest: int) -> str:
    if len(text) > longest or not text.isprintable():
        raise InvalidInput(f"expected a printable {what} of at most {longest} characters and got another")
    return text
