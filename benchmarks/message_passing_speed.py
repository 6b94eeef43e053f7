"""Time of message-passing networks in ASE, per atom and step, beside mace-torch's of the same size in the same run.

    taskset -c 0 python benchmarks/message_passing_speed.py [--torch PYTHON] [--repeats 2 3 6]

Silicon, cutoff 5 Å, single precision, untrained weights, one core; processor time, the smallest of several steps. ``PYTHON`` is
an interpreter that has torch and mace-torch (not dependencies of jaxff): it runs the same structure through an eager
ScaleShiftMACE of equal settings.
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

TORCH = """
import sys, time, warnings; warnings.filterwarnings("ignore")
import numpy as np, torch
torch.set_num_threads(1)
from ase.build import bulk
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
atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(repeats)
atoms.rattle(0.05)
atoms.calc = MACECalculator(models=[model.float()], device="cpu", default_dtype="float32")
best = 1e9
for step in range(4):
    atoms.positions[0] += 1e-4
    start = time.process_time()
    atoms.get_forces()
    best = min(best, time.process_time() - start)
print("TIME", best / len(atoms) * 1e6)
"""


def time_torch(python: str, architecture: dict, repeats: int) -> float:
    from jax_models.message_passing.mace import MACE

    settings = MACE.defaults | architecture
    arguments = [settings["hidden_irreps"]] + [str(settings[k]) for k in ("num_interactions", "correlation", "max_ell")]
    environment = os.environ | {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, "-c", TORCH, *arguments, str(repeats)], text=True, capture_output=True, env=environment)
    times = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("TIME")]
    if not times:
        raise SystemExit(f"{python} could not run mace-torch:\n{done.stderr[-2000:]}")
    return float(times[0])


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
    parser.add_argument("--repeats", type=int, nargs="+", default=[3, 6], help="cubic cells along each side")
    arguments = parser.parse_args()
    from jaxff.runtime import configure

    configure(threads=1, platforms="cpu")
    print(f"{'network':38s} {'atoms':>6s} {'us/atom':>9s} {'torch':>9s} {'ratio':>6s}")
    for name, architecture in ARCHITECTURES.items():
        for repeats in arguments.repeats:
            ours = time_ours(architecture, repeats)
            theirs = time_torch(arguments.torch, architecture, repeats) if arguments.torch and architecture["name"] == "mace" else None
            other = f"{theirs:9.0f} {theirs / ours:6.1f}" if theirs else ""
            print(f"{name:38s} {8 * repeats**3:6d} {ours:9.0f} {other}", flush=True)


if __name__ == "__main__":
    main()
