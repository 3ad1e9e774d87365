"""What do the models read? Text sources -> vocabulary -> packed token ids on disk."""

import ast
import gc
import glob
import hashlib
import inspect
import itertools
import json
import lzma
import os
import re
import shutil
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

SPLITS = ("train", "heldout", "out-of-domain")
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SUFFIXES = (".txt", ".txt.xz", ".jsonl", ".parquet")
BLOCK = {"section": "", "name": "", "type": "", "text": ""}  # one paragraph and what it describes
VOCABULARY_CHARACTERS = 50_000_000  # a vocabulary is learned from at most this much training text


class CorpusError(ValueError):
    """The corpus cannot be built or read; the message names the key or file and what is allowed."""


@dataclass(frozen=True)
class Corpus:
    """A built corpus: three streams of token ids, their tokenizer and their card.

    Attributes
    ----------
    directory : Path
        Where it lies; `transformers.AutoTokenizer.from_pretrained(directory)` works there.
    vocab_size, pad_id, unk_id, cls_id, sep_id, mask_id : int
        Size of the vocabulary and the ids of the special tokens.
    card : dict
        Counts, unknown-token rates, versions and licence of the text.
    """

    directory: Path
    vocab_size: int
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    card: dict

    @property
    def special_ids(self):
        """Ids that are never masked, in the order of `SPECIAL_TOKENS`."""
        return (self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id)

    def tokens(self, split):
        """Token ids of one split, `[T]` uint16 and read-only; every document ends with [SEP]."""
        if split not in SPLITS:
            raise CorpusError(f"{split!r} is not a split; choose one of {', '.join(SPLITS)}")
        return np.load(self.directory / f"{split}.npy", mmap_mode="r")

    def tokenizer(self):
        """The tokenizer, as `transformers` loads it."""
        return AutoTokenizer.from_pretrained(self.directory)

    def heldout(self):
        """Held-out text, one row per paragraph.

        Columns document, source, section, name, type, text and unseen: whether no sentence of
        the paragraph occurs, letter by letter, in the training text.
        """
        return pd.read_parquet(self.directory / "heldout.parquet")


def build_corpus(settings, *, directory, root=Path(".")):
    """Read the text, learn the vocabulary, and write token ids; all or nothing.

    Parameters
    ----------
    settings : dict
        The `scales.<scale>.corpus` section of params.yaml; data/README.md lists its keys.
    directory : path
        Where to write. An existing corpus there is replaced once the new one is complete.
    root : path
        What relative paths in `settings` start from, and where constraints.txt is looked for.

    Raises
    ------
    CorpusError
        For a setting, file or package that cannot be used.
    """
    directory, root = Path(directory), Path(root)
    settings = _check(settings)
    share = settings["heldout"]
    building = directory.with_name(f".{directory.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        read = {"docstrings": _read_docstrings, "files": _read_files, "hub": _read_hub}
        text, out_of_domain, card = read[settings["source"]](settings, root)

        tokenizer = _vocabulary(settings["vocabulary"], text, share, root)
        _save_tokenizer(tokenizer, building)
        text, out_of_domain = (
            rows.map(
                _encode,
                batched=True,
                batch_size=256,
                fn_kwargs={"tokenizer": tokenizer, "share": part},
            )
            for rows, part in ((text, share), (out_of_domain, None))
        )
        card["vocabulary"] = tokenizer.get_vocab_size()
        card["splits"] = _write(itertools.chain(text, out_of_domain), building, tokenizer)
        (building / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    old = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    building.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
    return load_corpus(directory)


def load_corpus(directory):
    """Open a corpus that `build_corpus` wrote."""
    directory = Path(directory)
    needed = ["card.json", "tokenizer.json", "heldout.parquet", *(f"{s}.npy" for s in SPLITS)]
    missing = [name for name in needed if not (directory / name).exists()]
    if missing:
        raise CorpusError(
            f"{directory}: no corpus here ({missing[0]} is missing); build it: `dvc repro corpus`"
        )
    card = json.loads((directory / "card.json").read_text())
    vocabulary = Tokenizer.from_file(str(directory / "tokenizer.json"))
    ids = [vocabulary.token_to_id(token) for token in SPECIAL_TOKENS]
    return Corpus(directory, vocabulary.get_vocab_size(), *ids, card)


KEYS = {  # source -> keys it needs, keys it may have
    "docstrings": (("packages",), ()),
    "files": (("files",), ("limit_mb", "column")),
    "hub": (("path", "split"), ("name", "revision", "column")),
}


def _check(settings):
    """Settings without their empty keys; refuses what no source could serve."""
    settings = {key: value for key, value in settings.items() if value is not None}
    vocabulary = {k: v for k, v in settings.get("vocabulary", {}).items() if v is not None}
    source = settings.get("source")
    if source not in KEYS:
        raise CorpusError(
            f"corpus.source: {source!r} is not a source; choose from {', '.join(KEYS)}"
        )
    needed = [*KEYS[source][0], "out_of_domain", "vocabulary", "heldout"]
    for key in needed:
        if not settings.get(key):
            raise CorpusError(f"corpus.{key}: missing; `source: {source}` needs it")
    allowed = ["source", *needed, *KEYS[source][1]]
    for key in settings:
        if key not in allowed and not (key == "column" and settings[key] == "text"):
            raise CorpusError(
                f"corpus.{key}: not for `source: {source}`, which allows {', '.join(allowed)}"
            )
    if not isinstance(settings["heldout"], float) or not 0 < settings["heldout"] < 1:
        raise CorpusError(
            f"corpus.heldout: {settings['heldout']!r} is not a share of the documents; "
            "give a number between 0 and 1"
        )
    if "file" not in vocabulary and set(vocabulary) != {"size", "alphabet"}:
        raise CorpusError(
            "corpus.vocabulary: give {size, alphabet} to learn one, or {file} to read one"
        )
    return settings | {"vocabulary": vocabulary}


# ---- Source 1: the docstrings of installed packages ----

SKIPPED = frozenset(
    "test tests testing _testing conftest.py external externals extern _external vendor vendored "
    "_vendor _vendored third_party thirdparty".split()
)


def _read_docstrings(settings, root):
    """Documents are docstrings; a paragraph seen before, in any package, is dropped."""
    kept_out = _as_list(settings["out_of_domain"])
    packages = settings["packages"] + kept_out
    twice = [name for name, count in Counter(packages).items() if count > 1]
    if twice:
        raise CorpusError(
            f"corpus.packages: {twice[0]} is named twice; "
            "out_of_domain text must stay out of training"
        )
    pins = _pins(root)
    files, versions = [], {}
    for package in packages:
        found, versions[package] = _package_files(package)
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
            key = _letters(block["text"])
            if key not in seen:
                seen.add(key)
                kept.append(block)
        if kept:
            documents.append(
                {"source": row["source"], "blocks": json.dumps(kept), "text": _join(kept)}
            )
    inside = [d for d in documents if d["source"] not in kept_out]
    outside = [d for d in documents if d["source"] in kept_out]
    for name, part in (("packages", inside), ("out_of_domain", outside)):
        if not part:
            raise CorpusError(
                f"corpus.{name}: no English docstring in {', '.join(_as_list(settings[name]))}"
            )
    card = {
        "source": "docstrings",
        "licence": "each package's own (BSD, MIT, Apache-2.0, PSF); read where installed",
        "packages": {name: versions[name] for name in settings["packages"]},
        "out_of_domain": {name: versions[name] for name in kept_out},
    }
    inside, outside = (
        datasets.Dataset.from_list(part).to_iterable_dataset() for part in (inside, outside)
    )
    return inside, outside, card


def _package_files(package):
    """Python sources of an installed distribution, sorted, and its version; nothing is imported."""
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        raise CorpusError(
            f"corpus.packages: {package!r} is not installed; "
            "name distributions of this environment (`pip list`)"
        ) from None
    paths = [p for p in distribution.files or [] if p.suffix == ".py" and p.parts[0] != ".."]
    paths = [p for p in paths if not SKIPPED & set(p.parts) and not p.name.startswith("test_")]
    if not paths:
        raise CorpusError(
            f"corpus.packages: {package!r} lists no Python sources; install it as an ordinary wheel"
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
        for string in _strings(code) if b'"""' in code or b"'''" in code else ():
            blocks = docstring_blocks(string)
            if blocks:
                out["source"].append(source)
                out["blocks"].append(json.dumps(blocks))
    if collecting:
        gc.enable()
    return out


def _strings(code):
    """Docstrings, and multi-line strings outside functions: libraries attach those as docstrings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            stack = [ast.parse(code)]
        except (SyntaxError, ValueError):  # a template, or another Python's syntax
            return
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring
            stack += [
                n for n in reversed(node.body) if isinstance(n, (ast.FunctionDef, ast.ClassDef))
            ]
        elif hasattr(node, "body") and isinstance(node.body, list):
            stack += [n for n in reversed(node.body + getattr(node, "orelse", []))]
        elif isinstance(node, (ast.Expr, ast.Assign, ast.AnnAssign)) and node.value is not None:
            formatted = {
                id(v)
                for n in ast.walk(node.value)
                if isinstance(n, ast.JoinedStr)
                for v in n.values
            }
            for n in ast.walk(node.value):
                string = n.value if isinstance(n, ast.Constant) and id(n) not in formatted else None
                if isinstance(string, str) and ("\n" in string or node.value is n):
                    yield inspect.cleandoc(string)


_HEADINGS = {
    alias: section
    for section, aliases in {
        "Parameters": "parameters,other parameters,args,arguments,params,inputs,keyword args,"
        "keyword arguments",
        "Attributes": "attributes",
        "Returns": "returns,return,yields,outputs",
        "Raises": "raises,warns",
        "See Also": "see also",
        "Notes": "notes,note,warnings,warning",
        "Examples": "examples,example",
        "Methods": "methods",
        "References": "references",
        "Other": "shape",
    }.items()
    for alias in aliases.split(",")
}
_ITEMISED = {"Parameters", "Attributes", "Returns", "Raises", "See Also", "Methods"}
_PROSE_DIRECTIVES = {"note", "warning", "tip", "important", "caution", "hint", "attention"}
_RULE = re.compile(r"\s*([-=~^]{3,})\s*$")
_BULLET = re.compile(r"(?:[-*+•]|\(?\w[.)]|\d+[.)])\s+(.*)")
_DIRECTIVE = re.compile(r"\.\. +(?:([\w-]+):: *(.*)|.*)")
_GOOGLE_ITEM = re.compile(
    r"[*`-]* ?`?([A-Za-z_][\w.]*(?:, *[\w*]+)*)`* *(?:\((.*?)\))?`? *:(?: +(.*)|$)"
)
_FIELD = re.compile(r":(param|parameter|arg|returns?|raises?) ?([^:]*): *(.*)")


def docstring_blocks(docstring):
    """English paragraphs of one docstring, in numpydoc, Google or Sphinx form.

    Returns a list of dicts: `text`, the `section` it stands in ("" before the first heading), and
    for an entry of a list its `name` and declared `type`. Code, tables, doctests, mathematics and
    references are dropped.
    """
    lines = inspect.cleandoc(docstring).expandtabs().splitlines()
    blocks, paragraph = [], []
    section = name = kind = ""
    numpydoc, base = (
        False,
        0,
    )  # form of the section; indentation of its heading (numpydoc) or entries
    skip = None  # drop lines that are indented deeper than this
    in_doctest = in_fence = False

    def flush():
        text = clean(" ".join(paragraph))
        paragraph.clear()
        if section != "References" and is_prose(text):
            blocks.append({"section": section, "name": name, "type": kind, "text": text})

    for i, line in enumerate(lines):
        body = line.strip()
        indent = len(line) - len(line.lstrip())
        following = lines[i + 1] if i + 1 < len(lines) else ""
        if body.startswith("```"):
            flush()
            in_fence = not in_fence
        elif in_fence:
            continue
        elif not body:
            flush()
            in_doctest = False
        elif skip is not None and indent > skip:
            continue
        elif body.startswith((">>>", "In [", "$ ", "... ")) or in_doctest:
            flush()
            in_doctest = True
        elif _RULE.match(line):
            paragraph.clear()
        elif _RULE.match(following) and body[-1].isalpha() and len(body) < 40:
            flush()
            section, name, kind = _HEADINGS.get(body.lower(), "Other"), "", ""
            numpydoc, base, skip = True, indent, None
        elif body.endswith(":") and body[:-1].lower() in _HEADINGS:
            flush()
            section, name, kind = _HEADINGS[body[:-1].lower()], "", ""
            numpydoc, skip = False, None
            entry = next(filter(str.strip, lines[i + 1 :]), "")
            base = len(entry) - len(entry.lstrip())
        elif match := _DIRECTIVE.match(body):
            flush()
            if match[1] in _PROSE_DIRECTIVES:
                paragraph.append(match[2])
            else:
                skip = indent
        elif match := _FIELD.match(body):
            flush()
            section = {"p": "Parameters", "a": "Parameters", "r": "Returns"}[match[1][0]]
            kind, _, name = match[2].rpartition(" ")
            section = "Raises" if match[1].startswith("raise") else section
            paragraph.append(match[3])
            numpydoc, base = False, -1
        elif section in _ITEMISED and numpydoc and indent == base:
            flush()
            name, _, kind = (part.strip(" `*\\") for part in body.partition(":"))
            if section == "See Also":
                paragraph.append(kind)
                kind = ""
            elif section in ("Returns", "Raises") and not kind:
                name, kind = "", name
        elif (
            section in _ITEMISED
            and not numpydoc
            and indent == base
            and (match := _GOOGLE_ITEM.match(body))
        ):
            flush()
            name, kind = match[1], (match[2] or "").strip("`* ")
            if section == "Returns":
                name, kind = "", name
            paragraph.append(match[3] or "")
        else:
            skip = None
            if match := _BULLET.match(body):
                flush()
                body = match[1]
            if body.endswith("::"):
                body, skip = body[:-1], indent
            paragraph.append(body)
            if skip is not None:
                flush()
    flush()
    return blocks


_MARKUP = [
    (re.compile(r"`([^`<]*?)\s*<[^`>]*>`__?"), r"\1"),  # `text <address>`_
    (re.compile(r"\[([^\[\]]*)\]\([^()]*\)"), r"\1"),  # [text](address)
    (re.compile(r":[\w:+-]+:`~[\w.]*?(\w+)`"), r"\1"),  # :func:`~numpy.sum`
    (re.compile(r":[\w:+-]+:`[!.]?([^`]*)`"), r"\1"),  # :func:`sum`
    (re.compile(r"\s*\[[\w#*-]+\]_"), ""),  # footnote [1]_
    (re.compile(r"\[(`[^`]*`)\]"), r"\1"),  # [`BertModel`]
    (re.compile(r"`+([^`]*)`+_{0,2}"), r"\1"),
    (re.compile(r"(?<!\w)(\*{1,2})(?=\S)([^*]+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"\s+"), " "),
]
_GARBAGE = re.compile(
    r"[{}\\|@$^<>#~]|://|%[(sdr]|==|->|\w\(.*?[=,].*?\)|[\w)\]] ?[=/*+] ?[\w(\[]\S*[=(\[*+]"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_STOPWORDS = frozenset(
    "a an the of to in is are be for and or if by on with that this it as from not will at which "
    "can has have was when used should its each then than all any no only".split()
)


def clean(text):
    """Markup away, sentences with code or mathematics in them away, one space between words."""
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return " ".join(s for s in sentences(text) if not _GARBAGE.search(s)).strip()


def sentences(text):
    """A paragraph cut after full stops that a capital follows."""
    return _SENTENCE_END.split(text.strip())


def is_prose(text):
    """Whether a paragraph reads as English: enough words, mostly letters, some stop words."""
    words = text.split()
    if len(words) < 4:
        return False
    letters = sum(c.isalpha() and c.isascii() for c in text) / sum(map(len, words))
    plain = sum(w.strip("\"'(),.:;!?").replace("-", "").isalpha() for w in words) / len(words)
    stop = sum(w.lower().strip(".,;:()") in _STOPWORDS for w in words) / len(words)
    return letters > 0.85 and plain > 0.7 and stop > 0.1


# ---- Source 2: files, and source 3: a dataset of the hub ----


def _read_files(settings, root):
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
        paths = [
            path for pattern in _as_list(settings[key]) for path in _expand(pattern, root, key)
        ]
        arguments = {"paths": [str(p) for p in paths], "limit_mb": budget}
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


def _file_rows(paths, limit_mb, column):
    """Rows `{source, blocks, text}` of files in turn, until `limit_mb` of UTF-8 text is read."""
    left = float("inf") if limit_mb is None else limit_mb * 1e6
    for path in map(Path, paths):
        empty = True
        for text in _documents(path, column):
            if left <= 0:
                return
            left -= len(text.encode())
            empty = False
            yield _row(path.name, text)
        if empty:
            raise CorpusError(f"corpus.files: {path} is empty: it holds no text")


def _documents(path, column):
    """Texts of one file, streamed."""
    if path.suffix == ".parquet":
        rows = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
        yield from _column(rows, column, path)
        return
    number = 0
    try:
        with lzma.open(path) if path.suffix == ".xz" else open(path, "rb") as file:
            document = []
            for number, line in enumerate(file, 1):
                line = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if path.suffix == ".jsonl":
                    if line:
                        yield from _column([json.loads(line)], column, f"{path}, line {number}")
                elif line:
                    document.append(line)
                elif document:
                    yield "\n".join(document)
                    document = []
            if document:
                yield "\n".join(document)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}, line {number}: not UTF-8 ({error.reason}); convert the file to UTF-8"
        ) from None
    except (lzma.LZMAError, EOFError) as error:
        raise CorpusError(f"{path}: not a complete .xz file ({error})") from None
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"{path}, line {number}: not JSON ({error}); give one object a line"
        ) from None


def _column(rows, column, where):
    """Non-empty strings of one column."""
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get(column), str):
            found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise CorpusError(f"{where}: no text column {column!r}; found {found}")
        if row[column].strip():
            yield row[column]


def _read_hub(settings, root):
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
    return _generated(_hub_rows, rows=rows, column=column, name=Path(settings["path"]).name)


def _hub_rows(rows, column, name):
    for text in _column(rows.select_columns([column]), column, name):
        yield _row(name, text)


def _row(source, text):
    """A document without structure: its paragraphs are its lines."""
    blocks = [BLOCK | {"text": line.strip()} for line in text.splitlines() if line.strip()]
    return {"source": source, "blocks": json.dumps(blocks), "text": _join(blocks)}


def _generated(function, **arguments):
    """A streamed dataset: nothing is cached, so no stale copy is ever read."""
    return datasets.IterableDataset.from_generator(function, gen_kwargs=arguments)


# ---- Vocabulary and token ids ----


def _vocabulary(settings, text, share, root):
    """A tokenizer from a vocabulary file, or learned from the training documents."""
    if "file" in settings:
        path = root / settings["file"]
        if not path.is_file():
            raise CorpusError(f"corpus.vocabulary.file: {settings['file']} does not exist")
        try:
            tokens = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise CorpusError(f"corpus.vocabulary.file: {settings['file']} is not UTF-8") from None
        missing = [token for token in SPECIAL_TOKENS if token not in tokens]
        if missing:
            raise CorpusError(
                f"corpus.vocabulary.file: {settings['file']} lacks {', '.join(missing)}; "
                f"one token per line, {' '.join(SPECIAL_TOKENS)} among them"
            )
        cased = any(t != t.lower() for t in tokens if not t.startswith("["))
        return _wordpiece({token: i for i, token in enumerate(tokens)}, lowercase=not cased)

    # The trainer numbers characters as it meets them in a randomly ordered hash map, and merges of
    # equal count are taken in that order. Handing it the characters, alone and as continuations,
    # makes the vocabulary a function of the text.
    normalizer = normalizers.BertNormalizer(lowercase=True)
    characters = Counter()
    for document in _training_texts(text, share):
        characters.update(normalizer.normalize_str(document))
    ranked = sorted((-n, c) for c, n in characters.items() if not c.isspace())
    alphabet = [c for _, c in ranked[: settings["alphabet"]]]
    needed = len(SPECIAL_TOKENS) + 2 * len(alphabet)
    if settings["size"] <= needed:
        raise CorpusError(
            f"corpus.vocabulary.size: {settings['size']} leaves no room for words; with "
            f"{len(alphabet)} characters, alone and as continuations, it must exceed {needed}"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings["size"],
        limit_alphabet=len(alphabet),
        initial_alphabet=alphabet,
        special_tokens=[*SPECIAL_TOKENS, *(f"##{c}" for c in sorted(alphabet))],
        show_progress=False,
    )
    learner = _wordpiece({"[UNK]": 0}, lowercase=True)
    learner.train_from_iterator(_training_texts(text, share), trainer)
    return _wordpiece(learner.get_vocab(with_added_tokens=True), lowercase=True)


def _training_texts(text, share):
    """Training documents, up to the share of text that a vocabulary is learned from."""
    left = VOCABULARY_CHARACTERS
    for row in text:
        if left > 0 and not _is_heldout(row["text"], share):
            left -= len(row["text"])
            yield row["text"]


def _wordpiece(vocabulary, *, lowercase):
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if "[SEP]" in vocabulary:
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(t, vocabulary[t]) for t in ("[CLS]", "[SEP]")],
        )
    return tokenizer


def _save_tokenizer(tokenizer, directory):
    names = {f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **names
    )
    fast.save_pretrained(directory)


def _is_heldout(text, share):
    """Whether a document is held out: a stable hash of its text, the same on any machine."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _encode(rows, tokenizer, share):
    """Batched map: texts -> token ids and split; `share` None marks out-of-domain text."""
    ids = [e.ids for e in tokenizer.encode_batch_fast(rows["text"], add_special_tokens=False)]
    splits = [
        "out-of-domain" if share is None else SPLITS[_is_heldout(t, share)] for t in rows["text"]
    ]
    return {"ids": ids, "split": splits}


def _write(rows, directory, tokenizer):
    """Append each document and a [SEP] to its split; returns the counts per split."""
    if tokenizer.get_vocab_size() > 2**16:
        raise CorpusError(
            f"corpus.vocabulary: {tokenizer.get_vocab_size()} tokens; at most 65536 fit in 16 bits"
        )
    sep, unknown = (tokenizer.token_to_id(t) for t in ("[SEP]", "[UNK]"))
    counts = {
        s: dict.fromkeys(("documents", "words", "characters", "tokens", "unknown"), 0)
        for s in SPLITS
    }
    files = {split: open(directory / f"{split}.npy", "wb") for split in SPLITS}  # noqa: SIM115
    heldout, trained_on = [], set()
    for file in files.values():
        _header(file, 0)
    for row in rows:
        count = counts[row["split"]]
        ids = np.asarray([*row["ids"], sep], dtype=np.uint16)
        files[row["split"]].write(ids.tobytes())
        if row["split"] == "heldout":
            named = {"document": count["documents"], "source": row["source"]}
            heldout += [named | block for block in json.loads(row["blocks"])]
        elif row["split"] == "train":
            trained_on.update(_fingerprints(row["text"]))
        count["documents"] += 1
        count["words"] += len(row["text"].split())
        count["characters"] += len(row["text"])
        count["tokens"] += len(ids)
        count["unknown"] += int((ids == unknown).sum())
    for split, file in files.items():
        file.seek(0)
        _header(file, counts[split]["tokens"])
        file.close()
        if not counts[split]["documents"]:
            raise CorpusError(
                f"corpus: the {split} split is empty ({counts['train']['documents']} training documents); "
                "give more documents, or another share in corpus.heldout"
            )
        count = counts[split]
        count["unknown_rate"] = round(count.pop("unknown") / count["tokens"], 6)
    for block in heldout:
        block["unseen"] = trained_on.isdisjoint(_fingerprints(block["text"]))
    pd.DataFrame(heldout).to_parquet(directory / "heldout.parquet")
    return counts


def _fingerprints(text):
    """8 bytes per sentence, blind to case, digits and punctuation."""
    for line in text.splitlines():
        for sentence in sentences(line):
            yield hashlib.blake2b(_letters(sentence).encode(), digest_size=8).digest()


def _letters(text):
    return re.sub(r"[\W\d_]+", "", text.lower())


def _header(file, length):
    """The .npy header; numpy pads it so that a longer length fits in the same place."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<u2", "fortran_order": False, "shape": (length,)}
    )


def _join(blocks):
    return "\n".join(block["text"] for block in blocks)


def _as_list(value):
    return [value] if isinstance(value, str) else list(value)
