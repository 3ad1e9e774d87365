"""Text of README.md and results/README.md that holds numbers, from the committed results.

``make readme`` runs cog over both files; ``make test`` fails while one is out of date.
"""

import contextlib
import io
import json
import textwrap
from pathlib import Path

import pandas as pd

from dwt.analysis.stats import VERDICTS

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
WIDTH = 105  # characters of a line of README.md


def questions(scale: str) -> str:
    """The four questions answered at a scale, and the note on what the numbers are."""
    return (RESULTS / scale / "summary" / "questions.md").read_text(encoding="utf-8").strip()


def verdicts(first: str, second: str) -> str:
    """How many claims have each verdict at a scale, and how many have the same at another."""
    tables = [RESULTS / scale / "summary" / "claims.csv" for scale in (first, second)]
    here, there = (pd.read_csv(file).set_index("claim")["verdict"] for file in tables)
    counts = ", ".join(f"{(here == verdict).sum()} {verdict}" for verdict in VERDICTS)
    both = here.index.intersection(there.index)
    same = (here[both] == there[both]).sum()
    return textwrap.fill(
        f"Of {len(here)} claims at the scale `{first}`: {counts}. Of the {len(both)} that were run "
        f"at `{second}`, too, {same} have the same verdict there.", WIDTH,
    )  # fmt: skip


def study_cost() -> str:
    """What `make study` took when `benchmarks/whole.py` measured it."""
    study = _benchmark("whole")["study"]
    return textwrap.fill(
        f"`make study` makes `.venv`, installs the tested versions, trains {study['models']} "
        "models, scores them, draws the figures and prints the answer. On "
        f"{study['cores']} cores of a server processor it took {study['minutes']:.0f} minutes "
        f"without installing, at most {study['peak_gb']:.1f} GB of memory and "
        f"{study['made_gb']:.1f} GB of disk; the environment takes {study['environment_gb']:.1f} "
        "GB more ([results/benchmarks/whole.json](results/benchmarks/whole.json)).",
        WIDTH, break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def extended_cost() -> str:
    """What a measured part of `make extended` took, and so about all of it."""
    extended = _benchmark("whole")["extended"]
    share = extended["share_of_flops"]
    return textwrap.fill(
        f"It is {extended['models']} runs: {share:.0%} of their FLOPs took "
        f"{extended['minutes']:.0f} minutes on {extended['cores']} cores, so all take about "
        f"{extended['minutes'] / share / 60:.1f} hours.",
        WIDTH,
    )


def claims(scale: str) -> str:
    """Every claim at a scale: the paper's finding, ours, seeds and verdict."""
    return (RESULTS / scale / "summary" / "claims.md").read_text(encoding="utf-8").strip()


def scales() -> str:
    """The claims at every scale side by side."""
    return (RESULTS / "scales" / "claims.md").read_text(encoding="utf-8").strip()


def step_costs() -> str:
    """Tokens per second of a training step beside a transformers Trainer, on every device."""
    lines = [
        "| device, shape, precision | Trainer | teacher computed | teacher cached | "
        "cached / Trainer | cached / no teacher |",
        "|---|---|---|---|---|---|",
    ]
    for file in sorted((RESULTS / "benchmarks").glob("*.json")):
        measured = json.loads(file.read_text(encoding="utf-8"))
        for shape, precisions in measured.get("shapes", {}).items():
            for precision, setting in precisions.items():
                ways = setting["contestants"]
                rates = (
                    f"{ways[way]['tokens_per_second'][0]:,.0f}"
                    for way in ("naive", "online", "cached")
                )
                cached = ways["cached"]
                lines.append(
                    f"| {measured['device']}, {shape}, {precision} | {' | '.join(rates)} | "
                    f"{cached['speedup'][0]:.2f} | {cached['step_over_alone'][0]:.2f} |"
                )
    return "\n".join(lines)


def costs(*arguments: str) -> str:
    """What `python -m dwt.pipeline.costs` prints."""
    from dwt.pipeline.costs import main  # imports torch

    with contextlib.redirect_stdout(io.StringIO()) as text:
        main([*arguments])
    return text.getvalue().strip()


def _benchmark(name):
    return json.loads((RESULTS / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
