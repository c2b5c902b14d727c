"""The `appliance` command: what a technician types."""

from __future__ import annotations

import click

from appliance import RESEARCH_USE_ONLY, __version__
from appliance.cli.analyze import analyze
from appliance.cli.case import case
from appliance.cli.demo import demo
from appliance.cli.dicom import dicom
from appliance.cli.models import models
from appliance.cli.results import results
from appliance.cli.serve import serve
from appliance.cli.status import self_test, status
from appliance.cli.token import token


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Everything that a model outputs is for {RESEARCH_USE_ONLY}.",
)
@click.version_option(__version__, "-V", "--version", prog_name="appliance")
def main() -> None:
    """Read metaphase spreads and chest X-rays on this box."""


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"appliance {__version__}")


for command in (serve, dicom, analyze, case, status, self_test, results, models, demo, token):
    main.add_command(command)
