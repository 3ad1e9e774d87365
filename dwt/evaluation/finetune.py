"""What can a pre-trained model be taught? Fine-tuning on one task, and its scores."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from torch.nn.functional import cross_entropy, mse_loss
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from dwt.evaluation.heldout_tasks import Task

MIXED = 50  # batches among which texts of like length are looked for


def _correlation(of):
    """0 where every guess is the same: a constant says nothing of the truth."""

    def score(truth, found):
        return of(truth, found).statistic if np.ptp(found) and np.ptp(truth) else 0.0

    return score


METRICS = {  # as GLUE has them, each of (truth, found)
    "accuracy": accuracy_score,
    "matthews": matthews_corrcoef,
    "f1": f1_score,  # of label 1
    "pearson": _correlation(pearsonr),
    "spearman": _correlation(spearmanr),
}


@dataclass(frozen=True)
class Encoded:
    """A task as token ids, made once for every seed and setting.

    Attributes
    ----------
    task : dwt.evaluation.heldout_tasks.Task
    train : list of (array, array)
        Token ids and segments (1 in the second text) of each example.
    validation : dict of str to list of (array, array)
    pad, mask : int
    """

    task: Task
    train: list
    validation: dict
    pad: int
    mask: int


def encode(tokenizer, task, *, length=128):
    """A task's texts as token ids, cut to `length` (of two texts the longer one first)."""

    def ids(rows):
        pair = None if rows.pair.isna().all() else list(rows.pair)
        made = tokenizer(
            list(rows.text), pair, truncation=True, max_length=length, return_token_type_ids=True
        )
        return [
            (np.array(tokens), np.array(segments, dtype=np.int8))
            for tokens, segments in zip(made["input_ids"], made["token_type_ids"], strict=True)
        ]

    validation = {name: ids(rows) for name, rows in task.validation.items()}
    return Encoded(
        task, ids(task.train), validation, tokenizer.pad_token_id, tokenizer.mask_token_id
    )


def classifier(model, task, *, seed):
    """The encoder of a masked-LM model with a fresh classification layer, drawn from the seed.

    The layer is transformers' own for the family: DistilBERT and BERT read [CLS], with a hidden
    layer of their own between; ModernBERT here reads the mean over a text. Where `task.at_mask` it
    is the state at the [MASK], the position that masked-LM has trained. Without labels there is
    one output, a number. The model given is not changed.
    """
    config = AutoConfig.for_model(**model.config.to_dict())
    config.num_labels = len(task.labels) or 1
    if hasattr(config, "classifier_pooling"):
        config.classifier_pooling = "mean"  # [CLS] is never trained by masked-LM alone
    kind = AutoModelForTokenClassification if task.at_mask else AutoModelForSequenceClassification
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = kind.from_config(config)
    made.load_state_dict(model.state_dict(), strict=False)
    return made


def finetune(model, encoded, *, settings, seed, device="cpu"):
    """Fine-tune a classifier and score it after the last epoch.

    Parameters
    ----------
    model : PreTrainedModel
        From `classifier`; trained in place.
    encoded : Encoded
        From `encode`.
    settings : dict
        ``learning_rate`` (peak; 10 % linear warm-up, then linear to 0), ``epochs``, ``batch``.
    seed : int
        Of the order of examples and of dropout.
    device : str
        On "cuda" layers run in bfloat16, weights and loss stay in float32.

    Returns
    -------
    dict of str to (float, int)
        Score and number of examples of each metric, as `scores_of`.
    """
    task, ids = encoded.task, encoded.train
    truth = torch.tensor(task.train.label.to_numpy(np.int64 if task.labels else np.float32))
    rng = np.random.default_rng([seed])
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"], fused=True)
    total = settings["epochs"] * math.ceil(len(ids) / settings["batch"])
    rise = max(1, round(0.1 * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / rise, (total - s) / max(1, total - rise))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(settings["epochs"]):
            for rows in _batches(ids, settings["batch"], rng):
                found = _outputs(model, encoded, [ids[i] for i in rows], device)
                wanted = truth[rows].to(device)
                if task.labels:
                    loss = cross_entropy(found, wanted)
                else:
                    loss = mse_loss(found[:, 0], wanted)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    model.eval()
    found = {name: _guesses(model, encoded, name, rng, device) for name in encoded.validation}
    return scores_of(task, found)


def scores_of(task, found):
    """Every metric of a task, from guesses for each of its validation sets.

    Parameters
    ----------
    task : dwt.evaluation.heldout_tasks.Task
    found : dict of str to array
        Guessed labels, or numbers, by validation set.

    Returns
    -------
    dict of str to (float, int)
        By the metric's name, with the validation set's in brackets if that has one.
    """
    return {
        f"{metric} ({name})" if name else metric: (
            float(METRICS[metric](rows.label.to_numpy(), found[name])), len(rows)
        )
        for name, rows in task.validation.items()
        for metric in task.metrics
    }  # fmt: skip


@torch.no_grad()
def _guesses(model, encoded, name, rng, device):
    """Labels, or numbers, for one validation set; [N]"""
    ids = encoded.validation[name]
    outputs = torch.empty(len(ids), model.config.num_labels)
    for rows in _batches(ids, 128, rng):
        outputs[rows] = _outputs(model, encoded, [ids[i] for i in rows], device).cpu()
    if encoded.task.labels:
        return outputs.argmax(-1).numpy()
    return np.nan_to_num(outputs[:, 0].numpy())  # a fine-tuning that diverged guesses 0


def _batches(ids, size, rng):
    """Rows of like length together, so that little is padded; drawn anew every time."""
    order = rng.permutation(len(ids))
    lengths = np.array([len(ids[i][0]) for i in order])
    among = MIXED * size
    order = np.concatenate([
        order[start : start + among][np.argsort(lengths[start : start + among], kind="stable")]
        for start in range(0, len(ids), among)
    ])  # fmt: skip
    starts = rng.permutation(np.arange(0, len(ids), size))
    return [order[start : start + size] for start in starts]


def _outputs(model, encoded, rows, device):
    """Padded to the longest of these rows; [B, labels] in float32."""
    size = len(rows), max(len(ids) for ids, _ in rows)
    batch, segments = np.full(size, encoded.pad), np.zeros(size, dtype=np.int64)  # [B, L]
    real = np.zeros_like(batch)
    for row, (ids, of_text) in enumerate(rows):
        batch[row, : len(ids)], real[row, : len(ids)] = ids, 1
        segments[row, : len(ids)] = of_text
    given = {"input_ids": batch, "attention_mask": real}
    if getattr(model.config, "type_vocab_size", 1) > 1:  # BERT tells the texts of a pair apart
        given["token_type_ids"] = segments
    given = {name: torch.from_numpy(value).to(device) for name, value in given.items()}
    kind = torch.device(device).type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda"):
        logits = model(**given).logits.float()  # at the mask: [B, L, labels]
    if not encoded.task.at_mask:
        return logits
    place = (given["input_ids"] == encoded.mask).int().argmax(1)  # [CLS] if it was cut off
    return logits[torch.arange(len(rows), device=logits.device), place]
