"""dwt/data/packages.py: which files of a package are read, and what is refused."""

import sys

import pytest
from small_text import OBJECTS, SUBJECTS, VERBS, build, file_settings, refusal

PROSE = "The quick method returns the sum of the values."


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs distributions of one module each, on tmp_path only: package(name, version, code)."""

    def install(name, version, code, **files):
        site = tmp_path / "site"
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        files = {f"{name}/__init__.py": code} | files
        for path, content in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(content)
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
        monkeypatch.syspath_prepend(str(site))

    return install


def function(name, docstring):
    return f'def {name}():\n    """{docstring}"""\n'


def docstring_settings():
    return {
        "source": "docstrings", "packages": ["inside"], "out_of_domain": "outside",
        "vocabulary": {"size": 120, "alphabet": 30}, "heldout": 0.2,
    }  # fmt: skip


def many(subjects):
    every = [(s, v, o) for s in subjects for v in VERBS for o in OBJECTS]
    return "".join(
        function(f"f{i}", f"Return the {s} {v} of the {o}.") for i, (s, v, o) in enumerate(every)
    )


def test_docstrings_are_read_without_importing(package, tmp_path):
    package("inside", "1.0", 'raise SystemExit("imported")\n' + many(SUBJECTS[:5]))
    package("outside", "2.0", many(SUBJECTS[5:]))
    corpus = build(docstring_settings(), tmp_path)
    assert "inside" not in sys.modules
    assert corpus.card["packages"] == {"inside": "1.0"} and corpus.card["out_of_domain"] == {
        "outside": "2.0"
    }
    assert corpus.card["splits"]["out-of-domain"]["documents"] == 5 * 36
    assert (
        corpus.card["splits"]["train"]["documents"] + corpus.card["splits"]["heldout"]["documents"]
        == 5 * 36
    )
    assert (corpus.heldout().source == "inside").all()


def test_a_paragraph_is_kept_once_in_all_packages(package, tmp_path):
    package(
        "inside",
        "1.0",
        many(SUBJECTS[:5]) + many(SUBJECTS[:5]).upper().replace("DEF ", "def ").replace("F", "g"),
    )
    package("outside", "1.0", many(SUBJECTS[3:]))
    corpus = build(docstring_settings(), tmp_path)
    assert (
        corpus.card["splits"]["out-of-domain"]["documents"] == 5 * 36
    )  # the other two subjects were inside


def test_tests_and_vendored_code_are_not_read(package, tmp_path):
    hidden = {
        f"inside/{folder}/a.py": function("f", "Hidden words are here in the text.")
        for folder in ("tests", "externals")
    }
    package(
        "inside",
        "1.0",
        many(SUBJECTS[:5]),
        **hidden,
        **{"inside/broken.py": 'def f(:\n    """' + PROSE},
    )
    package("outside", "1.0", many(SUBJECTS[5:]))
    corpus = build(docstring_settings(), tmp_path)
    assert sum(corpus.card["splits"][s]["documents"] for s in ("train", "heldout")) == 5 * 36


def test_a_version_that_differs_from_the_pin_warns(package, tmp_path):
    package("inside", "1.0", many(SUBJECTS[:5]))
    package("outside", "2.0+cpu", many(SUBJECTS[5:]))
    (tmp_path / "constraints.txt").write_text("inside==1.1  # comment\noutside==2.0\n")
    with pytest.warns(
        UserWarning, match="inside 1.0 is installed, constraints.txt pins 1.1"
    ) as caught:
        build(docstring_settings(), tmp_path)
    assert not [w for w in caught if "outside" in str(w.message)]


def test_an_unknown_package_is_named(tmp_path):
    for key, where in (("packages", "packages"), ("out_of_domain", "out_of_domain.packages")):
        named = {"packages": ["tqdm"], key: ["no-such-package"]}
        message = refusal(docstring_settings() | named, tmp_path)
        assert message.startswith(f"corpus.{where}: 'no-such-package' is not installed")


def test_out_of_domain_text_must_stay_out_of_training(tmp_path):
    for settings in (
        docstring_settings() | {"out_of_domain": ["inside"]},
        file_settings(tmp_path) | {"out_of_domain": "text.txt"},
    ):
        assert "stay out of training" in refusal(settings, tmp_path)
