"""dwt/evaluation/blimp.py: the benchmark as it is published, read whole or refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SENTENCES
from datasets import Dataset
from transformers import AutoModelForMaskedLM

from dwt.evaluation import blimp as module
from dwt.evaluation.blimp import BlimpError, by_phenomenon, read_blimp
from dwt.evaluation.evaluate import trivial_scores
from dwt.evaluation.zero_shot import blimp_accuracy

SETS = {"wh_island": "island_effects", "adjunct_island": "island_effects", "npi_1": "npi_licensing"}


@pytest.fixture
def rows():
    """Three sets of four pairs, two phenomena, with columns that nobody asked for."""
    made = [
        dict(UID=name, field="syntax", linguistics_term=term, pair_id=str(i),
             sentence_good=f"{SENTENCES[i % 3]} {name} {i}", sentence_bad=f"{name} {i} the text.")
        for i in range(4) for name, term in SETS.items()
    ]  # fmt: skip
    return pd.DataFrame(made)


@pytest.fixture
def file(rows, tmp_path):
    rows.to_parquet(tmp_path / "blimp.parquet")
    return tmp_path / "blimp.parquet"


def test_the_first_pairs_of_every_set_are_taken_whatever_the_order_of_sets(rows, tmp_path, file):
    found = read_blimp("blimp.parquet", pairs=2, root=tmp_path)
    assert found.UID.tolist() == [name for name in sorted(SETS) for _ in range(2)]
    assert [s.rpartition(" ")[2] for s in found.sentence_good] == ["0", "1"] * 3
    rows.sort_values("UID", ascending=False, kind="stable").to_parquet(file)
    pd.testing.assert_frame_equal(read_blimp(str(file), pairs=2), found)


def test_a_folder_of_files_reads_as_one_file_does(rows, tmp_path, file):
    for name, part in rows.groupby("UID"):
        (tmp_path / "sets" / name).mkdir(parents=True)
        part.to_parquet(tmp_path / "sets" / name / "train.parquet")
    found = read_blimp("sets", pairs=3, root=tmp_path)
    pd.testing.assert_frame_equal(found, read_blimp(str(file), pairs=3))


def test_the_hub_is_read_set_by_set(rows, file, monkeypatch):
    """Stands in for the hub, whose dataset has one configuration per set and one split, train."""

    def load(where, name, *, split):
        assert (where, split) == ("nyu-mll/blimp", "train")
        return Dataset.from_pandas(rows[rows.UID == name], preserve_index=False)

    monkeypatch.setattr(module.datasets, "get_dataset_config_names", lambda where: list(SETS))
    monkeypatch.setattr(module.datasets, "load_dataset", load)
    found = read_blimp("nyu-mll/blimp", pairs=4)
    pd.testing.assert_frame_equal(found, read_blimp(str(file), pairs=4))


def test_no_place_means_no_benchmark():
    assert read_blimp(None, pairs=3) is None


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def changed(column, value):
    def change(file):
        rows = pd.read_parquet(file)
        rows.loc[5, column] = value
        rows.to_parquet(file)

    return change


def without(column):
    return lambda file: pd.read_parquet(file).drop(columns=column).to_parquet(file)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.unlink(), "does not exist"),
        (cut, "not a whole parquet file"),
        (lambda file: file.write_text("sentence_good,UID"), "not a whole parquet file"),
        (without("sentence_bad"), "no column sentence_bad"),
        (changed("sentence_good", None), "rows without sentence_good"),
        (changed("linguistics_term", "islands"), "unknown linguistics_term 'islands'; known are"),
        (changed("linguistics_term", "ellipsis"), "under several phenomena"),
        (changed("UID", "new_set"), "has 1 pairs, fewer than 4 asked for by evaluate.blimp_pairs"),
    ],
)
def test_bad_input_is_named_with_what_to_do(file, spoil, said):
    spoil(file)
    with pytest.raises(BlimpError, match=said) as found:
        read_blimp(str(file), pairs=4, name="scales.wiki.evaluate.blimp")
    assert str(found.value).startswith("scales.wiki.evaluate.blimp: ")
    assert "blimp" in str(found.value)


def test_a_hub_that_cannot_be_reached_says_what_to_give_instead(monkeypatch):
    def unreachable(where):
        raise ConnectionError("no route")

    monkeypatch.setattr(module.datasets, "get_dataset_config_names", unreachable)
    with pytest.raises(BlimpError, match="ConnectionError: no route.*give a parquet file"):
        read_blimp("nyu-mll/blimp", pairs=4)


def test_sets_weigh_alike_within_a_phenomenon_and_in_the_benchmark(file):
    found = read_blimp(str(file), pairs=4)
    right = found.UID.map({"wh_island": 1.0, "adjunct_island": 0.5, "npi_1": 0.0}).to_numpy()
    scores = by_phenomenon(found, right)
    assert scores == {
        "BLiMP": (0.5, 12),
        "BLiMP, island_effects": (0.75, 8),
        "BLiMP, npi_licensing": (0.0, 4),
    }


def test_a_model_scores_as_transformers_scores_it_one_sentence_and_token_at_a_time(
    file, model, tokenizer, tmp_path
):
    """The reference knows nothing of this project: whole logits of AutoModelForMaskedLM."""
    model.save_pretrained(tmp_path / "model")
    reference = AutoModelForMaskedLM.from_pretrained(tmp_path / "model").eval()

    @torch.no_grad()
    def score(sentence):
        ids = tokenizer(sentence, return_tensors="pt")["input_ids"]
        total = 0.0
        for place in range(1, ids.shape[1] - 1):
            masked = ids.clone()
            masked[0, place] = tokenizer.mask_token_id
            logits = reference(input_ids=masked).logits[0, place]
            total += logits.double().log_softmax(-1)[ids[0, place]].item()
        return total

    found = read_blimp(str(file), pairs=4)
    margin = found.sentence_good.map(score) - found.sentence_bad.map(score)
    # So that sets mix right and wrong, unequally: some pairs are turned round.
    turn = np.isin(np.arange(len(found)), [0, 4, 5, 6])
    good = np.where(turn, found.sentence_bad, found.sentence_good)
    bad = np.where(turn, found.sentence_good, found.sentence_bad)
    wanted = (np.where(turn, -margin, margin) > 0).astype(float)
    assert 0 < wanted.mean() < 1
    turned = found.assign(sentence_good=good, sentence_bad=bad, wanted=wanted)
    scores = blimp_accuracy(model, tokenizer, turned)
    per_set = turned.groupby(["linguistics_term", "UID"]).wanted.mean()
    assert scores["BLiMP"] == (pytest.approx(per_set.mean()), 12)
    for term, score_of_term in per_set.groupby("linguistics_term").mean().items():
        assert scores[f"BLiMP, {term}"][0] == pytest.approx(score_of_term)


def test_chance_is_a_half_for_the_benchmark_and_every_phenomenon(file):
    scores = trivial_scores({}, [], read_blimp(str(file), pairs=4)).set_index("task")
    assert scores.score.to_dict() == {
        "BLiMP": 0.5, "BLiMP, island_effects": 0.5, "BLiMP, npi_licensing": 0.5,
    }  # fmt: skip
    assert scores.examples["BLiMP"] == 12
    assert set(scores.metric) == {"minimal-pair accuracy"}
