"""How are texts of several origins mixed? Parts by weight, interleaved document by document."""

from functools import partial

from dwt.data.docstrings import package_documents
from dwt.data.files import (
    CorpusError,
    as_list,
    budgets,
    cut,
    joined,
    limited,
    open_files,
    refuse_overlap,
)
from dwt.data.hub import dataset, open_hub

KEYS = {  # what a part may be read from -> its other keys
    "files": ("column",),
    "path": ("name", "split", "revision", "column"),
}


def read_mixture(settings, root):
    """Documents of files and hub datasets, each part in proportion to its weight."""
    limit, budget = budgets(settings)
    parts = [_part(part, f"parts.{i}", root) for i, part in enumerate(settings["parts"])]
    outside, out_of_domain, kept_out = _out_of_domain(settings["out_of_domain"], root)
    refuse_overlap([origin for origins, _, _ in parts for origin in origins], outside, "parts")
    weights = [part.get("weight", 1.0) for part in settings["parts"]]
    text = partial(interleaved, [rows for _, rows, _ in parts], weights)
    card = {
        "source": "mixture",
        "licence": "that of each part",
        "parts": [
            card | {"weight": weight} for (_, _, card), weight in zip(parts, weights, strict=True)
        ],
        "out_of_domain": kept_out,
        "limit_mb": limit,
    }
    return partial(limited, text, limit), partial(limited, out_of_domain, budget), card


def interleaved(parts, weights):
    """Documents of all parts; at any point each has given its share of the text.

    The next document comes from the part that has given the fewest bytes for its weight, the
    first of them if several have, so the share is exact to one document. A part that is exhausted
    is left out and the others go on.
    """
    streams, given = {i: part() for i, part in enumerate(parts)}, [0] * len(parts)
    while streams:
        i = min(streams, key=lambda i: (given[i] / weights[i], i))
        row = next(streams[i], None)
        if row is None:
            del streams[i]
        else:
            given[i] += row["size"]
            yield row


def _part(part, key, root):
    """What a part is (to be told from other text), a function that reads it, and its card."""
    part = {k: v for k, v in part.items() if v is not None} if isinstance(part, dict) else {}
    kind = [k for k in KEYS if part.get(k)]
    if len(kind) != 1:
        raise CorpusError(f"corpus.{key}: give files, or path and split of a hub dataset")
    allowed = [kind[0], *KEYS[kind[0]], "weight", "join", "cut"]
    for name in part:
        if name not in allowed and not (name == "column" and part[name] == "text"):
            raise CorpusError(f"corpus.{key}.{name}: unknown key; allowed: {', '.join(allowed)}")
    weight = part.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise CorpusError(
            f"corpus.{key}.weight: {weight!r}; give a number above 0, or take the part out"
        )
    origins, rows, card = _open(part, key, root)
    for name, change in (("join", joined), ("cut", cut)):
        number = part.get(name)
        if number is None:
            continue
        if type(number) is not int or number < 1:
            raise CorpusError(f"corpus.{key}.{name}: {number!r}; give a whole number from 1 on")
        rows, card = partial(change, rows, number), card | {name: number}
    return origins, rows, card


def _open(part, key, root):
    """Files or a hub dataset, opened: origins, a function that reads them, and their card."""
    if "files" in part:
        paths, rows = open_files(part["files"], f"{key}.files", root, part.get("column", "text"))
        return paths, rows, {"files": [path.name for path in paths]}
    if "split" not in part:
        raise CorpusError(f"corpus.{key}.split: missing; name the dataset's split, as 'train'")
    card = dataset(part)
    return [card], open_hub(part, f"corpus.{key}", root), card


def _out_of_domain(given, root):
    """Files, a hub dataset or the docstrings of packages, opened as a part is."""
    key = "out_of_domain"
    if not isinstance(given, dict):
        paths, rows = open_files(given, key, root)
        return paths, rows, [path.name for path in paths]
    if set(given) == {"packages"}:
        packages = as_list(given["packages"])
        documents, versions = package_documents(dict.fromkeys(packages, key), root)
        if not documents:
            raise CorpusError(f"corpus.{key}: no English docstring in {', '.join(packages)}")
        return [], partial(iter, documents), versions
    return _part(given, key, root)
