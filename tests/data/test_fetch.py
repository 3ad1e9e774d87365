"""dwt/data/fetch.py: files of the external data from hub datasets, and what is missing of them."""

import lzma
import re
import sys

import datasets
import pandas as pd
import pytest
import yaml
from conftest import ROOT, run
from projects import edit, project_copy

from dwt.config.params import load_params
from dwt.data import fetch as module
from dwt.data.documents import CorpusError
from dwt.data.fetch import HUB, TEXTS, fetch, missing_data
from dwt.data.files import open_files
from dwt.evaluation.blimp import read_blimp
from dwt.evaluation.glue import load_glue

WIKIPEDIA, NOVELS = TEXTS
LIMIT_MB = 0.02  # half of it from each text
PROSE = "The teacher of the school reads a long book to the children every day."


def dataset(folder, configs):
    """A folder in the layout of a hub dataset; `configs` are frames by configuration and split."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, frame in splits.items():
            (folder / config).mkdir(parents=True, exist_ok=True)
            frame.to_parquet(folder / config / f"{split}-00000-of-00001.parquet")
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The four datasets as local folders, in the place of those on the hub."""
    folder = tmp_path / "hub"
    cola = pd.DataFrame({"sentence": [PROSE, "the reads"], "label": [1, 0], "idx": [0, 1]})
    mnli = pd.DataFrame({"premise": PROSE, "hypothesis": PROSE, "label": [0, 1, 2], "idx": 0})
    sets = ("validation_matched", "validation_mismatched")
    dataset(folder / "glue", {
        "cola": {"train": cola, "validation": cola, "test": cola.assign(label=-1)},
        "mnli": {"train": mnli} | dict.fromkeys(sets, mnli),
    })  # fmt: skip
    pair = {"sentence_good": "It is.", "sentence_bad": "It are.", "field": "syntax", "pair_id": 0,
            "linguistics_term": "island_effects"}  # fmt: skip
    dataset(folder / "blimp", {
        uid: {"train": pd.DataFrame([pair | {"UID": uid}] * 30)} for uid in ("one", "two")
    })  # fmt: skip
    article = f"{PROSE}\n\nHistory\n\n{PROSE} It is new.\n* a list\n"
    rows = [{"id": str(i), "url": "", "title": f"A {i}", "text": article} for i in range(400)]
    dataset(folder / "wikipedia", {"20231101.en": {"train": pd.DataFrame(rows)}})
    book = f'CHAPTER I\n\n\nThe teacher\nreads  to\n   the children.\n\n"No," he said.\n\n{PROSE}'
    rows = [{"short_book_title": f"Of {year}", "publication_date": year, "url": "", "text": book}
            for year in range(1750, 1950)]  # fmt: skip
    dataset(folder / "pg19", {"default": {"train": pd.DataFrame(rows)}})
    local = {key: (str(folder / name.partition("/")[2]), *rest)
             for key, (name, *rest) in HUB.items()}  # fmt: skip
    monkeypatch.setattr(module, "HUB", local)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return local


@pytest.fixture
def params(tmp_path):
    """The scale wiki-mini with less text and two tasks, in a folder without data."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"scale": "wiki-mini"}
    content["scales"]["wiki-mini"]["corpus"]["limit_mb"] = LIMIT_MB
    content["scales"]["wiki-mini"]["evaluate"]["tasks"] = ["cola", "mnli"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    return load_params(tmp_path / "params.yaml")


def documents(params, file):
    text = lzma.decompress((params.root / file).read_bytes()).decode()
    return [block.split("\n") for block in text.removesuffix("\n\n").split("\n\n")]


def test_every_file_that_a_scale_needs_is_made_and_can_be_read(hub, params, capsys):
    assert len(missing_data(params)) == 2 + 2 + 3 + 1
    fetch(params)
    assert missing_data(params) == []
    evaluate = params.settings.evaluate
    cola, mnli = load_glue(evaluate.tasks, where=evaluate.glue, root=params.root)
    assert len(cola.train) == 2 and {*mnli.validation} == {"matched", "mismatched"}
    assert len(read_blimp(evaluate.blimp, pairs=20, root=params.root)) == 40
    for file in TEXTS:
        _, stream = open_files([file], "corpus.files", params.root, column="text")
        assert LIMIT_MB / 2 < sum(read["size"] for read in stream()) / 1e6 < LIMIT_MB / 2 * 1.2
    output = capsys.readouterr().out
    assert len(re.findall(r" made: [\d,]+ bytes, SHA-256 [0-9a-f]{64}", output)) == 8
    assert "other cuts" in output and "Numbers will differ" in output


def test_a_document_is_a_title_and_its_paragraphs_without_short_lines_of_wikipedia(hub, params):
    fetch(params)
    first, second, *_ = documents(params, WIKIPEDIA)
    assert first == ["A 0", PROSE, f"{PROSE} It is new."] and second[0] == "A 1"


def test_wrapped_lines_of_a_book_are_joined_and_books_of_other_years_left_out(hub, params):
    fetch(params)
    books = documents(params, NOVELS)
    paragraphs = ["CHAPTER I", "The teacher reads to the children.", '"No," he said.', PROSE]
    assert books[0] == ["Of 1840", *paragraphs]
    assert books[-1][0] <= "Of 1920"


@pytest.mark.parametrize(
    "scale, wikipedia, novels",
    [("wiki-mini", 20, 20), ("gpu-short", 0.86 * 88, 0.14 * 88), ("gpu", None, None)],
)
def test_of_each_text_its_share_of_the_limit_is_read(scale, wikipedia, novels):
    corpus = load_params(ROOT / "params.yaml", scale=scale).settings.corpus
    read = [corpus.megabytes_of(file) for file in TEXTS]
    assert read == pytest.approx([wikipedia, novels])


def test_without_a_limit_as_much_is_made_as_the_committed_cuts_hold(hub, params, monkeypatch):
    asked = {}

    def make(file, path, limit):
        asked[file] = limit
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    monkeypatch.setattr(module, "_make", make)
    content = yaml.safe_load((params.root / "params.yaml").read_text())
    del content["scales"]["wiki-mini"]["corpus"]["limit_mb"]
    (params.root / "params.yaml").write_text(yaml.safe_dump(content))
    fetch(load_params(params.root / "params.yaml"))
    assert (asked[WIKIPEDIA], asked[NOVELS]) == (386, 61)


def test_what_exists_is_kept(hub, params, capsys, monkeypatch):
    fetch(params)
    (params.root / WIKIPEDIA).write_bytes(lzma.compress(b"My own text\nof two lines.\n"))
    capsys.readouterr()
    monkeypatch.setattr(datasets, "load_dataset", pytest.fail)
    fetch(params)
    output = capsys.readouterr().out
    assert output.count(" kept: ") == 8 and " made: " not in output
    assert documents(params, WIKIPEDIA)[0][0] == "My own text"


def test_a_dataset_that_breaks_off_is_named_and_leaves_no_part_of_a_file(hub, params, monkeypatch):
    def broken(*args, **kwargs):
        yield {"title": "A", "text": PROSE}
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", broken)
    with pytest.raises(CorpusError, match=f"{WIKIPEDIA}: .*wikipedia .*no route to host"):
        fetch(params)
    assert [*(params.root / WIKIPEDIA).parent.iterdir()] == []


def test_a_text_of_which_nothing_can_be_used_is_refused(hub, params, monkeypatch):
    monkeypatch.setattr(module, "YEARS", range(2000, 2001))
    with pytest.raises(CorpusError, match=f"{NOVELS}: .*no row has a text"):
        fetch(params)
    assert not (params.root / NOVELS).exists()


def test_every_dataset_is_read_at_its_revision_which_is_a_whole_commit(hub, params, monkeypatch):
    read, load = set(), datasets.load_dataset

    def spy(name, config, *, revision, **options):
        read.add((name, revision))
        return load(name, config, revision=revision, **options)

    monkeypatch.setattr(datasets, "load_dataset", spy)
    fetch(params)
    assert read == {(name, revision) for name, _, revision in hub.values()}
    assert all(re.fullmatch("[0-9a-f]{40}", revision) for _, _, revision in HUB.values())


def test_each_missing_file_is_a_line_with_its_key_and_the_command_that_gets_it(params):
    lines = missing_data(params)
    assert lines[0] == (
        f"params.yaml: scales.wiki-mini.corpus.parts.0.files: no file {WIKIPEDIA}; "
        "run `python -m dwt.data.fetch --scale wiki-mini`"
    )
    for key, file in (("glue", "glue/mnli/validation_matched"), ("blimp", "blimp/blimp")):
        line = f"scales.wiki-mini.evaluate.{key}: no file data/external/{file}.parquet; run"
        assert any(line in text for text in lines)


def test_a_missing_file_of_ones_own_is_to_be_added(params):
    content = yaml.safe_load((params.root / "params.yaml").read_text())
    corpus = content["scales"]["wiki-mini"]["corpus"]
    corpus["parts"] = [{"files": ["data/raw/*.txt", "mine.txt"]}]
    corpus["vocabulary"] = {"file": "vocab.txt"}
    (params.root / "params.yaml").write_text(yaml.safe_dump(content))
    (params.root / "mine.txt").touch()
    lines = missing_data(load_params(params.root / "params.yaml"))
    own = [line for line in lines if "add it" in line]
    assert [re.search("no file (.*);", line)[1] for line in own] == ["data/raw/*.txt", "vocab.txt"]
    assert "scales.wiki-mini.corpus.vocabulary.file: no file vocab.txt; add it, or" in own[1]


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_a_scale_without_local_files_misses_nothing(scale, tmp_path):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    assert missing_data(load_params(tmp_path / "params.yaml", scale=scale)) == []


@pytest.mark.parametrize("command", ["notebooks copy notebooks build/notebooks", "stages"])
def test_missing_files_stop_the_study_before_anything_is_made(command, tmp_path):
    root = project_copy(tmp_path)
    edit(root, "scale: laptop", "scale: wiki-mini")
    module_name, *words = command.split()
    done = run(sys.executable, "-m", f"dwt.pipeline.{module_name}", *words, cwd=root)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == missing_data(load_params(root / "params.yaml"))
    assert not (root / "build").exists()


def test_the_command_refuses_a_scale_that_does_not_exist():
    done = run(sys.executable, "-m", "dwt.data.fetch", "--scale", "wiki", cwd=ROOT)
    assert done.returncode == 1 and "'wiki' is not a scale; choose one of" in done.stderr
