"""Runs independent DVC stages side by side, one per free core, and shows overall progress.

`python -m dwt.pipeline.stages [extended] [JOBS]` runs what is out of date, each stage by `dvc repro
--single-item`; a plain `dvc repro` then finds everything up to date. The numbers are those of `dvc
repro` alone: a run uses the same number of threads however many run beside it.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import networkx as nx
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo

from dwt.config.params import ParamsError, load_params, resolve
from dwt.config.schema import Params
from dwt.data.fetch import missing_data
from dwt.pipeline.extended import write_stages
from dwt.pipeline.overview import Overview, print_answer

DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
# Two stages start or end in the same moment, or another DVC process is at work: try again.
BUSY = re.compile(r"Unable to acquire lock|is being blocked by:\n(?P<who>(  \(PID .*\n)+)")
PROGRESS = "to go"  # how `dwt.data.progress` ends its lines
FAILED = re.compile(
    r"^ERROR: failed to reproduce ", re.M
)  # DVC prints this after the output of a failed stage


def default_jobs(threads: int | str) -> int:
    """One per `threads` cores, at most 8; 1 if a run fills the GPU or the processor."""
    import torch  # here, as it takes two seconds, and there may be nothing to run

    if torch.cuda.is_available() or threads == "auto":
        return 1
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    return max(1, min(8, len(cores) // threads))


def stages_to_run(files: Iterable[str] = ("dvc.yaml",)) -> nx.DiGraph:
    """The out-of-date stages of these dvc.yaml files, and all that depend on them, as a graph.

    An edge goes from a stage to one that needs it.
    """
    graph, changed = nx.DiGraph(), set()
    with Repo(".") as repo, _locked(repo):
        stages = [s for s in repo.index.graph if s.path_in_repo in files]
        for stage in stages:
            graph.add_node(stage.addressing)
            needed = [s for s in repo.index.graph.successors(stage) if s.path_in_repo in files]
            if any(str(dep).endswith("/tables") for dep in stage.deps):
                needed += [s for s in stages if not s.outs]  # tables of the extended grid
            graph.add_edges_from((s.addressing, stage.addressing) for s in needed)
            if stage.changed():
                changed.add(stage.addressing)
    return graph.subgraph(changed.union(*(nx.descendants(graph, name) for name in changed)))


@contextlib.contextmanager
def _locked(repo):
    """Hold DVC's lock; name the process that has it while waiting."""
    while True:
        try:
            repo.lock.lock()
            break
        except LockError:
            holder = Path(repo.lock.lockfile).read_text().strip()
            print(f"DVC's lock is held by process {holder}; waiting for it to end", flush=True)
    try:
        yield
    finally:
        repo.lock.unlock()


def lengths(graph: nx.DiGraph, *, params: Params) -> dict[str, float]:
    """Relative duration of each stage: 1, plus for a training run its share of `scratch`'s FLOPs.

    By steps x layers; the teacher's forward passes are not counted.
    """
    scratch, work = resolve("scratch", 0, params), {}
    for arm, seed in params.runs_of("study") + params.runs_of("extended"):
        run = resolve(arm, seed, params)
        share = run.train["steps"] * run.layers / (scratch.train["steps"] * scratch.layers)
        work[f"{run.kind}@{run.scale}-{arm}-{seed}"] = share
    return {name: 1 + work.get(name.rpartition(":")[2], 0) for name in graph}


def run_all(graph: nx.DiGraph, *, jobs: int, length: dict[str, float] | None = None) -> str | None:
    """Run the stages of a graph, each after those before it; start none after a failure.

    Of the stages that are ready, the one with the longest chain of stages after it starts first, so
    that no core is idle at the end because of one long stage or chain.

    Parameters
    ----------
    graph : networkx.DiGraph
        From `stages_to_run`.
    jobs : int
        Stages at once.
    length : dict of str to float, optional
        Of each stage, in any unit; by default all are alike.

    Returns
    -------
    str or None
        The stage that failed first, and why.
    """
    length = length or dict.fromkeys(graph, 1)
    chain = {}  # length of the longest chain that starts here
    for name in reversed(list(nx.topological_sort(graph))):
        chain[name] = length[name] + max((chain[s] for s in graph.successors(name)), default=0)
    order = sorted(graph, key=lambda name: (-chain[name], name))
    waiting = {name: set(graph.predecessors(name)) for name in order}
    failed, running, overview = None, {}, Overview(graph, length)
    with ThreadPoolExecutor(jobs) as pool:
        while running or (waiting and not failed):
            for name in [n for n, needs in waiting.items() if not needs]:
                if len(running) < jobs and not failed:
                    del waiting[name]
                    running[pool.submit(_run, name, overview.say)] = name
                    overview.started(name)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                if why := future.result():
                    failed = failed or f"stage {name} failed: {why}"
                    continue
                overview.finished(name)
                for needs in waiting.values():
                    needs.discard(name)
    overview.close()
    return failed


def _run(name, say=print):
    """Run one stage; why it failed, or None. Its whole output is printed if it fails."""
    while True:
        lines = []
        command = [*DVC, "repro", "--single-item", name]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, text=True, **pipes) as stage:
            for line in stage.stdout:
                lines.append(line)
                if line.startswith("Running stage"):
                    say(f"{name}: started")
                elif line.rstrip().endswith(PROGRESS):
                    say(line.rstrip())
        output = "".join(lines)
        if not (stage.returncode and (busy := BUSY.search(output))):
            break
        say(f"{name}: waits for {' '.join((busy['who'] or 'another DVC process').split())}")
        time.sleep(1)
    if not stage.returncode:
        return None
    say(output)
    return cause(output)


def cause(output: str) -> str:
    """The error in a failed stage's output: the last `SomeError: message`, else the last line.

    papermill prints the notebook's traceback and DVC the command after it, so the error itself is
    far above the end.
    """
    output = re.sub(r"\x1b\[[0-9;]*m", "", FAILED.split(output)[0]).strip()
    errors = [*re.finditer(r"^[\w.]*(Error|Exception): \S", output, re.M)]
    if not errors:
        return output.rpartition("\n")[2]
    return output[errors[-1].start() :].partition("\n\n")[0].strip()


def jobs_from(words: list[str]) -> int | None:
    """Parse JOBS, the number of stages to run side by side; None if it is not given."""
    given = " ".join(words)
    if given and not re.fullmatch("0*[1-9][0-9]*", given):
        print(f"JOBS: {given!r} is not a whole number of at least 1", file=sys.stderr)
        sys.exit(2)
    return int(given) if given else None


def run_stale(params: Params, *, extended: bool = False, jobs: int | None = None) -> str | None:
    """Run all that is out of date, with `extended` also the extended grid.

    Returns
    -------
    str or None
        The stage that failed, and why.
    """
    files = ["dvc.yaml"]
    if extended:
        files.append(str(write_stages(params)))
    graph = stages_to_run(files)
    # Saving a notebook changes the stage `notebooks`, but seldom the copies that all others read.
    if "notebooks" in graph:
        if why := _run("notebooks"):
            return f"stage notebooks failed: {why}"
        graph = stages_to_run(files)
    if not graph:
        print("Everything is up to date: nothing to run.")
        return None
    jobs = jobs or default_jobs(params.settings.train.threads)
    return run_all(graph, jobs=jobs, length=lengths(graph, params=params))


def main() -> None:
    """The command line: `[extended] [JOBS]`."""
    words = sys.argv[1:]
    extended = words[:1] == ["extended"]
    jobs = jobs_from(words[extended:])
    try:
        params = load_params()
        if missing := missing_data(params):
            sys.exit("\n".join(missing))
        os.chdir(params.root)
        failed = run_stale(params, extended=extended, jobs=jobs)
    except ParamsError as error:
        sys.exit(str(error))
    except DvcException as error:  # its YAML reader is stricter than ours: no "4:1" within braces
        sys.exit(": ".join(str(part) for part in (error, error.__cause__) if part))
    if failed:
        print("\nFix the error and rerun; finished stages are kept.", flush=True)
        sys.exit(failed)
    print_answer(params)


if __name__ == "__main__":
    main()
