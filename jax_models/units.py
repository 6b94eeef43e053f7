"""Physical constants (CODATA 2018) in eV and Å, the units of every number inside."""

BOHR = 0.529177210903
"""Å"""
HARTREE = 27.211386245988
"""eV"""
EV_IN_JOULE = 1.602176634e-19
EV_IN_KCAL_PER_MOL = 23.060547830619026
COULOMB = 14.399645
"""e^2 / (4 pi eps0) in eV Å, with the digits that LAMMPS has for it in metal units."""
