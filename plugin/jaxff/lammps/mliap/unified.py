"""Potentials for stock LAMMPS through ``pair_style mliap unified`` of the ML-IAP package, on CPUs and, with KOKKOS,
GPUs.

::

    jaxff export-mliap Si.jaxff Si.mliap.pkl

    pair_style  mliap unified Si.mliap.pkl 0
    pair_coeff  * * Si
"""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from jax_models.errors import ConfigError, ModelFileError, StructureError
from jaxff.lammps.failure import stops_lammps
from jaxff.lammps.overlay import print_overlay


def export_mliap(
    potential: str | os.PathLike, pickle_file: str | os.PathLike, precision: str = "single", device: str = "auto"
) -> None:
    """Write the pickle that ``pair_style mliap unified`` reads: the path and SHA-256 of the ``.jaxff`` file and no
    more, so the file must stay where it is, or lie in the folder LAMMPS is started in.

    Args:
        potential: path of a ``.jaxff`` file; it is read and verified.
        pickle_file: what to write.
        precision: "single" or "double".
        device: where LAMMPS runs on the CPU, "cpu", "gpu" or "auto"; with KOKKOS on a GPU it is that GPU.

    Raises:
        ModelFileError: the potential cannot be read, or the pickle not written.
        ConfigError: an unknown precision or device, or a potential that is not local.
    """
    from jax_models.model_file import write_atomically

    path = Path(potential).resolve()
    model = Unified(path, _sha256(path), precision, device)
    write_atomically(pickle_file, pickle.dumps(model, protocol=2))


def load_unified(lmp: Any, potential: str | os.PathLike, precision: str = "single", device: str = "auto") -> Unified:
    """Hand a potential to a LAMMPS that runs in this Python, where ``pair_style mliap unified EXISTS`` then finds it.

    Args:
        lmp: a `lammps.lammps` whose library has the ML-IAP package with Python.
        potential, precision, device: as in `export_mliap`.

    Raises:
        ConfigError: LAMMPS lacks that package, and as in `export_mliap`.
        ModelFileError: the potential cannot be read.
    """
    path = Path(potential).resolve()
    model = Unified(path, _sha256(path), precision, device)
    try:
        from lammps.mliap import loader
    except ImportError as error:
        raise ConfigError(
            f"this LAMMPS has no ML-IAP package with Python (-DMLIAP_ENABLE_PYTHON=on): {error}"
        ) from None
    loader.activate_mliappy(lmp)
    loader.load_unified(model)
    if "KOKKOS" in lmp.installed_packages:
        loader.activate_mliappy_kokkos(lmp)
        loader.load_unified_kokkos(model)
    return model


class Unified:
    """What the ML-IAP package calls: its ``MLIAPUnified`` interface, whose base class comes with LAMMPS and is not
    needed.

    Attributes:
        element_types: chemical symbols; ``elems`` of the data object indexes them.
        rcutfac: half the cutoff (Å), as ML-IAP has it.
        ndescriptors, nparams: 1; ML-IAP makes room for so many, and they are not used.
        interface: set by ML-IAP.
    """

    def __init__(self, path: str | os.PathLike, sha256: str, precision: str = "single", device: str = "auto"):
        # LAMMPS has most of a GPU's memory to itself otherwise, or JAX has.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        from jaxff.lammps.mliap.pair_list import PairListModel
        from jaxff.lammps.pair_jaxff.bridge import open_evaluator

        evaluator, _ = open_evaluator(str(path), precision, device, threads=0, ranks_on_node=1)
        contract = evaluator.potential.contract
        contract.refuse_unless({"neighbors", "teacher"}, "pair_style mliap", str(path))
        print_overlay(str(path), contract)
        self.interface = None
        self.element_types = list(contract.elements)
        self.ndescriptors = 1
        self.nparams = 1
        self.rcutfac = 0.5 * contract.cutoff
        self._reference = (str(path), sha256, precision, device)
        self._model = PairListModel(evaluator)

    def __reduce__(self):
        return _from_reference, self._reference

    def compute_descriptors(self, data: Any) -> None:
        """Nothing: the energy is not made from descriptors that LAMMPS keeps."""

    def compute_gradients(self, data: Any) -> None:
        """Nothing: see `compute_descriptors`."""

    @stops_lammps
    def compute_forces(self, data: Any) -> None:
        """Energy of each atom and force of each pair, from ML-IAP's data object and to it (eV, eV/Å).

        Raises:
            StructureError: energies or forces that are not finite.
        """
        n_atoms, n_pairs = data.nlistatoms, data.npairs
        if n_atoms == 0:  # a rank without atoms, whose arrays need not exist
            data.energy = 0.0
            return
        on_gpu = hasattr(data.elems, "__cuda_array_interface__")
        if on_gpu:
            import cupy as arrays

            arrays.cuda.runtime.deviceSynchronize()  # JAX computes in another stream than LAMMPS
        else:
            arrays = np
        empty = arrays.zeros(0, arrays.int32)
        energies, total, forces = self._model.run(
            arrays,
            data.rij if n_pairs else arrays.zeros((0, 3)),
            data.pair_i if n_pairs else empty,
            data.jatoms if n_pairs else empty,
            data.iatoms[:n_atoms],
            data.elems,
        )
        if not np.isfinite(total):
            raise StructureError("the energy, or a force, is not finite; two atoms may be at the same place")
        data.energy = total
        try:
            data.eatoms = energies
        except AttributeError:  # KOKKOS has no such setter, but shows the array itself
            data.eatoms[:n_atoms] = energies
        if n_pairs:
            data.update_pair_forces(forces)


@stops_lammps
def _from_reference(path: str, sha256: str, precision: str, device: str) -> Unified:
    """The model that a pickle refers to: at its path, or under its name in the current folder."""
    found = next((p for p in (Path(path), Path(path).name) if os.path.isfile(p)), None)
    if found is None:
        raise ModelFileError(f"the pickle refers to {path}, which is not there, nor is it in the current folder")
    if _sha256(found) != sha256:
        raise ModelFileError(f"{found} is not the file the pickle was made from; run `jaxff export-mliap` again")
    return Unified(found, sha256, precision, device)


# Pickles hold this name: it must stay where it was when the first of them were written.
_from_reference.__module__ = "jaxff.lammps.mliap"


def _sha256(path: str | os.PathLike) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from None
