"""Reads text files (.txt, .txt.xz, .jsonl, .parquet) as streams of documents."""

import glob
import json
import lzma
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow
from pyarrow import parquet

from dwt.data.documents import CorpusError, Document, Stream, documents, text_column

SUFFIXES = (".txt", ".txt.xz", ".jsonl", ".parquet")
DOCUMENT_MB = 16  # text without blank lines is cut here, to bound memory


def open_files(patterns: list[str], key: str, root: Path, *, column: str) -> tuple[list, Stream]:
    """The files that paths and globs name, and a stream of their documents.

    A document is a block between blank lines (.txt, .txt.xz) or a row of `column` (.jsonl,
    .parquet). Damage inside a file is found while it is read.
    """
    paths: list[Path] = []
    for pattern in patterns:
        found = sorted(root / p for p in glob.glob(pattern, root_dir=root, recursive=True))
        if not found:
            problem = "matches no file" if glob.has_magic(pattern) else "does not exist"
            raise CorpusError(f"{key}: {pattern!r} {problem} (paths start from the project root)")
        paths += found
    for path in paths:
        if not path.name.endswith(SUFFIXES) or not path.is_file():
            raise CorpusError(f"{key}: {path} is not a text file; allowed: {', '.join(SUFFIXES)}")
        if path.stat().st_size == 0:
            raise CorpusError(f"{key}: {path} is empty")
        if path.suffix == ".parquet":  # the footer is read, so a truncated file is refused at once
            try:
                parquet.read_metadata(path)
            except (pyarrow.ArrowException, OSError) as error:
                problem = f"not a complete .parquet file ({error}); get it again"
                raise CorpusError(f"{key}: {path}: {problem}") from None
    return paths, partial(_documents, paths, column, key)


def _documents(paths: list[Path], column: str, key: str) -> Iterator[Document]:
    for path in paths:
        where = f"{key}: {path}"
        read = {".parquet": _parquet_texts, ".jsonl": _json_texts}.get(path.suffix, _blocks)
        yield from documents(read(path, where, column), path.name, where)


def _lines(path: Path, where: str) -> Iterator[tuple[int, str, int]]:
    """Number from 1, stripped text and bytes of each line of a UTF-8 file."""
    number = 0
    try:
        with lzma.open(path) if path.suffix == ".xz" else open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                yield number, text, len(line)
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 ({error.reason}); convert the file to UTF-8"
        raise CorpusError(f"{where}, line {number}: {problem}") from None
    except (lzma.LZMAError, EOFError) as error:
        raise CorpusError(f"{where}: not a complete .xz file ({error}); get it again") from None


def _blocks(path: Path, where: str, _) -> Iterator[str]:
    """Blocks of lines between blank lines."""
    block, size = [], 0
    for _, line, length in _lines(path, where):
        size += length
        if line:
            block.append(line)
        if block and (not line or size > DOCUMENT_MB * 1e6):
            yield "\n".join(block)
            block = []
        if not block:
            size = 0
    if block:
        yield "\n".join(block)


def _json_texts(path: Path, where: str, column: str) -> Iterator[str]:
    for number, line, _ in _lines(path, where):
        if line:
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                problem = f"not JSON ({error}); give one object a line"
                raise CorpusError(f"{where}, line {number}: {problem}") from None
            yield from text_column([row], column, f"{where}, line {number}")


def _parquet_texts(path: Path, where: str, column: str) -> Iterator[str]:
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names:
                raise CorpusError(f"{where}: no text column {column!r}; found {', '.join(names)}")
            for batch in file.iter_batches(batch_size=256, columns=[column]):
                yield from text_column(batch.to_pylist(), column, where)
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{where}: damaged ({error}); get it again") from None
