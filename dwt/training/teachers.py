"""Teachers of student runs: finished models, or predictions from token counts.

``python -m dwt.training.teachers study`` writes one small file per student run with the digest of its
teacher's weights. Student stages depend on it, so that a changed teacher retrains its own students
only.
"""

import hashlib
import json
import platform
import shutil
import sys

import torch

from dwt.config.files import digest
from dwt.config.params import ParamsError, load_params, resolve
from dwt.config.schema import COUNTED
from dwt.training.counted import CountedTeacher
from dwt.training.models import load_model


class TeacherError(ValueError):
    """A teacher is not trained yet, or cannot teach this student."""


def teacher_directory(run):
    """Where the finished teacher of a run lies.

    Raises
    ------
    TeacherError
        If it is not there, with the command that trains it.
    """
    directory = run.teacher_directory
    if not (directory / "model.safetensors").is_file():
        raise TeacherError(
            f"arms.{run.arm}.teacher: '{run.teacher}' of seed {run.seed} is not trained yet; "
            f"train it: `papermill notebooks/02-pretrain.ipynb out.ipynb -r arm {run.teacher} "
            f"-p seed {run.seed}`"
        )
    return directory


def weights_digest(directory):
    """SHA-256 of a saved model's weights."""
    with (directory / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_teacher(run, corpus):
    """The teacher of a run, in evaluation mode and without gradients.

    Parameters
    ----------
    run : dwt.config.params.Run
    corpus : dwt.data.corpus.Corpus
        What a teacher that only counts has counted.

    Raises
    ------
    TeacherError
        If it is not trained yet, or its vocabulary is not that of the run's corpus.
    """
    if run.teacher in COUNTED:
        return CountedTeacher(run.teacher, corpus.tokens("train"), corpus.vocabulary)
    directory = teacher_directory(run)
    theirs, ours = (
        json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        for folder in (directory, run.corpus_directory)
    )
    if theirs != ours:
        raise TeacherError(
            f"arms.{run.arm}.teacher: '{run.teacher}' has another vocabulary ({len(theirs)} tokens)"
            f" than data/{run.scale} ({len(ours)}); teacher and student must share one: train the "
            "teacher on this corpus, or build the corpus with the teacher's vocabulary "
            f"(scales.{run.scale}.corpus.vocabulary.file in params.yaml)"
        )
    return load_model(directory).eval().requires_grad_(False)


def states_key(run, *, device, compiled):
    """Digest of all that decides, to the last bit, what a run's teacher says at each step."""
    train = run.train
    with (run.corpus_directory / "train.npy").open("rb") as tokens:
        text = hashlib.file_digest(tokens, "sha256").hexdigest()
    tokenizer = (run.corpus_directory / "tokenizer.json").read_bytes()
    cuda = device.type == "cuda"
    return digest(
        {
            "teacher": weights_digest(teacher_directory(run)),
            "text": text,
            "tokenizer": hashlib.sha256(tokenizer).hexdigest(),
            "seed": run.seed,
            **{key: train[key] for key in ("batch", "length", "mask_rate", "accumulate")},
            "precision": train["precision"],
            "compiled": compiled,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if cuda else platform.processor(),
            "capability": torch.backends.cpu.get_cpu_capability(),
        }
    )


def write_teachers(params, grid):
    """Write build/<scale>/teachers/<grid>/<arm>-<seed>.json: a student run's teacher, and a digest.

    Parameters
    ----------
    params : dwt.config.schema.Params
    grid : {"study", "extended"}

    Raises
    ------
    TeacherError
        If a teacher is not trained yet.
    """
    folder = params.path("build", "teachers", grid)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for arm, seed in params.runs_of(grid):
        if arm in params.all_models:
            continue
        run = resolve(arm, seed, params)
        weights = weights_digest(teacher_directory(run)) if run.teacher_directory else None
        text = json.dumps({"teacher": run.teacher, "weights": weights}) + "\n"
        (folder / f"{arm}-{seed}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        write_teachers(load_params(), *sys.argv[1:])
    except (ParamsError, TeacherError) as error:
        sys.exit(str(error))
