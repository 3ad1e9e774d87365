"""Reads a dataset of the Hugging Face hub, or of a local folder, as a stream of documents."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import datasets

from dwt.config.corpus import Text
from dwt.data.documents import CorpusError, Document, Stream, documents, text_column


def open_hub(text: Text, key: str, root: Path, *, streaming: bool) -> Stream:
    """Open one split of a dataset; a document is a row of its text column.

    A slice of a split ("train[:1000]") cannot be streamed; it is downloaded.
    """
    where = f"{key}.path: {text.path!r}"
    try:
        rows = datasets.load_dataset(
            str(root / text.path) if (root / text.path).exists() else text.path, text.name,
            split=text.split, revision=text.revision, streaming=streaming and "[" not in text.split,
        )  # fmt: skip
    except Exception as error:  # whatever the hub, the network or the split string raises
        raise CorpusError(
            f"{where} could not be loaded ({type(error).__name__}: {error}). Check path, name and "
            "split; without a network, download it where there is one and use `source: files`"
        ) from error
    if rows.column_names and text.column not in rows.column_names:
        found = f"the dataset has {', '.join(rows.column_names)}"
        raise CorpusError(f"{key}.column: no column {text.column!r}; {found}")
    return partial(_documents, rows, text.column, Path(text.path).name, where)


def _documents(rows, column: str, name: str, where: str) -> Iterator[Document]:
    number = 0
    try:
        texts = text_column(rows.select_columns([column]), column, where)
        for read in documents(texts, name, where):
            yield read
            number += 1
    except CorpusError:
        raise
    except Exception as error:  # whatever the hub, the network or a damaged file raises
        raise CorpusError(
            f"{where} broke off after {number} documents ({type(error).__name__}: {error}). "
            "Finished shards are kept: run it again when the dataset can be reached, or download "
            "it whole and use files"
        ) from error
