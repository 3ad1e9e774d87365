"""What a person sees while the pipeline runs, and at its end."""

import json
import time

import networkx as nx
from tqdm import tqdm

from dwt.config.params import resolve
from dwt.config.schema import Params
from dwt.data.progress import is_interactive


class Overview:
    """How far a graph of stages is: a bar in a terminal, a line per finished stage elsewhere.

    Parameters
    ----------
    graph : networkx.DiGraph
        Of stage names; an edge goes from a stage to one that needs it.
    length : dict of str to float
        Of each stage, in any unit.
    """

    def __init__(self, graph: nx.DiGraph, length: dict[str, float]):
        self.graph, self.length = graph, length
        self.done: set[str] = set()
        self.running: list[str] = []
        self.began = time.monotonic()
        self.bar = None
        if is_interactive():
            self.bar = tqdm(total=sum(length.values()), bar_format="{l_bar}{bar}| {desc}")

    def started(self, name: str) -> None:
        """Note that a stage runs."""
        self.running.append(name)
        self._show()

    def finished(self, name: str) -> None:
        """Note that a stage has ended well."""
        self.running.remove(name)
        self.done.add(name)
        if self.bar is not None:
            self.bar.update(self.length[name])
        self._show(name)

    def say(self, text: str) -> None:
        """Print a line of a stage."""
        tqdm.write(text) if self.bar is not None else print(text, flush=True)

    def close(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def _show(self, finished=None):
        if self.bar is not None:
            self.bar.set_description_str(self.line())
        elif finished:
            print(f"{finished}: finished; {self.line()}", flush=True)

    def line(self) -> str:
        """Stages and models done, the time left, what runs, and what waits for it."""
        models = [name for name in self.graph if "standalone@" in name or "student@" in name]
        models = [name for name in models if "evaluate" not in name]
        parts = [f"{len(self.done)} of {len(self.graph)} stages"]
        if models:
            parts.append(f"{len(self.done & {*models})} of {len(models)} models")
        if work := sum(self.length[name] for name in self.done):
            left = sum(self.length.values()) / work - 1
            minutes = (time.monotonic() - self.began) * left / 60
            parts.append(f"about {minutes:.0f} min left" if minutes >= 1 else "under 1 min left")
        if self.running:
            parts.append(f"running: {', '.join(self.running)}")
        waiting = [(after, name) for name in self.running for after in self.graph.successors(name)]
        if waiting:
            parts.append("{} waits for {}".format(*waiting[0]))
        return "; ".join(parts)


def print_answer(params: Params) -> None:
    """Print the study's answer, the paths of its figures and the use of the teacher cache."""
    results = params.path("results")
    print("\n" + (results / "summary" / "answer.md").read_text(encoding="utf-8"))
    figures = sorted(str(path.relative_to(params.root)) for path in results.glob("*/*.svg"))
    print("Tables and figures:", *figures, sep="\n  ")
    files = [resolve(*run, params).directory / "run.json" for run in params.runs_of("study")]
    caches = [json.loads(file.read_text())["teacher_cache"] for file in files if file.is_file()]
    caches = [cache for cache in caches if cache]
    total = {key: sum(cache[key] for cache in caches) for key in (caches[0] if caches else ())}
    if caches and (steps := total["hits"] + total["misses"]):
        print(
            f"Teacher cache: {total['hits']:,} of {steps:,} steps read from it "
            f"({total['hits'] / steps:.0%}), {total['bytes_written'] / 1e9:.2f} GB written, about "
            f"{total['seconds_saved']:.0f} s of computing saved."
        )
