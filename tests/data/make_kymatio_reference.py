"""Writes kymatio_reference.json, where Kymatio is installed (it needs a SciPy that still has sph_harm):

    pip install kymatio packaging 'scipy<1.15' && python make_kymatio_reference.py

Solid harmonic scattering of atoms at points of a grid, by Kymatio's HarmonicScattering3D.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from kymatio.numpy import HarmonicScattering3D

shape, powers = (48, 40, 36), (1.0, 4 / 3, 2.0)
positions = np.random.default_rng(0).integers(0, shape, size=(9, 3))
weights = np.array([1.0, 1, 1, 1, 1, 3, 3, 3, 3])
density = np.zeros(shape, np.float32)
np.add.at(density, tuple(positions.T), weights)
scattering = HarmonicScattering3D(J=2, shape=shape, L=2, sigma_0=2.5, integral_powers=powers)
features = scattering.scattering(density)
reference = {
    "shape": shape,
    "positions": positions.tolist(),
    "weights": weights.tolist(),
    "sigma_0": 2.5,
    "powers": powers,
    "paths": [[0], [1], [2], [0, 1], [0, 2], [1, 2]],
    "features": np.asarray(features, float).tolist(),
}
Path(__file__).with_name("kymatio_reference.json").write_text(json.dumps(reference) + "\n")
