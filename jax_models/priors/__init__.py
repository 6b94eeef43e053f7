"""Physics added before learning. One file each, one registry line below.

A prior gives an energy for each centre, and says what the learned part sees of an environment (``lengthened``).
"""

from typing import Any

from jax_models.priors.screened_coulomb import ScreenedCoulomb
from jax_models.priors.zbl import ZBL

PRIORS: dict[str, Any] = {"zbl": ZBL, "screened_coulomb": ScreenedCoulomb}
