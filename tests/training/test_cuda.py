"""What holds on a CUDA device; skipped where there is none."""

import copy
import math
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from conftest import bytes_of, changed

from dwt.config.params import resolve
from dwt.training import train as training
from dwt.training.batches import batch_at
from dwt.training.families import FAMILIES
from dwt.training.loss import dwt_loss, linear_dwt_loss
from dwt.training.models import build_model, logits_at
from dwt.training.step import Distiller, batch_to_device
from dwt.training.train import pretrain

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")


def heads_and_hidden(n=300, vocabulary=5000, width=64, teacher_width=48):
    """Inputs of `linear_dwt_loss` in float64 on the CPU."""
    torch.manual_seed(0)
    hidden = torch.randn(n, width, dtype=torch.float64)
    head = torch.nn.Linear(width, vocabulary, dtype=torch.float64)
    teacher = torch.randn(n, teacher_width, dtype=torch.float64)
    teacher_head = torch.nn.Linear(teacher_width, vocabulary, dtype=torch.float64)
    return hidden, head, teacher, teacher_head, torch.randint(vocabulary, (n,))


def off_by(actual, expected):
    """Norm of the difference over the norm of the reference."""
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("precision, tolerance", [("fp32", 1e-5), ("bf16", 2e-2)])
def test_fused_loss_and_gradients_agree_with_float64_on_the_cpu(precision, tolerance, temperature):
    hidden, head, teacher, teacher_head, targets = heads_and_hidden()
    weights = dict(hard_weight=1.0, soft_weight=2.0, temperature=temperature)
    hidden.requires_grad_()
    expected = dwt_loss(head(hidden), teacher_head(teacher).detach(), targets, **weights)
    expected.total.backward()
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    ours = hidden.detach().to(CUDA, dtype).requires_grad_()
    our_head, their_head = (copy.deepcopy(h).to(CUDA, torch.float32) for h in (head, teacher_head))
    our_head.zero_grad()
    actual = linear_dwt_loss(
        ours, our_head, teacher.to(CUDA, dtype), their_head, targets.to(CUDA), **weights
    )
    actual.total.backward()
    for a, b in zip(actual[:3], expected[:3], strict=True):
        assert a.item() == pytest.approx(b.item(), rel=tolerance)
    assert off_by(ours.grad, hidden.grad) < 10 * tolerance
    assert off_by(our_head.weight.grad, head.weight.grad) < 10 * tolerance
    assert off_by(our_head.bias.grad, head.bias.grad) < 10 * tolerance


def test_fused_loss_never_holds_all_logits():
    n, vocabulary, width = 16_384, 32_768, 64
    hidden = torch.randn(n, width, device=CUDA, requires_grad=True)
    head = torch.nn.Linear(width, vocabulary, device=CUDA)
    teacher, teacher_head = torch.randn(n, width, device=CUDA), copy.deepcopy(head)
    targets = torch.randint(vocabulary, (n,), device=CUDA)
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    linear_dwt_loss(hidden, head, teacher, teacher_head, targets).total.backward()
    assert torch.cuda.max_memory_allocated() - start < n * vocabulary * 4 / 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision, tolerance", [("fp32", 1e-5), ("bf16", 3e-2)])
def test_logits_at_positions_are_those_of_transformers_own_forward_pass(
    vocabulary, stream, family, precision, tolerance
):
    shape = dict(family=family, width=64, heads=2, intermediate=128, initializer_range=0.1)
    model = build_model(shape, layers=3, vocabulary=vocabulary, max_length=64).eval()
    batch = batch_to_device(
        batch_at(stream, vocabulary, seed=0, step=0, batch=8, length=64, mask_rate=0.3), CUDA
    )
    reference = copy.deepcopy(model).double()
    with torch.no_grad():
        expected = reference(input_ids=batch.input_ids.cpu()).logits
        expected = expected.gather(
            1, batch.positions.cpu()[:, :, None].expand(-1, -1, expected.shape[-1])
        ).flatten(0, 1)
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            actual = logits_at(model.to(CUDA), batch.input_ids, batch.positions)
    assert off_by(actual, expected) < tolerance


def curve(folder):
    return pd.read_csv(folder / "history.csv")


def test_a_float32_run_follows_the_cpu(study, tmp_path):
    run = resolve("normal", 0, study)
    for device in ("cpu", "cuda"):
        pretrain(run, directory=tmp_path / device, device=device)
    cpu, cuda = (curve(tmp_path / device) for device in ("cpu", "cuda"))
    for column in ("hard", "soft", "heldout_loss", "gradient_norm"):
        pairs = zip(cpu[column].dropna(), cuda[column].dropna(), strict=True)
        for ours, theirs in pairs:
            assert theirs == pytest.approx(ours, rel=1e-3), column


def test_a_bfloat16_run_stays_close_to_float32(study, tmp_path):
    run = resolve("normal", 0, study)
    for precision in ("fp32", "bf16"):
        pretrain(changed(run, precision=precision), directory=tmp_path / precision, device="cuda")
    fp32, bf16 = (curve(tmp_path / p).hard.iloc[-1] for p in ("fp32", "bf16"))
    assert fp32 != bf16
    assert bf16 == pytest.approx(fp32, rel=0.02)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_run_twice_gives_the_same_bytes(study, tmp_path, precision):
    run = changed(resolve("normal", 0, study), precision=precision)
    for name in ("first", "second"):
        pretrain(run, directory=tmp_path / name, device="cuda")
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stopped_run_ends_with_the_same_bytes(study, tmp_path, monkeypatch, precision):
    run = changed(resolve("normal", 0, study), precision=precision, checkpoint_every=5)
    pretrain(run, directory=tmp_path / "whole", device="cuda")
    step = training._Trainer._train_step

    def stop(trainer, at, *args, **kwargs):
        if at == 13:
            raise KeyboardInterrupt
        return step(trainer, at, *args, **kwargs)

    monkeypatch.setattr(training._Trainer, "_train_step", stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain(run, directory=tmp_path / "stopped", device="cuda")
    monkeypatch.undo()
    pretrain(run, directory=tmp_path / "stopped", device="cuda")
    assert bytes_of(tmp_path / "stopped") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_cold_a_warm_and_no_teacher_cache_give_the_same_bytes(study, tmp_path, precision):
    run = changed(resolve("normal", 0, study), precision=precision, steps=60)
    hits = {}
    for name, teacher in (("none", "off"), ("cold", "auto"), ("warm", "auto")):
        each = replace(run, cache={"teacher": teacher, "limit_gb": 1.0})
        hits[name] = pretrain(each, directory=tmp_path / name, device="cuda")["teacher_cache"]
        if name == "none":
            shutil.rmtree(study.root / "build" / "cache", ignore_errors=True)
    assert (hits["cold"]["hits"], hits["warm"]["hits"]) == (0, 60)
    assert bytes_of(tmp_path / "none") == bytes_of(tmp_path / "cold") == bytes_of(tmp_path / "warm")


@pytest.mark.parametrize("precision, tolerance", [("fp32", 1e-4), ("bf16", 2e-2)])
def test_a_compiled_step_is_an_eager_one(vocabulary, stream, precision, tolerance):
    shape = dict(family="distilbert", width=64, heads=2, intermediate=128, initializer_range=0.1)
    train = dict(learning_rate=1e-3, betas=(0.9, 0.98), weight_decay=0.01, clip=1.0,
                 accumulate=1, precision=precision)  # fmt: skip
    actual = []
    for compiled in (False, True):
        student, teacher = (
            build_model(shape, layers=n, vocabulary=vocabulary, max_length=64, seed=n)
            for n in (3, 2)
        )
        made = Distiller(student, teacher.eval().requires_grad_(False), train=train, device=CUDA)
        losses = []
        for step in range(5):
            batch = batch_to_device(
                batch_at(stream, vocabulary, seed=0, step=step, batch=8, length=64, mask_rate=0.3),
                CUDA,
            )
            if compiled and step == 0:
                for which in ("student", "teacher"):
                    made.compile(which, batch)
                assert made.compiled == {"student", "teacher"}
            batch = batch._replace(teacher_hidden=made.teacher_hidden(batch))
            losses.append(made.step(batch, learning_rate=1e-3).loss.total.item())
        actual.append(losses)
    assert all(map(math.isfinite, actual[0]))
    assert actual[1] == pytest.approx(actual[0], rel=tolerance)
