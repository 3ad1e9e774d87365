"""The DVC graph: what runs again, what does not, in what order, and what is committed."""

import ast
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
from projects import dvc, edit, project_copy, runs_again

from dwt.config.params import load_params, resolve
from dwt.pipeline import stages as pipeline
from dwt.pipeline.extended import write_stages
from dwt.pipeline.overview import Overview
from dwt.pipeline.stages import cause, default_jobs

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
TRAINING = ("corpus", "standalone", "teachers", "student")
NOTEBOOKS = {path.name.partition("-")[2]: path for path in (ROOT / "notebooks").glob("*.ipynb")}


def command(stage):
    """What a stage executes first."""
    return stage["cmd"] if isinstance(stage["cmd"], str) else stage["cmd"][0]


def cells(stage):
    """A stage's notebooks, by the file name that the stage calls them by."""
    name = re.search(r"papermill build/notebooks/(\S+)", command(stage))
    if name is None:
        return {}
    names = [name[1].replace("${item.analysis}", key) for key in PARAMS["analyses"]]
    return {key: nbformat.read(NOTEBOOKS[key], as_version=4).cells for key in {*names}}


def outs(stage):
    return [out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]]


@pytest.mark.parametrize("scale", PARAMS["compare"])
def test_every_stage_runs_again_only_if_its_results_are_not_those_committed(scale, tmp_path):
    # A fresh clone holds no data; --allow-missing asks only whether code, settings and lock agree.
    root = project_copy(tmp_path)
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(re.sub("^scale: .*$", f"scale: {scale}", text, flags=re.M))
    for file in load_params(root / "params.yaml").settings.local_files():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    if scale == load_params(ROOT / "params.yaml").scale:  # another one changes params.yaml
        assert runs_again(root, "--allow-missing", "notebooks") == set()
    dvc("repro", "notebooks", cwd=root)  # the others depend on files in its out
    assert runs_again(root, "--allow-missing") == set()
    listed = dvc("stage", "list", "--name-only", "dvc.yaml", cwd=root).stdout.split()
    locked = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    assert {name for name in locked if re.search(f"@{scale}(-|$)", name)} <= {*listed}


def test_a_new_text_in_the_folder_of_own_texts_is_noticed(tmp_path):
    root = project_copy(tmp_path)

    def state():
        (stage,) = json.loads(dvc("status", "--json", "corpus", cwd=root).stdout).values()
        return stage[0]["changed deps"].get("data/raw")

    assert state() is None
    (root / "data" / "raw" / "mine.txt").write_text("A text of one's own.\n")
    assert state() == "modified"


STAND_IN = """
import pathlib, sys
import yaml
params = yaml.safe_load(open("params.yaml"))
with open("ran.txt", "a") as ran:
    ran.write(f"{params['scale']} {sys.argv[1]}\\n")
for out in map(pathlib.Path, sys.argv[1:]):
    names = ["made"]
    if "teachers" in out.parts:
        names = [f"{arm}-{seed}.json" for arm in params["arms"] for seed in params["seeds"]]
    for file in [out] if out.suffix else [out / name for name in names]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(file))
"""


@pytest.fixture(scope="module")
def finished_graph(tmp_path_factory):
    """The pipeline after a run in which every stage only notes that it ran and writes its outs.

    Five arms, two seeds, and the scales `one` and `two`, alike but for their names.
    """
    root = project_copy(tmp_path_factory.mktemp("graph"))
    (root / "dvc.lock").unlink()
    (root / "stand_in.py").write_text(STAND_IN)
    made = {name: {**stage, "cmd": f"python stand_in.py {' '.join(outs(stage))}"}
            for name, stage in DVC.items()}  # fmt: skip
    made["notebooks"]["cmd"] = DVC["notebooks"]["cmd"]
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": made}, sort_keys=False))
    params = {**PARAMS, "scale": "one", "seeds": [0, 1]}
    params["scales"] = dict.fromkeys(["one", "two"], PARAMS["scales"]["smoke"])
    params |= {"compare": ["one", "two"], "claims": {}, "extended": {}}
    params["models"] = {name: PARAMS["models"][name] for name in ("scratch", "weak-teacher")}
    corners = ["scratch", "normal", "remapped", "remapped-no-kd"]
    params["arms"] = {name: PARAMS["arms"][name] for name in corners[1:]}
    params["analyses"] = {"teacher-quality": corners[:2], "loss-weight": corners[:3]}
    params["analyses"]["parameter-remapping"] = corners
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for command in ("add -A", "-c user.name=x -c user.email=x@y commit -qm start"):
        subprocess.run(["git", *command.split()], cwd=root, check=True)
    dvc("repro", cwd=root)
    return root


@pytest.fixture
def graph(finished_graph, tmp_path):
    """A copy of the finished graph, to change."""
    return shutil.copytree(finished_graph, tmp_path / "graph", symlinks=True)


def ran(root):
    return (root / "ran.txt").read_text().splitlines()


def trained(lines):
    """The runs among the lines of ran.txt."""
    return [line.split()[1] for line in lines if re.search("/standalone/|/student/", line)]


def test_one_word_switches_the_scale_and_going_back_runs_nothing(graph):
    first = ran(graph)
    dvc("exp", "run", "-S", "scale=two", cwd=graph)
    second = ran(graph)[len(first) :]
    assert {line.split()[0] for line in second} == {"two"}
    # Stages without a scale in their names have run already.
    assert [line.split()[1].replace("/two", "/one") for line in second] == [
        line.split()[1] for line in first if line.split()[1] != "results/scales"
    ]
    assert runs_again(graph) == set()
    params = (graph / "params.yaml").read_text()
    (graph / "params.yaml").write_text(params.replace("scale: two", "scale: one"))
    dvc("repro", cwd=graph)
    assert ran(graph) == first + second
    assert "up to date" in dvc("status", cwd=graph).stdout


def change_params(root, **changes):
    params = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump(params | changes, sort_keys=False))


def test_one_more_seed_trains_that_seed_only(graph):
    before = ran(graph)
    change_params(graph, seeds=[0, 1, 7])
    dvc("repro", cwd=graph)
    again = trained(ran(graph)[len(before) :])
    names = ["standalone/scratch", "standalone/weak-teacher"]
    names += ["student/normal", "student/remapped", "student/remapped-no-kd"]
    assert {*again} == {f"runs/one/study/{name}/7" for name in names} and len(again) == 5


def test_one_seed_less_trains_nothing(graph):
    before = ran(graph)
    change_params(graph, seeds=[1])
    dvc("repro", cwd=graph)
    again = ran(graph)[len(before) :]
    assert again and not trained(again)


@pytest.mark.parametrize(
    "file",
    ["dwt/analysis/plot_style.py", "dwt/evaluation/evaluate.py", "notebooks/02-pretrain.ipynb"],
)
def test_editing_a_plot_or_a_score_or_saving_a_notebook_trains_nothing(file, graph):
    path, before = graph / file, ran(graph)
    if path.suffix == ".ipynb":
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.metadata["collapsed"] = True
            if cell.cell_type == "code":
                cell.outputs = [nbformat.v4.new_output("stream", text="an output")]
        nbformat.write(notebook, path)
    else:
        path.write_text(path.read_text() + "\n# a comment\n")
    dvc("repro", cwd=graph)
    again = ran(graph)[len(before) :]
    assert not trained(again)
    assert bool(again) == (path.suffix == ".py")


@pytest.mark.parametrize("command", ["repro --dry", "status", "dag", "data status", "pull --help"])
def test_dvc_names_no_run_of_the_extended_grid_before_it_is_asked_for(command, tmp_path):
    done = run("dvc", *command.split(), cwd=project_copy(tmp_path))
    assert "runs/laptop/extended" not in done.stdout + done.stderr
    assert "normal-2x" not in done.stdout + done.stderr


def test_a_bare_pull_asks_for_no_file_of_the_extended_grid(tmp_path):
    root = project_copy(tmp_path / "project")
    dvc("remote", "add", "--default", "empty", str(tmp_path / "remote"), cwd=root)
    done = run("dvc", "pull", cwd=root)  # fails: the remote is empty
    assert "runs/laptop/study" in done.stderr
    assert "extended" not in done.stdout + done.stderr


def extended_stages(root):
    return yaml.safe_load((root / write_stages(load_params(root / "params.yaml"))).read_text())


def test_the_extended_grid_has_one_stage_for_each_of_its_runs(tmp_path):
    root, params = project_copy(tmp_path), load_params(ROOT / "params.yaml")
    write_stages(load_params(root / "params.yaml"))
    listed = dvc("stage", "list", "--name-only", "extended/dvc.yaml", cwd=root).stdout.split()
    names = [name.rpartition(":")[2] for name in listed]
    runs = {f"{params.scale}-{arm}-{seed}" for arm, seed in params.runs_of("extended")}
    trained = [name.partition("@") for name in names if re.match("standalone@|student@", name)]
    assert {run for _, _, run in trained} == runs and len(trained) == len(runs)
    assert {*names} - {"".join(parts) for parts in trained} == {
        f"{name}@{params.scale}" for name in ("teachers", "collect", "tokens")
    }


def test_a_run_of_the_extended_grid_depends_on_the_settings_of_its_own_arm_only(tmp_path):
    stages = extended_stages(project_copy(tmp_path))["stages"]
    sections = {key: value["section"] for key, value in stages["student"]["foreach"].items()}
    assert sections["${scale}-normal-3"] == "arms"
    assert sections["${scale}-normal-2x-0"] == "extended.arms"
    assert "${item.section}.${item.arm}" in stages["student"]["do"]["params"]
    assert not {"arms", "extended"} & {*stages["student"]["do"]["params"]}


def test_no_table_of_the_extended_grid_is_an_out(tmp_path):
    """An analysis reads them: a bare `dvc repro` would train the extended grid for it."""
    stages = extended_stages(project_copy(tmp_path))["stages"]
    assert not {"outs"} & ({*stages["collect"]} | {*stages["tokens"]})


def test_every_stage_that_uses_the_scale_has_it_in_its_name():
    for name, stage in DVC.items():
        rest = {key: value for key, value in stage.items() if key != "matrix"}
        if "${scale}" in json.dumps(rest):
            assert next(iter(stage["matrix"].items())) == ("scale", ["${scale}"]), name


def test_every_dependency_exists_or_is_made_by_a_stage():
    def flat(path):
        return re.sub(r"\$\{[\w.]+\}", "*", path)

    made = {flat(out) for stage in DVC.values() for out in outs(stage)}
    made |= {f"results/{scale}/tables" for scale in PARAMS["compare"]}  # of other scales
    for name, stage in DVC.items():
        for dep in map(flat, stage["deps"]):
            by_stage = any(f"{out}/".startswith(f"{dep}/") or f"{dep}/".startswith(f"{out}/")
                           for out in made)  # fmt: skip
            assert (ROOT / dep).exists() or by_stage, f"{name}: {dep}"


def test_every_notebook_is_executed_by_a_stage_and_every_stage_has_its_notebook():
    executed = {key for stage in DVC.values() for key in cells(stage)}
    assert executed == {*NOTEBOOKS}


def parameters_of(notebook):
    """Names that the cell tagged `parameters` sets."""
    (cell,) = [c for c in notebook if "parameters" in c.metadata.get("tags", [])]
    return set(re.findall(r"^(\w+) *=", cell.source, flags=re.M))


def passed_by(stage):
    """(flag, name) of what a stage passes to its notebook."""
    return re.findall(r" -([rpf]) (\w+)", command(stage).partition("papermill")[2])


def test_every_parameter_passed_exists_in_the_notebook():
    for stage in DVC.values():
        for notebook in cells(stage).values():
            assert {key for _, key in passed_by(stage)} <= parameters_of(notebook)


def test_names_are_passed_as_text_and_seeds_as_integers():
    """`-p` reads a name such as 1e4 or false as a number or as text."""
    passed = {pair for stage in DVC.values() for pair in passed_by(stage)}
    assert passed == {("r", "arm"), ("r", "scale"), ("p", "seed")}


def test_no_training_stage_depends_on_plots_or_on_notebooks_as_saved():
    for name in TRAINING:
        deps = {*DVC[name]["deps"]}
        assert not {"dwt", "dwt/analysis", "dwt/evaluation", "dwt/pipeline", "notebooks"} & deps
        assert all(dep.startswith("build/") for dep in deps if dep.endswith(".ipynb"))


def folders_imported_by(notebook, *, but):
    """Folders of dwt that the imports of a notebook load, but for those from some folders."""
    code = "\n".join(cell.source for cell in notebook if cell.cell_type == "code")
    nodes = [node for node in ast.parse(code).body if isinstance(node, ast.ImportFrom)]
    imports = [ast.unparse(node) for node in nodes
               if node.module.startswith("dwt") and not node.module.startswith(but)]  # fmt: skip
    program = [*imports, "import sys; print(*(m for m in sys.modules if m.startswith('dwt.')))"]
    done = run(sys.executable, "-c", "\n".join(program), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return {"/".join(name.split(".")[:2]) for name in done.stdout.split()}


@pytest.mark.parametrize("name", [name for name, stage in DVC.items() if cells(stage)])
def test_a_stage_depends_on_every_folder_of_code_that_can_change_its_numbers(name):
    # dwt.pipeline makes what is missing and the last line; before the tables, dwt.analysis draws.
    but = ("dwt.pipeline",) if name in ("analysis", "summary", "scales") else ("dwt.pi", "dwt.an")
    loaded = {folder for notebook in cells(DVC[name]).values()
              for folder in folders_imported_by(notebook, but=but)}  # fmt: skip
    needed = loaded - {"dwt/config"}  # params.yaml is followed by its keys
    if name == "corpus":
        needed -= {"dwt/evaluation", "dwt/training"}  # a batch and the tasks are only shown
    if name in ("standalone", "student"):
        needed -= {"dwt/data"}  # token ids and vocabulary are followed as data/
    assert needed and needed <= {*DVC[name]["deps"]}


def test_the_stage_that_compares_scales_depends_on_the_tables_of_each_and_on_no_other_scale():
    tables = {dep for dep in DVC["scales"]["deps"] if dep.startswith("results/")}
    assert tables == {f"results/{scale}/tables" for scale in PARAMS["compare"]}


def test_long_stages_have_ordinary_outs_only():
    # cache: false, persist and always_changed switch DVC's run cache off for a stage.
    for name in ("corpus", "standalone", "student", "evaluate-standalone", "evaluate-student"):
        assert all(isinstance(out, str) for out in DVC[name]["outs"])
        assert "always_changed" not in DVC[name]


@pytest.mark.parametrize("jobs", ["abc", "0", "-1", "1.5", "2 3"])
def test_a_number_of_jobs_that_is_none_is_refused_in_one_line(jobs):
    done = run(sys.executable, "-m", "dwt.pipeline.stages", *jobs.split(), cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == f"JOBS: {jobs!r} is not a whole number of at least 1\n"


def test_at_most_as_many_stages_at_once_as_have_cores(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(6), raising=False)
    assert [default_jobs(n) for n in (1, 2, 4, 8, "auto")] == [6, 3, 1, 1, 1]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert default_jobs(1) == 1


def test_a_stage_that_fails_ends_with_its_cause(tmp_path):
    root = project_copy(tmp_path)
    params = (root / "params.yaml").read_text().replace("scale: laptop", "scale: smoke")
    (root / "params.yaml").write_text(params.replace("[seaborn, patsy]", "[seaborn, patsi]"))
    done = run(sys.executable, "-m", "dwt.pipeline.stages", "1", cwd=root)
    assert done.returncode == 1
    assert "Traceback" in done.stdout
    assert re.fullmatch(r"stage corpus@smoke failed: \S*CorpusError: .*'patsi'.*\n", done.stderr)


def test_a_mistake_in_params_is_named_by_a_plain_dvc_repro_too(tmp_path):
    root = project_copy(tmp_path)
    edit(root, "strong: {teacher: weak-teacher", "strong: {techer: weak-teacher")
    done = run("dvc", "repro", cwd=root)
    assert done.returncode != 0 and not (root / "runs").exists()
    assert "params.yaml: arms.strong.techer: unknown key; allowed: teacher, " in done.stderr
    assert "Traceback" not in done.stderr


def test_what_dvc_cannot_read_is_named_with_its_line_before_anything_runs(tmp_path):
    """A colon in unquoted text within braces, which PyYAML accepts."""
    root = project_copy(tmp_path)
    text = (root / "params.yaml").read_text()
    claim = (
        "  flow: {statement: A weight of 4:1 helps, paper: none, arm: strong, against: normal, "
        "measure: heldout_loss, expect: lower}\n"
    )
    text = text.replace("\nclaims:\n", f"\nclaims:\n{claim}")
    line = text[: text.index("  flow:")].count("\n") + 1
    (root / "params.yaml").write_text(text)
    done = run(sys.executable, "-m", "dwt.pipeline.stages", cwd=root)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(rf"'params.yaml'(.|\n)*line {line}, column", done.stderr)


def test_the_cause_is_the_last_error_with_all_its_lines():
    output = (
        "ValueError: caught\n\x1b[31mParamsError\x1b[39m: params.yaml: one\nparams.yaml: two\n\n"
        "ERROR: failed to reproduce 'corpus@laptop': failed to run: papermill, exited with 1\n"
    )
    assert cause(output) == "ParamsError: params.yaml: one\nparams.yaml: two"
    assert cause("reading\nKilled\n") == "Killed"


def test_every_stage_runs_after_those_it_waits_for_and_long_chains_start_first(monkeypatch):
    chain = [("train-1", "score-1"), ("train-2", "score-2"), ("score-1", "end"), ("score-2", "end")]
    graph = networkx.DiGraph([*chain, ("start", "train-1"), ("start", "train-2")])
    graph.add_edge("a-short-one", "end")
    order = []
    monkeypatch.setattr(pipeline, "_run", lambda name, say: order.append(name))
    assert pipeline.run_all(graph, jobs=1) is None
    assert order == ["start", "train-1", "train-2", "a-short-one", "score-1", "score-2", "end"]


def test_of_stages_with_the_same_chain_after_them_the_longest_starts_first(monkeypatch):
    """Started last, four times the steps would keep one core busy while the other is idle."""
    length = {"a-short": 1, "b-middle": 2, "c-long": 4, "end": 1}
    graph, order = networkx.DiGraph([(name, "end") for name in length if name != "end"]), []
    monkeypatch.setattr(pipeline, "_run", lambda name, say: order.append(name))
    pipeline.run_all(graph, jobs=1, length=length)
    assert order == ["c-long", "b-middle", "a-short", "end"]


def test_a_training_stage_is_as_long_as_its_steps_times_layers():
    params = load_params(ROOT / "params.yaml")
    names = [
        "student@laptop-normal-0",
        "extended/dvc.yaml:standalone@laptop-weak-half-1",
        "extended/dvc.yaml:student@laptop-normal-4x-2",
        "evaluate-student@laptop-normal",
    ]
    graph = networkx.empty_graph(names, create_using=networkx.DiGraph)
    # scratch: 1 unit of 6 layers; weak-half: 4 layers for half the steps.
    assert [*pipeline.lengths(graph, params=params).values()] == pytest.approx(
        [2, 1 + 4 / 6 / 2, 5, 1]
    )
    assert resolve("scratch", 0, params).layers == 6


def test_after_a_failure_no_stage_starts(monkeypatch):
    graph = networkx.DiGraph([("a", "b"), ("b", "c")])
    monkeypatch.setattr(pipeline, "_run", lambda name, say: "no text" if name == "b" else None)
    assert pipeline.run_all(graph, jobs=2) == "stage b failed: no text"


def test_while_stages_run_a_line_says_how_far_the_whole_is_and_what_waits(monkeypatch, capsys):
    runs = ["standalone@one-scratch-0", "student@one-normal-0", "student@one-strong-0"]
    graph = networkx.DiGraph([(runs[0], runs[1]), (runs[0], runs[2]), (runs[1], "collect@one")])
    monkeypatch.setattr(pipeline, "_run", lambda name, say: None)
    pipeline.run_all(graph, jobs=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("standalone@one-scratch-0: finished; 1 of 4 stages; 1 of 3 models; ")
    assert lines[-1].startswith("student@one-strong-0: finished; 4 of 4 stages; 3 of 3 models")
    overview = Overview(graph, dict.fromkeys(graph, 1))
    overview.started(runs[0])
    assert f"running: {runs[0]}; {runs[1]} waits for {runs[0]}" in overview.line()


def test_another_dvc_process_that_holds_the_lock_is_named(tmp_path):
    root = project_copy(tmp_path)
    lock = root / ".dvc" / "tmp" / "lock"
    hold = (
        "import sys, time, zc.lockfile as z; x = z.LockFile(sys.argv[1]); print(1); time.sleep(99)"
    )
    lock.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-u", "-c", hold, str(lock)], stdout=subprocess.PIPE, text=True
    ) as holder:
        holder.stdout.readline()
        command = [sys.executable, "-u", "-m", "dwt.pipeline.stages"]
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as study:
            assert f"held by process {holder.pid}" in study.stdout.readline()
            study.kill()
        holder.kill()
