"""Time of message-passing networks in ASE, per atom and step, beside mace-torch's and NequIP's of the same size in the
same run.

    taskset -c 0 python benchmarks/message_passing_speed.py [--torch PYTHON] [--nequip PYTHON] [--networks TEXT ...]
    [--repeats 3 6]

Silicon, cutoff 5 Å, single precision, untrained weights, one core; processor time, the smallest of several steps.
``--torch`` is an interpreter that has mace-torch, ``--nequip`` one that has NequIP (they need different versions of
e3nn, and neither is a dependency of jaxff). They run the same structure through an eager ScaleShiftMACE of equal
settings, and through NequIP where the settings have a NequIP of the same irreps: one without its features of odd
parity, and its default with them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time

ARCHITECTURES = {
    "schnet 64, 3 layers": {"name": "schnet"},
    "painn 64, 3 layers": {"name": "painn"},
    "mace 64x0e, 2 layers": {"name": "mace", "hidden_irreps": "64x0e"},
    "mace 32x0e + 32x1o, 2 layers": {"name": "mace", "hidden_irreps": "32x0e + 32x1o"},
    "convolution 32x0e + 32x1o, 3 layers": {
        "name": "mace", "hidden_irreps": "32x0e + 32x1o", "num_interactions": 3, "correlation": 1, "max_ell": 1
    },
}  # fmt: skip
NEQUIP_LIKE = "convolution"

STRUCTURE_AND_CLOCK = """
import sys, time, warnings; warnings.filterwarnings("ignore")
import numpy as np, torch
torch.set_num_threads(1)
from ase.build import bulk

def structure(repeats):
    atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(repeats)
    atoms.rattle(0.05)
    return atoms

def clock(atoms):
    best = 1e9
    for step in range(4):
        atoms.positions[0] += 1e-4
        start = time.process_time()
        atoms.get_forces()
        best = min(best, time.process_time() - start)
    print("TIME", best / len(atoms) * 1e6)
"""
MACE_TORCH = """
from e3nn import o3
from mace import modules
from mace.calculators import MACECalculator
irreps, layers, correlation, lmax, repeats = sys.argv[1], *map(int, sys.argv[2:])
block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
model = modules.ScaleShiftMACE(r_max=5.0, num_bessel=8, num_polynomial_cutoff=5, max_ell=lmax, interaction_cls=block,
    interaction_cls_first=block, num_interactions=layers, num_elements=1, hidden_irreps=o3.Irreps(irreps),
    MLP_irreps=o3.Irreps("16x0e"), gate=torch.nn.functional.silu, atomic_energies=np.zeros(1), avg_num_neighbors=28.0,
    atomic_numbers=[14], correlation=correlation, radial_type="bessel", radial_MLP=[64, 64, 64], atomic_inter_scale=1.0,
    atomic_inter_shift=0.0)
atoms = structure(repeats)
atoms.calc = MACECalculator(models=[model.float()], device="cpu", default_dtype="float32")
clock(atoms)
"""

NEQUIP = """
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state
set_global_state()
parity, repeats = sys.argv[1] == "parity", int(sys.argv[2])
model = NequIPGNNModel(seed=0, model_dtype="float32", type_names=["Si"], r_max=5.0, num_layers=3, l_max=1,
    parity=parity, num_features=32, avg_num_neighbors=28.0, compile_mode="eager")
transforms = [ChemicalSpeciesToAtomTypeMapper(model_type_names=["Si"]), NeighborListTransform(r_max=5.0)]
atoms = structure(repeats)
atoms.calc = NequIPCalculator(model=model.eval(), device="cpu", transforms=transforms)
clock(atoms)
"""


def time_other(python: str, program: str, *arguments: object) -> float:
    environment = os.environ | {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "OMP_NUM_THREADS": "1"}
    for name in ("PYTHONPATH", "XLA_FLAGS"):
        environment.pop(name, None)
    command = [python, "-c", STRUCTURE_AND_CLOCK + program, *map(str, arguments)]
    done = subprocess.run(command, text=True, capture_output=True, env=environment)
    times = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("TIME")]
    if not times:
        raise SystemExit(f"{python} could not run:\n{done.stderr[-2000:]}")
    return float(times[0])


def time_mace_torch(python: str, architecture: dict, repeats: int) -> float:
    from jax_models.message_passing.mace import MACE

    settings = MACE.defaults | architecture
    keys = ("hidden_irreps", "num_interactions", "correlation", "max_ell")
    return time_other(python, MACE_TORCH, *(settings[k] for k in keys), repeats)


def time_ours(architecture: dict, repeats: int) -> float:
    import numpy as np
    from ase.build import bulk

    from jax_models import Contract, Potential
    from jax_models.models import build
    from jaxff import JaxffCalculator

    model = build(architecture, ("Si",), 5.0)
    contract = Contract(("Si",), 5.0, layers=model.n_layers, kind=model.kind)
    atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(repeats)
    atoms.rattle(0.05)
    atoms.calc = JaxffCalculator(Potential(contract, model, architecture, np.zeros(1)))
    best = np.inf
    for _ in range(5):
        atoms.positions[0] += 1e-4
        start = time.process_time()
        atoms.get_forces()
        best = min(best, time.process_time() - start)
    return best / len(atoms) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", metavar="PYTHON", help="interpreter with torch and mace-torch")
    parser.add_argument("--nequip", metavar="PYTHON", help="interpreter with torch and nequip")
    parser.add_argument("--networks", nargs="+", metavar="TEXT", default=[""], help="only those whose name begins so")
    parser.add_argument("--repeats", type=int, nargs="+", default=[3, 6], help="cubic cells along each side")
    arguments = parser.parse_args()
    from jaxff.runtime import configure

    configure(threads=1, platforms="cpu")
    for name, architecture in ARCHITECTURES.items():
        if not name.startswith(tuple(arguments.networks)):
            continue
        for repeats in arguments.repeats:
            # Ours before and after the others: on a machine that others use, the two show what a ratio is worth.
            ours = [time_ours(architecture, repeats)]
            others = {}
            if arguments.torch and architecture["name"] == "mace":
                others["mace-torch"] = time_mace_torch(arguments.torch, architecture, repeats)
            if arguments.nequip and name.startswith(NEQUIP_LIKE):
                for parity in ("no-parity", "parity"):
                    others[f"NequIP, {parity}"] = time_other(arguments.nequip, NEQUIP, parity, repeats)
            if others:
                ours.append(time_ours(architecture, repeats))
            print(f"{name}, {8 * repeats**3} atoms: {' and '.join(f'{t:.0f}' for t in ours)} us/atom", flush=True)
            for other, theirs in others.items():
                print(
                    f"    {other}: {theirs:.0f} us/atom, {theirs / max(ours):.1f} to {theirs / min(ours):.1f} "
                    "times ours",
                    flush=True,
                )


if __name__ == "__main__":
    main()
