"""A first look in minutes: one seed of four models, three numbers and one figure.

`make quick` trains the student alone, its teacher, the student taught by it and the student that
starts from its weights, by the stages of the study, so that `make study` does not train them again.
"""

import json
import os
import sys

import matplotlib.pyplot as plt
import networkx as nx
import pandas as pd

from dwt.analysis import plot_style
from dwt.config.params import ParamsError, Run, load_params, resolve
from dwt.pipeline.stages import default_jobs, run_all
from dwt.training.teachers import write_teacher

LABELS = {
    "scratch": "the student alone",
    "normal": "taught by the weak teacher",
    "remapped-no-kd": "started from the teacher's weights",
}


def main() -> None:
    """Train what is missing of the four runs and print what came out."""
    try:
        params = load_params()
        runs = {name: resolve(name, params.seeds[0], params) for name in LABELS}
        teacher = resolve(runs["normal"].teacher, params.seeds[0], params)
    except ParamsError as error:
        sys.exit(str(error))
    os.chdir(params.root)
    jobs = default_jobs(params.settings.train.threads)
    students = [run for run in runs.values() if run.kind == "student"]
    first = [f"corpus@{params.scale}", *map(_stage, (runs["scratch"], teacher))]
    graph = nx.DiGraph([("notebooks", first[0]), *((first[0], name) for name in first[1:])])
    failed = run_all(graph, jobs=jobs)
    if not failed:
        for run in students:
            write_teacher(run)
        graph = nx.DiGraph()
        graph.add_nodes_from(map(_stage, students))
        failed = run_all(graph, jobs=jobs)
    if failed:
        sys.exit(failed)
    print(answer(runs))
    figure = params.path("build", "quick.svg")
    plot_style.save(curves(runs), figure)
    print(f"\nHeld-out loss over training: {figure.relative_to(params.root)}")


def _stage(run: Run) -> str:
    return f"{run.kind}@{run.scale}-{run.arm}-{run.seed}"


def answer(runs: dict[str, Run]) -> str:
    """The final held-out losses, and that one seed has no interval."""
    files = {name: run.directory / "run.json" for name, run in runs.items()}
    loss = {name: json.loads(file.read_text())["heldout_loss"] for name, file in files.items()}
    lines = [f"  {LABELS[name]:36}{loss[name]:.3f}" for name in LABELS]
    for i, name in enumerate([*LABELS][1:], 1):
        lines[i] += f"   gain {loss['scratch'] - loss[name]:+.3f}"
    return "\n".join(
        [
            "",
            f"Held-out loss after {runs['scratch'].train['steps']} steps, nats per masked token "
            f"(scale {runs['scratch'].scale}, seed {runs['scratch'].seed}):",
            *lines,
            "",
            "One seed has no interval: another one may give another sign. `make study` trains all "
            "seeds and arms, takes these runs over, and gives intervals.",
        ]
    )


def curves(runs: dict[str, Run]) -> plt.Figure:
    """Held-out loss over training of each run."""
    plot_style.theme()
    figure, axis = plt.subplots(figsize=(3.4, 2.6))
    for name, look in plot_style.styles(runs).items():
        history = pd.read_csv(runs[name].directory / "history.csv").dropna(subset="heldout_loss")
        axis.plot(history["step"], history["heldout_loss"], color=look.color, ls=look.linestyle,
                  label=LABELS[name])  # fmt: skip
    axis.set(xlabel="step", ylabel=plot_style.LOSS)
    axis.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
