"""How is a dataset of the Hugging Face hub read?"""

from functools import partial
from pathlib import Path

import datasets

from dwt.data.files import CorpusError, row, text_column

DATASET_KEYS = ("path", "name", "split", "revision")


def read_hub(settings, root):
    """Documents are rows of `load_dataset(path, name, split=..., revision=...)`."""
    kept_out = settings["out_of_domain"]
    if not isinstance(kept_out, dict) or not {"path", "split"} <= set(kept_out):
        raise CorpusError("corpus.out_of_domain: give path and split (and name, revision, column)")
    kept_out = {"column": settings.get("column", "text")} | kept_out
    text = open_hub(settings, "corpus", root, streaming=False)
    out_of_domain = open_hub(kept_out, "corpus.out_of_domain", root, streaming=False)
    card = {
        "source": "hub",
        "licence": "that of the dataset, on its page",
        "dataset": dataset(settings),
        "out_of_domain": dataset(kept_out),
    }
    return text, out_of_domain, card


def dataset(settings):
    """What names a hub dataset, of a section of settings."""
    return {key: settings[key] for key in DATASET_KEYS if settings.get(key)}


def open_hub(settings, key, root, *, streaming=None):
    """A function that starts to read one split of a hub dataset, or of a local folder.

    Streamed, a split is neither in memory nor on disk; a slice of one ("train[:1000]") cannot be
    streamed, and is downloaded and cached by `datasets`.
    """
    path, split, column = settings["path"], settings["split"], settings.get("column", "text")
    streaming = "[" not in split if streaming is None else streaming
    where = f"{key}.path: {path!r}"
    try:
        rows = datasets.load_dataset(
            str(root / path) if (root / path).exists() else path, settings.get("name"),
            split=split, revision=settings.get("revision"), streaming=streaming,
        )  # fmt: skip
    except Exception as error:  # whatever the hub, the network or the split string raises
        raise CorpusError(
            f"{where} could not be loaded "
            f"({type(error).__name__}: {error}). Check path, name and split; without a network, "
            "download it once where there is one, or use `source: files`"
        ) from error
    if rows.column_names and column not in rows.column_names:
        raise CorpusError(
            f"{key}.column: no column {column!r}; the dataset has {', '.join(rows.column_names)}"
        )
    return partial(_hub_rows, rows, column, Path(path).name, where)


def _hub_rows(rows, column, name, where):
    """Rows of a dataset; what breaks off in the middle says that the work so far is kept."""
    number = 0
    try:
        for text in text_column(rows.select_columns([column]), column, where):
            yield row(name, text)
            number += 1
    except CorpusError:
        raise
    except Exception as error:  # whatever the hub, the network or a damaged file raises
        raise CorpusError(
            f"{where} broke off after {number} documents ({type(error).__name__}: {error}). "
            "What is tokenised is kept: run it again when the dataset can be reached, or download "
            "it whole where there is a network and use files"
        ) from error
    if not number:
        raise CorpusError(f"{where} is empty: it holds no text")
