"""The table and the plots of `python benchmarks/knowledge.py report`."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

MODES = {
    "energies": "energies only",
    "teacher_forces": "DFT energies, teachers' forces",
    "forces": "energies and forces",
}
Entry = dict[str, list[dict[str, Any]]]


STRATEGIES = ("baseline", "weak", "weak_chosen", "transfer", "both", "both_chosen", "delta")
COLOURS = dict(
    zip(STRATEGIES, ("black", "tab:orange", "peru", "tab:green", "tab:red", "darkred", "tab:blue"), strict=True)
)
SETTINGS = """
Settings that are not the defaults: small networks ({models}); {visits:.0f} million
neighbours a training, twice as many in weak supervision, which is one training where transfer is two, and never fewer
than 20 passes over the data; one weight for the teachers' labels, {weight:g}, except where it says that it was chosen
among 0, 0.1 and 1 by cross-validation, as is the default."""


def write_report(
    records: list[dict[str, Any]], robustness: list[dict[str, Any]], settings: dict[str, Any], docs: Path
) -> None:
    """docs/knowledge_results.md, knowledge.png and knowledge_choices.png."""
    from jaxff.plots.figures import save

    groups: dict[tuple, Entry] = defaultdict(lambda: defaultdict(list))
    for record in records:
        model, element, mode, labels, strategy, _ = record["key"]
        groups[element, model, mode][f"{labels or 'all'} {strategy}"].append(record)
        if mode == "energies" and strategy in ("baseline", "delta"):
            # Neither of them uses teachers' forces where DFT gives none.
            groups[element, model, "teacher_forces"][f"{labels or 'all'} {strategy}"].append(record)
    lines = [
        "# What teachers bring: mlearn",
        "",
        "Written by `python benchmarks/knowledge.py report`. Test errors (MAE), mean and standard deviation "
        "over the seeds; in brackets the",
        "change of the energy error against the baseline with the same labels, over the seeds that both have.",
        *SETTINGS.format(**settings).split("\n"),
    ]
    shown = {
        key: entry
        for key, entry in groups.items()
        if set(MODES) & {key[2]} and any("baseline" not in name and "delta" not in name for name in entry)
    }
    for (element, model, mode), entry in sorted(
        shown.items(), key=lambda item: (item[0][1], item[0][0], list(MODES).index(item[0][2]))
    ):
        lines += [
            "",
            f"## {element}, {model}, {MODES[mode]}",
            "",
            "| labels | strategy | energy, meV/atom | force, eV/Å | runs |",
            "|---|---|---|---|---|",
        ]
        for name in sorted(entry, key=_order):
            lines.append(_row(name, entry))
    lines += _robustness_table(robustness)
    (docs / "knowledge_results.md").write_text("\n".join(lines) + "\n")
    curves = {key: entry for key, entry in shown.items() if len({name.split()[0] for name in entry} - {"all"}) > 1}
    save(_errors_plot(curves), str(docs / "knowledge.png"))
    choices = _choices(records)
    if choices:
        save(_choices_plot(choices), str(docs / "knowledge_choices.png"))


def _order(name: str) -> tuple[float, int]:
    labels, strategy = name.split()
    return float("inf") if labels == "all" else float(labels), STRATEGIES.index(strategy)


def _row(name: str, entry: Entry) -> str:
    labels, strategy = name.split()
    runs = entry[name]
    energy, force = ([scale * r[key] for r in runs] for key, scale in (("energy_mae", 1e3), ("force_mae", 1.0)))
    change = ""
    if strategy != "baseline":
        plain = {r["key"][5]: r["energy_mae"] for r in entry.get(f"{labels} baseline", [])}
        pairs = [(r["energy_mae"], plain[r["key"][5]]) for r in runs if r["key"][5] in plain]
        if pairs:
            mine, baseline = np.mean(pairs, axis=0)
            change = f" ({100 * (mine / baseline - 1):+.0f} %)"
    name = strategy.replace("_chosen", ", weight chosen")
    return f"| {labels} | {name} | {_with_spread(energy, 1)}{change} | {_with_spread(force, 3)} | {len(runs)} |"


def _with_spread(values: list[float], digits: int) -> str:
    """One run has no spread."""
    spread = f" ± {np.std(values):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _robustness_table(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return []
    lines = [
        "",
        "## Outside the training set",
        "",
        "`python benchmarks/knowledge_robustness.py`: the fraction of molecular dynamics runs that stay "
        "physical at two and three times the",
        "highest temperature of the training data, and of atoms pushed at a neighbour that are repelled all "
        "the way to half of the bond.",
        "",
        "| element | labels | mode | strategy | 2x | 3x | repelled | runs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in found:
        element, _, mode, labels, strategy = r["key"]
        lines.append(
            f"| {element} | {labels} | {MODES[mode]} | {strategy} | {r['physical_at_2x']:.2f} "
            f"({2 * r['temperature']:.0f} K) "
            f"| {r['physical_at_3x']:.2f} ({3 * r['temperature']:.0f} K) | {r['repulsive']:.2f} | {r['runs']} |"
        )
    return lines


def _errors_plot(groups: dict[tuple, Entry]):
    from matplotlib.figure import Figure

    columns = min(3, max(len(groups), 1))
    rows = -(-max(len(groups), 1) // columns)
    figure = Figure(figsize=(4.0 * columns, 3.2 * rows), layout="constrained")
    for number, (key, entry) in enumerate(groups.items(), 1):
        axes = figure.add_subplot(rows, columns, number)
        for strategy in STRATEGIES:
            names = [n for n in sorted(entry, key=_order) if n.endswith(f" {strategy}") and not n.startswith("all")]
            if names:
                values = [[1e3 * r["energy_mae"] for r in entry[n]] for n in names]
                labels, means, spreads = (
                    [float(n.split()[0]) for n in names],
                    [np.mean(v) for v in values],
                    [np.std(v) for v in values],
                )
                axes.errorbar(
                    labels,
                    means,
                    spreads,
                    marker="o",
                    markersize=4,
                    linewidth=1.2,
                    capsize=3,
                    color=COLOURS[strategy],
                    label=strategy.replace("_", ", "),
                )
        labels = sorted({float(n.split()[0]) for n in entry if not n.startswith("all")})
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="DFT labels",
            ylabel="energy MAE, meV/atom",
            title=f"{key[0]}, {key[1]}, {MODES[key[2]]}",
        )
        axes.title.set_fontsize(9)
        axes.set_xticks(labels, [f"{n:g}" for n in labels])
        axes.minorticks_off()
        axes.set_yticks(
            [v for v in (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100) if axes.get_ylim()[0] < v < axes.get_ylim()[1]]
        )
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend(fontsize=7)
    return figure


Choices = dict[str, dict[str, Counter]]


def _choices(records: list[dict[str, Any]]) -> dict[str, tuple[Choices, Choices]]:
    """For each element, by family: whom the classifier believes on unlabelled structures, and who is right on labelled
    ones."""
    found: dict[str, tuple] = {}
    for record in records:
        choices = (record["knowledge"] or {}).get("choices")
        if choices and record["key"][4] == "weak":
            parts = found.setdefault(record["key"][1], (defaultdict(Counter), defaultdict(Counter)))
            for part, name in zip(parts, ("unlabelled", "right"), strict=True):
                for family, counts in choices[name].items():
                    part[family].update(counts)
    return found


def _choices_plot(choices: dict[str, tuple[Choices, Choices]]):
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(choices), 3.6), layout="constrained")
    for number, (element, parts) in enumerate(sorted(choices.items()), 1):
        axes = figure.add_subplot(1, len(choices), number)
        families = sorted(set(parts[0]) | set(parts[1]))
        teachers = sorted({t for part in parts for counts in part.values() for t in counts} - {"none"})
        colours = {t: colormaps["tab10"](n) for n, t in enumerate(teachers)} | {"none": "lightgrey"}
        for part, offset, hatch in zip(parts, (-0.2, 0.2), ("", "///"), strict=True):
            bottom = np.zeros(len(families))
            for teacher in (*teachers, "none"):
                share = np.array([part[f][teacher] / max(part[f].total(), 1) for f in families])
                axes.bar(
                    np.arange(len(families)) + offset,
                    share,
                    0.36,
                    bottom=bottom,
                    color=colours[teacher],
                    hatch=hatch,
                    edgecolor="white",
                    linewidth=0.5,
                    label=None if hatch or not (teacher != "none" or share.any()) else teacher,
                )
                bottom += share
        axes.set_xticks(range(len(families)), families)
        axes.set(ylabel="share of structures", ylim=(0, 1), title=f"{element}: believed (plain), right (hatched)")
        axes.title.set_fontsize(10)
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
