"""The table and the plots of `python benchmarks/knowledge.py report`."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

MODES = {"energies": "energies only", "teacher_forces": "DFT energies, teachers' forces", "forces": "energies and forces"}
Entry = dict[str, list[dict[str, Any]]]


def write_report(records: list[dict[str, Any]], docs: Path) -> None:
    """docs/knowledge_results.md, knowledge.png and knowledge_choices.png."""
    from jaxff.plots import save

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
        "Written by `python benchmarks/knowledge.py report`. Test errors (MAE), mean and standard deviation over the seeds; in brackets the",
        "change of the energy error against the baseline with the same labels, over the seeds that both have.",
    ]
    shown = {key: entry for key, entry in groups.items() if set(MODES) & {key[2]} and any("baseline" not in name and "delta" not in name for name in entry)}
    for (element, model, mode), entry in sorted(shown.items(), key=lambda item: (item[0][1], item[0][0], list(MODES).index(item[0][2]))):
        lines += ["", f"## {element}, {model}, {MODES[mode]}", "", "| labels | strategy | energy, meV/atom | force, eV/Å | runs |", "|---|---|---|---|---|"]
        for name in sorted(entry, key=_order):
            lines.append(_row(name, entry))
    (docs / "knowledge_results.md").write_text("\n".join(lines) + "\n")
    curves = {key: entry for key, entry in shown.items() if len({name.split()[0] for name in entry} - {"all"}) > 1}
    save(_errors_plot(curves), str(docs / "knowledge.png"))
    choices = _choices(records)
    if choices:
        save(_choices_plot(choices), str(docs / "knowledge_choices.png"))


def _order(name: str) -> tuple[float, int]:
    labels, strategy = name.split()
    return float("inf") if labels == "all" else float(labels), ("baseline", "weak", "transfer", "both", "delta").index(strategy)


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
    return f"| {labels} | {strategy} | {np.mean(energy):.1f} ± {np.std(energy):.1f}{change} | {np.mean(force):.3f} ± {np.std(force):.3f} | {len(runs)} |"


def _errors_plot(groups: dict[tuple, Entry]):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * max(len(groups), 1), 3.4), layout="constrained")
    for number, (key, entry) in enumerate(groups.items(), 1):
        axes = figure.add_subplot(1, len(groups), number)
        for strategy in ("baseline", "weak", "transfer", "both", "delta"):
            names = [n for n in sorted(entry, key=_order) if n.endswith(f" {strategy}") and not n.startswith("all")]
            if names:
                values = [[1e3 * r["energy_mae"] for r in entry[n]] for n in names]
                axes.errorbar([float(n.split()[0]) for n in names], [np.mean(v) for v in values], [np.std(v) for v in values], marker="o", capsize=3, label=strategy)
        labels = sorted({float(n.split()[0]) for n in entry if not n.startswith("all")})
        axes.set(xscale="log", yscale="log", xlabel="DFT labels", ylabel="energy MAE, meV/atom", title=f"{key[0]}, {key[1]}, {MODES[key[2]]}")
        axes.title.set_fontsize(9)
        axes.set_xticks(labels, [f"{n:g}" for n in labels])
        axes.minorticks_off()
        axes.set_yticks([v for v in (2, 3, 5, 7, 10, 20, 30, 50, 100) if axes.get_ylim()[0] < v < axes.get_ylim()[1]])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend(fontsize=7)
    return figure


def _choices(records: list[dict[str, Any]]) -> dict[str, Counter]:
    """How often the classifier chose each teacher for unlabelled structures, by family; of the element with most runs."""
    elements = Counter(r["key"][1] for r in records if (r["knowledge"] or {}).get("choices"))
    found: dict[str, Counter] = defaultdict(Counter)
    for record in records:
        if elements and record["key"][1] == elements.most_common(1)[0][0] and (record["knowledge"] or {}).get("choices"):
            for family, counts in record["knowledge"]["choices"]["unlabelled"].items():
                found[family].update(counts)
    return found


def _choices_plot(choices: dict[str, Counter]):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    families = sorted(choices)
    bottom = np.zeros(len(families))
    for teacher in sorted({t for counts in choices.values() for t in counts}):
        share = np.array([choices[f][teacher] / choices[f].total() for f in families])
        axes.bar(families, share, bottom=bottom, label=teacher)
        bottom += share
    axes.set(ylabel="share of unlabelled structures", title="whom the classifier believes")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
