"""The whole study at the smoke scale: what it leaves behind, and what runs again after a change."""

import hashlib
import json
import re
import shutil
import sys

import pandas as pd
import pytest
import yaml
from conftest import ROOT, run
from test_pipeline import FACTORS, dvc, runs_again, tracked_copy

from dwt.analysis.tables import collect, table
from dwt.config.params import load_params
from dwt.pipeline.stages import COPIES


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A copy of the project in which the study has run at the smoke scale with two seeds.

    The tests below change it in turn, in the order of the file.
    """
    root = tracked_copy(tmp_path_factory.mktemp("project"))
    edit(root, "scale: laptop", "scale: smoke")
    edit(root, "seeds: [0, 1, 2]", "seeds: [0, 1]")
    done = run(sys.executable, "-m", "dwt.pipeline.stages", cwd=root)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (root / "said.txt").write_text(done.stdout)
    return root


def edit(root, old, new):
    file = root / "params.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


FADING = {"from": 1.0, "to": 0.0, "shape": "adaptive"}


def trained_at(root):
    """What each run's clock said: DVC and copies change a file's date, training these numbers."""
    files = sorted((root / "runs" / "smoke").glob("st*/*/*/timing.csv"))
    return {str(f.parent.relative_to(root)): f.read_text() for f in files}


def test_it_leaves_tables_figures_claims_and_says_the_answer(study):
    results = study / "results" / "smoke"
    runs = pd.read_csv(results / "runs.csv")
    assert len(runs) == 11 * 2
    assert runs.heldout_loss.notna().all()
    claims = pd.read_csv(results / "claims.csv")
    assert set(claims.verdict) <= {"supported", "contradicted", "undecided"}
    for name in FACTORS:
        assert (results / f"{name}.svg").stat().st_size > 5000
    said = (study / "said.txt").read_text()
    assert (results / "answer.md").read_text().strip() in said
    assert "teacher-quality.svg" in said


def test_it_says_what_the_teacher_cache_did(study):
    said = (study / "said.txt").read_text()
    hits, steps = re.search(r"Teacher cache: ([\d,]+) of ([\d,]+) steps read", said).groups()
    # Six arms ask at each of 20 steps; remapped-hard, without a soft loss, never asks.
    assert int(steps) == 6 * 2 * 20
    # `normal`, `strong`, `decayed` and `remapped` share a teacher: three of the four may read.
    assert 0 < int(hits) <= 3 * 2 * 20


def test_the_teacher_of_seed_s_teaches_the_student_of_seed_s(study):
    for seed in (0, 1):
        lesson = json.loads((study / "build/smoke/teachers/normal.json").read_text())
        weights = study / f"runs/smoke/standalone/weak-teacher/{seed}/model.safetensors"
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        assert lesson["teacher"] == "weak-teacher"
        assert lesson["weights"][str(seed)] == digest


def test_a_second_run_finds_nothing_to_do(study):
    assert runs_again(study) == set()
    said = run(sys.executable, "-m", "dwt.pipeline.stages", cwd=study).stdout
    assert "nothing to run" in said


def test_saving_a_notebook_editing_a_plot_or_a_comment_retrains_nothing(study):
    names = (
        "dwt/analysis/plots.py",
        "dwt/training/loss.py",
        "params.yaml",
        "notebooks/02-pretrain.ipynb",
    )
    files = [study / name for name in names]
    before = [file.read_bytes() for file in files]
    notebook = json.loads((study / "executed/02-pretrain-smoke-normal.ipynb").read_text())
    # papermill adds a cell with the values it was given; a person who saves does not.
    notebook["cells"] = [
        c for c in notebook["cells"] if "injected-parameters" not in c["metadata"].get("tags", [])
    ]
    assert any(c.get("outputs") for c in notebook["cells"])
    try:
        (study / "notebooks/02-pretrain.ipynb").write_text(json.dumps(notebook))
        edit(study, "scale: smoke", "# a remark\nscale: smoke")
        for module in files[:2]:
            module.write_text(module.read_text() + "\n# a remark\n")
        dvc("repro", *COPIES, cwd=study)
        assert runs_again(study) == {"scales", *(f"{name}@smoke" for name in FACTORS)}
    finally:
        for file, content in zip(files, before, strict=True):
            file.write_bytes(content)
        dvc("repro", *COPIES, cwd=study)
    assert runs_again(study) == set()


def test_changing_one_arm_retrains_that_arm_only(study):
    before = trained_at(study)
    edit(study, "strong: {teacher: weak-teacher, soft_weight: 4.0}",
         "strong: {teacher: weak-teacher, soft_weight: 2.0}")  # fmt: skip
    dvc("repro", "collect", cwd=study)
    after = trained_at(study)
    again = {name for name in after if after[name] != before[name]}
    assert again == {f"runs/smoke/student/strong/{s}" for s in (0, 1)}
    runs = pd.read_csv(study / "results/smoke/runs.csv")
    assert set(runs[runs.arm == "strong"].soft_weight.astype(float)) == {2.0}


def test_the_extended_grid_trains_beside_the_study_and_an_arm_more_is_one_entry(study):
    target, file = "evidence/dvc.yaml:collect@smoke", study / "params.yaml"
    before, text, of_study = file.read_bytes(), file.read_text(), trained_at(study)
    waiting = runs_again(study)  # what the test above has left to the study itself
    start = text.index("\nevidence:\n")
    few = {
        "seeds": [],
        "models": {"half": {"layers": 4, "budget": 0.5}},
        "arms": {"of-half": {"teacher": "half"}, "frequencies": {"teacher": "unigram"}},
    }
    try:
        file.write_text(text[:start] + "\n" + yaml.safe_dump({"evidence": few}))
        dvc("repro", target, cwd=study)
        few["arms"]["fading"] = {"teacher": "half", "soft_weight": dict(FADING)}
        file.write_text(text[:start] + "\n" + yaml.safe_dump({"evidence": few}))
        dvc("repro", "--single-item", "evidence/dvc.yaml:teachers@smoke", cwd=study)
        again = {name.rpartition(":")[2] for name in runs_again(study, target)}
        assert again == {"student@smoke-fading", "collect@smoke"}
        assert runs_again(study) == waiting
    finally:
        file.write_bytes(before)
    assert trained_at(study) == of_study
    runs = pd.read_csv(study / "results/smoke/evidence/runs.csv").set_index(["arm", "seed"])
    assert {*runs.index} == {(a, s) for a in ("half", "of-half", "frequencies") for s in (0, 1)}
    assert runs.loc["half", "steps"].tolist() == [10, 10]
    assert (runs.loc["of-half", "teacher_flops"] > 0).all()


def test_a_stage_that_was_stopped_keeps_the_seeds_it_had_finished(study):
    stage, before = "student@smoke-very-weak", trained_at(study)
    record = json.loads((study / "runs/smoke/student/very-weak/1/run.json").read_text())
    for kept in (study / "build" / "finished").iterdir():
        if json.loads((kept / "run.json").read_text())["digest"] == record["digest"]:
            shutil.rmtree(kept)  # as if it had been stopped before this one was done
    dvc("repro", "--force", "--single-item", "--no-run-cache", stage, cwd=study)
    after = trained_at(study)
    assert {name for name in after if after[name] != before[name]} == {
        "runs/smoke/student/very-weak/1"
    }


def test_of_new_seeds_only_those_are_trained_and_a_removed_one_leaves_no_folder(study):
    before = trained_at(study)
    edit(study, "seeds: [0, 1]", "seeds: [1, 7]")
    dvc("repro", "student@smoke-remapped", cwd=study)  # and all that are trained alone
    after = trained_at(study)
    asked = {"runs/smoke/student/remapped", *(n[:-2] for n in before if "/standalone/" in n)}
    assert len(asked) == 5
    assert {*after} - {*before} == {f"{name}/7" for name in asked}
    assert {*before} - {*after} == {f"{name}/0" for name in asked}
    assert all(after[name] == before[name] for name in {*before} & {*after})


def test_a_removed_seed_and_arm_leave_every_table(study):
    edit(study, "seeds: [1, 7]", "seeds: [1]")
    edit(
        study,
        "  decayed: {teacher: weak-teacher, soft_weight: {from: 4.0, to: 1.0, shape: linear}}\n",
        "",
    )
    edit(study, "[scratch, normal, strong, decayed]", "[scratch, normal, strong]")
    text = (study / "params.yaml").read_text()
    start, end = text.index("  decay-helps:"), text.index("  remapping-starts-ahead:")
    (study / "params.yaml").write_text(text[:start] + text[end:])
    params = load_params(study / "params.yaml")
    collect(params)
    for name in ("runs", "curves", "scores"):
        rows = table(name, params)
        assert "decayed" not in set(rows.arm)
        assert set(rows.seed.dropna()) == {1}


def test_papermill_by_hand_finds_a_finished_run_and_makes_a_missing_one_with_its_teacher(study):
    command = "papermill notebooks/02-pretrain.ipynb out.ipynb -r arm remapped -p seed 1".split()
    before = trained_at(study)
    assert run(*command, cwd=study).returncode == 0
    assert trained_at(study) == before
    folders = [f"runs/smoke/{name}/1" for name in ("student/remapped", "standalone/weak-teacher")]
    for folder in (*folders, "build/finished"):
        shutil.rmtree(study / folder)
    assert run(*command, cwd=study).returncode == 0
    after = trained_at(study)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {*folders}


@pytest.mark.parametrize(
    "name",
    ["04-teacher-quality", "05-loss-weight", "06-parameter-remapping", "07-summary", "08-scales",
     "12-compute", "14-ledger"],
)  # fmt: skip
def test_factor_notebooks_run_from_their_folder_and_give_the_committed_tables_and_figures(
    name, tmp_path
):
    for part in ("notebooks", "results"):
        shutil.copytree(ROOT / part, tmp_path / part)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    done = run("jupyter", "execute", f"{name}.ipynb", cwd=tmp_path / "notebooks")
    assert done.returncode == 0, done.stderr[-3000:]
    for file in [*(ROOT / "results" / "laptop").rglob("*.*"), *(ROOT / "results").glob("scales.*")]:
        assert (tmp_path / file.relative_to(ROOT)).read_bytes() == file.read_bytes()


def test_a_bad_arm_stops_the_study_before_anything_is_trained(tmp_path):
    root = tracked_copy(tmp_path)
    edit(root, "strong: {teacher: weak-teacher", "strong: {teacher: weka")
    done = run(sys.executable, "-m", "dwt.pipeline.stages", cwd=root)
    assert done.returncode != 0
    assert "params.yaml: arms.strong.teacher: 'weka' is not a model" in done.stderr
    assert not (root / "runs").exists()
