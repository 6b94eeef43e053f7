"""Writes mace_NAME.safetensors and mace_NAME.json, where mace-torch is installed:

    pip install torch mace-torch safetensors && TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 python make_mace_reference.py

ScaleShiftMACE networks with random weights in several published forms, and the energies, forces and stress that they
give for one structure.
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
elements = (8, 14)
RESIDUAL = "RealAgnosticResidualInteractionBlock"
NETWORKS = {
    "reference": {},
    "plain": {
        "interaction_cls_first": "RealAgnosticInteractionBlock",
        "pair_repulsion": True,
        "num_polynomial_cutoff": 6,
        "correlation": 2,
    },
    "density": {
        "correlation": 2,
        "interaction_cls_first": "RealAgnosticDensityInteractionBlock",
        "interaction_cls": "RealAgnosticDensityResidualInteractionBlock",
        "distance_transform": "Agnesi",
        "pair_repulsion": True,
    },
    "heads": {
        "correlation": 2,
        "heads": ["pbe", "r2scan"],
        "atomic_energies": np.array([[1.0, 2.0], [-3.0, 5.0]]),
        "atomic_inter_scale": [1.7, 0.9],
        "atomic_inter_shift": [0.3, -0.2],
    },
}


def network(interaction_cls_first=RESIDUAL, interaction_cls=RESIDUAL, **changes):
    torch.manual_seed(0)
    settings = dict(
        r_max=4.0,
        num_bessel=4,
        num_polynomial_cutoff=5,
        max_ell=2,
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
    return modules.ScaleShiftMACE(
        interaction_cls=modules.interaction_classes[interaction_cls],
        interaction_cls_first=modules.interaction_classes[interaction_cls_first],
        **settings | changes,
    )


generator = np.random.default_rng(0)
grid = np.stack(np.meshgrid(*[range(3)] * 3), -1).reshape(-1, 3)[generator.permutation(27)[:12]]
cell = np.array([[6.6, 0.0, 0.0], [0.7, 6.3, 0.0], [-0.4, 0.3, 6.9]])
positions = (grid + generator.uniform(-0.15, 0.15, (12, 3))) / 3 @ cell
atoms = Atoms(generator.choice(elements, 12), positions, cell=cell, pbc=True)
here = Path(__file__).parent
for name, changes in NETWORKS.items():
    model = network(**changes)
    reference = {"symbols": atoms.get_chemical_symbols(), "positions": positions.tolist(), "cell": cell.tolist()}
    for number, head in enumerate(model.heads):
        graph = data.AtomicData.from_config(
            data.config_from_atoms(atoms, head_name=head),
            z_table=AtomicNumberTable(list(elements)),
            cutoff=4.0,
            heads=model.heads,
        )
        batch = next(iter(torch_geometric.dataloader.DataLoader([graph], batch_size=1)))
        result = model(batch.to_dict(), compute_stress=True)
        found = {
            "energies": result["node_energy"].tolist(),
            "forces": result["forces"].tolist(),
            "stress": result["stress"][0].tolist(),
        }
        reference |= found if number == 0 else {head: found}
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"avg_num_neighbors": str(float(model.interactions[0].avg_num_neighbors))}
    if len(model.heads) > 1:
        metadata["heads"] = json.dumps(list(model.heads))
    save_file(state, here / f"mace_{name}.safetensors", metadata=metadata)
    (here / f"mace_{name}.json").write_text(json.dumps(reference))
