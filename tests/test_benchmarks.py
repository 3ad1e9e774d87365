"""benchmarks/: the contestants do the same work, and every number shown is in the file."""

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
from dwt.evaluation.heldout_tasks import Task

RESULTS = ROOT / "results" / "benchmarks"
FILES = [f for f in sorted(RESULTS.glob("*.json")) if "shapes" in json.loads(f.read_text())]


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("throughput")
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture
def setting(bench):
    """One tiny shape, three steps a turn; nothing is compiled."""
    shape = dict(
        model=dict(family="distilbert", width=16, heads=2, intermediate=32), vocabulary=97,
        mask_rate=0.15, batch=4, steps=3, timed=3,
    )  # fmt: skip
    return bench.Setting(shape, precision="fp32", device="cpu")


def test_the_naive_trainer_minimises_the_same_objective_on_the_same_batches(
    bench, setting, tmp_path
):
    naive = bench.contestant(setting, "naive", tmp_path)
    examples = naive.examples[: setting.batch]
    inputs = {key: torch.stack([e[key] for e in examples]) for key in ("input_ids", "labels")}
    trainer = naive.trainer(3)
    theirs = trainer.compute_loss(naive.model, inputs).item()
    for kind in ("online", "cached"):
        ours = bench.Ours(setting, kind, tmp_path)
        batch = ours.draw_taught(0) if kind == "cached" else ours.draw(0)
        if kind == "online":
            batch = batch._replace(taught=ours.engine.teach(batch))
        loss = ours.engine.step(batch, learning_rate=1e-4).loss.total.item()
        assert loss == pytest.approx(theirs, rel=1e-5)


def test_ligers_loss_and_ours_have_the_same_value_and_gradients(bench, setting, tmp_path):
    pytest.importorskip("liger_kernel", reason="Liger Kernel comes with CUDA's Triton only")
    found = []
    for kind in ("online", "liger"):
        engine = (racer := bench.contestant(setting, kind, tmp_path, compile="off")).engine
        batch = racer.draw(0)
        batch = batch._replace(taught=engine.teach(batch))
        weights = dict(hard_weight=1.0, soft_weight=1.0)
        total = engine._forward(batch, weights, values=True, measure=False).total
        total.backward()
        found.append([total, *(p.grad for p in engine.student.parameters())])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_liger_runs_on_cuda_where_it_is_installed(bench, monkeypatch):
    for there in (True, False):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, there=there: there or None)
        assert ("liger" in bench.running("cuda")) == there
        assert "liger" not in bench.running("cpu")


def test_every_contestant_is_timed_and_ratios_refer_to_the_right_one(bench, setting):
    found = bench.time_setting(setting, rounds=2)["contestants"]
    assert set(found) == {"naive", "online", "cached", "alone"}
    assert found["naive"]["speedup"] == [1.0, 1.0, 1.0]
    assert found["alone"]["step_over_alone"] == [1.0, 1.0, 1.0]
    for kind in found:
        middle, low, high = found[kind]["tokens_per_second"]
        assert 0 < low <= middle <= high


def test_speedups_and_shares_follow_from_the_seconds(bench, setting):
    seconds = {"naive": [4.0, 6.0], "online": [2.0, 2.0], "cached": [1.0, 1.5], "alone": [1.0, 1.0]}
    found = bench.summarise(setting, seconds, peak=1e9)["contestants"]
    assert found["cached"]["speedup"] == [4.0, 4.0, 4.0]
    assert found["online"]["speedup"] == [2.5, 2.0, 3.0]
    assert found["cached"]["step_over_alone"] == [1.25, 1.0, 1.5]
    assert found["alone"]["flops_share"][0] == pytest.approx(3 * setting.flops(6) / 1e9, rel=1e-3)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_the_tables_of_benchmarks_readme_are_those_of_the_file(bench, file):
    report = importlib.import_module("report")
    text = (ROOT / "benchmarks" / "README.md").read_text()
    for line in report.tables(json.loads(file.read_text())):
        assert line.strip() in text


def test_there_is_a_measured_device():
    assert FILES


@pytest.fixture(scope="module")
def recipes(bench):
    """benchmarks/finetune.py and the scores it has written."""
    found = json.loads((RESULTS / "finetune.json").read_text())
    return importlib.import_module("finetune"), found["scores"]


def test_fine_tuning_is_no_further_from_transformers_recipe_than_seeds_are_apart(recipes):
    finetune, scores = recipes
    frame = pd.DataFrame(scores)
    assert {*frame["by"]} == {"ours", "recipe"} and {*frame["task"]} == {*finetune.TASKS}
    for _, rows in frame.groupby(["task", "metric"]):
        by = rows.pivot(index="seed", columns="by", values="score")
        assert len(by) == finetune.SEEDS and by.notna().all(axis=None)
        low, high = finetune.difference(by)
        assert low < 0 < high
        # The model has learned something, and the interval could have shown a difference.
        assert by.mean().min() > (0.6 if rows["task"].iloc[0] == "sst2" else 0.05)
        assert high - low < 0.1


def test_the_table_of_the_comparison_is_that_of_its_file(recipes):
    finetune, scores = recipes
    text = (ROOT / "benchmarks" / "README.md").read_text()
    for line in finetune.lines(scores):
        assert line in text


def test_both_fine_tunings_run(recipes, tmp_path):
    finetune, _ = recipes
    frame = pd.DataFrame(
        {"text": ["a good one", "a bad one"] * 8, "pair": None, "label": [1, 0] * 8}
    )
    task = Task("sst2", ("accuracy",), ("no", "yes"), frame, {"": frame})
    tokenizer = finetune.masked_lm(tmp_path, list(frame.text) * 20)
    for which in (finetune.ours, finetune.recipe):
        assert 0 <= which(tmp_path, tokenizer, task, 0)["accuracy"] <= 1


def test_a_pipeline_that_was_stopped_is_measured_by_the_sum_of_its_pieces(
    bench, tmp_path, monkeypatch
):
    whole = importlib.import_module("whole")
    monkeypatch.chdir(tmp_path)
    record = json.dumps(dict(student_flops=3, teacher_flops=4, seconds=36.0))

    def made(*names, then):
        lines = ["from pathlib import Path"]
        for file in (Path("build", "finished", name, "run.json") for name in names):
            lines += [f"Path({str(file.parent)!r}).mkdir(parents=True)"]
            lines += [f"Path({str(file)!r}).write_text({record!r})"]
        return [sys.executable, "-c", "\n".join([*lines, then])]

    whole.run(made("old", then=""))
    status, time_is_up, first = whole.run(made("a", "b.partial", then="raise SystemExit(3)"))
    assert (status, time_is_up) == (3, False)
    assert (first["trained"], first["operations"], first["model_hours"]) == (1, 7, 0.01)
    wait = "import time; time.sleep(60)"
    status, time_is_up, second = whole.run(made("c", then=wait), minutes=0.05)
    assert status != 0 and time_is_up
    both = whole.together(first, second)
    assert both["minutes"] == pytest.approx(first["minutes"] + second["minutes"])
    assert (both["trained"], both["operations"], both["pieces"]) == (2, 14, 2)
    assert both["peak_gb"] == max(first["peak_gb"], second["peak_gb"])


def test_a_piece_of_a_pipeline_is_said_with_its_share_and_only_where_time_was_up(
    bench, tmp_path, monkeypatch
):
    whole, params = importlib.import_module("whole"), load_params(ROOT / "params.yaml")
    params = params.model_copy(update={"root": tmp_path})
    monkeypatch.chdir(tmp_path)
    grid = pd.DataFrame({"student_flops": [3, 3, 3], "teacher_flops": [4, 4, 13]})
    params.path("results").mkdir(parents=True)
    grid.to_csv(params.path("results") / "runs.csv")
    folder = tmp_path / "build" / "finished" / "a"

    def trains(then):
        record = json.dumps(dict(student_flops=6, teacher_flops=9, seconds=36.0))
        script = f"import pathlib, time; f = pathlib.Path({str(folder)!r}); f.mkdir(parents=True); "
        return [sys.executable, "-c", f"{script}(f / 'run.json').write_text({record!r}); {then}"]

    with pytest.raises(SystemExit, match="start again to go on"):
        whole.measure("study", params, command=[sys.executable, "-c", "raise SystemExit(2)"])
    Path("runs").mkdir()
    Path("runs", "weights").write_bytes(os.urandom(3_000_000))
    os.link(Path("runs", "weights"), Path("build", "kept"))
    found = whole.measure("study", params, command=trains("time.sleep(60)"), minutes=0.05)
    assert found["environment_gb"] == 0 and found["made_gb"] == pytest.approx(0.003, rel=0.05)
    assert (found["share_of_operations"], found["models"], found["trained"]) == (0.5, 3, 1)
    assert found["pieces"] == 2 and "again_seconds" not in found
    whole_again = whole.measure("study", params, command=[sys.executable, "-c", ""])
    assert (whole_again["pieces"], whole_again["share_of_operations"]) == (3, 0.5)
    assert whole_again["again_seconds"] > 0
    assert not list(Path("build").glob("whole-*"))
