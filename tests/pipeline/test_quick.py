"""`make quick`: four runs of the study, three numbers, and no run that the study trains again."""

import json
import re
import sys

import pytest
from conftest import run
from projects import dvc, edit, project_copy

from dwt.config.params import load_params, resolve

RUNS = "scratch", "weak-teacher", "normal", "remapped-no-kd"


@pytest.fixture(scope="module")
def first_look(tmp_path_factory):
    root = project_copy(tmp_path_factory.mktemp("quick"))
    edit(root, "scale: laptop", "scale: smoke")
    done = run(sys.executable, "-m", "dwt.pipeline.quick", cwd=root)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return root, done.stdout


def test_it_prints_the_losses_and_gains_of_its_runs_and_that_one_seed_has_no_interval(first_look):
    root, output = first_look
    params = load_params(root / "params.yaml")
    files = {name: resolve(name, 0, params).directory / "run.json" for name in RUNS}
    loss = {name: json.loads(file.read_text())["heldout_loss"] for name, file in files.items()}
    for name in ("scratch", "normal", "remapped-no-kd"):
        assert f"{loss[name]:.3f}" in output
        if name != "scratch":
            assert f"gain {loss['scratch'] - loss[name]:+.3f}" in output
    assert "One seed has no interval" in output
    assert (root / re.search(r"over training: (\S+)", output)[1]).stat().st_size > 5000


def test_the_study_takes_its_runs_over(first_look):
    root, _ = first_look
    for name in RUNS:
        run = resolve(name, 0, load_params(root / "params.yaml"))
        stage = f"{run.kind}@smoke-{name}-0"
        assert json.loads(dvc("status", "--json", stage, cwd=root).stdout) == {}
