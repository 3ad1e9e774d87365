"""Opens the texts that a corpus section names, and describes them for the data card."""

from functools import partial
from pathlib import Path
from typing import Any

from dwt.config.corpus import CorpusSettings, Text
from dwt.data.documents import CorpusError, Stream, cut, interleaved, joined, limited
from dwt.data.files import open_files
from dwt.data.hub import open_hub
from dwt.data.packages import read_packages

LICENCES = {
    "docstrings": "each package's own (BSD, MIT, Apache-2.0, PSF); read where installed",
    "files": "that of the files",
    "hub": "that of the dataset, on its page",
    "mixture": "that of each part",
}


def open_sources(settings: CorpusSettings, root: Path) -> tuple[Stream, Stream, dict]:
    """Open all texts of a corpus: training text, out-of-domain text, and their data card."""
    source, parts, limit = settings.source, settings.parts or [settings], settings.limit_mb
    keys = [f"corpus.parts.{i}" for i in range(len(parts))] if settings.parts else ["corpus"]
    # Out-of-domain docstrings come last, so that paragraphs of the training packages are dropped.
    open_text = partial(_open, root=root, streaming=source == "mixture", seen=set())
    opened = [open_text(part, key) for part, key in zip(parts, keys, strict=True)]
    origins, kept_out, described = open_text(settings.out_of_domain, "corpus.out_of_domain")
    for (inside, _, _), key in zip(opened, keys, strict=True):
        if both := [origin for origin in inside if origin in origins]:
            raise CorpusError(
                f"corpus.out_of_domain: {both[0]} is also in {key}; it must stay out of training"
            )
    weights = [part.weight for part in settings.parts or ()] or [1.0]
    card: dict[str, Any] = {"source": source, "licence": LICENCES[source]}
    cards = [text_card for _, _, text_card in opened]
    if settings.parts:
        card["parts"] = [c | {"weight": w} for c, w in zip(cards, weights, strict=True)]
    else:
        card |= {"dataset": cards[0]} if source == "hub" else cards[0]
    only = list(described.values())
    card["out_of_domain"] = only[0] if len(only) == 1 else described
    if source != "docstrings":
        card["limit_mb"] = limit
    text = partial(interleaved, [stream for _, stream, _ in opened], weights)
    budget = limit and max(1, limit * settings.heldout)  # as much as is held out, at least 1 MB
    return partial(limited, text, limit), partial(limited, kept_out, budget), card


def _open(
    text: Text, key: str, *, root: Path, streaming: bool, seen: set[str]
) -> tuple[list, Stream, dict]:
    """The files or dataset that a text comes from, its documents, and its entry in the card."""
    if packages := getattr(text, "packages", None):
        documents, versions = read_packages(packages, f"{key}.packages", root, seen=seen)
        return [], partial(iter, documents), {"packages": versions}
    if text.files:
        origins, stream = open_files(text.files, f"{key}.files", root, column=text.column)
        card = {"files": [path.name for path in origins]}
    else:
        names = ("path", "name", "split", "revision")
        card = {name: getattr(text, name) for name in names if getattr(text, name)}
        origins, stream = [card], open_hub(text, key, root, streaming=streaming)
    for name, change in (("join", joined), ("cut", cut)):
        if number := getattr(text, name):
            stream, card = partial(change, stream, number), card | {name: number}
    return origins, stream, card
