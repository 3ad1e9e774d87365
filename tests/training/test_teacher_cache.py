"""dwt/training/teacher_cache.py: never used when wrong, never in the way of training."""

import errno
import os
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from dwt.training import teacher_cache as caching
from dwt.training.teacher_cache import STEPS_PER_FILE, TeacherCache

N, D = 6, 4


def states(step):
    return torch.full((N, D), float(step)) + torch.arange(D)


def opened(root, *, key="one", steps=2 * STEPS_PER_FILE, limit_bytes=1e6):
    return TeacherCache(
        root, key=key, steps=steps, shape=(N, D), dtype=torch.float32, limit_bytes=limit_bytes
    )


def walk(cache, *, first=0):
    """What a run does; the steps that the cache could answer."""
    known = []
    for step in range(first, cache.steps):
        actual = cache.get(step)
        if actual is None:
            cache.put(step, states(step), seconds=0.25)
        else:
            assert torch.equal(actual, states(step))
            known.append(step)
    return known


def first_file(root):
    return min(root.glob("*/*.safetensors"))


def test_what_one_run_stored_the_next_one_reads(tmp_path):
    assert walk(first := opened(tmp_path)) == []
    assert walk(second := opened(tmp_path)) == list(range(2 * STEPS_PER_FILE))
    size = 2 * STEPS_PER_FILE * N * D * 4
    assert tuple(first.report().values()) == (0, 2 * STEPS_PER_FILE, 0, size, 0.0)
    saved = 2 * STEPS_PER_FILE * 0.25
    assert tuple(second.report().values()) == (2 * STEPS_PER_FILE, 0, size, 0, saved)


def test_another_key_shares_nothing(tmp_path):
    walk(opened(tmp_path))
    assert walk(opened(tmp_path, key="two")) == []


def test_the_last_span_may_be_short_and_a_longer_run_replaces_it(tmp_path):
    walk(opened(tmp_path, steps=STEPS_PER_FILE + 3))
    assert walk(opened(tmp_path, steps=STEPS_PER_FILE + 3)) == list(range(STEPS_PER_FILE + 3))
    assert walk(opened(tmp_path, steps=STEPS_PER_FILE + 9)) == list(range(STEPS_PER_FILE))
    assert walk(opened(tmp_path, steps=STEPS_PER_FILE + 9)) == list(range(STEPS_PER_FILE + 9))
    assert walk(opened(tmp_path, steps=5)) == list(range(5))


def test_a_run_taken_up_inside_a_span_stores_whole_spans_only(tmp_path):
    walk(opened(tmp_path), first=7)
    assert walk(opened(tmp_path)) == list(range(STEPS_PER_FILE, 2 * STEPS_PER_FILE))


def truncate(file):
    file.write_bytes(file.read_bytes()[:-10])


def flip_a_byte(file):
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def empty(file):
    file.write_bytes(b"")


def of_another_teacher(file):
    walk(opened(file.parents[1], key="two"))
    shutil.copy(file.parents[1] / "two" / file.name, file)


def of_another_shape(file):
    save_file(
        {"hidden": load_file(file)["hidden"][:, :-1].contiguous()}, file,
        metadata={"key": "one", "sha256": "", "seconds": "1"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "damage", [truncate, flip_a_byte, empty, of_another_teacher, of_another_shape]
)
def test_a_damaged_or_foreign_file_is_named_never_used_and_made_anew(tmp_path, damage):
    walk(opened(tmp_path))
    file = tmp_path / "one" / f"{0:08d}.safetensors"
    damage(file)
    with pytest.warns(UserWarning, match=f"{file.name} is not used and made anew"):
        assert walk(opened(tmp_path)) == list(range(STEPS_PER_FILE, 2 * STEPS_PER_FILE))
    assert walk(opened(tmp_path)) == list(range(2 * STEPS_PER_FILE))


def test_a_full_disk_is_reported_once_and_leaves_nothing_behind(tmp_path, monkeypatch):
    calls = []

    def full(tensors, file, metadata):
        calls.append(file)
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(caching, "save_file", full)
    with pytest.warns(UserWarning, match="No space left on device.*training continues") as caught:
        assert walk(opened(tmp_path)) == []
    assert len(caught) == len(calls) == 1
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_folder_that_cannot_be_made_is_no_reason_to_stop(tmp_path):
    (tmp_path / "one").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="cannot be stored"):
        assert walk(opened(tmp_path)) == []


def test_what_does_not_fit_is_not_kept(tmp_path):
    span = STEPS_PER_FILE * N * D * 4
    walk(opened(tmp_path, limit_bytes=1.5 * span))
    assert walk(opened(tmp_path, limit_bytes=1.5 * span)) == list(range(STEPS_PER_FILE))
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.safetensors")) < 1.5 * span


def test_a_cache_that_nobody_uses_makes_room_and_one_in_use_does_not(tmp_path):
    span = STEPS_PER_FILE * N * D * 4
    walk(opened(tmp_path, key="old"))
    walk(opened(tmp_path, key="new", limit_bytes=3 * span))
    assert (tmp_path / "old").is_dir()
    long_ago = time.time() - 2 * caching.EVICT_AFTER_S
    os.utime(tmp_path / "old", (long_ago, long_ago))
    walk(opened(tmp_path, key="new", limit_bytes=3 * span))
    assert not (tmp_path / "old").exists()
    assert walk(opened(tmp_path, key="new")) == list(range(2 * STEPS_PER_FILE))
