"""Which weights teach which run?

`python -m dwt.training.teachers [evidence]` writes one small file per arm with its teacher's name and a
digest of the teacher's weights of each seed. Student stages depend on that file, so a new or
changed teacher retrains its own students only.
"""

import hashlib
import json
import platform
import sys

import torch

from dwt.config.params import ParamsError, digest, load_params, resolve, runs_folder
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


def write_lessons(params, grid="study"):
    """Write <arm>.json for every arm of a grid, a file each.

    They lie in build/<scale>/teachers, those of the extended grid in
    build/<scale>-evidence/teachers.
    """
    folder = runs_folder(params.root, params.scale, grid, under="build") / "teachers"
    folder.mkdir(parents=True, exist_ok=True)
    for arm in params.arms if grid == "study" else params.all_arms:
        runs = [resolve(arm, seed, params) for seed in params.seeds_of(arm, grid)]
        weights = {
            run.seed: weights_digest(teacher_directory(run))
            for run in runs
            if run.teacher_directory
        }
        lesson = {"teacher": params.all_arms[arm].teacher, "weights": weights}
        (folder / f"{arm}.json").write_text(json.dumps(lesson) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        write_lessons(load_params(), *sys.argv[1:])
    except (ParamsError, TeacherError) as fault:
        sys.exit(str(fault))
