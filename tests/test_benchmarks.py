"""benchmarks/: contestants do the same work, and tables show the measured numbers."""

import importlib
import json
import os
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import ROOT

from dwt.config.params import load_params
from dwt.evaluation.metrics import Task

RESULTS = ROOT / "results" / "benchmarks"
FILES = [f for f in sorted(RESULTS.glob("*.json")) if "shapes" in json.loads(f.read_text())]


@pytest.fixture(scope="module")
def bench():
    """A function that imports a module of benchmarks/."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def contestants(bench):
    return bench("contestants")


@pytest.fixture
def setting(contestants):
    """One tiny shape, three steps a turn, too short a run to compile."""
    shape = dict(
        model=dict(family="distilbert", width=16, heads=2, intermediate=32), vocabulary=97,
        mask_rate=0.15, batch=4, steps=3, timed=3,
    )  # fmt: skip
    return contestants.Setting(shape, precision="fp32", device="cpu")


def test_the_naive_trainer_minimises_the_same_objective_on_the_same_batches(
    contestants, setting, tmp_path
):
    naive = contestants.contestant(setting, "naive", tmp_path)
    examples = naive.examples[: setting.batch]
    inputs = {key: torch.stack([e[key] for e in examples]) for key in ("input_ids", "labels")}
    trainer = naive.trainer(3)
    expected = trainer.compute_loss(naive.model, inputs).item()
    for kind in ("online", "cached"):
        ours = contestants.Dwt(setting, kind, tmp_path)
        batch = ours.draw_cached(0) if kind == "cached" else ours.draw(0)
        if kind == "online":
            batch = batch._replace(teacher_hidden=ours.distiller.teacher_hidden(batch))
        loss = ours.distiller.step(batch, learning_rate=1e-4).loss.total.item()
        assert loss == pytest.approx(expected, rel=1e-5)


def test_liger_loss_has_the_value_and_gradients_of_dwt(contestants, setting, tmp_path):
    pytest.importorskip("liger_kernel", reason="Liger Kernel needs Triton")
    results = []
    for kind in ("online", "liger"):
        engine = (racer := bench.contestant(setting, kind, tmp_path, compile="off")).distiller
        batch = racer.draw(0)
        batch = batch._replace(teacher_hidden=engine.teacher_hidden(batch))
        weights = dict(hard_weight=1.0, soft_weight=1.0)
        total = engine._forward(batch, weights, values=True, measure=False).total
        total.backward()
        results.append([total, *(p.grad for p in engine.student.parameters())])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


def test_liger_runs_on_cuda_if_installed(contestants, monkeypatch):
    for installed in (True, None):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, spec=installed: spec)
        assert ("liger" in contestants.running("cuda")) == bool(installed)
        assert "liger" not in contestants.running("cpu")


def test_every_contestant_is_timed_and_ratios_have_the_right_reference(bench, setting):
    results = bench("timing").time_setting(setting, rounds=2)["contestants"]
    assert set(results) == {"naive", "online", "cached", "alone"}
    assert results["naive"]["speedup"] == [1.0, 1.0, 1.0]
    assert results["alone"]["step_over_alone"] == [1.0, 1.0, 1.0]
    for kind in results:
        middle, low, high = results[kind]["tokens_per_second"]
        assert 0 < low <= middle <= high


def test_speedups_and_shares_follow_from_the_seconds(bench, setting):
    seconds = {"naive": [4.0, 6.0], "online": [2.0, 2.0], "cached": [1.0, 1.5], "alone": [1.0, 1.0]}
    results = bench("timing").summarise(setting, seconds, peak=1e9)["contestants"]
    assert results["cached"]["speedup"] == [4.0, 4.0, 4.0]
    assert results["online"]["speedup"] == [2.5, 2.0, 3.0]
    assert results["cached"]["step_over_alone"] == [1.25, 1.0, 1.5]
    assert results["alone"]["flops_share"][0] == pytest.approx(3 * setting.flops(6) / 1e9, rel=1e-3)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_the_tables_of_benchmarks_readme_are_those_of_the_file(bench, file):
    tables = bench("tables")
    text = (ROOT / "benchmarks" / "README.md").read_text()
    for line in tables.tables(json.loads(file.read_text())):
        assert line.strip() in text


@pytest.fixture(scope="module")
def recipes(bench):
    """benchmarks/finetune.py and the scores it wrote."""
    results = json.loads((RESULTS / "finetune.json").read_text())
    return bench("finetune"), results["scores"]


def test_fine_tuning_scores_agree_with_transformers_recipe(recipes):
    finetune, scores = recipes
    frame = pd.DataFrame(scores)
    assert {*frame["by"]} == {"ours", "recipe"} and {*frame["task"]} == {*finetune.TASKS}
    for _, rows in frame.groupby(["task", "metric"]):
        by = rows.pivot(index="seed", columns="by", values="score")
        assert len(by) == finetune.SEEDS and by.notna().all(axis=None)
        low, high = finetune.difference(by)
        assert low < 0 < high
        # The model has learned, and the interval is narrow enough to show a difference.
        assert by.mean().min() > (0.6 if rows["task"].iloc[0] == "sst2" else 0.05)
        assert high - low < 0.1


def test_the_fine_tuning_table_is_that_of_the_file(recipes):
    finetune, scores = recipes
    text = (ROOT / "benchmarks" / "README.md").read_text()
    for line in finetune.lines(scores):
        assert line in text


def test_both_ways_of_fine_tuning_run(recipes, tmp_path):
    finetune, _ = recipes
    frame = pd.DataFrame(
        {"text": ["a good one", "a bad one"] * 8, "pair": None, "label": [1, 0] * 8}
    )
    task = Task("sst2", ("accuracy",), ("no", "yes"), frame, {"": frame})
    tokenizer = finetune.masked_lm(tmp_path, list(frame.text) * 20)
    for which in (finetune.ours, finetune.recipe):
        assert 0 <= which(tmp_path, tokenizer, task, 0)["accuracy"] <= 1


RECORD = dict(student_flops=3, teacher_flops=4, seconds=36.0)


def training(*names, then="", record=RECORD):
    """A command that leaves finished runs and then does something else."""
    lines = ["from pathlib import Path"]
    for folder in (Path("runs", "laptop", "study", "student", name, "0") for name in names):
        lines += [f"Path({str(folder)!r}).mkdir(parents=True)"]
        lines += [f"Path({str(folder / 'run.json')!r}).write_text({json.dumps(record)!r})"]
    return [sys.executable, "-c", "\n".join([*lines, then])]


def test_a_stopped_pipeline_costs_the_sum_of_its_pieces(bench, tmp_path, monkeypatch):
    whole = bench("whole")
    monkeypatch.chdir(tmp_path)
    whole.run(training("old"))
    status, timed_out, first = whole.run(training("a", then="raise SystemExit(3)"))
    assert (status, timed_out) == (3, False)
    assert (first["trained"], first["flops"], first["model_hours"]) == (1, 7, 0.01)
    sleep = "import time; time.sleep(60)"
    status, timed_out, second = whole.run(training("b", then=sleep), minutes=0.05)
    assert status != 0 and timed_out
    both = whole.add(first, second)
    assert both["minutes"] == pytest.approx(first["minutes"] + second["minutes"])
    assert (both["trained"], both["flops"], both["pieces"]) == (2, 14, 2)
    assert both["peak_gb"] == max(first["peak_gb"], second["peak_gb"])


def test_a_pipeline_out_of_time_is_written_with_its_share_of_flops(bench, tmp_path, monkeypatch):
    whole, params = bench("whole"), load_params(ROOT / "params.yaml")
    params = params.model_copy(update={"root": tmp_path})
    monkeypatch.chdir(tmp_path)
    table = params.path("results", "tables", "runs.csv")
    table.parent.mkdir(parents=True)
    pd.DataFrame({"student_flops": [3, 3, 3], "teacher_flops": [4, 4, 13]}).to_csv(table)
    with pytest.raises(SystemExit, match="start again to continue"):
        whole.measure("study", params, command=[sys.executable, "-c", "raise SystemExit(2)"])
    Path("data").mkdir()
    Path("data", "weights").write_bytes(os.urandom(3_000_000))
    os.link(Path("data", "weights"), Path("build", "linked"))
    slow = training("a", then="import time; time.sleep(60)", record=RECORD | dict(student_flops=11))
    costs = whole.measure("study", params, command=slow, minutes=0.05)
    assert costs["environment_gb"] == 0 and costs["made_gb"] == pytest.approx(0.003, rel=0.05)
    assert (costs["share_of_flops"], costs["models"], costs["trained"]) == (0.5, 3, 1)
    assert costs["pieces"] == 2 and "again_seconds" not in costs
    finished = whole.measure("study", params, command=[sys.executable, "-c", ""])
    assert (finished["pieces"], finished["share_of_flops"]) == (3, 0.5)
    assert finished["again_seconds"] > 0
    assert not list(Path("build").glob("whole-*"))
