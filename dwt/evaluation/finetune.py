"""Fine-tuning of a pre-trained model on one task, and its scores."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy, mse_loss
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from dwt.evaluation.tasks import Task, score_predictions

LENGTH_BUCKET = 50  # batches; examples are sorted by length within so many, to pad little

Ids = tuple[np.ndarray, np.ndarray]  # token ids and segments (1 in the second text) [L]


@dataclass(frozen=True)
class EncodedTask:
    """A task as token ids, made once for all seeds and settings."""

    task: Task
    train: list[Ids]
    validation: dict[str, list[Ids]]
    pad: int
    mask: int


def encode(tokenizer: PreTrainedTokenizerFast, task: Task, *, length: int = 128) -> EncodedTask:
    """Tokenize a task, truncated to `length` tokens (the longer of two texts first)."""

    def ids(rows):
        pair = None if rows.pair.isna().all() else list(rows.pair)
        encoded = tokenizer(
            list(rows.text), pair, truncation=True, max_length=length, return_token_type_ids=True
        )
        return [
            (np.array(tokens), np.array(segments, dtype=np.int8))
            for tokens, segments in zip(
                encoded["input_ids"], encoded["token_type_ids"], strict=True
            )
        ]

    validation = {name: ids(rows) for name, rows in task.validation.items()}
    return EncodedTask(
        task, ids(task.train), validation, tokenizer.pad_token_id, tokenizer.mask_token_id
    )


def classifier(model: PreTrainedModel, task: Task, *, seed: int) -> PreTrainedModel:
    """The encoder of a masked-LM model with a new classification head, initialised from the seed.

    The head is transformers' for the family: DistilBERT and BERT read [CLS] through a hidden
    layer; ModernBERT reads the mean over a text. With `task.at_mask` it reads the state at [MASK],
    which masked-LM has trained. Without labels it has one output. `model` is not changed.
    """
    config = AutoConfig.for_model(**model.config.to_dict())
    config.num_labels = len(task.labels) or 1
    if hasattr(config, "classifier_pooling"):
        config.classifier_pooling = "mean"  # masked-LM alone does not train [CLS]
    kind = AutoModelForTokenClassification if task.at_mask else AutoModelForSequenceClassification
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = kind.from_config(config)
    made.load_state_dict(model.state_dict(), strict=False)
    return made


def finetune(
    model: PreTrainedModel, encoded: EncodedTask, *, settings: dict, seed: int, device: str = "cpu"
) -> dict[str, tuple[float, int]]:
    """Fine-tune a classifier and score it after the last epoch.

    Parameters
    ----------
    model : PreTrainedModel
        From `classifier`; trained in place.
    encoded : EncodedTask
    settings : dict
        ``learning_rate`` (peak; 10 % linear warm-up, then linear to 0), ``epochs``, ``batch``.
    seed : int
        Of the order of examples and of dropout.
    device : str
        On "cuda", layers run in bfloat16; weights and loss stay in float32.

    Returns
    -------
    dict of str to (float, int)
        From `dwt.evaluation.tasks.score_predictions`.
    """
    task, ids = encoded.task, encoded.train
    labels = torch.tensor(task.train.label.to_numpy(np.int64 if task.labels else np.float32))
    rng = np.random.default_rng([seed])
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"], fused=True)
    total = settings["epochs"] * math.ceil(len(ids) / settings["batch"])
    warmup = max(1, round(0.1 * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warmup, (total - s) / max(1, total - warmup))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(settings["epochs"]):
            for rows in _batches(ids, settings["batch"], rng):
                outputs = _outputs(model, encoded, [ids[i] for i in rows], device)
                targets = labels[rows].to(device)
                if task.labels:
                    loss = cross_entropy(outputs, targets)
                else:
                    loss = mse_loss(outputs[:, 0], targets)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    model.eval()
    predictions = {name: _predict(model, encoded, name, rng, device) for name in encoded.validation}
    return score_predictions(task, predictions)


@torch.no_grad()
def _predict(model, encoded, name, rng, device):
    """Labels, or numbers for a regression task, of one validation set. [N]"""
    ids = encoded.validation[name]
    outputs = torch.empty(len(ids), model.config.num_labels)
    for rows in _batches(ids, 128, rng):
        outputs[rows] = _outputs(model, encoded, [ids[i] for i in rows], device).cpu()
    if encoded.task.labels:
        return outputs.argmax(-1).numpy()
    return np.nan_to_num(outputs[:, 0].numpy())  # 0 after a diverged fine-tuning


def _batches(ids, size, rng):
    """Shuffled row numbers in batches of similar length; new ones at every call."""
    order = rng.permutation(len(ids))
    lengths = np.array([len(ids[i][0]) for i in order])
    bucket = LENGTH_BUCKET * size
    order = np.concatenate([
        order[start : start + bucket][np.argsort(lengths[start : start + bucket], kind="stable")]
        for start in range(0, len(ids), bucket)
    ])  # fmt: skip
    starts = rng.permutation(np.arange(0, len(ids), size))
    return [order[start : start + size] for start in starts]


def _outputs(model, encoded, rows, device):
    """Outputs for some rows, padded to the longest. [B, labels], float32"""
    size = len(rows), max(len(ids) for ids, _ in rows)
    batch, segments = np.full(size, encoded.pad), np.zeros(size, dtype=np.int64)  # [B, L]
    attention = np.zeros_like(batch)
    for row, (ids, of_text) in enumerate(rows):
        batch[row, : len(ids)], attention[row, : len(ids)] = ids, 1
        segments[row, : len(ids)] = of_text
    inputs = {"input_ids": batch, "attention_mask": attention}
    if getattr(model.config, "type_vocab_size", 1) > 1:  # BERT has segment embeddings
        inputs["token_type_ids"] = segments
    inputs = {name: torch.from_numpy(value).to(device) for name, value in inputs.items()}
    kind = torch.device(device).type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda"):
        logits = model(**inputs).logits.float()  # at_mask: [B, L, labels]
    if not encoded.task.at_mask:
        return logits
    place = (inputs["input_ids"] == encoded.mask).int().argmax(1)  # 0, [CLS], if truncated away
    return logits[torch.arange(len(rows), device=logits.device), place]
