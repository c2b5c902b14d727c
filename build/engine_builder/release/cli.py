"""`engine_builder release`: init, add, sign, publish, rotate, as central operations type them."""

from __future__ import annotations

import os
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from appliance import __version__
from appliance.bundles.release import ReleaseFacts
from appliance.models.pack import ModelPack
from engine_builder.errors import BuildFailed
from engine_builder.release.keys import ROLES, KeyEntry, KeyRing
from engine_builder.release.repository import OFFLINE, DraftStatus, ReleaseRepository

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
STANDARD_KEYS = {
    "root-1": "root",
    "root-2": "root",
    "root-3": "root",
    "targets-1": "targets",
    "targets-2": "targets",
    "snapshot": "snapshot",
    "timestamp": "timestamp",
}
PASSPHRASE_VARIABLE = "APPLIANCE_PASSPHRASE_"
"""Before the name of a key in capitals: for machines that publish without a person (`_` for `-`)."""

keys_option = click.option(
    "--keys", type=FOLDER, required=True, envvar="APPLIANCE_KEYS", help="Folder of the key ring."
)


@click.group()
def release() -> None:
    """Sign and publish model packs for the boxes of the fleet."""


@release.command()
@click.argument("folder", metavar="REPOSITORY", type=FOLDER)
@keys_option
def init(folder: Path, keys: Path) -> None:
    """Begin REPOSITORY: make the keys that are missing, draft root metadata (2 of 3) and sign it."""
    ring = KeyRing(keys)
    known = {entry.name for entry in ring.entries()}
    roles_given = {entry.role for entry in ring.entries()}
    made: dict[str, str] = {}
    for name, role in STANDARD_KEYS.items():
        if name not in known and (role not in roles_given or name in known):
            made[name] = _new_passphrase(name)
            ring.create(name, role, made[name])
            click.echo(f"made the key {name}")
    repository = ReleaseRepository(folder)
    repository.initialise(ring.entries())
    for role in OFFLINE:
        for entry in ring.entries(role)[:2]:
            repository.sign(role, ring.signer(entry, lambda name: made.get(name) or ask_passphrase(name)))
    _publish(repository, ring, made)
    click.echo(f"give {folder / 'metadata' / '1.root.json'} to every box: it is what they trust")


@release.command("key")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it signs.")
@click.option(
    "--uri", help="Where the private half is, for instance hsm:2?label=OPS. Default: a new encrypted file."
)
@click.option("--public", type=FILE, help="PEM, with --uri.")
@keys_option
def key(name: str, role: str, uri: str | None, public: Path | None, keys: Path) -> None:
    """Add the key NAME to the key ring: a new one, or one on a hardware token."""
    ring = KeyRing(keys)
    if (uri is None) != (public is None):
        raise BuildFailed("expected --uri and --public together and got one of them")
    if uri is not None and public is not None:
        ring.adopt(name, role, uri, public.read_bytes())
    else:
        ring.create(name, role, _new_passphrase(name))
    click.echo(f"{name} is a {role} key now; `rotate` brings it into the root metadata")


@release.command()
@click.argument("folder", metavar="REPOSITORY", type=FOLDER)
@click.argument("pack_directory", metavar="PACK", type=FOLDER)
@click.option(
    "--latency-ms", type=click.IntRange(min=1), required=True, help="Budget: p95 of one call on the box."
)
@click.option(
    "--memory-mib", type=click.IntRange(min=1), required=True, help="Budget: memory of the loaded engine."
)
@click.option(
    "--hardware", multiple=True, default=("any",), show_default=True, help="x86_64, aarch64 or any."
)
@click.option(
    "--minimum-daemon", default=__version__, show_default=True, help="Oldest daemon that may load it."
)
@click.option("--group", default="everyone", show_default=True, help="Boxes of a scheduled rollout.")
@click.option(
    "--percentage", type=click.IntRange(0, 100), default=100, show_default=True, help="Of those boxes."
)
@click.option("--counter", type=click.IntRange(min=1), help="Release counter of the role. Default: one more.")
def add(
    folder: Path,
    pack_directory: Path,
    latency_ms: int,
    memory_mib: int,
    hardware: tuple[str, ...],
    minimum_daemon: str,
    group: str,
    percentage: int,
    counter: int | None,
) -> None:
    """Cut PACK into chunks and list it in the draft of REPOSITORY, to be signed."""
    repository = ReleaseRepository(folder)
    pack = ModelPack.open(pack_directory)
    manifest = pack.manifest
    role = manifest.role.value
    counters = [facts.counter for facts in repository.releases().values() if facts.role == role]
    facts = ReleaseFacts(
        name=manifest.name,
        version=manifest.version,
        role=role,
        contract_hash=pack.contract_hash,
        hardware=hardware,
        minimum_daemon=minimum_daemon,
        counter=counter or max(counters, default=0) + 1,
        group=group,
        percentage=percentage,
        latency_ms_p95=latency_ms,
        memory_mib=memory_mib,
    )
    path = repository.add(pack, facts)
    click.echo(f"{path}: counter {facts.counter}, to be signed with the targets keys")


@release.command()
@click.argument("folder", metavar="REPOSITORY", type=FOLDER)
@click.argument("path", metavar="RELEASE")
def withdraw(folder: Path, path: str) -> None:
    """Take RELEASE out of the draft of REPOSITORY; boxes that run it keep it."""
    ReleaseRepository(folder).withdraw(path)
    click.echo(f"{path} is out of the draft, which has to be signed")


@release.command()
@click.argument("folder", metavar="REPOSITORY", type=FOLDER)
@click.option(
    "--key", "names", multiple=True, required=True, help="Name of the key; may be given several times."
)
@keys_option
def sign(folder: Path, names: tuple[str, ...], keys: Path) -> None:
    """Sign the drafts of REPOSITORY with a key; each holder does it on a machine of their own."""
    ring, repository = KeyRing(keys), ReleaseRepository(folder)
    for name in names:
        entry = ring.find(name)
        _say(repository.sign(entry.role, ring.signer(entry, ask_passphrase)))


@release.command()
@click.argument("folder", metavar="REPOSITORY", type=FOLDER)
@keys_option
def rotate(folder: Path, keys: Path) -> None:
    """Draft root metadata with the keys that the key ring lists now; old and new root keys have to sign
    it.
    """
    ReleaseRepository(folder).rotate(KeyRing(keys).entries())
    click.echo("sign it with two of the old root keys and two of the new ones, then publish")


@release.command()
@click.argument("folder", metavar="REPOSITORY", type=FOLDER)
@keys_option
def publish(folder: Path, keys: Path) -> None:
    """Put the signed drafts of REPOSITORY in force; without a draft, only date it anew."""
    _publish(ReleaseRepository(folder), KeyRing(keys), {})


@release.command("list")
@click.argument("folder", metavar="REPOSITORY", type=FOLDER)
def list_releases(folder: Path) -> None:
    """The releases of REPOSITORY, those of the draft included."""
    table = Table("release", "role", "counter", "hardware", "group", "%", "p95 ms", "MiB")
    for path, facts in sorted(ReleaseRepository(folder).releases().items()):
        table.add_row(
            path,
            facts.role,
            str(facts.counter),
            ", ".join(facts.hardware),
            facts.group,
            str(facts.percentage),
            str(facts.latency_ms_p95),
            str(facts.memory_mib),
        )
    Console().print(table)


def _publish(repository: ReleaseRepository, ring: KeyRing, known: dict[str, str]) -> None:
    def ask(name: str) -> str:
        return known.get(name) or ask_passphrase(name)

    def signer(role: str) -> KeyEntry:
        entries = ring.entries(role)
        if not entries:
            raise BuildFailed(f"expected a {role} key in the key ring and got none")
        return entries[-1]

    version = repository.publish(ring.signer(signer("snapshot"), ask), ring.signer(signer("timestamp"), ask))
    click.echo(f"published, timestamp {version}")


def _say(status: DraftStatus) -> None:
    state = "complete" if status.complete else f"needs {status.threshold} that count"
    click.echo(f"{status.role} {status.version}: {len(status.signed_by)} signatures, {state}")


def ask_passphrase(name: str) -> str:
    """From the environment (for machines), else from the person."""
    given = os.environ.get(PASSPHRASE_VARIABLE + name.upper().replace("-", "_"))
    return given if given is not None else str(click.prompt(f"Passphrase of {name}", hide_input=True))


def _new_passphrase(name: str) -> str:
    given = os.environ.get(PASSPHRASE_VARIABLE + name.upper().replace("-", "_"))
    if given is not None:
        return given
    return str(click.prompt(f"New passphrase for {name}", hide_input=True, confirmation_prompt=True))
