"""dwt/evaluation/blimp.py: the benchmark as published; malformed files are refused."""

import datasets
import pandas as pd
import pytest
from conftest import SENTENCES

from dwt.evaluation.blimp import by_phenomenon, read_blimp
from dwt.evaluation.evaluate import trivial_scores
from dwt.evaluation.sources import BenchmarkError

SETS = {"wh_island": "island_effects", "adjunct_island": "island_effects", "npi_1": "npi_licensing"}


@pytest.fixture
def rows():
    """Three sets of four pairs, two phenomena, with further columns."""
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


def test_the_first_pairs_of_every_set_are_read_in_any_order_of_sets(rows, tmp_path, file):
    blimp = read_blimp("blimp.parquet", pairs=2, root=tmp_path)
    assert blimp.UID.tolist() == [name for name in sorted(SETS) for _ in range(2)]
    assert [s.rpartition(" ")[2] for s in blimp.sentence_good] == ["0", "1"] * 3
    rows.sort_values("UID", ascending=False, kind="stable").to_parquet(file)
    pd.testing.assert_frame_equal(read_blimp(str(file), pairs=2), blimp)


def test_a_folder_of_files_reads_as_one_file_does(rows, tmp_path, file):
    for name, part in rows.groupby("UID"):
        (tmp_path / "sets" / name).mkdir(parents=True)
        part.to_parquet(tmp_path / "sets" / name / "train.parquet")
    blimp = read_blimp("sets", pairs=3, root=tmp_path)
    pd.testing.assert_frame_equal(blimp, read_blimp(str(file), pairs=3))


def test_the_hub_is_read_set_by_set(rows, file, monkeypatch):
    """Stands in for the hub, whose dataset has one configuration per set and one split, train."""

    def load(where, name, *, split):
        assert (where, split) == ("nyu-mll/blimp", "train")
        return datasets.Dataset.from_pandas(rows[rows.UID == name], preserve_index=False)

    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda where: list(SETS))
    monkeypatch.setattr(datasets, "load_dataset", load)
    blimp = read_blimp("nyu-mll/blimp", pairs=4)
    pd.testing.assert_frame_equal(blimp, read_blimp(str(file), pairs=4))


def test_no_source_gives_none():
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
    ("corrupt", "message"),
    [
        (lambda file: file.unlink(), "does not exist"),
        (cut, "not a valid parquet file"),
        (lambda file: file.write_text("sentence_good,UID"), "not a valid parquet file"),
        (without("sentence_bad"), "no column sentence_bad"),
        (changed("sentence_good", None), "column sentence_good: 1 of 12 rows are empty"),
        (changed("linguistics_term", "islands"), "unknown linguistics_term 'islands'; known are"),
        (changed("linguistics_term", "ellipsis"), "under several phenomena"),
        (changed("UID", "new_set"), "_pairs: 4 is more than the 1 pairs of the set 'new_set'"),
    ],
)
def test_malformed_files_are_refused(file, corrupt, message):
    corrupt(file)
    with pytest.raises(BenchmarkError, match=f"^evaluate.blimp.*{message}"):
        read_blimp(str(file), pairs=4)


def test_an_unreachable_hub_names_the_alternative(monkeypatch):
    def unreachable(where):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "get_dataset_config_names", unreachable)
    with pytest.raises(BenchmarkError, match="ConnectionError: no route.*give a parquet file"):
        read_blimp("nyu-mll/blimp", pairs=4)


def test_accuracies_are_means_over_sets(file):
    blimp = read_blimp(str(file), pairs=4)
    right = blimp.UID.map({"wh_island": 1.0, "adjunct_island": 0.5, "npi_1": 0.0}).to_numpy()
    scores = by_phenomenon(blimp, right)
    assert scores == {
        "BLiMP": (0.5, 12),
        "BLiMP, island_effects": (0.75, 8),
        "BLiMP, npi_licensing": (0.0, 4),
    }


def test_chance_is_a_half_for_the_benchmark_and_every_phenomenon(file):
    scores = trivial_scores({}, [], read_blimp(str(file), pairs=4)).set_index("task")
    assert scores.score.to_dict() == {
        "BLiMP": 0.5, "BLiMP, island_effects": 0.5, "BLiMP, npi_licensing": 0.5,
    }  # fmt: skip
    assert scores.examples["BLiMP"] == 12
    assert set(scores.metric) == {"minimal-pair accuracy"}
