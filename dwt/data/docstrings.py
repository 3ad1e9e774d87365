"""How are docstrings of installed packages read? English prose without any download."""

import gc
import json
import os
import re
import sys
import warnings
from collections import Counter
from functools import partial
from importlib import metadata
from pathlib import Path

import datasets

from dwt.data.files import CorpusError, as_list, join
from dwt.data.prose import docstring_blocks, docstrings, letters_of

SKIPPED = frozenset(
    (
        "test tests testing _testing conftest.py external externals extern _external vendor "
        "vendored _vendor _vendored third_party thirdparty"
    ).split()
)


def read_docstrings(settings, root):
    """Documents are docstrings; a paragraph seen before, in any package, is dropped."""
    kept_out = as_list(settings["out_of_domain"])
    packages = settings["packages"] + kept_out
    twice = [name for name, count in Counter(packages).items() if count > 1]
    if twice:
        raise CorpusError(
            f"corpus.packages: {twice[0]} is named twice; "
            "out_of_domain text must stay out of training"
        )
    keys = {p: "out_of_domain" if p in kept_out else "packages" for p in packages}
    documents, versions = package_documents(keys, root)
    inside = [d for d in documents if d["source"] not in kept_out]
    outside = [d for d in documents if d["source"] in kept_out]
    for name, part in (("packages", inside), ("out_of_domain", outside)):
        if not part:
            raise CorpusError(
                f"corpus.{name}: no English docstring in {', '.join(as_list(settings[name]))}"
            )
    card = {
        "source": "docstrings",
        "licence": "each package's own (BSD, MIT, Apache-2.0, PSF); read where installed",
        "packages": {name: versions[name] for name in settings["packages"]},
        "out_of_domain": {name: versions[name] for name in kept_out},
    }
    return partial(iter, inside), partial(iter, outside), card


def package_documents(keys, root):
    """Docstrings of installed packages, and the version of each package.

    Parameters
    ----------
    keys : dict
        Package -> the key of the corpus section that names it, for messages.
    root : Path
        Where constraints.txt is looked for.

    Returns
    -------
    list of dict, dict of str to str
    """
    pins = _pins(root)
    files, versions = [], {}
    for package, key in keys.items():
        found, versions[package] = _package_files(package, key)
        files += found
        pin = pins.get(package.lower().replace("_", "-"), versions[package])
        if pin != versions[package]:
            warnings.warn(
                f"{package} {versions[package]} is installed, constraints.txt pins {pin}: "
                "the corpus, and every number that follows from it, will differ",
                stacklevel=3,
            )
    watched = sys.stderr.isatty()
    if not watched:
        datasets.disable_progress_bars()
    blocks = datasets.Dataset.from_list(files).map(
        _file_documents,
        batched=True,
        batch_size=8,
        num_proc=min(8, os.cpu_count(), len(files)),
        remove_columns=["path"],
        desc="reading docstrings",
    )
    if not watched:
        datasets.enable_progress_bars()
    seen, documents = set(), []
    for row in blocks:
        kept = []
        for block in json.loads(row["blocks"]):
            key = letters_of(block["text"])
            if key not in seen:
                seen.add(key)
                kept.append(block)
        if kept:
            text = join(kept)
            documents.append(
                {"source": row["source"], "size": len(text), "text": text, "blocks": kept}
            )
    return documents, versions


def _package_files(package, key):
    """Python sources of an installed distribution, sorted, and its version; nothing is imported."""
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        raise CorpusError(
            f"corpus.{key}: {package!r} is not installed; "
            "name distributions of this environment (`pip list`)"
        ) from None
    paths = [p for p in distribution.files or [] if p.suffix == ".py" and p.parts[0] != ".."]
    paths = [p for p in paths if not SKIPPED & set(p.parts) and not p.name.startswith("test_")]
    if not paths:
        raise CorpusError(
            f"corpus.{key}: {package!r} lists no Python sources; install it as an ordinary wheel"
        )
    files = [
        {"source": package, "path": str(distribution.locate_file(p))}
        for p in sorted(paths, key=str)
    ]
    return files, distribution.version.partition("+")[0]  # 2.13.0+cpu and 2.13.0 hold the same text


def _pins(root):
    """Package -> version from the `name==version` lines of constraints.txt."""
    path = root / "constraints.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (re.match(r"([\w.-]+)==([\w.]+)", line) for line in lines)
    return {pair[1].lower().replace("_", "-"): pair[2] for pair in pairs if pair}


def _file_documents(rows):
    """Batched map: source files -> one row per docstring that holds prose."""
    out = {"source": [], "blocks": []}
    collecting = gc.isenabled()
    gc.disable()  # syntax trees hold no cycles; collecting while they grow triples the time
    for source, path in zip(rows["source"], rows["path"], strict=True):
        code = Path(path).read_bytes()
        for string in docstrings(code) if b'"""' in code or b"'''" in code else ():
            blocks = docstring_blocks(string)
            if blocks:
                out["source"].append(source)
                out["blocks"].append(json.dumps(blocks))
    if collecting:
        gc.enable()
    return out
