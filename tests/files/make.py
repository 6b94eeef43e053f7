"""Wrote the files beside it with jaxff 0.1.0 (schema version 1). They are kept: whatever changes later must still read
them.

python tests/files/make.py FOLDER
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from conftest import make_potential
from potentials_from_functions import lennard_jones

from jax_models import Potential

folder = Path(sys.argv[1])
make_potential(("Si", "O")).save(folder / "ace_schema1.jaxff")
Potential.from_function(lennard_jones, ["Ar"], cutoff=8.5).save(folder / "function_schema1.jaxff")
