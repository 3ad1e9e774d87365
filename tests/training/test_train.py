import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, bytes_of, changed
from transformers import AutoModelForMaskedLM, AutoTokenizer

from dwt.config.params import resolve
from dwt.data.corpus import CorpusError, load_corpus
from dwt.training import step
from dwt.training import train as training
from dwt.training.checkpoint import TrainingError
from dwt.training.models import load_model
from dwt.training.train import pretrain
from dwt.training.validation import masked_lm_loss


def test_a_run_ends_with_model_history_and_record(study, tmp_path):
    record = pretrain(resolve("normal", 0, study), directory=tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    assert list(history.step) == [0, 5, 10, 15, 20]
    assert history.heldout_loss.notna().tolist() == [True, False, True, False, True]
    assert record["steps"] == 20
    assert record["tokens"] == history.tokens.iloc[-1] == 20 * 4 * 32
    assert record["teacher_flops"] == history.teacher_flops.iloc[-1] > 0
    assert AutoModelForMaskedLM.from_pretrained(tmp_path).config.num_hidden_layers == 6
    tokenizer = load_corpus(study.path("data")).tokenizer()
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == tokenizer.get_vocab()
    assert AutoTokenizer.from_pretrained(tmp_path).model_max_length == 32  # positions of the model
    assert (tmp_path / "checkpoint-10" / "model.safetensors").is_file()
    assert not (study.root / "build" / "resume" / record["digest"]).exists()


def test_a_finished_run_is_found_and_not_repeated(study, monkeypatch):
    run = resolve("weak-teacher", 0, study)
    before = bytes_of(run.directory)
    monkeypatch.setattr(training._Trainer, "train", lambda trainer: pytest.fail("trained again"))
    assert pretrain(run)["arm"] == "weak-teacher"
    assert bytes_of(run.directory) == before


def test_what_is_not_a_run_is_refused_with_the_call_that_makes_one():
    with pytest.raises(TypeError, match=r"pass `resolve\('strong', seed\)`"):
        pretrain("strong")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_device_that_is_not_there_is_refused_before_anything_is_built(study, monkeypatch):
    monkeypatch.setattr(training, "_Trainer", pytest.fail)
    with pytest.raises(TrainingError, match="device 'cuda': .* no CUDA device; choose 'cpu'"):
        pretrain(resolve("normal", 0, study), device="cuda")


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_a_folder_that_cannot_be_written_is_refused_before_training(
    place, study, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(training._Trainer, "train", lambda trainer: pytest.fail("trained"))
    with pytest.raises(TrainingError, match="cannot be written to .*file"):
        pretrain(resolve("normal", 0, study), directory=tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


def test_training_lowers_the_held_out_loss(study, tmp_path):
    run = changed(resolve("weak-teacher", 0, study), steps=60, evaluate_every=60, log_every=60)
    pretrain(run, directory=tmp_path / "run")
    losses = pd.read_csv(tmp_path / "run" / "history.csv").heldout_loss.dropna()
    assert losses.iloc[-1] < losses.iloc[0] - 0.3


def test_the_same_run_twice_gives_the_same_bytes(study, tmp_path):
    run = resolve("strong", 0, study)
    for name in ("first", "second"):
        pretrain(run, directory=tmp_path / name)
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")


def test_arms_of_one_seed_see_the_same_batches_and_start_from_the_same_weights(study, tmp_path):
    starts = {}
    for arm in ("normal", "strong", "scratch"):
        pretrain(resolve(arm, 0, study), directory=tmp_path / arm)
        starts[arm] = pd.read_csv(tmp_path / arm / "history.csv").heldout_loss[0]
    assert starts["normal"] == starts["strong"] == starts["scratch"]


def test_a_remapped_student_starts_closer_to_its_teacher_than_to_a_random_start(study, tmp_path):
    run = resolve("remapped", 0, study)
    record = pretrain(run, directory=tmp_path / "remapped")
    pretrain(resolve("normal", 0, study), directory=tmp_path / "random")
    remapped, random = (
        pd.read_csv(tmp_path / name / "history.csv").heldout_loss[0]
        for name in ("remapped", "random")
    )
    teacher = pd.read_csv(run.teacher_directory / "history.csv").heldout_loss.iloc[-1]
    assert abs(remapped - teacher) < abs(remapped - random) / 2
    copied = {k: v for k, v in record["remapped"].items() if ".layers.5." in k}
    assert copied
    assert all(".layers.3." in origin for origin in copied.values())


def test_a_soft_weight_of_0_costs_no_teacher_and_changes_nothing(study, tmp_path):
    run = replace(resolve("normal", 0, study), soft_weight=0.0)
    assert pretrain(run, directory=tmp_path / "weight 0")["teacher_flops"] == 0
    pretrain(resolve("scratch", 0, study), directory=tmp_path / "no teacher")
    assert bytes_of(tmp_path / "weight 0") == bytes_of(tmp_path / "no teacher")


@pytest.mark.parametrize("arm", ["unigram-teacher", "label-smoothing"])
def test_a_context_free_teacher_needs_no_run_and_no_cache(study, tmp_path, arm):
    record = pretrain(resolve(arm, 0, study), directory=tmp_path)
    assert record["teacher_cache"] is None
    assert 0 < record["teacher_flops"] < 0.2 * record["student_flops"]
    assert (pd.read_csv(tmp_path / "history.csv").soft.iloc[1:] > 0).all()


def adaptive(study, **spec):
    spec = {"from": 2.0, "to": 0.0, "shape": "adaptive"} | spec
    run = replace(resolve("normal", 0, study), soft_weight=spec)
    return changed(run, steps=40, evaluate_every=5, checkpoint_every=10)


def test_an_adaptive_weight_falls_with_the_gap_and_stays_0_once_overtaken(study, tmp_path):
    """The teacher is overtaken, as it has had 20 steps and the student has 40."""
    run = adaptive(study)
    record = pretrain(run, directory=tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    corpus = load_corpus(run.corpus_directory)
    teacher = masked_lm_loss(
        load_model(run.teacher_directory), corpus.tokens("heldout"), corpus.vocabulary,
        sequences=run.train["evaluate_sequences"], train=run.train,
    )  # fmt: skip
    gaps = (history.heldout_loss - teacher).clip(lower=0)
    expected = 2.0 * (gaps / gaps[0]).cummin().shift()  # a row's weight is of the row before
    np.testing.assert_allclose(history.soft_weight.iloc[1:], expected.iloc[1:], rtol=1e-5)
    zero = history.soft_weight == 0
    assert zero.any() and not zero.iloc[1]
    assert history.teacher_flops[zero].nunique() == 1
    assert history.soft[zero].isna().all()
    assert record["teacher_flops"] == history.teacher_flops.iloc[-1]


def test_an_adaptive_run_that_was_stopped_ends_with_the_same_bytes(study, tmp_path, monkeypatch):
    run = adaptive(study)
    pretrain(run, directory=tmp_path / "whole")
    train_step = training._Trainer._train_step

    def stop(trainer, at, *args, **kwargs):
        if at == 23:
            raise KeyboardInterrupt
        return train_step(trainer, at, *args, **kwargs)

    monkeypatch.setattr(training._Trainer, "_train_step", stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain(run, directory=tmp_path / "stopped")
    monkeypatch.undo()
    pretrain(run, directory=tmp_path / "stopped")
    assert bytes_of(tmp_path / "stopped") == bytes_of(tmp_path / "whole")


def test_accumulated_micro_batches_give_the_gradient_of_the_whole_batch(study, tmp_path):
    run = changed(resolve("normal", 0, study), steps=1, log_every=1, evaluate_every=1, keep=[])
    norms = []
    for parts in (1, 2, 4):
        pretrain(changed(run, accumulate=parts), directory=tmp_path / str(parts))
        norms.append(pd.read_csv(tmp_path / str(parts) / "history.csv").gradient_norm.iloc[-1])
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-4)


def test_bfloat16_stays_close_to_float32(study, tmp_path):
    run = resolve("normal", 0, study)
    for precision in ("fp32", "bf16"):
        pretrain(changed(run, precision=precision), directory=tmp_path / precision)
    losses = [pd.read_csv(tmp_path / p / "history.csv").hard.iloc[-1] for p in ("fp32", "bf16")]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    weights = load_model(tmp_path / "bf16")
    assert {p.dtype for p in weights.parameters()} == {torch.float32}


def test_a_compiler_that_fails_leaves_the_run_as_it_was(study, tmp_path, monkeypatch):
    run = resolve("normal", 0, study)
    pretrain(changed(run, compile="off"), directory=tmp_path / "eager")

    def broken(function, **options):
        def fails(*args):
            raise RuntimeError("no C++ compiler found")

        return fails

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(UserWarning, match="student runs uncompiled: no C\\+\\+ compiler"):
        record = pretrain(changed(run, compile="on"), directory=tmp_path / "tried")
    assert record["compiled"] == []
    assert bytes_of(tmp_path / "tried") == bytes_of(tmp_path / "eager")


def test_a_compiled_run_learns_what_an_eager_one_does(study, tmp_path):
    run = changed(resolve("normal", 0, study), steps=5)
    curves = []
    for setting, compiled in (("off", []), ("on", ["student", "teacher"])):
        each = replace(changed(run, compile=setting), cache={"teacher": "off", "limit_gb": 1.0})
        assert pretrain(each, directory=tmp_path / setting)["compiled"] == compiled
        curves.append(pd.read_csv(tmp_path / setting / "history.csv")["gradient_norm"].dropna())
    assert curves[1].tolist() == pytest.approx(curves[0].tolist(), rel=1e-3)


def test_a_run_killed_at_any_moment_and_started_again_ends_with_the_same_bytes(study, tmp_path):
    run = changed(resolve("normal", 0, study), steps=60, checkpoint_every=7)
    pretrain(run, directory=tmp_path / "whole")
    root = tmp_path / "killed"
    shutil.copytree(study.root, root, ignore=shutil.ignore_patterns("build"))
    program = (
        "import json, sys; from dataclasses import replace\n"
        "from dwt import load_params, pretrain, resolve\n"
        "run = resolve('normal', 0, load_params('params.yaml'))\n"
        "pretrain(replace(run, train=json.loads(sys.argv[1])), directory='out')\n"
    )
    command = [sys.executable, "-c", program, json.dumps(run.train)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    kills, resumed_from = 0, set()
    for attempt in range(12):
        child = subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True
        )
        state = next(iter((root / "build" / "resume").glob("*/state.pt")), None)
        before = state.stat().st_mtime_ns if state else None
        # Wait for one more checkpoint than there was, then kill at some moment soon after it.
        while child.poll() is None:
            state = next(iter((root / "build" / "resume").glob("*/state.pt")), None)
            if state and os.path.exists(state) and state.stat().st_mtime_ns != before:
                time.sleep(0.01 * attempt)
                child.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        lines = child.communicate()[0].splitlines()
        resumed_from |= {line for line in lines if "resuming at" in line}
        if child.returncode == 0:
            break
        kills += 1
    assert child.returncode == 0
    assert kills >= 2
    assert resumed_from
    assert bytes_of(root / "out") == bytes_of(tmp_path / "whole")


def test_a_checkpoint_cut_short_while_being_written_is_not_used(study, tmp_path, monkeypatch):
    run = changed(resolve("normal", 0, study), checkpoint_every=5)
    pretrain(run, directory=tmp_path / "whole")
    real, writes = torch.save, []

    def dies_on_the_second(state, file):
        writes.append(state["step"])
        if len(writes) == 2:
            file.write(b"half a checkpoint")
            raise KeyboardInterrupt
        real(state, file)

    monkeypatch.setattr(torch, "save", dies_on_the_second)
    with pytest.raises(KeyboardInterrupt):
        pretrain(run, directory=tmp_path / "stopped")
    monkeypatch.setattr(torch, "save", real)
    pretrain(run, directory=tmp_path / "stopped")
    assert bytes_of(tmp_path / "stopped") == bytes_of(tmp_path / "whole")


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(study, tmp_path, monkeypatch):
    run = changed(resolve("normal", 0, study), log_every=1, evaluate_every=10, checkpoint_every=3)
    real = step.linear_dwt_loss
    calls = []

    def explodes(*args, **kwargs):
        loss = real(*args, **kwargs)
        calls.append(torch.is_grad_enabled())
        return loss._replace(total=loss.total * float("nan")) if sum(calls) == 8 else loss

    monkeypatch.setattr(step, "linear_dwt_loss", explodes)
    with pytest.raises(TrainingError, match=r"loss is nan by step 8, learning rate .*state\.pt"):
        pretrain(run, directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_corpus_is_refused(study, tmp_path):
    with pytest.raises(CorpusError, match=r"data/smoke.*dvc repro corpus"):
        pretrain(replace(resolve("scratch", 0, study), root=tmp_path))


def test_a_corpus_smaller_than_one_batch_is_refused(study):
    with pytest.raises(CorpusError, match=r"train\.npy holds .* tokens, fewer than 4096 sequence"):
        pretrain(changed(resolve("scratch", 0, study), batch=4096))


def test_a_folder_that_holds_other_files_is_neither_emptied_nor_trained_into(study, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(TrainingError, match="it holds files that are not of a run"):
        pretrain(resolve("normal", 0, study), directory=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
