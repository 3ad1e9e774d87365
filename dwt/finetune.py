"""What can a pre-trained model be taught? Fine-tuning on one task, and its score."""

import math

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from torch.nn.functional import cross_entropy
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

METRICS = {
    "accuracy": accuracy_score,
    "matthews": matthews_corrcoef,
    "f1": lambda truth, found: f1_score(truth, found, average="macro"),
}


def classifier(model, task, *, seed):
    """The encoder of a masked-LM model with a fresh classification layer, drawn from the seed.

    It reads the mean over a text, or where `task.at_mask` the state at its [MASK], the position
    that masked-LM has trained. The model given is not changed.
    """
    config = AutoConfig.for_model(**model.config.to_dict())
    config.num_labels = len(task.labels)
    if hasattr(config, "classifier_pooling"):
        config.classifier_pooling = "mean"  # [CLS] is never trained by masked-LM alone
    kind = AutoModelForTokenClassification if task.at_mask else AutoModelForSequenceClassification
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = kind.from_config(config)
    made.load_state_dict(model.state_dict(), strict=False)
    return made


def finetune(model, tokenizer, task, *, settings, seed, device="cpu"):
    """Fine-tune a classifier and score it after the last epoch.

    Parameters
    ----------
    model : PreTrainedModel
        With a head that classifies sequences, or tokens where `task.at_mask`; trained in place.
    tokenizer : PreTrainedTokenizerFast
    task : dwt.tasks.Task
    settings : dict
        ``learning_rate`` (peak; 10 % linear warm-up, then linear to 0), ``epochs``, ``batch``.
    seed : int
        Of the order of examples and of dropout.

    Returns
    -------
    float
        The task's metric on its validation set.
    """
    ids, truth = _token_ids(tokenizer, task.train), torch.tensor(task.train.label.to_numpy())
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
                logits = _class_logits(model, tokenizer, [ids[i] for i in rows], task, device)
                loss = cross_entropy(logits, truth[rows].to(device))
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    model.eval()
    ids = _token_ids(tokenizer, task.validation)
    found = np.empty(len(ids), dtype=np.int64)
    with torch.no_grad():
        for rows in _batches(ids, 128, rng):
            logits = _class_logits(model, tokenizer, [ids[i] for i in rows], task, device)
            found[rows] = logits.argmax(-1).cpu().numpy()
    return float(METRICS[task.metric](task.validation.label, found))


def _token_ids(tokenizer, rows):
    pair = None if rows.pair.isna().all() else list(rows.pair)
    return tokenizer(list(rows.text), pair, truncation=True, max_length=128)["input_ids"]


def _batches(ids, size, rng):
    """Rows of like length together, so that little is padded; drawn anew every time."""
    order = rng.permutation(len(ids))
    order = order[np.argsort([len(ids[i]) for i in order], kind="stable")]
    starts = rng.permutation(np.arange(0, len(ids), size))
    return [order[start : start + size] for start in starts]


def _class_logits(model, tokenizer, ids, task, device):
    """Padded to the longest of these rows; [B, labels]."""
    batch = np.full((len(ids), max(map(len, ids))), tokenizer.pad_token_id)  # [B, L]
    real = np.zeros_like(batch)
    for row, tokens in enumerate(ids):
        batch[row, : len(tokens)] = tokens
        real[row, : len(tokens)] = 1
    batch, real = torch.from_numpy(batch).to(device), torch.from_numpy(real).to(device)
    logits = model(input_ids=batch, attention_mask=real).logits  # at the mask: [B, L, labels]
    if not task.at_mask:
        return logits
    place = (batch == tokenizer.mask_token_id).int().argmax(1)  # [CLS] if it was cut off
    return logits[torch.arange(len(ids), device=logits.device), place]
