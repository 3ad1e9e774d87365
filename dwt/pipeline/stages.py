"""How does the study run on all cores? DVC runs one stage at a time; most here are independent.

`python -m dwt.pipeline.stages [evidence] [JOBS]` runs ready stages side by side, each by `dvc repro
--single-item`; a plain `dvc repro` then finds everything up to date. The numbers are those of `dvc
repro` alone: a run uses the same number of threads however many run beside it.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import networkx as nx
from dvc.exceptions import DvcException
from dvc.repo import Repo

from dwt.config.params import ParamsError, load_params, resolve

DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
BUSY = "Unable to acquire lock"  # two stages start or end in the same moment: try again
PROGRESS = "to go"  # how `dwt.data.progress` ends its lines
FAILED = re.compile(r"^ERROR: failed to reproduce '(.+?)'", re.M)  # DVC's word on a stage
TRAINING = re.compile(r"(?:.*:)?(?:more-)?(?:standalone|student)@(.+)")  # <scale>-<arm>
FILES = {"study": "dvc.yaml", "evidence": "evidence/dvc.yaml"}  # the pipelines
COPIES = ("source", "corpus-code", "training-code", "evaluation-code")  # take no time
KEPT = "What is finished is kept: mend this and start again."


def default_jobs(threads):
    """As many as find `threads` cores each, at most 8; one if a run fills GPU or processor."""
    import torch  # here, as it takes two seconds, and there may be nothing to run

    if torch.cuda.is_available() or threads == "auto":
        return 1
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    return max(1, min(8, len(cores) // threads))


def stages_to_run(file="dvc.yaml"):
    """The stages of one pipeline and what each waits for, as a graph."""
    with Repo(".") as repo:
        graph = nx.DiGraph()
        mine = {stage for stage in repo.index.graph if stage.path_in_repo == file}
        graph.add_nodes_from(stage.addressing for stage in mine)
        for stage, needed in repo.index.graph.edges:
            if {stage, needed} <= mine:
                graph.add_edge(needed.addressing, stage.addressing)
    return graph


def is_up_to_date(file="dvc.yaml"):
    """True when `dvc repro` would run nothing of a pipeline."""
    dry = subprocess.run([*DVC, "repro", "--dry", file], capture_output=True, text=True)
    return dry.returncode == 0 and "Running stage" not in dry.stdout


def lengths(graph, *, params, pipeline):
    """Length of each stage, in runs of `scratch`, the student trained alone.

    Parameters
    ----------
    graph : networkx.DiGraph
        From `stages_to_run`.
    params : dwt.config.schema.Params
    pipeline : {"study", "evidence"}

    Returns
    -------
    dict of str to float
        The stage's training runs by steps x layers (what a teacher takes is not counted), and 1 for
        starting and for all else.
    """
    usual, work = resolve("scratch", 0, params), Counter()
    for arm, seed in params.runs_of(pipeline):
        run = resolve(arm, seed, params)
        share = run.train["steps"] * run.layers / (usual.train["steps"] * usual.layers)
        work[f"{params.scale}-{arm}"] += share
    training = {name: TRAINING.fullmatch(name) for name in graph}
    return {name: 1 + (work[found[1]] if found else 0) for name, found in training.items()}


def run_all(graph, *, jobs, length=None):
    """Run the stages of a graph, each after those it waits for; start none after a failure.

    Of the stages that are ready, the one whose chain of stages to come is the longest starts first,
    so that no core is left idle at the end by one long stage or chain.

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
    behind = {}  # length of the longest chain that starts here
    for name in reversed(list(nx.topological_sort(graph))):
        rest = max((behind[after] for after in graph.successors(name)), default=0)
        behind[name] = length[name] + rest
    order = sorted(graph, key=lambda name: (-behind[name], name))
    waiting = {name: set(graph.predecessors(name)) for name in order}
    failed, running = None, {}
    with ThreadPoolExecutor(jobs) as pool:
        while running or (waiting and not failed):
            for name in [n for n, needs in waiting.items() if not needs]:
                if len(running) < jobs and not failed:
                    del waiting[name]
                    running[pool.submit(_run, name)] = name
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                if why := future.result():
                    failed = failed or f"stage {name} failed: {why}"
                    continue
                for needs in waiting.values():
                    needs.discard(name)
    return failed


def _run(name):
    """Run one stage; why it failed, or None. All it said is passed on if it fails."""
    while True:
        said = []
        with _dvc("repro", "--single-item", name) as stage:
            for line in stage.stdout:
                said.append(line)
                if line.startswith("Running stage"):
                    print(f"{name}: started", flush=True)
                elif line.rstrip().endswith(PROGRESS):
                    print(line, end="", flush=True)
        if not (stage.returncode and any(BUSY in line for line in said)):
            break
        print(f"{name}: another stage holds what it needs, trying again", flush=True)
        time.sleep(1)
    if not stage.returncode:
        return None
    print(*said, sep="", flush=True)
    return cause("".join(said))


def run_in_turn(file="dvc.yaml"):
    """A plain `dvc repro`, passed on line by line; which stage failed and why, or None."""
    said = []
    with _dvc("repro", file) as stages:
        for line in stages.stdout:
            said.append(line)
            print(line, end="", flush=True)
    if not stages.returncode:
        return None
    said = "".join(said)
    name = FAILED.search(said)
    return f"stage {name[1]} failed: {cause(said)}" if name else cause(said)


def _dvc(*command):
    return subprocess.Popen(
        [*DVC, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def cause(said):
    """The error in a failed stage's output: the last `SomeError: message`, else the last line.

    papermill prints the notebook's traceback and DVC the command after it, so that the one
    sentence a person needs stands far above the end.
    """
    said = re.sub(r"\x1b\[[0-9;]*m", "", FAILED.split(said)[0]).strip()
    errors = [*re.finditer(r"^[\w.]*(Error|Exception): \S", said, re.M)]
    if not errors:
        return said.rpartition("\n")[2]
    return said[errors[-1].start() :].partition("\n\n")[0].strip()


def cache_report(params):
    """What the teachers' cache did for the students, as one line; None where it was not used."""
    found = []
    for arm, seed in itertools.product(params.arms, params.seeds):
        file = resolve(arm, seed, params).directory / "run.json"
        report = json.loads(file.read_text())["teacher_cache"] if file.is_file() else None
        found += [report] if report else []
    steps = sum(r["hits"] + r["misses"] for r in found)
    if not steps:
        return None
    hits, size = (sum(r[key] for r in found) for key in ("hits", "bytes_written"))
    saved = sum(r["seconds_saved"] for r in found)
    return (
        f"Teacher cache: {hits:,} of {steps:,} steps read from it ({100 * hits / steps:.0f} %), "
        f"{size / 1e9:.2f} GB written, about {saved:.0f} s of computing saved."
    )


def say_answer(params):
    """Print the study's answer, where its figures are, and what the teachers' cache spared."""
    print("\n" + params.path("results", "answer.md").read_text(encoding="utf-8"))
    print(
        "Tables and figures:", *sorted(map(str, params.path("results").glob("*.svg"))), sep="\n  "
    )
    if report := cache_report(params):
        print(report)


def jobs_from(words):
    """The number of stages at once that a command line asks for, or None."""
    given = " ".join(words)
    if not given:
        return None
    if not re.fullmatch("0*[1-9][0-9]*", given):
        print(f"JOBS: {given!r} is not a whole number of at least 1", file=sys.stderr)
        sys.exit(2)
    return int(given)


def main():
    words = sys.argv[1:]
    pipeline = words.pop(0) if words[:1] == ["evidence"] else "study"
    jobs, file = jobs_from(words), FILES[pipeline]
    try:
        params = load_params()
        graph = stages_to_run(file)
    except ParamsError as fault:
        sys.exit(str(fault))
    except DvcException as fault:  # its reader is stricter than ours: no "4:1" within braces
        sys.exit(": ".join(str(part) for part in (fault, fault.__cause__) if part))
    # The copies without comments and outputs first: if they are as they were, there may be nothing
    # else to do.
    subprocess.run([*DVC, "repro", *COPIES], stdout=subprocess.DEVNULL)
    if is_up_to_date(file):
        print("Everything is up to date: nothing to run.")
    else:
        jobs = jobs or default_jobs(params.settings.train.threads)
        length = lengths(graph, params=params, pipeline=pipeline)
        failed = run_all(graph, jobs=jobs, length=length) if jobs > 1 else run_in_turn(file)
        if failed:
            print(f"\n{KEPT}", flush=True)
            sys.exit(failed)
    if pipeline == "study":
        say_answer(params)
    else:
        print(params.path("results", "evidence", "answer.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
