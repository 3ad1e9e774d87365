"""Makes the files in data/external from the hub: `python -m dwt.data.fetch [--scale NAME]`."""

import argparse
import glob
import lzma
import re
import sys
from functools import partial

from dwt.config.files import atomic_path, file_digest
from dwt.config.params import ParamsError, load_params
from dwt.config.schema import Params
from dwt.data.documents import CorpusError
from dwt.data.progress import Progress

WIKIPEDIA, NOVELS = (f"data/external/corpus/{name}.txt.xz" for name in ("wikipedia", "novels"))
HUB = {  # file, or folder of files -> dataset, configuration (None: one file of each), revision
    WIKIPEDIA: ("wikimedia/wikipedia", "20231101.en", "b04c8d1ceb2f5cd4588862100d08de323dccfbaa"),
    NOVELS: ("emozilla/pg19", "default", "c021754c8e01c5b1cc83a1f549c1f97fbbb756b8"),
    "data/external/glue": ("nyu-mll/glue", None, "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"),
    "data/external/blimp/blimp.parquet": (
        "nyu-mll/blimp", "all", "877fba0801ffb7cbd8c39c1ff314a46f053f6036"
    ),
}  # fmt: skip
TEXTS = {  # column of titles, what divides paragraphs, length of the shortest, MB without limit_mb
    WIKIPEDIA: ("title", r"\n", 50, 386),
    NOVELS: ("short_book_title", r"\n\s*\n", 2, 61),
}
YEARS = range(1840, 1921)  # of books
BLIMP = ["UID", "linguistics_term", "field", "sentence_good", "sentence_bad"]  # columns
NOTE = """\
The committed results of wiki-mini come from other cuts of such text: Wikipedia of May 2015, British
novels of 1840 to 1920 (SHA-256 in data/README.md). Numbers will differ; none from fetched files are
recorded."""


def missing_data(params: Params) -> list[str]:
    """One line per local file that the scale needs and that does not exist: key, file, remedy."""
    lines, get = [], f"run `python -m dwt.data.fetch --scale {params.scale}`"
    for file, key in params.settings.local_files().items():
        if not glob.glob(file, root_dir=params.root, recursive=True):
            remedy = get if _target(file) else "add it, or change the key (data/README.md)"
            lines.append(f"params.yaml: scales.{params.scale}.{key}: no file {file}; {remedy}")
    return lines


def _target(file):
    """The key of `HUB` that a file belongs to, or None."""
    return next((key for key in HUB if f"{file}/".startswith(f"{key}/")), None)


def fetch(params: Params) -> None:
    """Make the missing files that the scale reads; CorpusError if one cannot be made."""
    for file in (files := [*filter(_target, params.settings.local_files())]):
        read = params.settings.corpus.megabytes_of(file)
        size = 1.1 * read if read else TEXTS.get(file, [0])[-1]  # MB: a tenth more than is read
        kept = (path := params.root / file).exists()
        try:
            if not kept:
                _make(file, path, size)
        except Exception as error:  # whatever the hub, the network or the disk raises
            why = f"{HUB[_target(file)][0]} could not be read ({type(error).__name__}: {error})"
            raise CorpusError(f"{file}: {why}; files that were made are kept") from error
        use = f"; {read:.0f} MB of its text are read" if read and file in TEXTS else ""
        made = f"{'kept' if kept else 'made'}: {path.stat().st_size:,} bytes"
        print(f"{file} {made}, SHA-256 {file_digest(path)}{use}", flush=True)
    print(NOTE if files else f"Scale {params.scale} reads none of the files that are made here.")
    if missing := missing_data(params):
        raise CorpusError("\n".join(missing))


def _make(file, path, size):
    """Make a file from its dataset, a text of `size` MB."""
    import datasets  # here, as it takes a second and there may be nothing to get

    name, config, revision = HUB[_target(file)]
    load = partial(datasets.load_dataset, name, revision=revision)
    with atomic_path(path) as unfinished:
        if file in TEXTS:
            _write_text(load(config, split="train", streaming=True), unfinished, file, size)
        elif config == "all":
            configs = datasets.get_dataset_config_names(name, revision=revision)
            sets = [load(one, split="train").select_columns(BLIMP) for one in configs]
            datasets.concatenate_datasets(sets).to_parquet(unfinished)
        else:
            load(path.parent.name, split=path.stem).to_parquet(unfinished)


def _write_text(rows, path, file, limit):
    """Write `limit` million characters of documents: title, a paragraph per line, a blank line."""
    (title, between, shortest, _), size = TEXTS[file], 0
    progress = Progress(file, round(limit))
    with lzma.open(path, "wt", encoding="utf-8", newline="\n") as out:
        for row in rows:
            parts = (" ".join(part.split()) for part in re.split(between, row["text"]))
            lines = [part for part in parts if len(part) >= shortest]
            if lines and row.get("publication_date", YEARS[0]) in YEARS:
                size += out.write("\n".join([" ".join(row[title].split()), *lines, "", ""]))
                progress.update(int(size / 1e6))
            if size >= limit * 1e6:
                break
    progress.close()
    if not size:
        raise ValueError("no row has a text that can be used")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m dwt.data.fetch")
    parser.add_argument("--scale", metavar="NAME", help="by default the one of params.yaml")
    try:
        fetch(load_params(scale=parser.parse_args().scale))
    except (CorpusError, ParamsError) as error:
        sys.exit(str(error))
