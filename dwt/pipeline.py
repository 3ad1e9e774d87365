"""How does the study run on all cores? DVC runs one stage at a time; most here are independent.

`python -m dwt.pipeline [JOBS]` runs ready stages side by side, each by `dvc repro --single-item`,
and ends with a plain `dvc repro`, which finds everything up to date. The numbers are those of
`dvc repro` alone: a run uses the same number of threads however many run beside it.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import networkx as nx
import torch
from dvc.repo import Repo

from dwt.params import ParamsError, load_params

DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
BUSY = "Unable to acquire lock"  # two stages start or end in the same moment: try again
PROGRESS = "to go"  # how `dwt.progress` ends its lines


def default_jobs():
    """One per core, at most 8; one where there is a GPU, which a run fills by itself."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
    return 1 if torch.cuda.is_available() else min(8, len(cores))


def stages_to_run():
    """The stages that `dvc repro` might run and what each waits for, as a graph."""
    with Repo(".") as repo:
        graph = nx.DiGraph()
        for stage in repo.index.graph:
            graph.add_node(stage.addressing)
        for stage, needed in repo.index.graph.edges:
            graph.add_edge(needed.addressing, stage.addressing)
    return graph


def is_up_to_date():
    """True when `dvc repro` would run nothing."""
    dry = subprocess.run([*DVC, "repro", "--dry"], capture_output=True, text=True)
    return dry.returncode == 0 and "Running stage" not in dry.stdout


def run_all(graph, *, jobs):
    """Run the stages of a graph, each after those it waits for; stop at the first failure.

    Returns
    -------
    str or None
        The stage that failed.
    """
    waiting = {
        name: set(graph.predecessors(name)) for name in nx.lexicographical_topological_sort(graph)
    }
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
                if future.result():
                    failed = failed or name
                    continue
                for needs in waiting.values():
                    needs.discard(name)
    return failed


def _run(name):
    """Exit status of one stage. Its progress is passed on as it comes, all of it if it fails."""
    while True:
        stage = subprocess.Popen(
            [*DVC, "repro", "--single-item", name],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        said = []
        for line in stage.stdout:
            said.append(line)
            if line.startswith("Running stage"):
                print(f"{name}: started", flush=True)
            elif line.rstrip().endswith(PROGRESS):
                print(line, end="", flush=True)
        status = stage.wait()
        if not (status and any(BUSY in line for line in said)):
            break
        print(f"{name}: another stage holds what it needs, trying again", flush=True)
        time.sleep(1)
    if status:
        print(*said, sep="", flush=True)
    return status


def say_answer(params):
    """Print the study's answer and where its figures are."""
    print("\n" + params.path("results", "answer.md").read_text(encoding="utf-8"))
    print(
        "Tables and figures:", *sorted(map(str, params.path("results").glob("*.svg"))), sep="\n  "
    )


def main():
    try:
        params = load_params()
    except ParamsError as fault:
        sys.exit(str(fault))
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else default_jobs()
    # The cleaned notebooks first: if they are as they were, there may be nothing else to do.
    subprocess.run([*DVC, "repro", "source"], stdout=subprocess.DEVNULL)
    if is_up_to_date():
        print("Everything is up to date: nothing to run.")
    else:
        failed = run_all(stages_to_run(), jobs=jobs) if jobs > 1 else None
        if failed:
            sys.exit(f"stage {failed} failed; what is finished is kept: mend it and start again")
        if status := subprocess.run([*DVC, "repro"]).returncode:
            sys.exit(status)
    say_answer(params)


if __name__ == "__main__":
    main()
