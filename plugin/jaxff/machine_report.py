"""What `jaxff doctor --report` prints: a machine in plain text, to paste into an issue."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxff.lammps.preflight import Check

PACKAGES = ("jaxff", "jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin", "numpy", "scipy", "equinox", "optax",
            "ase", "lammps", "mpich", "openmpi", "vesin", "phonopy", "matplotlib")  # fmt: skip
SETTINGS = ("JAX_", "JAXFF_", "XLA_", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
            "MKL_NUM_THREADS", "LAMMPS_PLUGIN_PATH")  # fmt: skip
"""How the names of variables begin that change how things run."""


def machine_report(checks: Sequence[Check]) -> str:
    """Versions, system, processor, devices and what the checks found; folders of the user and the environment appear
    as ~ and <environment>.

    Args:
        checks: what each check of `jaxff.lammps.preflight` found.
    """
    lines = [f"{name}: {found}" for name in PACKAGES if (found := _version(name))]
    lines += [
        f"python: {platform.python_version()} ({platform.python_implementation()})",
        f"system: {platform.platform()}",
        f"processor: {_processor()}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else '?'} of "
        f"{os.cpu_count()} cores usable, {_memory()}",
    ]
    variables = {name: value for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)}
    lines.append(f"variables: {', '.join(f'{name}={value}' for name, value in variables.items()) or 'none'}")
    for check in checks:
        lines.append(f"{check.state:>4} {check.name}: {' '.join(check.found.split())}")
        if check.advice:
            lines.append(f"     -> {check.advice}")
    return "\n".join(_without_folders(line) for line in lines)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (AttributeError, ValueError, OSError):
        return "memory unknown"


def _without_folders(line: str) -> str:
    """Without the names of people that folders tell."""
    for folder, shown in ((sys.prefix, "<environment>"), (str(Path.home()), "~")):
        if len(folder) > 1:
            line = line.replace(folder, shown)
    return line
