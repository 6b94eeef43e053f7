"""Cost of each descriptor beside featomic and DScribe, in one run on one core: 1728 atoms of rattled periodic silicon.

    python benchmarks/descriptors_speed.py [--repeats 5] [--only soap,gmp]

Cutoff 5 Å; SOAP with n_max 8, l_max 4. Prints µs an atom: the best of the repeats, for the machine may be shared.
"features" are of float32 neighbour blocks, as an engine has them; "energy + forces" adds the default network and the
derivative. DScribe and featomic find their own neighbours in those times; ours stand in a separate line. "describe"
gives DScribe's own numbers (float64, atoms beyond the cutoff included), its neighbour list in the time.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "NPROC"):
    os.environ[name] = "1"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import jax  # noqa: E402
import numpy as np  # noqa: E402
from ase.build import bulk  # noqa: E402

from jax_models.derivatives import energies_and_gradient  # noqa: E402
from jax_models.descriptors import DESCRIPTORS  # noqa: E402
from jax_models.models import build  # noqa: E402
from jax_models.neighborhood import Neighborhood, bucket, neighborhood_of  # noqa: E402

CUTOFF, BLOCK = 5.0, 256


def best(function: Callable[[], object], repeats: int) -> float:
    """Shortest of several runs, in seconds, after one that is not timed."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def blocks_of(atoms, cutoff: float) -> list[Neighborhood]:
    """float32 environments in equal blocks; the last one is filled up with padding."""
    nb = neighborhood_of(atoms.positions, atoms.cell.array, True, np.zeros(len(atoms), int), cutoff, np.float32)
    n, k = nb.mask.shape
    rows, width = -(-n // BLOCK) * BLOCK, bucket(k)

    def padded(field):
        return np.pad(field, [(0, rows - n), (0, width - k), (0, 0)][: field.ndim] if field.ndim > 1 else (0, rows - n))

    fields = [padded(field) for field in nb[:4]]
    return [Neighborhood(*(jax.device_put(f[at : at + BLOCK]) for f in fields)) for at in range(0, rows, BLOCK)]


def time_ours(name: str, atoms, blocks, repeats: int, **settings) -> tuple[float, float, int]:
    model = build({"descriptor": {"name": name, **settings}}, ("Si",), CUTOFF)
    features = jax.jit(lambda nb: model.descriptor(nb))
    gradient = jax.jit(lambda nb: energies_and_gradient(model.energies, nb))
    per_atom = [
        best(lambda f=f: [jax.block_until_ready(f(nb)) for nb in blocks], repeats) / len(atoms) * 1e6
        for f in (features, gradient)
    ]
    return per_atom[0], per_atom[1], model.descriptor.n_features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    atoms = bulk("Si", cubic=True) * 6
    atoms.rattle(0.05, seed=0)
    blocks = blocks_of(atoms, CUTOFF)
    wanted = options.only.split(",") if options.only else sorted(DESCRIPTORS)
    list_time = best(
        lambda: neighborhood_of(atoms.positions, atoms.cell.array, True, np.zeros(len(atoms), int), CUTOFF), 3
    )
    print(f"{'µs an atom':34s}{'features':>10s}{'energy + forces':>18s}{'number':>9s}")
    print(f"{'neighbour list, 5 Å':34s}{list_time / len(atoms) * 1e6:10.1f}")
    for name in wanted:
        settings = {"n_max": 8, "l_max": 4} if name == "soap" else {}
        features, gradient, number = time_ours(name, atoms, blocks, options.repeats, **settings)
        print(f"{name:34s}{features:10.1f}{gradient:18.1f}{number:9d}", flush=True)
    from jaxff import describe

    for sigma in (0.5, 1.0):
        seconds = best(
            lambda s=sigma: describe(atoms, "soap", r_cut=CUTOFF, n_max=8, l_max=4, sigma=s), options.repeats
        )
        print(f"{f'describe as DScribe, sigma {sigma}':34s}{seconds / len(atoms) * 1e6:10.1f}", flush=True)
    for name, function in references(atoms).items():
        seconds = best(function, max(1, options.repeats // 2))
        print(f"{name:34s}{seconds / len(atoms) * 1e6:10.1f}", flush=True)


def references(atoms) -> dict[str, Callable[[], object]]:
    """The peers that are installed."""
    found: dict[str, Callable[[], object]] = {}
    try:
        from featomic import SoapPowerSpectrum

        soap = SoapPowerSpectrum(
            cutoff={"radius": CUTOFF, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
            density={"type": "Gaussian", "width": 0.5},
            basis={"type": "TensorProduct", "max_angular": 4, "radial": {"type": "Gto", "max_radial": 7}},
        )
        found["featomic SOAP"] = lambda: soap.compute(atoms)
        found["featomic SOAP with gradients"] = lambda: soap.compute(atoms, gradients=["positions"])
    except ImportError:
        print("featomic is not installed")
    try:
        from dscribe.descriptors import SOAP

        for sigma in (0.5, 1.0):
            dscribe = SOAP(species=["Si"], r_cut=CUTOFF, n_max=8, l_max=4, sigma=sigma, periodic=True)
            found[f"DScribe SOAP, sigma {sigma}"] = lambda d=dscribe: d.create(atoms)
    except ImportError:
        print("DScribe is not installed")
    return found


if __name__ == "__main__":
    main()
