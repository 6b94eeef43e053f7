"""Potentials for stock LAMMPS through ``pair_style python``: nothing to compile.

::

    python      load input 2 SELF Si.jaxff format ps here "from jaxff.lammps.pair_python import load"
    python      load invoke
    pair_style  python ${jaxff_cutoff}
    pair_coeff  * * jaxff.lammps.pair_python.ManyBody Si

`ManyBody` runs any local potential, `Pairwise` one that is a sum over pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jax_models.errors import ConfigError, StructureError
from jax_models.units import BOHR, EV_IN_JOULE, EV_IN_KCAL_PER_MOL, HARTREE
from jaxff.lammps.failure import stops_lammps
from jaxff.lammps.library import Library

if TYPE_CHECKING:
    from jaxff.lammps.pair_python.pair_table import PairTable
    from jaxff.systems.evaluator import Evaluator

UNITS = {
    "metal": (1.0, 1.0),
    "real": (EV_IN_KCAL_PER_MOL, 1.0),
    "si": (EV_IN_JOULE, 1.0e-10),
    "electron": (1.0 / HARTREE, 1.0 / BOHR),
}
"""One eV and one Å in LAMMPS's unit styles; pair_jaxff.cpp has the same numbers."""


@dataclass
class Loaded:
    """What `load` leaves for the next ``pair_coeff`` line."""

    library: Library
    path: str
    evaluator: Evaluator


_loaded: Loaded | None = None


@stops_lammps
def load(pointer: Any, path: str, *options: str) -> None:
    """Read the potential that the next ``pair_coeff`` line uses, and define the LAMMPS variable ``jaxff_cutoff``.

    Args:
        pointer: LAMMPS itself, ``SELF`` in the ``python`` command.
        path: of a ``.jaxff`` file.
        options: "single" (the default) or "double", "cpu", "gpu" or "auto".

    Raises:
        ModelFileError: the file is missing, corrupt or too new.
        ConfigError: an unknown option.
    """
    global _loaded
    _loaded = None
    library = Library(pointer)
    precision, device = _read_options(options)
    _, distance_unit = _units(library.units)
    from jaxff.lammps.pair_jaxff.bridge import open_evaluator

    rank, ranks = library.setting("universe_rank"), library.setting("universe_size")
    evaluator, _ = open_evaluator(path, precision, device, threads=0, rank_on_node=rank, ranks_on_node=ranks)
    _loaded = Loaded(library, path, evaluator)
    library.command(f"variable jaxff_cutoff equal {evaluator.potential.cutoff * distance_unit!r}")


def _read_options(options: tuple[str, ...]) -> tuple[str, str]:
    precision, device = "single", "auto"
    for option in options:
        if option in ("single", "double"):
            precision = option
        elif option in ("cpu", "gpu", "auto"):
            device = option
        else:
            raise ConfigError(f"option {option!r} is unknown; give single or double, and cpu, gpu or auto")
    return precision, device


def _units(style: str) -> tuple[float, float]:
    if style not in UNITS:
        raise ConfigError(f"pair_style python with jaxff cannot work in units {style}; use {', '.join(UNITS)}")
    return UNITS[style]


class _Potential:
    """What both kinds share: the file, the units and the elements of the atom types."""

    @stops_lammps
    def __init__(self):
        if _loaded is None:
            raise ConfigError("no potential is loaded: before pair_style, give the two `python load ...` lines")
        self.library, self.evaluator, self.path = _loaded.library, _loaded.evaluator, _loaded.path
        self.potential = self.evaluator.potential
        if self.potential.contract.kind == "global":
            raise ConfigError(
                f"{self.path} sees the whole cell at once; pair_style python cannot run it, pair_style jaxff can"
            )
        if self.potential.contract.centers != "atoms":
            raise ConfigError(
                f"{self.path} looks from the points of a grid; pair_style python runs atom-centred potentials only"
            )
        self.types: dict[int, int] = {}

    @stops_lammps
    def check_units(self, units: str) -> None:
        """Take the unit style; called by LAMMPS."""
        self.energy_unit, self.distance_unit = _units(units)

    @stops_lammps
    def map_coeff(self, name: str, atom_type: int) -> None:
        """Take the element of an atom type from the ``pair_coeff`` line; called by LAMMPS, not for NULL."""
        if name not in self.potential.elements:
            raise ConfigError(
                f"pair_coeff: {self.path} has no element {name}; it has {', '.join(self.potential.elements)}"
            )
        self.types[atom_type] = self.potential.elements.index(name)


class ManyBody(_Potential):
    """Any local potential through ``pair_style python``.

    LAMMPS fetches the attribute ``compute_force`` once a step, before its loop over pairs. That fetch evaluates the
    model and adds the forces, those of ghosts too, from which LAMMPS takes the virial; the pairs themselves then
    report no force, and the first of them this rank's energy.

    Raises:
        ConfigError: (each stops LAMMPS) `load` was not called, ``newton off``, bonded atoms, a ``pair_style`` cutoff
            below the potential's, a command that asks for the energy of single pairs.
        StructureError: positions or energies that are not finite.
    """

    def __init__(self):
        super().__init__()
        from jaxff.lammps.pair_python.ghost_list import GhostList

        self._list = GhostList(self.evaluator)
        self._energy = 0.0
        self._evaluations = 0
        self._largest_rsq = 0.0
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    @stops_lammps
    def check_units(self, units: str) -> None:
        """Take the unit style; called by LAMMPS once, so other settings are looked at here too."""
        super().check_units(units)
        kind = self.potential.contract.kind
        if kind != "local":
            raise ConfigError(
                f"{self.path} is a {kind.replace('_', '-')} potential; pair_style python runs local ones only"
            )

    @property
    def compute_force(self):
        """The function of a pair's force, which is none. Fetching it evaluates the model: see the class."""
        self._evaluate()
        return self._watch_pair if self._evaluations == 1 else _no_force

    def compute_energy(self, rsq: float, itype: int, jtype: int) -> float:
        """This rank's energy at the first pair of a step, 0 at all others."""
        energy, self._energy = self._energy, 0.0
        return energy

    def _watch_pair(self, rsq: float, itype: int, jtype: int) -> float:
        self._largest_rsq = max(self._largest_rsq, rsq)
        return 0.0

    @stops_lammps
    def _evaluate(self) -> None:
        library = self.library
        n_owned, n_all = library.setting("nlocal"), library.setting("nall")
        from jaxff.lammps.pair_python.ghost_list import AtomError

        x, f = library.vectors("x", n_all), library.vectors("f", n_all)
        self._refuse_single_pairs(x, f)
        if self._evaluations == 0:
            self._check_settings()
        elif self._evaluations == 1:
            self._check_cutoff(np.sqrt(self._largest_rsq))
        of_type = np.full(max(self.types) + 2, -1, np.int32)
        for atom_type, element in self.types.items():
            of_type[atom_type] = element
        species = of_type[np.minimum(library.integers("type", n_all), len(of_type) - 1)]
        positions = x if self.distance_unit == 1.0 else x / self.distance_unit
        self._last = x.copy(), (f.copy() if f.any() else np.zeros((0, 3)))
        try:
            energies = self._list.evaluate(positions, species, n_owned, f, self.energy_unit / self.distance_unit)
        except AtomError as error:
            raise StructureError(f"atom {self._name(error.atom)}: {error}") from None
        self._energy = self.energy_unit * energies.sum()
        if self._evaluations == 0:
            self._own_distances = self.distance_unit * self._list.own_pair_distances(positions)
            pairs = library.listed_pairs("python")
            if pairs is not None and len(pairs):
                self._check_cutoff(np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1).max())
        if self._energy and not self._list.has_own_pair:
            self._check_delivery(x)
        self._evaluations += 1

    def _check_settings(self) -> None:
        if self.library.setting("newton_pair") == 0:
            raise ConfigError("pair_style python with ManyBody needs the forces of ghost atoms; write `newton on`")
        if self.library.count("nbonds"):
            raise ConfigError(
                "pair_style python would weigh ManyBody's energy by special_bonds; use pair_style jaxff for "
                "bonded atoms"
            )

    def _check_cutoff(self, reach: float) -> None:
        """``reach`` is the longest pair LAMMPS saw at the first step: its cutoff is too short if the model saw longer
        ones."""
        if self._own_distances.max(initial=0.0) > reach * (1 + 1e-9):
            raise ConfigError(
                f"the cutoff of pair_style python is below {self.potential.cutoff * self.distance_unit:g}, the "
                "cutoff of "
                f"{self.path}; write `pair_style python ${{jaxff_cutoff}}`"
            )

    def _check_delivery(self, x: np.ndarray) -> None:
        """An energy is handed over with a pair; where LAMMPS's list on this rank has none, it would be lost."""
        pairs = self.library.listed_pairs("python")
        if pairs is None:
            return
        r = np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1)
        if not (r < self.potential.cutoff * self.distance_unit).any():
            raise ConfigError(
                "pair_style python hands energies over with pairs, and a rank has atoms but no pair of them within the "
                "cutoff; use fewer ranks, or pair_style jaxff"
            )

    def _refuse_single_pairs(self, x: np.ndarray, f: np.ndarray) -> None:
        """Commands that ask for the energy of one pair fetch the same attribute, outside a run, or within it at
        positions that have been evaluated and with forces that have since been added up."""
        asked = not self.library.is_running
        if self._last is not None and f.any() and np.array_equal(x, self._last[0]):
            asked = asked or not np.array_equal(f, self._last[1])
        if asked:
            raise ConfigError(
                "ManyBody has no energies of single pairs, which pair_write, compute pair/local and compute "
                "group/group ask "
                "for; use jaxff.lammps.pair_python.Pairwise, for potentials that are a sum over pairs"
            )

    def _name(self, atom: int) -> str:
        tags = self.library.integers("id", atom + 1)
        return f"with id {tags[atom]}" if len(tags) else f"at index {atom}"


def _no_force(rsq: float, itype: int, jtype: int) -> float:
    return 0.0


class Pairwise(_Potential):
    """A potential that is a sum over pairs, through LAMMPS's ordinary calls for one pair after the other.

    Works with everything that pair potentials work with: ``pair_write``, ``compute pair/local``, per-atom energies and
    stresses, ``newton off``, ``special_bonds``. The energy is relative to isolated atoms.

    Raises:
        ConfigError: (stops LAMMPS) the potential is not a sum over pairs.
        StructureError: (stops LAMMPS) a pair is closer than the table goes.
    """

    def __init__(self):
        super().__init__()
        self._tables: dict[tuple[int, int], PairTable] = {}

    @stops_lammps
    def map_coeff(self, name: str, atom_type: int) -> None:
        """Take the element of an atom type from the ``pair_coeff`` line; called by LAMMPS, not for NULL."""
        from jaxff.lammps.pair_python.pair_table import PairTable, check_pairwise

        super().map_coeff(name, atom_type)
        if not self._tables:
            check_pairwise(self.potential, self.path)
        for other, element in self.types.items():
            table = PairTable(self.potential, self.types[atom_type], element)
            self._tables[atom_type, other] = self._tables[other, atom_type] = table

    @stops_lammps
    def compute_force(self, rsq: float, itype: int, jtype: int) -> float:
        """-dV/dr / r of a pair at the squared distance ``rsq``, in LAMMPS's units; called by LAMMPS."""
        _, force = self._tables[itype, jtype](rsq**0.5 / self.distance_unit)
        return force * self.energy_unit / self.distance_unit**2

    @stops_lammps
    def compute_energy(self, rsq: float, itype: int, jtype: int) -> float:
        """V of a pair at the squared distance ``rsq``, in LAMMPS's units; called by LAMMPS."""
        energy, _ = self._tables[itype, jtype](rsq**0.5 / self.distance_unit)
        return energy * self.energy_unit
