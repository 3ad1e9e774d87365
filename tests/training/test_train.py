import hashlib
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
import torch.nn.functional as F
import yaml
from conftest import ROOT
from transformers import AutoModelForMaskedLM, AutoTokenizer

from dwt.config.params import load_params, resolve
from dwt.data.corpus import build_corpus, load_corpus
from dwt.training import step as engine
from dwt.training import train as training
from dwt.training.batches import batch_at
from dwt.training.loss import linear_dwt_loss
from dwt.training.models import build_model, hidden_at, load_model, output_layer
from dwt.training.step import Engine, learning_rate_at, on_device
from dwt.training.teachers import TeacherError
from dwt.training.train import TrainingError, pretrain
from dwt.training.validation import EVALUATION_SEED, masked_lm_loss

WORDS = "the model reads a small piece of text and a teacher guesses what word was there".split()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A project folder at the smoke scale with a corpus of made-up sentences and a weak teacher."""
    root = tmp_path_factory.mktemp("study")
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["scale"] = "smoke"
    rng = np.random.default_rng(0)
    for name, documents in (("in.txt", 400), ("out.txt", 60)):
        text = "\n\n".join(" ".join(rng.choice(WORDS, 40)) + "." for _ in range(documents))
        (root / name).write_text(text + "\n")
    content["scales"]["smoke"]["corpus"] = {
        "source": "files", "files": ["in.txt"], "out_of_domain": ["out.txt"], "heldout": 0.1,
        "vocabulary": {"size": 120, "alphabet": 30},
    }  # fmt: skip
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    params = load_params(root / "params.yaml")
    corpus = params.settings.corpus.model_dump(exclude_none=True)
    build_corpus(corpus, directory=params.path("data"), root=root)
    pretrain(resolve("weak-teacher", 0, params))
    return params


def bytes_of(directory):
    """Digest of all files that must not depend on when or how often the run was stopped."""
    names = ["model.safetensors", "history.csv", "config.json"]
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}


def changed(run, **train):
    return replace(run, train={**run.train, **train})


def test_a_run_ends_with_model_history_and_record(study):
    run = resolve("normal", 0, study)
    record = pretrain(run)
    history = pd.read_csv(run.directory / "history.csv")
    assert list(history.step) == [0, 5, 10, 15, 20]
    assert history.heldout_loss.notna().tolist() == [True, False, True, False, True]
    assert record["steps"] == 20
    assert record["tokens"] == history.tokens.iloc[-1] == 20 * 4 * 32
    assert record["teacher_flops"] == history.teacher_flops.iloc[-1] > 0
    assert AutoModelForMaskedLM.from_pretrained(run.directory).config.num_hidden_layers == 6
    assert len(AutoTokenizer.from_pretrained(run.directory)) == len(
        load_corpus(study.path("data")).tokenizer()
    )
    assert (run.directory / "checkpoint-10" / "model.safetensors").is_file()
    assert not (study.root / "build" / "resume" / record["digest"]).exists()


def test_a_finished_run_is_found_and_not_repeated(study, monkeypatch):
    run = resolve("weak-teacher", 0, study)
    before = bytes_of(run.directory)
    monkeypatch.setattr(training._Job, "train", lambda job: pytest.fail("trained again"))
    assert pretrain(run)["arm"] == "weak-teacher"
    assert bytes_of(run.directory) == before


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


def test_a_remapped_student_starts_near_its_teacher_and_the_record_says_what_was_copied(
    study, tmp_path
):
    record = pretrain(resolve("remapped", 0, study), directory=tmp_path / "run")
    copied = {k: v for k, v in record["remapped"].items() if ".layers.5." in k}
    assert copied
    assert all(".layers.3." in origin for origin in copied.values())


def test_a_silent_teacher_costs_nothing_and_changes_nothing(study, tmp_path):
    silent = replace(resolve("normal", 0, study), soft_weight=0.0)
    record = pretrain(silent, directory=tmp_path / "silent")
    assert record["teacher_flops"] == 0
    pretrain(resolve("scratch", 0, study), directory=tmp_path / "alone")
    assert bytes_of(tmp_path / "silent") == bytes_of(tmp_path / "alone")


def test_shuffled_contexts_teach_each_place_what_was_said_of_another(study, tmp_path):
    run = replace(resolve("normal", 0, study), context="shuffled")
    heard = {}
    for name, each in (("own", resolve("normal", 0, study)), ("shuffled", run)):
        job = training._Job(each, torch.device("cpu"))
        batches = [job.lessons.teach(step, job.lessons.draw(step)) for step in (0, 0, 1)]
        heard[name] = [batch.taught for batch in batches]
    first, again, second = heard["shuffled"]
    assert torch.equal(first, again)
    assert not torch.equal(first, heard["own"][0])
    for shuffled, own in ((first, heard["own"][0]), (second, heard["own"][2])):
        rows = [tensor[np.lexsort(tensor.T.numpy())] for tensor in (shuffled, own)]
        torch.testing.assert_close(*rows, rtol=0, atol=0)
    assert pretrain(run, directory=tmp_path)["context"] == "shuffled"


@pytest.mark.parametrize("arm", ["frequencies", "label-smoothing"])
def test_a_teacher_that_has_only_counted_needs_no_run_and_no_cache(study, tmp_path, arm):
    record = pretrain(resolve(arm, 0, study), directory=tmp_path)
    assert record["teacher_cache"] is None
    assert 0 < record["teacher_flops"] < 0.2 * record["student_flops"]
    assert (pd.read_csv(tmp_path / "history.csv").soft.iloc[1:] > 0).all()


def adaptive(study, **spec):
    spec = {"from": 2.0, "to": 0.0, "shape": "adaptive"} | spec
    run = replace(resolve("normal", 0, study), soft_weight=spec)
    return changed(run, steps=40, evaluate_every=5, checkpoint_every=10)


def test_an_adaptive_weight_falls_with_the_gap_and_stays_at_nothing_once_overtaken(study, tmp_path):
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
    silent = history.soft_weight == 0
    assert silent.any() and not silent.iloc[1]
    assert history.teacher_flops[silent].nunique() == 1
    assert history.soft[silent].isna().all()
    assert record["teacher_flops"] == history.teacher_flops.iloc[-1]


def test_an_adaptive_run_that_was_stopped_ends_with_the_same_bytes(study, tmp_path, monkeypatch):
    run = adaptive(study)
    pretrain(run, directory=tmp_path / "whole")
    step = training._Job._one_step

    def stop(job, at, *args, **kwargs):
        if at == 23:
            raise KeyboardInterrupt
        return step(job, at, *args, **kwargs)

    monkeypatch.setattr(training._Job, "_one_step", stop)
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


@pytest.mark.parametrize("which", ["student", "teacher"])
def test_the_vocabulary_is_multiplied_in_bfloat16_even_after_a_float32_layer_norm(study, which):
    run = changed(resolve("normal", 0, study), precision="bf16")
    corpus = load_corpus(study.path("data"))
    model = build_model(
        run.model, layers=4, vocabulary=corpus.vocabulary, max_length=run.train["length"]
    )  # fmt: skip
    made = Engine(model, model, train=run.train, device=torch.device("cpu"))
    made._hidden[which] = lambda *given: hidden_at(*given).float()  # as under CUDA's autocast
    drawn = batch_at(
        corpus.tokens("train"), corpus.vocabulary, seed=0, step=0,
        **{key: run.train[key] for key in ("batch", "length", "mask_rate")},
    )  # fmt: skip
    assert made._read(which, on_device(drawn, "cpu")).dtype == torch.bfloat16


def test_casting_the_teachers_output_layer_once_changes_neither_the_teacher_nor_the_loss(study):
    run = changed(resolve("normal", 0, study), precision="bf16")
    corpus = load_corpus(study.path("data"))
    shape = dict(vocabulary=corpus.vocabulary, max_length=run.train["length"])
    student, teacher = (build_model(run.model, layers=n, **shape).eval() for n in (4, 2))
    made = Engine(student, teacher, train=run.train, device=torch.device("cpu"))
    assert {p.dtype for p in teacher.parameters()} == {torch.float32}
    drawn = batch_at(
        corpus.tokens("train"), corpus.vocabulary, seed=0, step=0,
        **{key: run.train[key] for key in ("batch", "length", "mask_rate")},
    )  # fmt: skip
    batch = on_device(drawn, "cpu")
    taught, hidden = made.teach(batch), made._read("student", batch)
    heads = output_layer(student), output_layer(teacher)
    expected = linear_dwt_loss(hidden, heads[0], taught, heads[1], batch.targets.flatten())
    found = made._forward(batch._replace(taught=taught), {}, values=True, measure=False)
    assert found == expected


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_training_with_a_cold_a_warm_and_no_teacher_cache_gives_the_same_bytes(
    study, tmp_path, temperature
):
    run = changed(resolve("decayed", 0, study), steps=120)  # more than two files of the cache
    run = replace(run, temperature=temperature)
    reports = {}
    for name, teacher in (("none", "off"), ("cold", "auto"), ("warm", "auto")):
        kept = replace(run, cache={"teacher": teacher, "limit_gb": 1.0})
        reports[name] = pretrain(kept, directory=tmp_path / name)["teacher_cache"]
        if name == "none":
            shutil.rmtree(study.root / "build" / "cache", ignore_errors=True)
    assert bytes_of(tmp_path / "none") == bytes_of(tmp_path / "cold") == bytes_of(tmp_path / "warm")
    assert reports["none"] is None
    assert (reports["cold"]["hits"], reports["cold"]["misses"]) == (0, 120)
    assert (reports["warm"]["hits"], reports["warm"]["misses"]) == (120, 0)
    assert reports["warm"]["bytes_read"] == reports["cold"]["bytes_written"] > 0
    assert reports["warm"]["seconds_saved"] >= 0


def test_students_of_one_teacher_share_its_states_and_those_of_another_do_not(study, tmp_path):
    cached = dict(cache={"teacher": "auto", "limit_gb": 1.0})
    shutil.rmtree(study.root / "build" / "cache", ignore_errors=True)
    hits = {}
    for name, arm in (("first", "normal"), ("second", "strong"), ("third", "remapped")):
        run = replace(resolve(arm, 0, study), **cached)
        hits[name] = pretrain(run, directory=tmp_path / name)["teacher_cache"]["hits"]
    masked_otherwise = changed(replace(resolve("normal", 0, study), **cached), mask_rate=0.2)
    hits["other masks"] = pretrain(masked_otherwise, directory=tmp_path / "m")["teacher_cache"][
        "hits"
    ]
    assert hits == {"first": 0, "second": 20, "third": 20, "other masks": 0}


def test_a_damaged_cache_changes_no_byte_of_the_run(study, tmp_path):
    run = replace(resolve("normal", 0, study), cache={"teacher": "auto", "limit_gb": 1.0})
    pretrain(run, directory=tmp_path / "good")
    for file in (study.root / "build" / "cache").rglob("*.safetensors"):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    with pytest.warns(UserWarning, match="made anew"):
        pretrain(run, directory=tmp_path / "damaged")
    assert bytes_of(tmp_path / "good") == bytes_of(tmp_path / "damaged")


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
        kept = replace(changed(run, compile=setting), cache={"teacher": "off", "limit_gb": 1.0})
        assert pretrain(kept, directory=tmp_path / setting)["compiled"] == compiled
        curves.append(pd.read_csv(tmp_path / setting / "history.csv")["gradient_norm"].dropna())
    assert curves[1].tolist() == pytest.approx(curves[0].tolist(), rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_device_learns_what_the_cpu_does(study, tmp_path, precision):
    run = resolve("normal", 0, study)
    losses = {}
    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        pretrain(changed(run, precision=precision), directory=tmp_path / device, device=device)
        losses[device] = pd.read_csv(tmp_path / device / "history.csv").hard.iloc[-1]
    pretrain(run, directory=tmp_path / "reference", device="cpu")
    reference = pd.read_csv(tmp_path / "reference" / "history.csv").hard.iloc[-1]
    assert list(losses.values()) == pytest.approx([reference] * len(losses), rel=0.02)


def test_held_out_loss_is_torchs_cross_entropy_on_the_full_forward_pass(study):
    corpus = load_corpus(study.path("data"))
    run = resolve("weak-teacher", 0, study)
    model = load_model(run.directory)
    ours = masked_lm_loss(
        model, corpus.tokens("heldout"), corpus.vocabulary, sequences=8, train=run.train
    )
    losses = []
    for step in range(2):
        ids, positions, targets = map(torch.from_numpy, batch_at(
            corpus.tokens("heldout"), corpus.vocabulary, seed=EVALUATION_SEED,
            step=step, batch=4, length=32, mask_rate=0.3,
        ))  # fmt: skip
        labels = torch.full_like(ids, -100).scatter(1, positions, targets)
        with torch.no_grad():
            logits = model.eval()(input_ids=ids).logits
        losses.append(F.cross_entropy(logits.flatten(0, 1), labels.flatten()).item())
    assert ours == pytest.approx(np.mean(losses), rel=1e-5)


def test_learning_rate_rises_to_its_peak_and_falls_to_nearly_zero():
    train = dict(steps=100, warmup=0.1, learning_rate=2.0)
    rates = [learning_rate_at(train, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[9] == pytest.approx(2.0)
    assert rates[-1] == pytest.approx(2.0 / 90)
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)


def test_a_run_killed_at_any_moment_and_started_again_ends_with_the_same_bytes(study, tmp_path):
    run = changed(resolve("normal", 0, study), steps=60, checkpoint_every=7)
    pretrain(run, directory=tmp_path / "whole")
    root = tmp_path / "killed"
    shutil.copytree(study.root, root, ignore=shutil.ignore_patterns("build"))
    program = (
        "import json, sys; from dataclasses import replace\n"
        "from dwt.config.params import load_params, resolve; from dwt.training.train import pretrain\n"
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
            found = next(iter((root / "build" / "resume").glob("*/state.pt")), None)
            if found and os.path.exists(found) and found.stat().st_mtime_ns != before:
                time.sleep(0.01 * attempt)
                child.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        said = child.communicate()[0]
        resumed_from |= {line for line in said.splitlines() if "going on from" in line}
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
    real = engine.linear_dwt_loss
    calls = []

    def explodes(*args, **kwargs):
        loss = real(*args, **kwargs)
        calls.append(torch.is_grad_enabled())
        return loss._replace(total=loss.total * float("nan")) if sum(calls) == 8 else loss

    monkeypatch.setattr(engine, "linear_dwt_loss", explodes)
    with pytest.raises(TrainingError, match=r"loss is nan by step 8, learning rate .*state\.pt"):
        pretrain(run, directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_untrained_teacher_is_refused_with_the_command_that_trains_it(study):
    with pytest.raises(
        TeacherError, match=r"arms\.very-weak\.teacher.*-r arm very-weak-teacher -p seed 0"
    ):
        pretrain(resolve("very-weak", 0, study))


def test_a_teacher_with_another_vocabulary_is_refused(study, tmp_path):
    root = tmp_path / "other"
    shutil.copytree(study.root, root)
    file = root / "runs" / "smoke" / "standalone" / "weak-teacher" / "0" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["model"]["vocab"].popitem()
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(TeacherError, match=r"arms\.normal\.teacher.*another vocabulary"):
        pretrain(resolve("normal", 0, load_params(root / "params.yaml")))


def test_a_missing_corpus_is_refused(study, tmp_path):
    with pytest.raises(TrainingError, match=r"data/smoke.*dvc repro corpus"):
        pretrain(replace(resolve("scratch", 0, study), root=tmp_path))


def test_a_corpus_smaller_than_one_batch_is_refused(study):
    with pytest.raises(
        TrainingError, match=r"train\.npy holds .* tokens, fewer than 4096 sequence"
    ):
        pretrain(changed(resolve("scratch", 0, study), batch=4096))
