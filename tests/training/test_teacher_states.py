import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import bytes_of, changed

from dwt.config.params import resolve
from dwt.training import train as training
from dwt.training.train import pretrain


@pytest.fixture
def project(study, tmp_path):
    """Runs of the study in a copy of its folder that has no cache yet."""
    root = tmp_path / "project"
    shutil.copytree(study.root, root, ignore=shutil.ignore_patterns("build"))
    return lambda arm: replace(resolve(arm, 0, study), root=root)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_training_with_a_cold_a_warm_and_no_teacher_cache_gives_the_same_bytes(
    project, tmp_path, temperature
):
    run = changed(project("4-to-1"), steps=120)  # more than two files of the cache
    run = replace(run, temperature=temperature)
    reports = {}
    for name, teacher in (("none", "off"), ("cold", "auto"), ("warm", "auto")):
        each = replace(run, cache={"teacher": teacher, "limit_gb": 1.0})
        reports[name] = pretrain(each, directory=tmp_path / name)["teacher_cache"]
    assert bytes_of(tmp_path / "none") == bytes_of(tmp_path / "cold") == bytes_of(tmp_path / "warm")
    assert reports["none"] is None
    assert (reports["cold"]["hits"], reports["cold"]["misses"]) == (0, 120)
    assert (reports["warm"]["hits"], reports["warm"]["misses"]) == (120, 0)
    assert reports["warm"]["bytes_read"] == reports["cold"]["bytes_written"] > 0
    assert reports["warm"]["seconds_saved"] >= 0


def test_students_of_one_teacher_share_its_states_and_those_of_another_do_not(project, tmp_path):
    runs = {arm: project(arm) for arm in ("normal", "strong", "remapped")}
    runs["other masks"] = changed(project("normal"), mask_rate=0.2)
    hits = {
        name: pretrain(run, directory=tmp_path / name)["teacher_cache"]["hits"]
        for name, run in runs.items()
    }
    assert hits == {"normal": 0, "strong": 20, "remapped": 20, "other masks": 0}


def test_a_damaged_cache_changes_no_byte_of_the_run(project, tmp_path):
    run = project("normal")
    pretrain(run, directory=tmp_path / "good")
    for file in (run.root / "build" / "cache").rglob("*.safetensors"):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    with pytest.warns(UserWarning, match="made anew"):
        pretrain(run, directory=tmp_path / "damaged")
    assert bytes_of(tmp_path / "good") == bytes_of(tmp_path / "damaged")


def test_shuffled_contexts_permute_the_teachers_states_by_seed_and_step(project):
    states = {}
    for context in (None, "shuffled"):
        trainer = training._Trainer(
            replace(project("normal"), context=context), torch.device("cpu")
        )
        batches = [trainer.teacher_states.add_to(trainer._draw(step), step) for step in (0, 0, 1)]
        states[context] = [batch.teacher_hidden for batch in batches]
    first, again, second = states["shuffled"]
    assert torch.equal(first, again)
    assert not torch.equal(first, states[None][0])
    for shuffled, own in ((first, states[None][0]), (second, states[None][2])):
        rows = [tensor[np.lexsort(tensor.T.numpy())] for tensor in (shuffled, own)]
        torch.testing.assert_close(*rows, rtol=0, atol=0)


def test_a_run_with_shuffled_contexts_records_it_and_learns_otherwise(project, tmp_path):
    shuffled = replace(project("normal"), context="shuffled")
    assert pretrain(shuffled, directory=tmp_path / "shuffled")["context"] == "shuffled"
    pretrain(project("normal"), directory=tmp_path / "own")
    assert bytes_of(tmp_path / "shuffled") != bytes_of(tmp_path / "own")
