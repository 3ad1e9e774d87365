"""Small made-up texts, and what the tests of the corpus share."""

import pytest

from dwt.data.corpus import CorpusError, build_corpus

SUBJECTS = "cat dog bird horse child teacher driver doctor farmer writer".split()
VERBS = ["sees", "likes", "finds", "follows", "hears", "paints"]
OBJECTS = ["river", "forest", "garden", "city", "mountain", "house"]


def articles(start=0, stop=360):
    """Small documents, each different: a title line and two paragraphs."""
    every = [(s, v, o) for s in SUBJECTS for v in VERBS for o in OBJECTS]
    return [
        f"{s} and {o}\nThe {s} {v} the {o}.\nNobody {v} it better." for s, v, o in every[start:stop]
    ]


def write_text(path, documents):
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")


def file_settings(root):
    """`source: files` on two small text files under root."""
    write_text(root / "text.txt", articles(0, 300))
    write_text(root / "other.txt", articles(300, 360))
    return {
        "source": "files",
        "files": ["text.txt"],
        "out_of_domain": ["other.txt"],
        "vocabulary": {"size": 150, "alphabet": 30},
        "heldout": 0.2,
    }


def build(settings, root, name="built"):
    return build_corpus(settings, directory=root / name, root=root)


def refusal(settings, root):
    """The message with which a build is refused; nothing may be left behind."""
    before = sorted(p.name for p in root.iterdir())
    with pytest.raises(CorpusError) as error:
        build(settings, root)
    assert sorted(p.name for p in root.iterdir()) == before
    return str(error.value)
