import numpy as np
import pytest

from dwt.training.batches import batch_at, masked_per_sequence, sequences_in

SETTINGS = dict(batch=8, length=32, mask_rate=0.3)


def draw(stream, vocabulary, step, **changes):
    return batch_at(stream, vocabulary, **{"seed": 0, "step": step, **SETTINGS, **changes})


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def truth_of(batch):
    truth = batch.input_ids.copy()
    np.put_along_axis(truth, batch.positions, batch.targets, axis=1)
    return truth


def test_step_k_is_the_same_drawn_alone_or_in_sequence(stream, vocabulary):
    in_sequence = [draw(stream, vocabulary, step) for step in range(30)]
    assert same(draw(stream.copy(), vocabulary, 29), in_sequence[29])
    assert not same(in_sequence[28], in_sequence[29])


def test_two_processes_together_see_what_one_sees(stream, vocabulary):
    whole = draw(stream, vocabulary, 5)
    halves = [draw(stream, vocabulary, 5, rank=rank, world=2) for rank in (0, 1)]
    for all_rows, *parts in zip(whole, *halves, strict=True):
        woven = np.empty_like(all_rows)
        woven[0::2], woven[1::2] = parts
        assert np.array_equal(woven, all_rows)


def test_seeds_differ_in_order_and_in_masks(stream, vocabulary):
    first, second = draw(stream, vocabulary, 0), draw(stream, vocabulary, 0, seed=1)
    assert not np.array_equal(truth_of(first), truth_of(second))
    assert not np.array_equal(first.positions, second.positions)


def test_an_epoch_reads_every_sequence_once_and_the_next_in_another_order(stream, vocabulary):
    n = sequences_in(stream, 32)
    epochs = []
    for start in (0, n):  # batches of one: step = place in the stream of epochs
        rows = [truth_of(draw(stream, vocabulary, start + i, batch=1))[0, 1:-1] for i in range(n)]
        epochs.append([row.tobytes() for row in rows])
    expected = sorted(stream[i * 30 : (i + 1) * 30].astype(np.int64).tobytes() for i in range(n))
    assert sorted(epochs[0]) == sorted(epochs[1]) == expected
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(("length", "rate"), [(32, 0.3), (32, 0.15), (16, 0.5), (8, 0.01)])
def test_every_sequence_has_exactly_the_rounded_number_of_masks(stream, vocabulary, length, rate):
    batch = draw(stream, vocabulary, 3, length=length, mask_rate=rate)
    assert batch.positions.shape == (8, max(1, round(rate * length)))
    assert masked_per_sequence(length, rate) == batch.positions.shape[1]
    assert all(len(set(row)) == len(row) for row in batch.positions)


def test_special_tokens_are_never_masked_nor_put_in(stream, vocabulary):
    for step in range(20):
        batch = draw(stream, vocabulary, step)
        assert not np.isin(batch.targets, vocabulary.special).any()
        shown = np.take_along_axis(batch.input_ids, batch.positions, axis=1)
        assert np.isin(shown, [vocabulary.mask, *vocabulary.ordinary]).all()
        assert (batch.input_ids[:, 0] == vocabulary.cls).all()
        assert (batch.input_ids[:, -1] == vocabulary.sep).all()


def test_masked_tokens_become_80_10_10_within_sampling_error(stream, vocabulary):
    shown, targets = [], []
    for step in range(100):
        batch = draw(stream, vocabulary, step)
        shown.append(np.take_along_axis(batch.input_ids, batch.positions, axis=1))
        targets.append(batch.targets)
    shown, targets = np.concatenate(shown), np.concatenate(targets)
    n = shown.size
    masked, kept = (shown == vocabulary.mask).mean(), (shown == targets).mean()
    # A random token is the true one once in 95: kept is 10 % and a 95th of the random 10 %.
    for share, expected in ((masked, 0.8), (kept, 0.1 + 0.1 / 95)):
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_positions_are_masked_equally_often(stream, vocabulary):
    counts = np.zeros(32)
    for step in range(200):
        np.add.at(counts, draw(stream, vocabulary, step).positions.ravel(), 1)
    assert counts[0] == counts[-1] == 0
    inner = counts[1:-1]
    assert abs(inner - inner.mean()).max() < 5 * np.sqrt(inner.mean())


def test_unmasked_tokens_are_the_text(stream, vocabulary):
    batch = draw(stream, vocabulary, 0, shuffle=False)
    assert np.array_equal(truth_of(batch)[0, 1:-1], stream[:30])


def test_too_little_text_is_refused_with_both_numbers(stream, vocabulary):
    with pytest.raises(ValueError, match=r"200 tokens are 6 sequences.*batch of 8"):
        draw(stream[:200], vocabulary, 0)


def test_a_sequence_of_special_tokens_is_refused(stream, vocabulary):
    with pytest.raises(ValueError, match="fewer than 10 ordinary tokens"):
        draw(np.full(1000, 3, dtype=np.uint16), vocabulary, 0)
