"""The `jaxff` command line. Each subcommand lives in its own module, which imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from jax_models.errors import JaxffError
from jaxff.cli.active import active
from jaxff.cli.barrier import barrier
from jaxff.cli.config import config
from jaxff.cli.data import data
from jaxff.cli.demo import demo
from jaxff.cli.describe import describe
from jaxff.cli.distill import distill
from jaxff.cli.doctor import doctor
from jaxff.cli.elastic import elastic
from jaxff.cli.eos import eos
from jaxff.cli.evaluate import evaluate
from jaxff.cli.export_mliap import export_mliap
from jaxff.cli.import_potential import import_potential
from jaxff.cli.info import info
from jaxff.cli.ipi import ipi
from jaxff.cli.join import join
from jaxff.cli.label import label
from jaxff.cli.lmp import CONTEXT as LMP_CONTEXT
from jaxff.cli.lmp import lmp
from jaxff.cli.md import md
from jaxff.cli.notes import print_notes
from jaxff.cli.phonons import phonons
from jaxff.cli.relax import relax
from jaxff.cli.report import report
from jaxff.cli.select_features import select_features
from jaxff.cli.structures import structures
from jaxff.cli.train import train
from jaxff.cli.vacancy import vacancy

app = typer.Typer(
    name="jaxff",
    help="Machine-learned force fields in JAX: train one, look at it, run it in ASE and LAMMPS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo)
app.command("data")(data)
app.command("train")(train)
app.command("active")(active)
app.command("distill")(distill)
app.command("structures")(structures)
app.command("label")(label)
app.command("select-features")(select_features)
app.command("config")(config)
app.command("evaluate")(evaluate)
app.command("report")(report)
app.command("info")(info)
app.command("md")(md)
app.command("relax")(relax)
app.command("ipi")(ipi)
app.command("elastic")(elastic)
app.command("barrier")(barrier)
app.command("vacancy")(vacancy)
app.command("phonons")(phonons)
app.command("eos")(eos)
app.command("describe")(describe)
app.command("export-mliap")(export_mliap)
app.command("import")(import_potential)
app.command("join")(join)
app.command("doctor")(doctor)
app.command("lmp", context_settings=LMP_CONTEXT)(lmp)


def _print_version(wanted: bool) -> None:
    if wanted:
        from jax_models import __version__

        print(f"jaxff {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    print_notes()


def main() -> None:
    """Run the command; a user's mistake ends with its message and status 1, not with a traceback."""
    # NumPy's matrices here are tiny: on a busy machine its threads spend 20 times longer waiting for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app()
    except JaxffError as error:
        print(f"jaxff: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
