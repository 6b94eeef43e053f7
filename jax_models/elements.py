"""Chemical symbols, atomic numbers, and the places of symbols in a list of elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

from jax_models.errors import JaxffError, StructureError

SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar "
    "K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe "
    "Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn "
    "Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
).split()

ATOMIC_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}


def element_indices(
    symbols: Iterable[str],
    elements: Sequence[str],
    *,
    owner: str = "the potential",
    error: type[JaxffError] = StructureError,
) -> Int[np.ndarray, " N"]:
    """The place of each symbol in ``elements``.

    Args:
        symbols: of the atoms.
        elements: those of a potential, a descriptor or a data set, in its order.
        owner: what the elements are of: the message's first words.
        error: the exception to raise.

    Raises:
        StructureError: (or ``error``) a symbol is not among the elements.

    Example:
        >>> element_indices(["O", "H", "H"], ("H", "O")).tolist()
        [1, 0, 0]
    """
    symbols, place = list(symbols), {element: n for n, element in enumerate(elements)}
    unknown = sorted(set(symbols) - set(place))
    if unknown:
        raise error(f"{owner} has no parameters for {', '.join(unknown)}; it knows {', '.join(elements)}")
    return np.array([place[symbol] for symbol in symbols], np.int32)
