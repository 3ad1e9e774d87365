"""What a notebook needs when it is run on its own in a fresh clone: corpus and teacher."""

from dwt.config.params import Run, resolve
from dwt.config.schema import Params
from dwt.data.corpus import build_corpus
from dwt.training.train import pretrain


def prepare(run: Run, params: Params) -> None:
    """Build the corpus and train the teacher of a run where they are missing."""
    if not (run.corpus_directory / "card.json").is_file():
        build_corpus(
            params.settings.corpus, directory=run.corpus_directory, root=params.root,
            length=run.train["length"], name=f"params.yaml: scales.{run.scale}.corpus",
        )  # fmt: skip
    if run.teacher is not None and run.teacher_directory is not None:
        pretrain(resolve(run.teacher, run.seed, params))
