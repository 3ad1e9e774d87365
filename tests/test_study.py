"""The whole study at the smoke scale: what it leaves behind, and what runs again after a change."""

import json
import re
import shutil
import sys

import nbformat
import pandas as pd
import pytest
import yaml
from conftest import ROOT, run
from projects import dvc, edit, project_copy, runs_again

from dwt.analysis.collect import collect
from dwt.analysis.tables import table
from dwt.config.checks import FACTORS
from dwt.config.files import file_digest
from dwt.config.params import load_params
from dwt.pipeline.extended import write_stages

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
ANALYSES = [path.name for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
            if not re.search("corpus|pretrain|evaluate", path.name)]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A copy of the project in which the study has run at the smoke scale with two seeds."""
    root = project_copy(tmp_path_factory.mktemp("project"))
    edit(root, "scale: laptop", "scale: smoke")
    edit(root, "seeds: [0, 1, 2]", "seeds: [0, 1]")
    done = run(sys.executable, "-m", "dwt.pipeline.stages", "2", cwd=root)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (root / "output.txt").write_text(done.stdout)
    return root


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study, to change."""
    return shutil.copytree(finished, tmp_path / "study", symlinks=True)


def trained_at(root):
    """Seconds of each run: copying or restoring a run keeps them, training it changes them."""
    files = sorted((root / "runs" / "smoke").glob("*/st*/*/*/timing.csv"))
    return {str(f.parent.relative_to(root / "runs/smoke")): f.read_text() for f in files}


def test_it_leaves_tables_figures_and_claims_and_prints_the_answer(finished):
    results = finished / "results" / "smoke"
    runs = pd.read_csv(results / "tables" / "runs.csv")
    assert len(runs) == (len(PARAMS["models"]) + len(PARAMS["arms"])) * 2
    assert runs.heldout_loss.notna().all()
    claims = pd.read_csv(results / "summary" / "claims.csv")
    assert set(claims.verdict) <= {"supported", "contradicted", "undecided"}
    for name in ("teacher-quality", "loss-weight", "parameter-remapping", "summary"):
        assert (results / name / f"{name}.svg").stat().st_size > 5000
    output = (finished / "output.txt").read_text()
    assert (results / "summary" / "answer.md").read_text().strip() in output
    assert "results/smoke/summary/summary.svg" in output


def test_it_prints_the_use_of_the_teacher_cache(finished):
    output = (finished / "output.txt").read_text()
    hits, steps = re.search(r"Teacher cache: ([\d,]+) of ([\d,]+) steps read", output).groups()
    # Six arms read at each of 20 steps; remapped-no-kd, without a soft loss, never does.
    assert int(steps) == 6 * 2 * 20
    # `normal`, `strong`, `4-to-1` and `remapped` share a teacher: three of the four may read.
    assert 0 < int(hits) <= 3 * 2 * 20


def test_the_teacher_of_seed_s_teaches_the_student_of_seed_s(finished):
    for seed in (0, 1):
        teacher = finished / f"build/smoke/teachers/study/normal-{seed}.json"
        weights = f"runs/smoke/study/standalone/weak-teacher/{seed}/model.safetensors"
        assert json.loads(teacher.read_text()) == {
            "teacher": "weak-teacher",
            "weights": file_digest(finished / weights),
        }


def test_a_second_run_finds_nothing_to_do(finished):
    assert runs_again(finished) == set()
    output = run(sys.executable, "-m", "dwt.pipeline.stages", cwd=finished).stdout
    assert "nothing to run" in output


def test_a_comment_in_params_and_a_saved_notebook_run_nothing(study):
    notebook = nbformat.read(study / "executed" / "smoke-normal-0.ipynb", as_version=4)
    # papermill adds a cell with the values it was given; a person who saves does not.
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.tags]
    assert any(cell.get("outputs") for cell in notebook.cells)
    nbformat.write(notebook, study / "notebooks/02-pretrain.ipynb")
    edit(study, "scale: smoke", "# a comment\nscale: smoke")
    dvc("repro", "notebooks", cwd=study)
    assert runs_again(study) == set()


def test_changing_one_arm_retrains_that_arm_only(study):
    before = trained_at(study)
    edit(study, "strong: {teacher: weak-teacher, soft_weight: 4.0}",
         "strong: {teacher: weak-teacher, soft_weight: 2.0}")  # fmt: skip
    dvc("repro", "collect", cwd=study)
    after = trained_at(study)
    again = {name for name in after if after[name] != before[name]}
    assert again == {f"study/student/strong/{seed}" for seed in (0, 1)}
    runs = pd.read_csv(study / "results/smoke/tables/runs.csv")
    assert set(runs[runs.arm == "strong"].soft_weight.astype(float)) == {2.0}


def test_the_extended_grid_trains_beside_the_study_and_one_more_arm_is_one_entry(study):
    before, text = trained_at(study), (study / "params.yaml").read_text()
    extended = {
        "seeds": [],
        "models": {"half": {"layers": 4, "budget": 0.5}},
        "arms": {"of-half": {"teacher": "half"}, "counts": {"teacher": "unigram"}},
    }
    content = yaml.safe_load(text) | {"seeds": [1], "claims": {}}
    content["analyses"] = {name: content["analyses"][name] for name in FACTORS}

    def write(**changes):
        extended["arms"] |= changes
        file = study / "params.yaml"
        file.write_text(yaml.safe_dump(content | {"extended": extended}, sort_keys=False))
        return write_stages(load_params(file))

    collected = f"{write()}:collect@smoke"
    dvc("repro", collected, cwd=study)
    assert runs_again(study, collected) == set()
    runs = pd.read_csv(study / "results/smoke/tables/extended-runs.csv").set_index("arm")
    assert {*runs.index} == {"half", "of-half", "counts"} and {*runs.seed} == {1}
    assert runs.loc["half", "steps"] == 10
    assert runs.loc["of-half", "teacher_flops"] > 0
    after = trained_at(study)
    assert {name: after[name] for name in before} == before
    write(fading={"teacher": "half", "soft_weight": {"from": 1.0, "to": 0.0, "shape": "adaptive"}})
    dvc("repro", "--single-item", "extended/dvc.yaml:teachers@smoke", cwd=study)
    again = {name.rpartition(":")[2] for name in runs_again(study, collected)}
    assert again - {"notebooks"} == {"student@smoke-fading-1", "collect@smoke"}


def test_a_removed_seed_and_arm_leave_every_table(study):
    content = yaml.safe_load((study / "params.yaml").read_text()) | {"seeds": [1]}
    del content["arms"]["4-to-1"], content["extended"]
    content["claims"] = {}
    content["analyses"] = {name: content["analyses"][name] for name in FACTORS}
    content["analyses"]["loss-weight"].remove("4-to-1")
    (study / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    params = load_params(study / "params.yaml")
    collect(params)
    for name in ("runs", "curves", "scores"):
        rows = table(name, params)
        assert "4-to-1" not in set(rows.arm)
        assert set(rows.seed.dropna()) == {1}


def test_a_removed_seed_scores_no_other_seed_again(study):
    kept, file = study / "build/smoke/scores", study / "runs/smoke/study/scores/normal/scores.csv"
    saved = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    rows = pd.read_csv(file).query("seed == 1").reset_index(drop=True)
    edit(study, "seeds: [0, 1]", "seeds: [1]")
    dvc("repro", "--single-item", "evaluate-student@smoke-normal", cwd=study)
    pd.testing.assert_frame_equal(pd.read_csv(file), rows, check_exact=True)
    assert {path.name: path.stat().st_mtime_ns for path in kept.iterdir()} == saved


def test_papermill_by_hand_finds_a_finished_run_and_makes_a_missing_one_with_its_teacher(study):
    command = "papermill notebooks/02-pretrain.ipynb out.ipynb -r arm remapped -p seed 1".split()
    before = trained_at(study)
    assert run(*command, cwd=study).returncode == 0
    assert trained_at(study) == before
    names = {"study/student/remapped/1", "study/standalone/weak-teacher/1"}
    for name in names:
        shutil.rmtree(study / "runs" / "smoke" / name)
    assert run(*command, cwd=study).returncode == 0
    after = trained_at(study)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == names


@pytest.fixture(scope="module")
def executed_alone(tmp_path_factory):
    """Where every analysis has been executed from notebooks/, beside the committed results."""
    root = tmp_path_factory.mktemp("analyses")
    for part in ("notebooks", "results"):
        shutil.copytree(ROOT / part, root / part)
    shutil.copy(ROOT / "params.yaml", root)
    done = run("jupyter", "execute", *ANALYSES, cwd=root / "notebooks")
    assert done.returncode == 0, done.stderr[-3000:]
    return root


@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_run_from_its_folder_gives_the_committed_tables_and_figures(
    name, executed_alone
):
    analysis = name.removesuffix(".ipynb").partition("-")[2]
    folders = [
        *ROOT.glob(f"results/{PARAMS['scale']}/{analysis}"),
        *ROOT.glob(f"results/{analysis}"),
    ]
    files = [file for folder in folders for file in folder.iterdir()]
    assert files
    for file in files:
        assert (executed_alone / file.relative_to(ROOT)).read_bytes() == file.read_bytes(), file


def test_a_bad_arm_stops_the_study_before_anything_is_trained(tmp_path):
    root = project_copy(tmp_path)
    edit(root, "strong: {teacher: weak-teacher", "strong: {teacher: weka")
    done = run(sys.executable, "-m", "dwt.pipeline.stages", cwd=root)
    assert done.returncode != 0
    assert "params.yaml: arms.strong.teacher: 'weka' is not a model" in done.stderr
    assert not (root / "runs").exists()


def test_an_arm_that_is_declared_and_not_trained_leaves_every_number_of_the_others(tmp_path):
    for part in ("notebooks", "results"):
        shutil.copytree(ROOT / part, tmp_path / part)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    edit(tmp_path, "arms:\n", "arms:\n  gentle: {teacher: weak-teacher, soft_weight: 0.25}\n")
    edit(tmp_path, "strong, 4-to-1]\n  parameter", "strong, 4-to-1, gentle]\n  parameter")
    names = [name for name in ANALYSES if re.search("loss-weight|summary", name)]
    done = run("jupyter", "execute", *names, cwd=tmp_path / "notebooks")
    assert done.returncode == 0, done.stderr[-3000:]
    for file in ("loss-weight/differences.csv", "loss-weight/curves.svg", "summary/gains.csv",
                 "summary/claims.csv", "summary/summary.svg"):  # fmt: skip
        of_laptop = f"results/laptop/{file}"
        assert (tmp_path / of_laptop).read_bytes() == (ROOT / of_laptop).read_bytes(), file
    for name in ("loss-weight", "summary"):
        answer = (tmp_path / f"results/laptop/{name}/answer.md").read_text()
        assert "Not trained yet with these settings: `gentle` (seeds 0, 1, 2" in answer
