"""The pipeline keeps its promises: what runs again, what does not, and what is committed."""

import json
import re
import shutil
import subprocess
import sys

import nbformat
import networkx
import pytest
import yaml
from conftest import ROOT, run

from dwt.config.params import load_params, resolve
from dwt.pipeline.notebooks import clean
from dwt.pipeline.stages import cause, default_jobs
from dwt.pipeline.stages import stages as pipeline
from dwt.training.checkpoint import LEARNING

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
EVIDENCE = yaml.safe_load((ROOT / "evidence" / "dvc.yaml").read_text())["stages"]
EVERY = {**DVC, **{f"evidence: {name}": stage for name, stage in EVIDENCE.items()}}
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
ANALYSES = [name for name, stage in EVERY.items()
            if name.startswith("evidence") and "-${scale}.ipynb --no-" in stage["cmd"]]  # fmt: skip
FACTORS = ("teacher-quality", "loss-weight", "parameter-remapping", "summary")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def dvc(*args, cwd):
    done = run("dvc", *args, cwd=cwd)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def runs_again(cwd, *args):
    """Stages that `dvc repro` would run."""
    said = dvc("repro", "--dry", *args, cwd=cwd).stdout
    return set(re.findall(r"Running stage '([^']+)'", said))


def tracked_copy(target):
    """The tracked and new files of the working tree, as a fresh clone would hold them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)
    return target


def parameters_of(notebook):
    """Names that the cell tagged `parameters` sets."""
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(cells) == 1
    return set(re.findall(r"^(\w+) *=", cells[0].source, flags=re.M))


@pytest.mark.parametrize("scale", PARAMS["compare"])
def test_every_stage_runs_again_only_if_its_results_are_not_those_committed(scale, tmp_path):
    # A fresh clone holds no data; --allow-missing asks only whether code, settings and lock agree.
    root = tracked_copy(tmp_path)
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(re.sub("^scale: .*$", f"scale: {scale}", text, flags=re.M))
    assert runs_again(root, "--allow-missing") == set()
    if scale == PARAMS["scale"]:  # the extended grid was run at this one only
        assert runs_again(root, "--allow-missing", "evidence/dvc.yaml") == set()
    listed = dvc("stage", "list", "--name-only", "dvc.yaml", cwd=root).stdout.split()
    locked = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    assert {name for name in locked if re.search(f"@{scale}(-|$)", name)} <= {*listed}


def test_text_of_ones_own_that_is_new_or_changed_is_noticed(tmp_path):
    root = tracked_copy(tmp_path)

    def changed():
        (stage,) = json.loads(dvc("status", "--json", "corpus", cwd=root).stdout).values()
        (said,) = stage[:1]
        return said["changed deps"].get("data/raw")

    assert changed() is None
    (root / "data" / "raw" / "mine.txt").write_text("A text of one's own.\n")
    assert changed() == "modified"


STAND_IN = """
import pathlib, sys
import yaml
params = yaml.safe_load(open("params.yaml"))
with open("ran.txt", "a") as ran:
    ran.write(f"{params['scale']} {sys.argv[1]}\\n")
for out in map(pathlib.Path, sys.argv[1:]):
    inside = ["made"]
    if out.name == "teachers":
        inside = [f"{arm}.json" for arm in params["arms"]]
    for file in [out] if out.suffix else [out / name for name in inside]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(out))
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """The pipeline with the work left out: a stage notes that it ran and writes its outs.

    Three arms, one seed, and the scales `one` and `two`, alike but for their names.
    """
    root = tracked_copy(tmp_path_factory.mktemp("graph"))
    (root / "dvc.lock").unlink()
    (root / "stand_in.py").write_text(STAND_IN)
    stages = {}
    for name, stage in DVC.items():
        outs = [out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]]
        stages[name] = {**stage, "cmd": f"python stand_in.py {' '.join(outs)}"}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    params = {**PARAMS, "scale": "one", "seeds": [0]}
    params["scales"] = dict.fromkeys(["one", "two"], PARAMS["scales"]["smoke"])
    params["models"] = {name: PARAMS["models"][name] for name in ("scratch", "weak-teacher")}
    params["arms"] = {"normal": PARAMS["arms"]["normal"]}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for command in ("add -A", "-c user.name=x -c user.email=x@y commit -qm start"):
        subprocess.run(["git", *command.split()], cwd=root, check=True)
    return root


def test_one_word_switches_the_scale_and_going_back_runs_nothing(graph):
    dvc("repro", cwd=graph)
    first = (graph / "ran.txt").read_text().splitlines()
    dvc("exp", "run", "-S", "scale=two", cwd=graph)
    second = (graph / "ran.txt").read_text().splitlines()[len(first) :]
    # All but the stages that are of no scale: those have run.
    common = {name for name, stage in DVC.items() if "matrix" not in stage}
    assert len(second) == len(first) - len(common)
    assert {line.split()[0] for line in second} == {"two"}
    assert runs_again(graph) == set()
    params = (graph / "params.yaml").read_text()
    (graph / "params.yaml").write_text(params.replace("scale: two", "scale: one"))
    dvc("repro", cwd=graph)
    assert (graph / "ran.txt").read_text().splitlines() == first + second
    assert "up to date" in dvc("status", "dvc.yaml", cwd=graph).stdout


def test_every_stage_that_knows_the_scale_has_it_in_its_name():
    for name, stage in EVERY.items():
        rest = {key: value for key, value in stage.items() if key != "matrix"}
        if "${scale}" in json.dumps(rest):
            assert next(iter(stage["matrix"].items())) == ("scale", ["${scale}"]), name


def test_every_dependency_exists_or_is_made_by_a_stage():
    outs = {(out if isinstance(out, str) else next(iter(out)))
            for stage in EVERY.values() for out in stage["outs"]}  # fmt: skip
    made = {re.sub(r"\$\{item\.\w+\}", "*", out) for out in outs}
    for name, stage in EVERY.items():
        for dep in stage["deps"]:
            flat = re.sub(r"\$\{item\.\w+\}", "*", dep)
            known = any(out == flat or out.startswith(flat + "/") or flat.startswith(out + "/")
                        for out in made)  # fmt: skip
            assert (ROOT / dep).exists() or known, f"{name}: {dep}"


def passed_by(stage):
    """(flag, name) of what a stage passes to its notebook."""
    return re.findall(r" -([rpf]) (\w+)", stage["cmd"].partition("papermill")[2])


def test_every_parameter_passed_exists_in_the_notebook():
    for stage in EVERY.values():
        if "papermill" in stage["cmd"]:
            name = re.search(r"build/(notebooks/\S+\.ipynb)", stage["cmd"])[1]
            assert {key for _, key in passed_by(stage)} <= parameters_of(
                nbformat.read(ROOT / name, as_version=4)
            )


def test_only_names_are_passed_and_as_text():
    for stage in EVERY.values():
        assert {flag for flag, _ in passed_by(stage)} <= {"r"}


def test_a_finished_run_is_kept_under_all_the_code_that_the_training_stages_follow():
    followed = DVC["training-code"]["deps"]
    assert followed == [f"dwt/{module}.py" for module in LEARNING]


def dependencies(stage):
    """What a stage depends on, with the modules that its copies in build/code are made of."""
    copies = {out: made["deps"] for made in DVC.values() for out in made["outs"]
              if isinstance(out, str) and out.startswith("build/code/")}  # fmt: skip
    return {module for dep in stage["deps"] for module in copies.get(dep, [dep])}


def test_no_training_stage_depends_on_plots_or_on_notebooks_as_saved():
    training = [DVC[name] for name in ("corpus", "standalone", "student", "teachers")]
    more = ("standalone", "more-standalone", "student", "more-student", "teachers")
    for stage in [*training, *(EVIDENCE[name] for name in more)]:
        deps = dependencies(stage)
        drawing = {
            f"dwt/{name}.py" for name in ("answers", "findings", "look", "plots", "score_plots")
        }
        assert not {*drawing, "dwt", "notebooks"} & deps
        assert all(d.startswith("build/") for d in deps if d.endswith(".ipynb"))


def imported_by(modules):
    """Modules of dwt that importing some of them brings in, themselves among them."""
    named = ", ".join(f"dwt.{module}" for module in modules.split())
    program = f"import sys, {named}; print(*(m for m in sys.modules if m.startswith('dwt.')))"
    said = run(sys.executable, "-c", program, cwd=ROOT)
    assert said.returncode == 0, said.stderr
    return {name.removeprefix("dwt.") for name in said.stdout.split()}


def test_stages_depend_on_every_module_that_can_change_their_numbers():
    uses = {
        "corpus": "corpus", "standalone": "train", "student": "train",
        "evaluate-standalone": "evaluate", "evaluate-student": "evaluate",
        "evaluate-baseline": "evaluate", "collect": "results", "scales": "scales",
        **dict.fromkeys(FACTORS, "plots score_plots"),
        "evidence: standalone": "train", "evidence: more-standalone": "train",
        "evidence: student": "train", "evidence: more-student": "train",
        "evidence: collect": "results", "evidence: tokens": "tokens",
        **dict.fromkeys(ANALYSES, "evidence_answers evidence_plots plots"),
    }  # fmt: skip
    imported = {module: imported_by(module) for module in {*uses.values()}}
    for stage, module in uses.items():
        # params.yaml is followed by its keys; a progress line changes no number.
        needed = imported[module] - {"params", "schema", "settings", "soundness", "progress"}
        if module == "tokens":  # it reads finished runs, and writes as every table is written
            needed = {"batches", "engine", "heldout", "machine", "models", "tokens"}
        if module == "train":  # what makes the corpus is followed by the corpus
            needed -= imported["corpus"] - {"batches"}
        if module == "evaluate":  # so too, but tasks are cut with prose and vocabulary
            needed -= imported["corpus"] - {"batches", "prose", "vocabulary"}
        missing = {f"dwt/{name}.py" for name in needed} - dependencies(EVERY[stage])
        assert not missing, f"dvc.yaml, {stage}: deps lack {', '.join(sorted(missing))}"


def test_the_stage_that_compares_scales_depends_on_the_tables_of_each_and_on_no_other_scale():
    tables = {dep for dep in DVC["scales"]["deps"] if dep.startswith("results/")}
    kinds = ("curves", "runs", "scores")
    assert tables == {
        f"results/{scale}/{kind}.csv" for scale in PARAMS["compare"] for kind in kinds
    }


def test_long_stages_have_ordinary_outs_only():
    # cache: false, persist and always_changed switch DVC's run cache off for a stage.
    for name in ("corpus", "standalone", "student", "evaluate-standalone", "evaluate-student"):
        assert all(isinstance(out, str) for out in DVC[name]["outs"])
        assert not {"always_changed"} & DVC[name].keys()


@pytest.mark.parametrize("jobs", ["abc", "0", "-1", "1.5", "2 3"])
def test_a_number_of_jobs_that_is_none_is_refused_in_one_line(jobs, tmp_path):
    done = run(sys.executable, "-m", "dwt.pipeline.stages", *jobs.split(), cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == f"JOBS: {jobs!r} is not a whole number of at least 1\n"


def test_no_more_stages_at_once_than_find_cores(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(6), raising=False)
    assert [default_jobs(n) for n in (1, 2, 4, 8, "auto")] == [6, 3, 1, 1, 1]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert default_jobs(1) == 1


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_stage_that_fails_ends_with_its_cause(jobs, tmp_path):
    root = tracked_copy(tmp_path)
    params = (root / "params.yaml").read_text().replace("scale: laptop", "scale: smoke")
    (root / "params.yaml").write_text(params.replace("[seaborn, patsy]", "[seaborn, patsi]"))
    done = run(sys.executable, "-m", "dwt.pipeline.stages", jobs, cwd=root)
    assert done.returncode == 1
    assert "Traceback" in done.stdout
    assert re.fullmatch(r"stage corpus@smoke failed: \S*CorpusError: .*'patsi'.*\n", done.stderr)


def test_what_dvc_cannot_read_is_named_with_its_line_before_anything_runs(tmp_path):
    """A colon in unquoted text within braces, which PyYAML takes."""
    root, quoted = tracked_copy(tmp_path), '"A strong soft loss (4:1) is ahead of 1:1 early"'
    text = (root / "params.yaml").read_text()
    line = text[: text.index(quoted)].count("\n") + 1
    (root / "params.yaml").write_text(text.replace(quoted, quoted.strip('"')))
    done = run(sys.executable, "-m", "dwt.pipeline.stages", cwd=root)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(rf"'params.yaml'(.|\n)*line {line}, column", done.stderr)


def test_the_cause_is_the_last_error_with_all_its_lines():
    said = (
        "ValueError: caught\n\x1b[31mParamsError\x1b[39m: params.yaml: one\nparams.yaml: two\n\n"
        "ERROR: failed to reproduce 'corpus@laptop': failed to run: papermill, exited with 1\n"
    )
    assert cause(said) == "ParamsError: params.yaml: one\nparams.yaml: two"
    assert cause("reading\nKilled\n") == "Killed"


def test_every_notebook_has_an_out_in_the_source_stage():
    assert {f"build/notebooks/{n.name}" for n in NOTEBOOKS} == {*DVC["source"]["outs"]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_clean_and_in_house_style(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook == clean(notebook), (
        f"run `python -m dwt.pipeline.notebooks notebooks notebooks`: {path.name}"
    )
    assert "parameters" in notebook.cells[1].metadata.tags
    code = [c.source for c in notebook.cells if c.cell_type == "code"]
    assert len(code) <= len(notebook.cells) - len(code)
    lines = sorted(source.count("\n") + 1 for source in code)
    assert lines[len(lines) // 2] <= 6
    assert not any(re.search(r"^\s*[!%]", source, flags=re.M) for source in code)
    assert "provenance" in code[-1]


def test_cleaning_removes_all_that_saving_changes():
    notebook = nbformat.read(NOTEBOOKS[1], as_version=4)
    saved = nbformat.from_dict(json.loads(json.dumps(notebook)))
    for i, cell in enumerate(saved.cells):
        cell.metadata["collapsed"] = True
        if cell.cell_type == "code":
            cell.execution_count = i
            cell.outputs = [nbformat.v4.new_output("stream", text="hello")]
    saved.metadata["widgets"] = {"state": {}}
    assert clean(saved) == clean(notebook)
    saved.cells[-1].source += "\n1 + 1"
    assert clean(saved) != clean(notebook)


def test_every_stage_runs_after_those_it_waits_for_and_long_chains_start_first(monkeypatch):
    chain = [("train-1", "score-1"), ("train-2", "score-2"), ("score-1", "end"), ("score-2", "end")]
    graph = networkx.DiGraph([*chain, ("start", "train-1"), ("start", "train-2")])
    graph.add_edge("a-side-show", "end")
    ran = []
    monkeypatch.setattr(pipeline, "_run", ran.append)
    assert pipeline.run_all(graph, jobs=1) is None
    assert ran == ["start", "train-1", "train-2", "a-side-show", "score-1", "score-2", "end"]


def test_of_stages_with_the_same_chain_behind_them_the_longest_starts_first(monkeypatch):
    """Started last, four times the steps would keep one core busy while the other waits."""
    length = {"a-short": 1, "b-middle": 2, "c-long": 4, "end": 1}
    graph, ran = networkx.DiGraph([(name, "end") for name in length if name != "end"]), []
    monkeypatch.setattr(pipeline, "_run", ran.append)
    pipeline.run_all(graph, jobs=1, length=length)
    assert ran == ["c-long", "b-middle", "a-short", "end"]


@pytest.mark.filterwarnings("ignore:_NoneStep")  # DVC's own, of pygtrie
@pytest.mark.parametrize("file", pipeline.FILES.items(), ids=lambda item: item[0])
def test_a_stage_is_as_long_as_the_runs_it_trains(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    params, (grid, path) = load_params(), file
    found = pipeline.lengths(pipeline.stages_to_run(path), params=params, pipeline=grid)
    for stage, length in found.items():
        kind, _, cell = stage.rpartition(":")[2].partition("@")
        if kind.removeprefix("more-") not in ("standalone", "student"):
            assert length == 1
            continue
        arm = cell.removeprefix(f"{params.scale}-")
        runs = [resolve(name, seed, params) for name, seed in params.runs_of(grid) if name == arm]
        usual = resolve("scratch", 0, params)
        steps = sum(run.train["steps"] * run.layers for run in runs)
        assert steps and length == pytest.approx(1 + steps / usual.train["steps"] / usual.layers)


def test_after_a_failure_no_stage_starts(monkeypatch):
    graph = networkx.DiGraph([("a", "b"), ("b", "c")])
    monkeypatch.setattr(pipeline, "_run", lambda name: "no text" if name == "b" else None)
    assert pipeline.run_all(graph, jobs=2) == "stage b failed: no text"
