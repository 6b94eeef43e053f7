"""Six numbers for a symmetric 3 x 3 tensor."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""ASE's order of stress and strain: xx, yy, zz, yz, xz, xy."""


def strain_of(component: int) -> Float[np.ndarray, "3 3"]:
    """The unit strain of one component; a shear is an engineering strain, twice the tensor's component.

    Example:
        >>> strain_of(5).tolist()
        [[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    a, b = VOIGT[component]
    tensor = np.zeros((3, 3))
    tensor[a, b] = tensor[b, a] = 1.0 if a == b else 0.5
    return tensor
