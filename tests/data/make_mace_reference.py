"""Writes mace_reference.safetensors and mace_reference.json, where mace-torch is installed:

    pip install torch mace-torch safetensors && TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 python make_mace_reference.py

A ScaleShiftMACE with random weights, and the energies, forces and stress it gives for one structure.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from e3nn import o3
from mace import data, modules
from mace.tools import AtomicNumberTable, torch_geometric
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
elements = (8, 14)
block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
model = modules.ScaleShiftMACE(
    r_max=4.0,
    num_bessel=4,
    num_polynomial_cutoff=5,
    max_ell=2,
    interaction_cls=block,
    interaction_cls_first=block,
    num_interactions=2,
    num_elements=len(elements),
    hidden_irreps=o3.Irreps("3x0e + 3x1o"),
    MLP_irreps=o3.Irreps("4x0e"),
    gate=torch.nn.functional.silu,
    atomic_energies=np.array([1.0, 2.0]),
    avg_num_neighbors=9.0,
    atomic_numbers=list(elements),
    correlation=3,
    radial_type="bessel",
    radial_MLP=[6, 5],
    atomic_inter_scale=1.7,
    atomic_inter_shift=0.3,
)
generator = np.random.default_rng(0)
grid = np.stack(np.meshgrid(*[range(3)] * 3), -1).reshape(-1, 3)[generator.permutation(27)[:12]]
cell = np.array([[6.6, 0.0, 0.0], [0.7, 6.3, 0.0], [-0.4, 0.3, 6.9]])
positions = (grid + generator.uniform(-0.15, 0.15, (12, 3))) / 3 @ cell
atoms = Atoms(generator.choice(elements, 12), positions, cell=cell, pbc=True)
graph = data.AtomicData.from_config(
    data.config_from_atoms(atoms), z_table=AtomicNumberTable(list(elements)), cutoff=4.0
)
batch = next(iter(torch_geometric.dataloader.DataLoader([graph], batch_size=1)))
result = model(batch.to_dict(), compute_stress=True)
reference = {
    "symbols": atoms.get_chemical_symbols(),
    "positions": positions.tolist(),
    "cell": cell.tolist(),
    "energies": result["node_energy"].tolist(),
    "forces": result["forces"].tolist(),
    "stress": result["stress"][0].tolist(),
}
here = Path(__file__).parent
state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
neighbors = model.interactions[0].avg_num_neighbors
save_file(state, here / "mace_reference.safetensors", metadata={"avg_num_neighbors": str(neighbors)})
(here / "mace_reference.json").write_text(json.dumps(reference))
