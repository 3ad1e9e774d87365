import json
from types import SimpleNamespace

import pytest
import torch

from dwt.training.checkpoint import load_finished_run, load_state, save_run, save_state


class Saved:
    """What `save_run` needs of a model and of a tokenizer."""

    config = SimpleNamespace(max_position_embeddings=8)

    def __init__(self, content=b"weights"):
        self.content = content

    def save_pretrained(self, folder):
        (folder / "model.safetensors").write_bytes(self.content)


def save(folder, digest="abc", model=None):
    record = {"digest": digest, "arm": "normal", "seed": 0}
    rows = [{"step": 1, "hard": 4.5}]
    return save_run(
        folder, record, model=model or Saved(), tokenizer=Saved(), rows=rows, timing=rows,
        state=folder.parent / "state",
    )  # fmt: skip


def test_a_saved_run_is_found_by_its_digest_only(tmp_path):
    assert load_finished_run(tmp_path / "run", "abc") is None
    record = save(tmp_path / "run")
    assert load_finished_run(tmp_path / "run", "abc") == record
    assert record["versions"]["torch"] == torch.__version__
    assert load_finished_run(tmp_path / "run", "another") is None


def test_a_saved_run_replaces_the_older_one_whole(tmp_path):
    save(tmp_path / "run", digest="old")
    (tmp_path / "run" / "of-the-old-run.txt").write_text("")
    save(tmp_path / "run", digest="new")
    assert load_finished_run(tmp_path / "run", "old") is None
    assert not (tmp_path / "run" / "of-the-old-run.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_failure_while_saving_leaves_the_older_run_and_the_state(tmp_path):
    class Full(Saved):
        def save_pretrained(self, folder):
            raise OSError("no space left on the disk")

    record = save(tmp_path / "run")
    save_state(tmp_path / "state", {"step": 7})
    with pytest.raises(OSError, match="no space"):
        save(tmp_path / "run", digest="new", model=Full())
    assert load_finished_run(tmp_path / "run", "abc") == record
    assert load_state(tmp_path / "state", "cpu") == {"step": 7}


def test_checkpoints_move_into_the_run_and_the_state_is_deleted(tmp_path):
    save_state(tmp_path / "state", {"step": 7})
    checkpoint = tmp_path / "state" / "checkpoints" / "checkpoint-5"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"earlier weights")
    save(tmp_path / "run")
    saved = tmp_path / "run" / "checkpoint-5" / "model.safetensors"
    assert saved.read_bytes() == b"earlier weights"
    assert not (tmp_path / "state").exists()


def test_columns_that_no_row_has_are_written_empty(tmp_path):
    save(tmp_path / "run")
    header, row = (tmp_path / "run" / "history.csv").read_text().splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    assert values.pop("step") == "1" and values.pop("hard") == "4.5"
    assert {*values.values()} == {""}


def test_a_state_is_replaced_only_when_the_next_one_is_whole(tmp_path, monkeypatch):
    assert load_state(tmp_path, "cpu") is None
    save_state(tmp_path, {"step": 1, "model": {"w": torch.ones(2)}})

    def dies(state, file):
        file.write(b"half a state")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch, "save", dies)
        save_state(tmp_path, {"step": 2})
    assert load_state(tmp_path, "cpu")["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]
    save_state(tmp_path, {"step": 3})
    assert load_state(tmp_path, "cpu") == {"step": 3}


def test_run_json_is_valid_json_of_the_record(tmp_path):
    assert save(tmp_path / "run") == json.loads((tmp_path / "run" / "run.json").read_text())
