"""Documents, and lazy operations on streams of them: no stream is held in memory whole."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import NotRequired, TypedDict


class CorpusError(ValueError):
    """The corpus cannot be built or read; the message names the key and what is allowed."""


class Document(TypedDict):
    """A unit of text that is wholly in one split."""

    source: str  # a file, dataset or package
    size: int  # bytes
    text: str  # one paragraph per line
    blocks: NotRequired[list[dict]]  # paragraphs with section, name and type, where known


Stream = Callable[[], Iterator[Document]]  # each call starts anew, so a text can be read twice


def document(source: str, text: str) -> Document:
    """A document of plain text: its non-empty lines, stripped."""
    lines = "\n".join(filter(None, map(str.strip, text.splitlines())))
    return {"source": source, "size": len(text.encode()), "text": lines}


def until(items: Iterable, limit: float, size: Callable) -> Iterator:
    """Items until their sizes add up to `limit`."""
    total = 0
    for item in items:
        if total >= limit:
            return
        total += size(item)
        yield item


def grouped(items: Iterable, limit: float, size: Callable) -> Iterator[list]:
    """Lists of consecutive items whose sizes add up to `limit`, or just above."""
    group, total = [], 0
    for item in items:
        group.append(item)
        total += size(item)
        if total >= limit:
            yield group
            group, total = [], 0
    if group:
        yield group


def limited(stream: Stream, limit_mb: float | None) -> Iterator[Document]:
    """Documents until `limit_mb` megabytes of text are read; all of them for None."""
    return stream() if limit_mb is None else until(stream(), limit_mb * 1e6, itemgetter("size"))


def joined(stream: Stream, number: int) -> Iterator[Document]:
    """Documents of `number` consecutive rows each, for datasets of single sentences."""
    for several in grouped(stream(), number, lambda row: 1):
        text, size = "\n".join(r["text"] for r in several), sum(r["size"] for r in several)
        yield {"source": several[0]["source"], "size": size, "text": text}


def cut(stream: Stream, characters: int) -> Iterator[Document]:
    """Documents cut at ends of lines into pieces of at least `characters`, but for the last."""
    for whole in stream():
        lines = whole["text"].split("\n")
        for piece in grouped(lines, characters + 1, lambda line: len(line) + 1):
            yield document(whole["source"], "\n".join(piece))


def interleaved(streams: Sequence[Stream], weights: Sequence[float]) -> Iterator[Document]:
    """Documents of several streams; any prefix has the shares of `weights`, to one document.

    The next one is of the stream with the fewest bytes for its weight. One that ends is left out.
    """
    rows, read = {i: stream() for i, stream in enumerate(streams)}, [0] * len(streams)
    while rows:
        i = min(rows, key=lambda i: (read[i] / weights[i], i))
        row = next(rows[i], None)
        if row is None:
            del rows[i]
        else:
            read[i] += row["size"]
            yield row


def documents(texts: Iterable[str], source: str, where: str) -> Iterator[Document]:
    """A document of each text; CorpusError, beginning with `where`, if there is none."""
    number = 0
    for text in texts:
        number += 1
        yield document(source, text)
    if not number:
        raise CorpusError(f"{where} is empty: it holds no text")


def text_column(rows: Iterable, column: str, where: str) -> Iterator[str]:
    """Non-blank strings of one column; `where` starts the message if a row lacks it."""
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get(column), str):
            found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise CorpusError(f"{where}: no text column {column!r}; found {found}")
        if row[column].strip():
            yield row[column]
