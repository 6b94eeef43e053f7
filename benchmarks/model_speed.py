"""What a potential costs: microseconds an atom for energies and gradients, on one CPU core.

    python benchmarks/model_speed.py [--quick] [--acsf]

Silicon-like environments (28 neighbours of 32 places, 5 Å), blocks of 256 atoms as the engines use them, float32,
read-out MLP (32, 32), ZBL on. The time is processor time, its smallest value over many repetitions, so that other work
on the machine shows little.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

ONE_CORE = {"NPROC": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu"}
ELEMENTS = ("Si", "O", "H", "Cu", "Li")
BLOCK, PLACES, NEIGHBORS, CUTOFF = 256, 32, 28, 5.0


def environments(elements: int, block: int = BLOCK):
    """``block`` random environments: vectors, species, neighbour species, mask."""
    import numpy as np

    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(block, PLACES, 3))
    vectors *= generator.uniform(2.0, CUTOFF, (block, PLACES, 1)) / np.linalg.norm(vectors, axis=-1, keepdims=True)
    species = generator.integers(0, elements, (block, PLACES + 1)).astype(np.int32)
    mask = np.broadcast_to(np.arange(PLACES) < NEIGHBORS, (block, PLACES))
    return vectors.astype(np.float32), species[:, 0], species[:, 1:], mask


def potential_of(descriptor: dict, elements: int, priors=("zbl",)):
    """An untrained potential whose every parameter is used."""
    import equinox as eqx
    import jax
    import numpy as np

    from jax_models import Contract, Potential
    from jax_models.models import build

    names = ELEMENTS[:elements]
    architecture = {"descriptor": descriptor, "priors": [{"name": name} for name in priors]}
    model = build(architecture, names, CUTOFF)
    generator = np.random.default_rng(0)
    fill = jax.tree.map(
        lambda x: generator.normal(scale=0.1, size=x.shape).astype(np.float32), eqx.filter(model.readout, eqx.is_array)
    )
    model = eqx.tree_at(lambda m: m.readout, model, eqx.combine(fill, model.readout))
    model = eqx.tree_at(lambda m: m.feature_scale, model, model.feature_scale * 0.7)
    return Potential(Contract(names, CUTOFF), model, architecture, np.zeros(elements))


def measure(function, arguments, repetitions: int) -> tuple[float, float, float]:
    """Microseconds an atom, seconds to trace and lower, seconds to compile."""
    import jax

    arguments = [jax.numpy.asarray(a) for a in arguments]
    start = time.process_time()
    lowered = function.lower(*arguments)
    traced = time.process_time()
    compiled = lowered.compile()
    done = time.process_time()
    times = []
    for _ in range(repetitions):
        begin = time.process_time()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.process_time() - begin)
    return min(times) / len(arguments[0]) * 1e6, traced - start, done - traced


def training_step(potential):
    """Gradient over all parameters of the sum of squares of dE/dvectors: what a force loss costs."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from jax_models import Neighborhood
    from jax_models.derivatives import energies_and_gradient

    parameters, rest = eqx.partition(potential.model, eqx.is_inexact_array)

    def loss(parameters, *arrays):
        _, gradient = energies_and_gradient(eqx.combine(parameters, rest).energies, Neighborhood(*arrays))
        return jnp.sum(gradient**2)

    return jax.jit(lambda *arrays: jax.grad(loss)(parameters, *arrays))


def table(quick: bool) -> None:
    repetitions = 100 if quick else 400
    rows = [({}, 1), ({}, 2)]
    if not quick:
        rows += [({}, 3), ({}, 5)]
        rows += [({"n_channels": n}, 1) for n in (8, 32)]
        rows += [({"l_max": n}, 1) for n in (1, 2, 4)]
        rows += [({"body_order": n}, 1) for n in (2, 3)]
    print(f"{'ACE settings':24s} {'elements':>8s} {'features':>8s} {'us/atom':>8s} {'trace s':>8s} {'compile s':>9s}")
    for settings, elements in rows:
        potential = potential_of({"name": "ace", **settings}, elements)
        cost, traced, compiled = measure(potential.compiled(), environments(elements), repetitions)
        name = ", ".join(f"{k}={v}" for k, v in settings.items()) or "defaults"
        print(
            f"{name:24s} {elements:8d} {potential.model.descriptor.n_features:8d} {cost:8.2f} {traced:8.2f} "
            f"{compiled:9.2f}",
            flush=True,
        )
    cost, _, _ = measure(potential_of({"name": "ace"}, 1, ()).compiled(), environments(1), repetitions)
    print(f"{'defaults without ZBL':24s} {1:8d} {'':8s} {cost:8.2f}")
    cost, traced, compiled = measure(training_step(potential_of({"name": "ace"}, 1)), environments(1, 1024), 20)
    print(f"{'a training step':24s} {1:8d} {'':8s} {cost:8.2f} {traced:8.2f} {compiled:9.2f}")


def acsf_beside_dscribe() -> None:
    """8 G2 and 8 G4 on 1728 atoms of silicon, 5 Å: features only, as DScribe computes them."""
    import jax
    import numpy as np
    from ase.build import bulk

    from jax_models import Neighborhood
    from jax_models.descriptors.acsf import ACSF
    from jax_models.neighborhood import neighborhood_of

    atoms = bulk("Si", cubic=True) * 6
    atoms.rattle(0.05, seed=0)
    settings = {
        "g2_params": [[1 / (1 + i), 0.5 * i] for i in range(8)],
        "g4_params": [[0.01 * (i // 4 + 1), (1, 2, 4, 8)[i % 4], (-1) ** i] for i in range(8)],
    }
    nb = neighborhood_of(atoms.positions, atoms.cell.array, True, np.zeros(len(atoms), int), CUTOFF, np.float32)
    block = 216
    descriptor = ACSF(1, CUTOFF, **settings)
    cost, _, _ = measure(jax.jit(lambda *a: descriptor(Neighborhood(*a))), [a[:block] for a in nb[:4]], 50)
    print(f"ACSF here (float32, one block of {block}, without the neighbour list): {cost:.1f} us/atom")
    try:
        from dscribe import descriptors
    except ImportError:
        print("DScribe is not installed")
        return
    reference = descriptors.ACSF(r_cut=CUTOFF, species=["Si"], periodic=True, **settings)
    start = time.process_time()
    reference.create(atoms)
    print(f"DScribe (float64, neighbour list included): {(time.process_time() - start) / len(atoms) * 1e6:.1f} us/atom")


def main() -> None:
    if any(os.environ.get(k) != v for k, v in ONE_CORE.items()):
        # XLA reads these once, when JAX is first imported.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_CORE)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the default for one and two elements only")
    parser.add_argument("--acsf", action="store_true", help="symmetry functions beside DScribe instead")
    arguments = parser.parse_args()
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    acsf_beside_dscribe() if arguments.acsf else table(arguments.quick)


if __name__ == "__main__":
    main()
