"""dwt/data/hub.py: a dataset is read by path, name, split and column."""

import numpy as np
import pandas as pd
import pytest
from small_text import articles, build, file_settings, refusal

from dwt.data import hub as hub_module


@pytest.fixture
def settings(tmp_path):
    return file_settings(tmp_path)


def test_a_hub_dataset_is_read_by_path_name_split_and_column(settings, tmp_path):
    for folder, part in (("news", articles(0, 300)), ("novels", articles(300, 360))):
        (tmp_path / folder / "data").mkdir(parents=True)
        pd.DataFrame({"body": part, "n": range(len(part))}).to_parquet(
            tmp_path / folder / "data" / "train-0.parquet"
        )
    hub = {key: settings[key] for key in ("vocabulary", "heldout")} | {
        "source": "hub", "path": "news", "split": "train", "column": "body",
        "out_of_domain": {"path": "novels", "name": "default", "split": "train[:50%]"},
    }  # fmt: skip
    corpus, files = build(hub, tmp_path), build(settings, tmp_path, "files")
    np.testing.assert_array_equal(corpus.tokens("train"), files.tokens("train"))
    assert corpus.card["splits"]["out-of-domain"]["documents"] == 30
    assert corpus.card["dataset"] == {"path": "news", "split": "train"}
    assert "'text'" in refusal({k: v for k, v in hub.items() if k != "column"}, tmp_path)
    assert "validation" in refusal(hub | {"split": "validation"}, tmp_path)


def test_an_unreachable_hub_dataset_says_what_to_do(settings, tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub_module.datasets, "load_dataset", unreachable)
    part = {"path": "someone/some-text", "split": "train"}
    hub = (
        {key: settings[key] for key in ("vocabulary", "heldout")}
        | {"source": "hub", "out_of_domain": part}
        | part
    )
    message = refusal(hub, tmp_path)
    assert "someone/some-text" in message and "source: files" in message
