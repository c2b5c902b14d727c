"""`appliance dicom`: the box as a DICOM node."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from appliance.cli.connect import given_token, server_option
from appliance.cli.log import start_logging
from appliance.client import ApplianceClient
from appliance.config import Config, load_config
from appliance.errors import ApplianceError, ConfigurationError

LOG = logging.getLogger(__name__)
LIBRARIES = frozenset(("pydicom", "highdicom", "pynetdicom"))


@click.group()
def dicom() -> None:
    """Films from scanners in, structured reports to an archive out."""


@dicom.command("serve")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings, a TOML file.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The daemon's state directory; what waits is kept in its folder `dicom`.",
)
@click.option("--listen", metavar="HOST:PORT", help="Where scanners call. Default: 127.0.0.1:11112.")
@click.option("--ae-title", metavar="TITLE", help="What scanners call this node. Default: ANALYZER.")
@click.option(
    "--calling",
    multiple=True,
    metavar="TITLE",
    help="A scanner that may send films; may be given several times.",
)
@click.option("--destination", metavar="TITLE@HOST:PORT", help="Where reports go.")
@server_option
def serve_dicom(
    config: Path | None,
    state_dir: Path | None,
    listen: str | None,
    ae_title: str | None,
    calling: tuple[str, ...],
    destination: str | None,
    server: str | None,
) -> None:
    """Take films by C-STORE and send each report on by C-STORE, until told to stop (Ctrl-C or SIGTERM).

    A daemon (`appliance serve`) does the analysis. While it is away films wait on disk, and so do reports
    while their destination is away.
    """
    os.umask(0o077)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    given = {"listen": listen, "ae_title": ae_title, "calling_ae_titles": calling, "destination": destination}
    try:
        settings = load_config(config, state_dir=state_dir, dicom=given)
        start_logging(settings.log)
        with (
            _only_node(settings),
            ApplianceClient(server or f"unix:{settings.socket_path}", given_token()) as daemon,
        ):
            _serve(settings, daemon, stop)
    except ApplianceError as exc:
        raise click.ClickException(str(exc)) from exc


def _serve(settings: Config, daemon: ApplianceClient, stop: threading.Event) -> None:
    try:
        from appliance.dicom_node.node import DicomNode  # an extra
    except ModuleNotFoundError as exc:
        if exc.name not in LIBRARIES:
            raise
        raise click.ClickException("The DICOM node needs the extra `dicom`.") from exc
    with DicomNode(settings, daemon) as node:
        LOG.info(
            "READY as %s on port %d, reports go to %s",
            settings.dicom.ae_title,
            node.port,
            settings.dicom.destination,
        )
        stop.wait()
        LOG.info("stopping: messages under way are finished first")


@contextmanager
def _only_node(settings: Config) -> Iterator[None]:
    """The queue's folder, locked; ConfigurationError if it cannot be used or another node has it."""
    folder = settings.state_directory / "dicom"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise ConfigurationError(f"cannot use the folder {folder}: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise ConfigurationError(f"another DICOM node is running with the folder {folder}") from exc
    finally:
        os.close(lock)
