"""Losses of the study's students by kind of token: its frequency, and whether the teacher is right.

``python -m dwt.analysis.token_gains`` reads the held-out text with every model of the study and
writes results/<scale>/tables/tokens.csv.
"""

import sys

import numpy as np
import pandas as pd
import torch

from dwt.analysis.tables import TOKEN_COLUMNS, TablesError, save, tokens_file
from dwt.config.params import ParamsError, load_params, resolve
from dwt.config.schema import Params
from dwt.data.corpus import CorpusError, open_corpus
from dwt.training.device import set_threads
from dwt.training.models import load_model, logits_at
from dwt.training.step import autocast, batch_to_device
from dwt.training.validation import heldout_batches

EDGES = 16, 64, 256, 1024  # ranks at which one band of frequency ends and the next begins


def bands_of(tokens, vocabulary):
    """The band of each token by its rank in the training text, 0 for the most frequent, `[V]`."""
    counts = np.bincount(tokens, minlength=vocabulary.size).astype(float)
    counts[list(vocabulary.special)] = -1  # never masked
    rank = np.argsort(np.argsort(-counts, kind="stable"))
    return np.digitize(rank, EDGES)


def band_names(size: int) -> list[str]:
    """Names of the bands: "1-16", "17-64", ..."""
    ends = [*EDGES, size]
    return [f"{start + 1}-{end}" for start, end in zip([0, *EDGES], ends, strict=True)]


@torch.no_grad()
def position_losses(directory, corpus, train, *, device="cpu"):
    """Loss, whether the first guess is right, and true token at every masked position held out.

    Three arrays, [n], of the finished run in `directory`, over the `final_sequences` of the `train`
    section: the mean loss, in nats, is `heldout_loss` of run.json.
    """
    model = load_model(directory).to(device).eval()
    batches = heldout_batches(
        corpus.tokens("heldout"), corpus.vocabulary, sequences=train["final_sequences"], train=train
    )
    losses, right, targets = [], [], []
    for batch in batches:
        batch = batch_to_device(batch, device)
        with autocast(train, device):
            logits = logits_at(model, batch.input_ids, batch.positions).float()  # [B * M, V]
        true = batch.targets.flatten()
        losses.append(torch.nn.functional.cross_entropy(logits, true, reduction="none"))
        right.append(logits.argmax(-1) == true)
        targets.append(true)
    return tuple(torch.cat(parts).cpu().numpy() for parts in (losses, right, targets))


def gains_by_token(params: Params) -> pd.DataFrame:
    """Losses of every student of the study, with and without the soft loss, by kind of token.

    A student with a random start is compared with `scratch`; a remapped one with the arm that is
    remapped from the same teacher and has no soft loss, if there is one. Columns arm, against,
    seed, band, teacher_right, tokens, loss, loss_without (means, nats).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for seed in params.seeds:
        read = {}
        for arm, without in _pairs(params):
            run = resolve(arm, seed, params)
            set_threads(run.train["threads"])
            corpus = open_corpus(run)
            bands = bands_of(corpus.tokens("train"), corpus.vocabulary)
            for name in (arm, without, run.teacher):
                folder = resolve(name, seed, params).directory
                if not (folder / "run.json").is_file():
                    raise TablesError(f"{name}, seed {seed}, is not trained yet; run make study")
                if name not in read:
                    read[name] = position_losses(folder, corpus, run.train, device=device)
            loss, _, true = read[arm]
            tokens = pd.DataFrame(
                {"band": bands[true], "teacher_right": read[run.teacher][1], "loss": loss,
                 "loss_without": read[without][0]}
            )  # fmt: skip
            by = tokens.groupby(["band", "teacher_right"])
            table = by.mean().assign(tokens=by.size()).reset_index()
            table["band"] = table["band"].map(dict(enumerate(band_names(corpus.vocabulary.size))))
            rows.append(table.assign(arm=arm, against=without, seed=seed))
    return pd.concat(rows, ignore_index=True)[TOKEN_COLUMNS]


def _pairs(params):
    """(arm, the same without the soft loss) of the study's arms."""
    runs = [resolve(arm, params.seeds[0], params) for arm in params.arms]
    no_kd = {run.teacher: run.arm for run in runs if run.remap and not run.soft_weight}
    for run in runs:
        if run.soft_weight and run.teacher_directory is not None:
            without = no_kd.get(run.teacher) if run.remap else "scratch"
            if without is not None:
                yield run.arm, without


if __name__ == "__main__":
    try:
        study = load_params()
        save(gains_by_token(study), tokens_file(study))
    except (ParamsError, TablesError, CorpusError) as fault:
        sys.exit(str(fault))
