"""The page and the figure of benchmarks/uncertainty.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import rankdata, spearmanr

Atoms = dict[str, np.ndarray]
SIGNS = ("grade", "spread", "expected", "committee")
HEADS = "| set | {} | grade | spread of 8 heads | expected error | committee of four |"
FAR = 5.0
"""An error is large above so many times the validation error."""
AUC_GOAL = 0.90
INSIDE_GOAL = 0.85, 0.95
OUTSIDE_GOAL = 0.80
COST_GOALS = {"everything at every step": 1.10, "every 10": 1.02, "committee of four, everything at every step": 3.0}
TEXT = """# Error bars, measured where the potential has never been

Written by `python benchmarks/uncertainty.py --out FOLDER` and, for the cost, `--cost`.

A potential is trained by `jaxff train` with its defaults but for `training.neighbor_visits`, here {visits}
million (default: 100), on the cold half of a set: the half of its molecular dynamics with the smaller forces, and
strained crystals (Si, Mo, Cu). Two thirds of these train, a sixth calibrates
(`--valid`), a sixth is seen by nobody: *inside*. *Hot* is the other half of the dynamics; vacancies, surfaces and
lattices are groups that were left out. Of water and Li-Al every n-th structure is used (see `parts`).
The committee are four such potentials from four seeds, of which the judged one is the first. The error of an atom is
the norm of its force's error.
"""
AUC_TEXT = """
AUC: how often an atom with a large error is ranked above one without, over all atoms of all test groups, inside and
outside. A large error is above {far:g} times the validation error, read in two ways: its root mean square as a norm,
and component by component (smaller by the root of three). The goal is {goal:.2f}; a miss is in bold.
"""


def auc(score: np.ndarray, large: np.ndarray) -> float:
    """Chance that an atom with a large error has the larger ``score``; NaN where there are none."""
    n, others = int(large.sum()), int((~large).sum())
    if not n or not others:
        return float("nan")
    return float((rankdata(score)[large].sum() - n * (n + 1) / 2) / (n * others))


def pooled(parts: dict[str, Atoms]) -> Atoms:
    """All atoms that are tested, with a label for their error."""
    groups = [part for part in parts if part not in ("train", "valid")]
    joined = {name: np.concatenate([parts[part][name] for part in groups]) for name in ("error", *SIGNS)}
    known = np.isfinite(joined["error"])
    return {name: values[known] for name, values in joined.items()}


def validation_error(parts: dict[str, Atoms]) -> float:
    """Root mean square of the norms of the errors, eV/Å."""
    return float(np.sqrt(np.mean(parts["valid"]["error"] ** 2)))


def write_report(found: dict[str, dict[str, Atoms]], costs: dict | None, visits: dict, docs: Path) -> None:
    """docs/uncertainty_results.md and docs/uncertainty.png."""
    numbers = sorted({visits[name] for name in found}, reverse=True)
    named = [f"{n / 1e6:g} ({', '.join(name for name in found if visits[name] == n)})" for n in numbers]
    lines = TEXT.format(visits=" or ".join(named)).split("\n")
    lines += _finding_large_errors(found) + _ranks(found) + _coverage(found)
    lines += ["![Error against expected error of every atom](uncertainty.png)", ""]
    lines += _errors(found)
    if costs:
        lines += _costs(costs)
    text = "\n".join(lines).rstrip() + "\n"
    docs.joinpath("uncertainty_results.md").write_text(text)
    print(text)
    _plot(found, docs / "uncertainty.png")


def _finding_large_errors(found: dict[str, dict[str, Atoms]]) -> list[str]:
    lines = ["## Finding large errors", *AUC_TEXT.format(far=FAR, goal=AUC_GOAL).split("\n")]
    for reading, factor in (("norms", 1.0), ("components", 3.0**-0.5)):
        lines += [f"Validation error by {reading}:", "", HEADS.format("large errors"), "|---|" + "---|" * 5]
        for name, parts in found.items():
            atoms = pooled(parts)
            large = atoms["error"] > FAR * factor * validation_error(parts)
            found_by = [auc(atoms[sign], large) for sign in SIGNS]
            scores = " | ".join(f"{a:.3f}" if a >= AUC_GOAL else f"**{a:.3f}**" for a in found_by)
            lines.append(f"| {name} | {large.sum()} of {len(large)} | {scores} |")
        lines.append("")
    return lines


def _ranks(found: dict[str, dict[str, Atoms]]) -> list[str]:
    lines = [
        "## Rank correlation (Spearman) with the error, same atoms",
        "",
        HEADS.format("atoms"),
        "|---|" + "---|" * 5,
    ]
    for name, parts in found.items():
        atoms = pooled(parts)
        ranks = " | ".join(f"{spearmanr(atoms[sign], atoms['error']).statistic:.2f}" for sign in SIGNS)
        lines.append(f"| {name} | {len(atoms['error'])} | {ranks} |")
    return [*lines, ""]


def _coverage(found: dict[str, dict[str, Atoms]]) -> list[str]:
    low, high = INSIDE_GOAL
    lines = [
        "## Coverage of the 90 % error bar",
        "",
        f"Part of the atoms whose error is below the expected one. Goal: {low:.2f} to {high:.2f} inside, at least "
        f"{OUTSIDE_GOAL:.2f} outside; a miss is in bold.",
        "",
        "| set | inside | outside, by group |",
        "|---|---|---|",
    ]
    for name, parts in found.items():
        held = {part: float(np.mean(a["error"] <= a["expected"])) for part, a in parts.items()}
        inside = held["inside"]
        shown = f"{inside:.3f}" if low <= inside <= high else f"**{inside:.3f}**"
        groups = [part for part in parts if part not in ("train", "valid", "inside")]
        outside = ", ".join(
            f"{part} {held[part]:.2f}" if held[part] >= OUTSIDE_GOAL else f"{part} **{held[part]:.2f}**"
            for part in groups
        )
        lines.append(f"| {name} | {shown} | {outside} |")
    return [*lines, ""]


def _errors(found: dict[str, dict[str, Atoms]]) -> list[str]:
    lines = [
        "## The errors themselves",
        "",
        "Root mean square by component, and median of the expected error (a 90 % bar of the norm), eV/Å.",
        "",
        "| set | group | atoms | RMSE | expected | grade, median |",
        "|---|---|---|---|---|---|",
    ]
    for name, parts in found.items():
        for part, a in parts.items():
            rmse = np.sqrt(np.mean(a["error"] ** 2) / 3)
            medians = f"{np.median(a['expected']):.3f} | {np.median(a['grade']):.2f}"
            lines.append(f"| {name} | {part} | {len(a['error'])} | {rmse:.3f} | {medians} |")
    return [*lines, ""]


def _costs(costs: dict) -> list[str]:
    plain, machine = next(iter(costs.values()))["median"], costs["machine"]
    lines = [
        "## Cost in LAMMPS",
        "",
        "1728 atoms of silicon, one core, single precision, 600 K: microseconds of processor time, medians and",
        f"quartiles of {machine['runs']} runs of 100 steps each, which took turns in one LAMMPS process. Load of the",
        f"machine: {machine['load']:.1f}.",
        "",
        "| | µs/atom/step | quartiles | ratio | goal |",
        "|---|---|---|---|---|",
    ]
    for way, time in costs.items():
        if way != "machine":
            ratio, goal = time["median"] / plain, COST_GOALS.get(way)
            shown = "" if goal is None else f"{goal:.2f}: {'reached' if ratio <= goal else 'missed'}"
            lines.append(
                f"| {way} | {time['median']:.2f} | {time['low']:.2f} to {time['high']:.2f} | {ratio:.3f} | {shown} |"
            )
    return [*lines, ""]


def _plot(found: dict[str, dict[str, Atoms]], path: Path) -> None:
    """Error against expected error, a panel a set and a colour a group."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(3.4 * len(found), 3.4), squeeze=False, layout="constrained")
    generator = np.random.default_rng(0)
    for axis, (name, parts) in zip(axes[0], found.items(), strict=True):
        groups = [part for part in parts if part not in ("train", "valid")]
        for part in sorted(groups, key=lambda part: part == "inside"):
            atoms = parts[part]
            some = generator.permutation(len(atoms["error"]))[:1500]
            floor = 1e-3 * validation_error(parts)
            colour = "black" if part == "inside" else f"C{groups.index(part)}"
            axis.plot(atoms["expected"][some], np.maximum(atoms["error"][some], floor), ".", ms=2, alpha=0.5,
                      color=colour, label=part, rasterized=True)  # fmt: skip
        axis.set(xscale="log", yscale="log", title=name, xlabel="expected error, eV/Å")
        ends = np.array(axis.get_xlim())
        axis.plot(ends, ends, color="grey", lw=1)
        axis.axhline(FAR * validation_error(parts), color="grey", lw=1, ls=":")
        axis.legend(fontsize=7, markerscale=4)
    axes[0, 0].set_ylabel("error of the force, eV/Å")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
