"""How are text files read, and what is a row of text?

A reader, here and in `dwt.data.docstrings`, `dwt.data.hub` and `dwt.data.mixture`, returns training and
out-of-domain documents, each as a function that starts an iterator of rows `{source, size, text}`
(and `blocks`, where a document has more structure than lines), and what the data card says of
them. `size` is in bytes. Rows of files and datasets are streamed, never held in memory.
"""

import glob
import json
import lzma
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow
from pyarrow import parquet

SUFFIXES = (".txt", ".txt.xz", ".jsonl", ".parquet")
DOCUMENT_MB = 16  # text without blank lines is cut here, so that no document fills the memory


class CorpusError(ValueError):
    """The corpus cannot be built or read; the message names key, file and what is allowed.

    Readers start it with `corpus`; `dwt.data.corpus.build_corpus` puts the section's full name there.
    """


def read_files(settings, root):
    """Documents are blank-line separated (.txt, .txt.xz) or rows of a column (.jsonl, .parquet)."""
    limit, budget = budgets(settings)
    column = settings.get("column", "text")
    paths, text = open_files(settings["files"], "files", root, column)
    others, out_of_domain = open_files(settings["out_of_domain"], "out_of_domain", root, column)
    refuse_overlap(paths, others, "files")
    card = {
        "source": "files",
        "licence": "that of the files",
        "files": [path.name for path in paths],
        "out_of_domain": [path.name for path in others],
        "limit_mb": limit,
    }
    return partial(limited, text, limit), partial(limited, out_of_domain, budget), card


def budgets(settings):
    """Megabytes of text to read, and of out-of-domain text: as much as is held out, at least 1."""
    limit = settings.get("limit_mb")
    if limit is not None and not limit > 0:
        raise CorpusError(
            f"corpus.limit_mb: {limit!r}; give megabytes of text, or leave it out to read all"
        )
    return limit, limit and max(1, limit * settings["heldout"])


def limited(rows, limit_mb):
    """Rows until `limit_mb` of UTF-8 text is read; all of them for None."""
    left = float("inf") if limit_mb is None else limit_mb * 1e6
    for row in rows():
        if left <= 0:
            return
        left -= row["size"]
        yield row


def refuse_overlap(inside, outside, key):
    """Out-of-domain text that is also training text measures nothing."""
    for same in inside:
        if same in outside:
            raise CorpusError(
                f"corpus.out_of_domain: {same} is also in corpus.{key}; "
                "it must stay out of training"
            )


# ---- Files ----


def open_files(patterns, key, root, column="text"):
    """The files that paths and globs name, checked, and a function that starts to read them."""
    paths = [path for pattern in as_list(patterns) for path in _expand(pattern, root, key)]
    return paths, partial(_file_rows, paths, column, key)


def _expand(pattern, root, key):
    """Files that a path or glob names, sorted and checked."""
    paths = sorted(Path(p) for p in glob.glob(str(root / pattern), recursive=True))
    if not paths:
        problem = "matches no file" if glob.has_magic(str(pattern)) else "does not exist"
        raise CorpusError(
            f"corpus.{key}: {pattern!r} {problem} (paths start from the project root)"
        )
    for path in paths:
        if not path.name.endswith(SUFFIXES) or not path.is_file():
            raise CorpusError(
                f"corpus.{key}: {path} is not a text file; allowed are {', '.join(SUFFIXES)}"
            )
        if path.stat().st_size == 0:
            raise CorpusError(f"corpus.{key}: {path} is empty")
        if path.suffix == ".parquet":  # its table of contents comes last: a cut shows at once
            _parquet(path, f"corpus.{key}: {path}").close()
    return paths


def _file_rows(paths, column, key):
    """Rows of files in turn; each must hold text."""
    for path in paths:
        empty = True
        for text in _documents(path, column, f"corpus.{key}: {path}"):
            empty = False
            yield row(path.name, text)
        if empty:
            raise CorpusError(f"corpus.{key}: {path} is empty: it holds no text")


def _documents(path, column, where):
    """Texts of one file, streamed; `where` is how a message about it starts."""
    if path.suffix == ".parquet":
        yield from _parquet_texts(path, column, where)
        return
    number = 0
    try:
        with lzma.open(path) if path.suffix == ".xz" else open(path, "rb") as file:
            document, size = [], 0
            for number, line in enumerate(file, 1):
                size += len(line)
                line = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if path.suffix == ".jsonl":
                    if line:
                        yield from text_column(
                            [json.loads(line)], column, f"{where}, line {number}"
                        )
                    continue
                if line:
                    document.append(line)
                if document and (not line or size > DOCUMENT_MB * 1e6):
                    yield "\n".join(document)
                    document = []
                if not document:
                    size = 0
            if document:
                yield "\n".join(document)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{where}, line {number}: not UTF-8 ({error.reason}); convert the file to UTF-8"
        ) from None
    except (lzma.LZMAError, EOFError) as error:
        raise CorpusError(f"{where}: not a complete .xz file ({error}); get it again") from None
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"{where}, line {number}: not JSON ({error}); give one object a line"
        ) from None


def _parquet(path, where):
    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(
            f"{where}: not a complete .parquet file ({error}); get it again"
        ) from None


def _parquet_texts(path, column, where):
    """Texts of one column, some hundred rows at a time."""
    with _parquet(path, where) as file:
        names = file.schema_arrow.names
        if column not in names:
            raise CorpusError(f"{where}: no text column {column!r}; found {', '.join(names)}")
        try:
            for batch in file.iter_batches(batch_size=256, columns=[column]):
                yield from text_column(batch.to_pylist(), column, where)
        except (pyarrow.ArrowException, OSError) as error:
            raise CorpusError(f"{where}: damaged ({error}); get it again") from None


def text_column(rows, column, where):
    """Non-empty strings of one column."""
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get(column), str):
            found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise CorpusError(f"{where}: no text column {column!r}; found {found}")
        if row[column].strip():
            yield row[column]


# ---- Rows ----


def row(source, text):
    """A document without structure: its paragraphs are its lines."""
    lines = "\n".join(filter(None, map(str.strip, text.splitlines())))
    return {"source": source, "size": len(text.encode()), "text": lines}


def joined(rows, number):
    """Rows made of `number` consecutive ones: for datasets of single sentences."""
    rows = rows()
    while several := list(islice(rows, number)):
        text, size = "\n".join(r["text"] for r in several), sum(r["size"] for r in several)
        yield {"source": several[0]["source"], "size": size, "text": text}


def cut(rows, characters):
    """Rows with longer texts cut at ends of lines, into pieces of that many characters or more."""
    for whole in rows():
        lines, length = [], 0
        for line in whole["text"].split("\n"):
            lines.append(line)
            length += len(line) + 1
            if length > characters:
                yield row(whole["source"], "\n".join(lines))
                lines, length = [], 0
        if lines:
            yield row(whole["source"], "\n".join(lines))


def join(blocks):
    """The text of a document."""
    return "\n".join(block["text"] for block in blocks)


def as_list(value):
    """One name, or several, as a list."""
    return [value] if isinstance(value, str) else list(value)
