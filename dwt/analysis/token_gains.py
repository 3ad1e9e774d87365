"""Which tokens does a teacher help with, and which does it harm?

`python -m dwt.analysis.token_gains` reads the held-out text with every model of the study and writes, for each
taught arm and seed, the losses by how frequent the true token is and by whether the teacher's first
guess was right.
"""

import sys

import numpy as np
import pandas as pd
import torch

from dwt.analysis.tables import TablesError, save
from dwt.config.params import ParamsError, load_params, resolve
from dwt.training.device import set_threads
from dwt.training.lessons import TrainingError, open_corpus
from dwt.training.models import load_model, logits_at
from dwt.training.step import on_device, precision
from dwt.training.validation import heldout_batches

EDGES = 16, 64, 256, 1024  # ranks at which one band of frequency ends and the next begins


def bands_of(tokens, vocabulary):
    """The band of each token by its rank in the training text, 0 for the most frequent, `[V]`."""
    counts = np.bincount(tokens, minlength=vocabulary.size).astype(float)
    counts[list(vocabulary.special)] = -1  # never masked
    rank = np.empty(vocabulary.size, dtype=int)
    rank[np.argsort(-counts, kind="stable")] = np.arange(vocabulary.size)
    return np.digitize(rank, EDGES)


def band_names(size):
    """What the bands are called: "1-16", "17-64", ..."""
    ends = [*EDGES, size]
    return [f"{start + 1}-{end}" for start, end in zip([0, *EDGES], ends, strict=True)]


@torch.no_grad()
def read_tokens(directory, corpus, train, *, device="cpu"):
    """A model's loss at every masked position of the held-out text, and whether it guessed right.

    Parameters
    ----------
    directory : path-like
        A finished run.
    corpus : dwt.data.corpus.Corpus
    train : dict
        The `train` section; its `final_sequences` are read, as for the final loss.

    Returns
    -------
    losses, right, targets : arrays, [n]
        Nats; bool; token ids. Their mean loss is `heldout_loss` of run.json.
    """
    model = load_model(directory).to(device).eval()
    read = heldout_batches(
        corpus.tokens("heldout"), corpus.vocabulary, sequences=train["final_sequences"], train=train
    )
    losses, right, targets = [], [], []
    for batch in read:
        batch = on_device(batch, device)
        with precision(train, device):
            logits = logits_at(model, batch.input_ids, batch.positions).float()  # [B * M, V]
        true = batch.targets.flatten()
        losses.append(torch.nn.functional.cross_entropy(logits, true, reduction="none"))
        right.append(logits.argmax(-1) == true)
        targets.append(true)
    return tuple(torch.cat(parts).cpu().numpy() for parts in (losses, right, targets))


def gains_by_token(params):
    """Losses of every taught arm of the study, with and without the soft loss, by kind of token.

    A student that starts at random is set beside `scratch`; one that starts from its teacher's
    weights beside the arm that does so without the soft loss, where there is one.

    Returns
    -------
    DataFrame
        arm, against, seed, band, teacher_right, tokens, loss, loss_without (means, nats).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, folders = [], {}
    for seed in params.seeds:
        heard = {}
        for arm, without in _pairs(params):
            run = resolve(arm, seed, params)
            set_threads(run.train["threads"])
            corpus = open_corpus(run)
            bands = bands_of(corpus.tokens("train"), corpus.vocabulary)
            names = band_names(corpus.vocab_size)
            for name in (arm, without, run.teacher):
                folders[name] = resolve(name, seed, params).directory
                if not (folders[name] / "run.json").is_file():
                    raise TablesError(f"{name}, seed {seed}, is not trained yet; run make study")
                if name not in heard:
                    heard[name] = read_tokens(folders[name], corpus, run.train, device=device)
            loss, _, true = heard[arm]
            told = pd.DataFrame(
                {"band": bands[true], "teacher_right": heard[run.teacher][1], "loss": loss,
                 "loss_without": heard[without][0]}
            )  # fmt: skip
            by = told.groupby(["band", "teacher_right"])
            table = by.mean().assign(tokens=by.size()).reset_index()
            table["band"] = table["band"].map(dict(enumerate(names)))
            rows.append(table.assign(arm=arm, against=without, seed=seed))
    columns = ["arm", "against", "seed", "band", "teacher_right", "tokens", "loss", "loss_without"]
    return pd.concat(rows, ignore_index=True)[columns]


def _pairs(params):
    """(taught arm, the same without the soft loss) of the study's arms."""
    runs = [resolve(arm, params.seeds[0], params) for arm in params.arms]
    silent = {run.teacher: run.arm for run in runs if run.remap and not run.soft_weight}
    for run in runs:
        if run.soft_weight and run.teacher_directory is not None:
            without = silent.get(run.teacher) if run.remap else "scratch"
            if without is not None:
                yield run.arm, without


if __name__ == "__main__":
    try:
        study = load_params()
        save(gains_by_token(study), study.path("results", "evidence", "tokens.csv"))
    except (ParamsError, TablesError, TrainingError) as fault:
        sys.exit(str(fault))
