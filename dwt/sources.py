"""How is text of your own read? From files, or from a dataset of the Hugging Face hub.

Each reader, that of `dwt.docstrings` too, returns training and out-of-domain documents as datasets
of rows `{source, blocks, text}`, and what the data card says of them.
"""

import glob
import json
import lzma
from pathlib import Path

import datasets

SUFFIXES = (".txt", ".txt.xz", ".jsonl", ".parquet")
BLOCK = {"section": "", "name": "", "type": "", "text": ""}  # one paragraph and what it describes


class CorpusError(ValueError):
    """The corpus cannot be built or read; the message names key, file and what is allowed.

    Readers start it with `corpus`; `dwt.corpus.build_corpus` puts the section's full name there.
    """


def read_files(settings, root):
    """Documents are blank-line separated (.txt, .txt.xz) or rows of a column (.jsonl, .parquet)."""
    limit = settings.get("limit_mb")
    if limit is not None and not limit > 0:
        raise CorpusError(
            f"corpus.limit_mb: {limit!r}; give megabytes of text, or leave it out to read all"
        )
    budgets = (
        limit,
        limit and max(1, limit * settings["heldout"]),
    )  # out-of-domain text: as much as held-out text
    parts = []
    for key, budget in zip(("files", "out_of_domain"), budgets, strict=True):
        paths = [path for pattern in as_list(settings[key]) for path in _expand(pattern, root, key)]
        arguments = {"paths": [str(p) for p in paths], "limit_mb": budget, "key": key}
        parts.append(
            (paths, _generated(_file_rows, **arguments, column=settings.get("column", "text")))
        )
    same = set(parts[0][0]) & set(parts[1][0])
    if same:
        raise CorpusError(
            f"corpus.out_of_domain: {same.pop()} is also in corpus.files; "
            "it must stay out of training"
        )
    card = {
        "source": "files",
        "licence": "that of the files",
        "files": [path.name for path in parts[0][0]],
        "out_of_domain": [path.name for path in parts[1][0]],
        "limit_mb": limit,
    }
    return parts[0][1], parts[1][1], card


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
    return paths


def _file_rows(paths, limit_mb, column, key):
    """Rows `{source, blocks, text}` of files in turn, until `limit_mb` of UTF-8 text is read."""
    left = float("inf") if limit_mb is None else limit_mb * 1e6
    for path in map(Path, paths):
        empty = True
        for text in _documents(path, column, f"corpus.{key}: {path}"):
            if left <= 0:
                return
            left -= len(text.encode())
            empty = False
            yield _row(path.name, text)
        if empty:
            raise CorpusError(f"corpus.{key}: {path} is empty: it holds no text")


def _documents(path, column, where):
    """Texts of one file, streamed; `where` is how a message about it starts."""
    if path.suffix == ".parquet":
        rows = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
        yield from _column(rows, column, where)
        return
    number = 0
    try:
        with lzma.open(path) if path.suffix == ".xz" else open(path, "rb") as file:
            document = []
            for number, line in enumerate(file, 1):
                line = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if path.suffix == ".jsonl":
                    if line:
                        yield from _column([json.loads(line)], column, f"{where}, line {number}")
                elif line:
                    document.append(line)
                elif document:
                    yield "\n".join(document)
                    document = []
            if document:
                yield "\n".join(document)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{where}, line {number}: not UTF-8 ({error.reason}); convert the file to UTF-8"
        ) from None
    except (lzma.LZMAError, EOFError) as error:
        raise CorpusError(f"{where}: not a complete .xz file ({error})") from None
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"{where}, line {number}: not JSON ({error}); give one object a line"
        ) from None


def _column(rows, column, where):
    """Non-empty strings of one column."""
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get(column), str):
            found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise CorpusError(f"{where}: no text column {column!r}; found {found}")
        if row[column].strip():
            yield row[column]


def read_hub(settings, root):
    """Documents are rows of `load_dataset(path, name, split=..., revision=...)`."""
    kept_out = settings["out_of_domain"]
    if not isinstance(kept_out, dict) or not {"path", "split"} <= set(kept_out):
        raise CorpusError("corpus.out_of_domain: give path and split (and name, revision, column)")
    kept_out = {"column": settings.get("column", "text")} | kept_out
    parts = [_load_hub(settings, "corpus", root), _load_hub(kept_out, "corpus.out_of_domain", root)]
    named = [
        {k: part[k] for k in ("path", "name", "split", "revision") if k in part}
        for part in (settings, kept_out)
    ]
    card = {
        "source": "hub",
        "licence": "that of the dataset, on its page",
        "dataset": named[0],
        "out_of_domain": named[1],
    }
    return *parts, card


def _load_hub(settings, key, root):
    """One split of a hub dataset, or of a local folder, as rows `{source, blocks, text}`."""
    column = settings.get("column", "text")
    path = str(root / settings["path"]) if (root / settings["path"]).exists() else settings["path"]
    try:
        rows = datasets.load_dataset(
            path, settings.get("name"), split=settings["split"], revision=settings.get("revision")
        )
    except Exception as error:  # whatever the hub, the network or the split string raises
        raise CorpusError(
            f"{key}.path: {settings['path']!r} could not be loaded "
            f"({type(error).__name__}: {error}). Check path, name and split; without a network, "
            "download it once where there is one, or use `source: files`"
        ) from error
    if column not in rows.column_names:
        raise CorpusError(
            f"{key}.column: no column {column!r}; the dataset has {', '.join(rows.column_names)}"
        )
    name = Path(settings["path"]).name
    return _generated(_hub_rows, rows=rows, column=column, name=name, key=key)


def _hub_rows(rows, column, name, key):
    for text in _column(rows.select_columns([column]), column, f"{key}.column: {name}"):
        yield _row(name, text)


def _row(source, text):
    """A document without structure: its paragraphs are its lines."""
    blocks = [BLOCK | {"text": line.strip()} for line in text.splitlines() if line.strip()]
    return {"source": source, "blocks": json.dumps(blocks), "text": join(blocks)}


def _generated(function, **arguments):
    """A streamed dataset: nothing is cached, so no stale copy is ever read."""
    return datasets.IterableDataset.from_generator(function, gen_kwargs=arguments)


def join(blocks):
    """The text of a document."""
    return "\n".join(block["text"] for block in blocks)


def as_list(value):
    """One name, or several, as a list."""
    return [value] if isinstance(value, str) else list(value)
