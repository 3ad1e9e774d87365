"""dwt/training/checkpoint.py: a finished run is found again, but never where another one was asked for."""

import shutil

import pytest
import torch

from dwt.training import checkpoint as record
from dwt.training.checkpoint import finished, kept_at, publish


class Saved:
    """What `publish` needs of a model and of a tokenizer."""

    def save_pretrained(self, folder):
        (folder / "model.safetensors").write_bytes(b"weights")


def published(folder, kept=None):
    state = folder.parent / "state"
    given = dict(model=Saved(), tokenizer=Saved(), rows=[{"step": 1}], timing=[{"step": 1}])
    content = {"digest": "abc", "arm": "normal", "seed": 0}
    return publish(folder, content, **given, state=state, kept=kept)


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_run_whose_folder_was_emptied_comes_back_with_the_same_bytes(tmp_path):
    folder, kept = tmp_path / "run", tmp_path / "kept"
    content = published(folder, kept)
    before = files(folder)
    (folder / "model.safetensors").write_bytes(b"edited in place")
    (folder / "run.json").unlink()
    assert finished(folder, "abc", kept) == content
    assert files(folder) == before


def test_nothing_is_found_of_a_run_that_is_not_done_or_of_other_settings(tmp_path):
    assert finished(tmp_path / "run", "abc", None) is None
    assert finished(tmp_path / "run", "abc", tmp_path / "kept") is None
    published(tmp_path / "run")
    assert finished(tmp_path / "run", "other", tmp_path / "kept") is None
    assert finished(tmp_path / "run", "abc", None)["arm"] == "normal"


def test_what_was_half_copied_when_killed_is_not_found(tmp_path, monkeypatch):
    whole = shutil.copytree

    def killed(*given, **how):
        whole(*given, **how)
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copytree", killed)
    with pytest.raises(KeyboardInterrupt):
        published(tmp_path / "run", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_run_is_kept_by_settings_code_pytorch_and_kind_of_device(tmp_path, monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    places = [kept_at(tmp_path, "abc", cpu), kept_at(tmp_path, "xyz", cpu)]
    places.append(kept_at(tmp_path, "abc", cuda))
    for module, name, value in ((torch, "__version__", "0.1"), (record, "CODE", "other")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            places.append(kept_at(tmp_path, "abc", cpu))
    assert len({*places}) == 5
    assert kept_at(tmp_path, "abc", cpu) == places[0]


def test_the_code_is_known_by_its_statements_as_they_were_when_it_was_imported(monkeypatch):
    statements = record.statements
    monkeypatch.setattr(record, "statements", lambda source: statements(source + "\n# new"))
    assert record.code_digest() == record.CODE
    monkeypatch.setattr(record, "statements", lambda source: statements(source + "\nNEW = 1"))
    assert record.code_digest() != record.CODE
