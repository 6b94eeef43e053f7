"""`jaxff lmp`: LAMMPS inside this Python."""

from __future__ import annotations

import typer

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["--help"]}


def lmp(context: typer.Context) -> None:
    """Run LAMMPS with `pair_style jaxff`: jaxff lmp -in in.file

    Every option is handed to LAMMPS, such as -in, -var, -log and -screen; `jaxff lmp -h` prints LAMMPS's own help: all
    its options, and the styles that it has. Works under mpirun too: mpirun -n 2 jaxff lmp -in in.file
    """
    import signal

    from jaxff.lammps.launcher import run_main

    # Python would only note an interrupt and wait for LAMMPS to return.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise typer.Exit(run_main(context.args))
