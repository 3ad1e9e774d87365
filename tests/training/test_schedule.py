import numpy as np
import pytest

from dwt.training.schedule import gap_left, learning_rate_at, weight_at


def test_a_number_is_a_constant_weight():
    assert [weight_at(4, p) for p in (0.0, 0.5, 1.0)] == [4.0, 4.0, 4.0]


@pytest.mark.parametrize("shape", ["linear", "cosine", "exponential", "step"])
def test_every_schedule_starts_at_from_and_stays_at_to(shape):
    spec = {"from": 4.0, "to": 1.0, "shape": shape, "until": 0.5}
    assert weight_at(spec, 0.0) == 4.0
    assert weight_at(spec, 0.5) == weight_at(spec, 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("shape", "half"), [("linear", 2.5), ("cosine", 2.5), ("exponential", 2.0), ("step", 4.0)]
)
def test_half_way_each_shape_has_its_closed_form(shape, half):
    assert weight_at({"from": 4.0, "to": 1.0, "shape": shape}, 0.5) == pytest.approx(half)


def test_a_wrong_shape_or_progress_is_refused():
    with pytest.raises(ValueError, match="linear, cosine, exponential, step or adaptive"):
        weight_at({"from": 4.0, "to": 1.0, "shape": "cubic"}, 0.5)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        weight_at(1.0, 1.5)


@pytest.mark.parametrize("key", ["from", "to"])
def test_a_schedule_without_an_end_is_refused_by_name(key):
    spec = {"from": 4.0, "to": 1.0}
    del spec[key]
    with pytest.raises(ValueError, match=f"'{key}' is missing"):
        weight_at(spec, 0.5)


def test_an_adaptive_weight_follows_the_gap_and_not_the_clock():
    spec = {"from": 4.0, "to": 1.0, "shape": "adaptive"}
    assert [weight_at(spec, p, 0.5) for p in (0.0, 0.9)] == [2.5, 2.5]
    assert [weight_at(spec, 0.5, gap) for gap in (1.0, 0.0)] == [4.0, 1.0]


def test_the_gap_that_is_left_never_rises():
    assert gap_left([6.0], 4.0) == 1.0
    assert gap_left([6.0, 5.0], 4.0) == 0.5
    assert gap_left([6.0, 5.0, 5.5], 4.0) == 0.5
    assert gap_left([6.0, 3.9, 5.5], 4.0) == 0.0
    assert gap_left([3.5, 3.4], 4.0) == 0.0  # ahead from the start: nothing to learn


def test_learning_rate_rises_to_its_peak_and_falls_to_nearly_zero():
    train = dict(steps=100, warmup=0.1, learning_rate=2.0)
    rates = [learning_rate_at(train, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[9] == pytest.approx(2.0)
    assert rates[-1] == pytest.approx(2.0 / 90)
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
