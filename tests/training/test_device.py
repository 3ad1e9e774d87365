import threading

import numpy as np
import pytest
import torch

from dwt.training.device import (
    COMPILING_PAYS,
    cores,
    prefetch,
    set_threads,
    should_compile,
    to_device,
)


def test_steps_come_in_order_and_the_next_one_is_drawn_meanwhile():
    drawn, second = [], threading.Event()

    def draw(step):
        drawn.append(step)
        if step == 4:
            second.set()
        return 10 * step

    seen = []
    for step, value in prefetch(draw, 3, 7):
        if step == 3:
            assert second.wait(5)  # step 4 is drawn while step 3 is in use
        seen.append((step, value))
    assert seen == [(3, 30), (4, 40), (5, 50), (6, 60)]
    assert drawn == [3, 4, 5, 6]


def test_a_fault_while_drawing_reaches_the_loop():
    with pytest.raises(ZeroDivisionError):
        list(prefetch(lambda step: 1 // (2 - step), 0, 5))


def test_no_step_left_means_nothing_is_drawn():
    assert list(prefetch(lambda step: pytest.fail("drawn"), 5, 5)) == []


def test_threads_are_a_number_or_the_cores_there_are():
    before = torch.get_num_threads()
    try:
        set_threads(1)
        assert torch.get_num_threads() == 1
        set_threads("auto")
        assert torch.get_num_threads() == cores() >= 1
    finally:
        torch.set_num_threads(before)


def test_compiling_is_decided_by_work_and_compiler_alone(monkeypatch):
    monkeypatch.setattr("dwt.training.device.has_compiler", lambda device: True)
    enough = COMPILING_PAYS["cpu"]
    assert should_compile("auto", flops=enough, device="cpu")
    assert not should_compile("auto", flops=enough - 1, device="cpu")
    assert should_compile("on", flops=1, device="cpu")
    assert not should_compile("off", flops=enough, device="cpu")
    assert not should_compile("auto", flops=enough, device="an unknown device")


def test_without_a_compiler_auto_stays_eager(monkeypatch):
    monkeypatch.setattr("dwt.training.device.shutil.which", lambda name: None)
    assert not should_compile("auto", flops=1e30, device="cpu")


def test_an_array_keeps_its_values_on_the_way_to_a_device():
    array = np.arange(6).reshape(2, 3)
    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        assert to_device(array, device).cpu().tolist() == array.tolist()
