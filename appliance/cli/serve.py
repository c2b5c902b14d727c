"""`appliance serve`: the daemon, from the command line to its last log line."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path

import click

from appliance.app import Daemon
from appliance.cli.log import start_logging
from appliance.client.local_daemon import STOP_WITH_INPUT
from appliance.config import load_config
from appliance.errors import ApplianceError

LOG = logging.getLogger(__name__)


@click.command()
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT|unix:/PATH",
    help="Where to answer, besides STATE-DIR/appliance.sock; may be given several times."
    " Default: 127.0.0.1:8001.",
)
@click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), help="Where results are kept.")
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where compiled engines are kept. Default: STATE-DIR/engines.",
)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings, a TOML file.")
@click.option(STOP_WITH_INPUT, is_flag=True, hidden=True, help="Stop when standard input ends.")
def serve(
    listen: tuple[str, ...],
    state_dir: Path | None,
    cache_dir: Path | None,
    config: Path | None,
    stop_with_input: bool,
) -> None:
    """Start the daemon and answer until it is told to stop (Ctrl-C or SIGTERM)."""
    os.umask(0o077)  # sockets and files are for this user alone
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if stop_with_input:
        threading.Thread(target=_wait_for_end_of_input, args=(stop,), name="input", daemon=True).start()
    try:
        settings = load_config(config, state_dir=state_dir, cache_dir=cache_dir, listen=listen)
        start_logging(settings.log)
        with Daemon(settings) as daemon:
            daemon.load_models()
            status = daemon.checkup.status()
            for problem in status.problems:
                LOG.warning("%s", problem)
            LOG.info(
                "READY%s on %s",
                "" if status.ready else " with problems",
                " and ".join(daemon.addresses),
            )
            stop.wait()
            LOG.info("stopping: requests under way are finished first")
    except ApplianceError as exc:
        raise click.ClickException(str(exc)) from exc


def _wait_for_end_of_input(stop: threading.Event) -> None:
    # not sys.stdin: a thread that waits inside its buffer would hold up the interpreter's end
    while os.read(0, 4096):
        pass
    stop.set()
