"""DVC's own commands, in a clone of the project with its committed results."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from conftest import ROOT
from projects import dvc, project_copy

from dwt.config.params import load_params


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A git repository with two commits: in the second a claim, a curve and a gain differ."""
    root = project_copy(tmp_path_factory.mktemp("clone"))
    commit(root, "first")
    summary = root / "results" / "laptop" / "summary"
    metrics = json.loads((summary / "metrics.json").read_text())
    metrics["gain"]["normal"] += 1
    (summary / "metrics.json").write_text(json.dumps(metrics))
    edit_params(root, "learning_rate: 4.0e-3", "learning_rate: 2.0e-3")
    commit(root, "second")
    return root


def commit(root, message):
    who = ["-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    subprocess.run(["git", *who, "commit", "-qm", message], cwd=root, check=True)


def edit_params(root, old, new):
    file = root / "params.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_metrics_show_has_the_loss_of_every_model_the_gains_and_the_verdicts(clone):
    (shown,) = json.loads(dvc("metrics", "show", "--json", cwd=clone).stdout).values()
    (metrics,) = shown["data"].values()
    params = load_params(ROOT / "params.yaml")
    assert [*metrics["data"]["heldout_loss"]] == params.names()
    assert [*metrics["data"]["gain"]] == [*params.arms]
    assert sum(metrics["data"]["claims"].values()) == len(params.claims)


def test_metrics_diff_shows_what_changed_between_two_commits(clone):
    shown = dvc("metrics", "diff", "HEAD~1", "HEAD", cwd=clone).stdout
    assert re.search(r"metrics.json\s+gain.normal\s+\S+\s+\S+\s+1\.0*\s*$", shown, re.M)
    assert shown.count("metrics.json") == 1


def test_params_diff_shows_a_changed_setting(clone):
    shown = dvc("params", "diff", "HEAD~1", "HEAD", "--all", cwd=clone).stdout
    assert re.search(r"scales.laptop.train.learning_rate\s+0.004\s+0.002", shown)


@pytest.mark.parametrize("command", [["show"], ["diff", "HEAD~1", "HEAD"]])
def test_plots_have_the_curve_of_every_arm_and_the_gains(command, clone, tmp_path):
    dvc("plots", *command, "--out", str(tmp_path), cwd=clone)
    page = (tmp_path / "index.html").read_text()
    for name in load_params(ROOT / "params.yaml").names():
        assert f'"arm": "{name}"' in page
    assert "gain over no teacher" in page and "held-out loss" in page


def test_an_experiment_changes_scale_and_seeds_trains_and_is_shown(tmp_path):
    """DVC writes params.yaml anew, without quotes; what it writes must be sound."""
    root = project_copy(tmp_path / "project")
    commit(root, "first")
    subprocess.run(["git", "config", "user.name", "x"], cwd=root, check=True)
    subprocess.run(["git", "config", "user.email", "x@y"], cwd=root, check=True)
    target = "standalone@smoke-scratch-4"
    options = ["-S", "scale=smoke", "-S", "seeds=[4]", "-n", "try", target]
    done = dvc("exp", "run", *options, cwd=root)
    assert f"Running stage '{target}'" in done.stdout
    params = load_params(root / "params.yaml")
    assert (params.scale, params.seeds) == ("smoke", [4])
    before = yaml.safe_load((ROOT / "params.yaml").read_text())
    after = yaml.safe_load((root / "params.yaml").read_text())
    assert after == before | {"scale": "smoke", "seeds": [4]}
    assert (root / "runs/smoke/study/standalone/scratch/4/model.safetensors").is_file()
    assert "try" in dvc("exp", "show", "--csv", cwd=root).stdout
    assert "smoke" in dvc("exp", "diff", "HEAD", "try", cwd=root).stdout


def test_an_experiment_can_be_queued(tmp_path):
    root = project_copy(tmp_path / "project")
    commit(root, "first")
    dvc("exp", "run", "--queue", "-S", "scale=smoke", "-S", "seeds=[0]", cwd=root)
    assert "Queued" in dvc("queue", "status", cwd=root).stdout
    shutil.rmtree(root / ".dvc" / "tmp")
