"""Reads the docstrings of installed packages as documents; nothing is imported or downloaded."""

import gc
import re
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import joblib

from dwt.data.deduplicate import without_duplicates
from dwt.data.docstrings import docstring_blocks, docstrings
from dwt.data.documents import CorpusError, Document
from dwt.data.progress import Progress

SKIPPED = {
    *"test tests testing _testing conftest.py external externals extern _external".split(),
    *"vendor vendored _vendor _vendored third_party thirdparty".split(),
}  # folders and files


def read_packages(
    packages: Sequence[str], key: str, root: Path, *, seen: set[str]
) -> tuple[list[Document], dict[str, str]]:
    """Documents of installed packages, one per docstring with prose in it, and their versions.

    Paragraphs in `seen` are dropped, new ones added. Versions unlike constraints.txt are warned of.
    """
    constraints = root / "constraints.txt"
    lines = constraints.read_text().lower().replace("_", "-") if constraints.exists() else ""
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lines, re.MULTILINE))
    paths, versions, documents = [], {}, []
    for package in packages:
        files, version = _package_files(package, key)
        paths += [(package, path) for path in files]
        versions[package] = version
        pin = pins.get(package.lower().replace("_", "-"), version)
        if pin != version:
            effect = "the corpus, and every number that follows from it, will differ"
            problem = f"{package} {version} is installed, constraints.txt pins {pin}: {effect}"
            warnings.warn(problem, stacklevel=3)
    jobs, progress = 1 + len(paths) // 100, Progress("source files read", len(paths))
    pool = joblib.Parallel(n_jobs=min(joblib.cpu_count(), jobs), return_as="generator")
    prose = pool(joblib.delayed(_prose)(path) for _, path in paths)
    for number, ((package, _), docs) in enumerate(zip(paths, prose, strict=True), 1):
        for blocks in filter(None, (without_duplicates(blocks, seen) for blocks in docs)):
            text = "\n".join(block["text"] for block in blocks)
            documents.append({"source": package, "size": len(text), "text": text, "blocks": blocks})
        progress.update(number)
    progress.close()
    if not documents:
        raise CorpusError(f"{key}: no English docstring in {', '.join(packages)}")
    return documents, versions


def _package_files(package: str, key: str) -> tuple[list[Path], str]:
    """Sorted Python files of a distribution, without tests and vendored code, and its version."""
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        problem = "is not installed; name distributions of this environment (`pip list`)"
        raise CorpusError(f"{key}: {package!r} {problem}") from None
    paths = [p for p in distribution.files or [] if p.suffix == ".py" and p.parts[0] != ".."]
    kept = [p for p in paths if not SKIPPED & {*p.parts} and not p.name.startswith("test_")]
    if not kept:
        problem = "lists no Python sources; install it as an ordinary wheel"
        raise CorpusError(f"{key}: {package!r} {problem}")
    version = distribution.version.partition("+")[0]  # 2.13.0+cpu and 2.13.0 hold the same text
    return [Path(distribution.locate_file(p)) for p in sorted(kept, key=str)], version


def _prose(path: Path) -> list[list[dict]]:
    """The blocks of each docstring of a source file."""
    code = path.read_bytes()
    if b'"""' not in code and b"'''" not in code:
        return []
    gc.disable()  # syntax trees hold no reference cycles, and collecting would triple the time
    blocks = [docstring_blocks(docstring) for docstring in docstrings(code)]
    gc.enable()
    return blocks
