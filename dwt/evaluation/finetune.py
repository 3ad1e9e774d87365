"""Fine-tuning of a pre-trained model on one task, and its scores."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import transformers
from torch.nn.functional import cross_entropy, mse_loss
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dwt.evaluation.metrics import Scores, Task, score_predictions
from dwt.training.schedule import learning_rate_at

LENGTH_BUCKET = 50  # batches per bucket; within one, examples are sorted to reduce padding
Ids = tuple[np.ndarray, np.ndarray]  # token ids and segments (1 in the second text) [L]


@dataclass(frozen=True)
class EncodedTask:
    """A task as token ids, made once for all seeds and settings."""

    task: Task
    train: list[Ids]
    validation: dict[str, list[Ids]]
    tokenizer: PreTrainedTokenizerFast


def encode(tokenizer: PreTrainedTokenizerFast, task: Task, *, length: int = 128) -> EncodedTask:
    """Tokenize a task, truncated to `length` tokens (the longer of two texts first)."""

    def ids(rows):
        text, pair = list(rows.text), None if rows.pair.isna().all() else list(rows.pair)
        options = dict(truncation=True, max_length=length, return_token_type_ids=True)
        encoded = tokenizer(text, pair, **options)
        tokens = map(np.array, encoded["input_ids"])
        segments = (np.array(row, dtype=np.int8) for row in encoded["token_type_ids"])
        return [*zip(tokens, segments, strict=True)]

    validation = {name: ids(rows) for name, rows in task.validation.items()}
    return EncodedTask(task, ids(task.train), validation, tokenizer)


def classifier(model: PreTrainedModel, task: Task, *, seed: int) -> PreTrainedModel:
    """The encoder of a masked-LM model with a new classification head, initialised from the seed.

    DistilBERT and BERT read [CLS] through a hidden layer, ModernBERT the mean over a text; with
    `task.at_mask` all read the state at [MASK].
    """
    config = transformers.AutoConfig.for_model(**model.config.to_dict())
    config.num_labels = len(task.labels) or 1
    if hasattr(config, "classifier_pooling"):
        config.classifier_pooling = "mean"  # masked-LM alone does not train [CLS]
    head = "TokenClassification" if task.at_mask else "SequenceClassification"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = getattr(transformers, f"AutoModelFor{head}").from_config(config)
    made.load_state_dict(model.state_dict(), strict=False)
    return made


def finetune(
    model: PreTrainedModel, encoded: EncodedTask, *, settings: dict, seed: int, device: str = "cpu"
) -> Scores:
    """Fine-tune a model from `classifier` in place and score it after the last epoch.

    `settings` holds ``learning_rate`` (peak; 10 % warm-up), ``epochs`` and ``batch``. The seed
    draws order and dropout. On "cuda", layers run in bfloat16.
    """
    task, ids = encoded.task, encoded.train
    labels = torch.tensor(task.train.label.to_numpy(np.int64 if task.labels else np.float32))
    loss_of = cross_entropy if task.labels else mse_loss
    rng = np.random.default_rng([seed])
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"], fused=True)
    total = settings["epochs"] * math.ceil(len(ids) / settings["batch"])
    shape = {"learning_rate": 1.0, "warmup": 0.1, "steps": total}
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(learning_rate_at, shape))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(settings["epochs"]):
            for rows in _batches(ids, settings["batch"], rng):
                outputs = _outputs(model, encoded, [ids[i] for i in rows], device)
                loss = loss_of(outputs.squeeze(-1), labels[rows].to(device))  # [B] of a regression
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
    # A diverged regression predicts 0.
    return (outputs.argmax(-1) if encoded.task.labels else outputs[:, 0].nan_to_num()).numpy()


def _batches(ids, size, rng):
    """Row numbers in batches of similar length; each call draws a new order."""
    order = rng.permutation(len(ids))
    lengths = np.array([len(ids[i][0]) for i in order])
    bucket = np.arange(len(ids)) // (LENGTH_BUCKET * size)
    order = order[np.lexsort((lengths, bucket))]
    starts = rng.permutation(np.arange(0, len(ids), size))
    return [order[start : start + size] for start in starts]


def _outputs(model, encoded, rows, device):
    """Outputs for some rows, padded to the longest. [B, labels], float32"""
    ids, segments = (list(map(torch.from_numpy, arrays)) for arrays in zip(*rows, strict=True))
    pad, mask = encoded.tokenizer.pad_token_id, encoded.tokenizer.mask_token_id
    batch = pad_sequence(ids, batch_first=True, padding_value=pad)  # [B, L]
    attention = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
    inputs = {"input_ids": batch, "attention_mask": attention}
    if getattr(model.config, "type_vocab_size", 1) > 1:  # BERT has segment embeddings
        inputs["token_type_ids"] = pad_sequence(segments, batch_first=True).long()
    inputs = {name: value.to(device) for name, value in inputs.items()}
    kind = torch.device(device).type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda"):
        logits = model(**inputs).logits.float()  # at_mask: [B, L, labels]
    if not encoded.task.at_mask:
        return logits
    place = (inputs["input_ids"] == mask).int().argmax(1)  # 0, [CLS], if truncated away
    return logits[torch.arange(len(rows), device=logits.device), place]
