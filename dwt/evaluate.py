"""What has a pre-trained model learned? Zero-shot and fine-tuned scores, as tidy rows."""

import math

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from transformers import AutoConfig, AutoModelForSequenceClassification

from dwt.batches import batch_at, sequences_in
from dwt.models import build_model, load_model, logits_at
from dwt.pairs import minimal_pairs
from dwt.progress import Progress
from dwt.tasks import TOKEN_CLASSES, finetune_tasks, token_classes
from dwt.train import EVALUATION_SEED, vocabulary_of

METRICS = {
    "accuracy": accuracy_score,
    "matthews": matthews_corrcoef,
    "f1": lambda truth, found: f1_score(truth, found, average="macro"),
}
TOKENS_AT_ONCE = 8192  # per forward pass of the zero-shot scores


@torch.no_grad()
def pseudo_log_likelihood(model, tokenizer, sentences, *, device="cpu"):
    """Sum over a sentence's tokens of log p(token | all the others), nats.

    Each token is masked in turn (Salazar et al. 2020, Eq. 1); the score that BLiMP uses for
    masked models.

    Parameters
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerFast
    sentences : sequence of str

    Returns
    -------
    array of float64, [len(sentences)]
    """
    model = model.to(device).eval()
    ids = [np.asarray(row) for row in tokenizer(list(sentences))["input_ids"]]
    scores = np.zeros(len(ids))
    # One row per (sentence, token), short sentences first, so that little is padded.
    rows = [(i, p) for i in sorted(range(len(ids)), key=lambda i: len(ids[i]))
            for p in range(1, len(ids[i]) - 1)]  # fmt: skip
    start = 0
    while start < len(rows):
        width = len(ids[rows[start][0]])
        end = start + max(1, TOKENS_AT_ONCE // width)
        part = rows[start:end]
        length = len(ids[part[-1][0]])
        batch = np.full((len(part), length), tokenizer.pad_token_id)  # [R, L]
        real = np.zeros_like(batch)
        for row, (i, p) in enumerate(part):
            batch[row, : len(ids[i])] = ids[i]
            batch[row, p] = tokenizer.mask_token_id
            real[row, : len(ids[i])] = 1
        positions = torch.tensor([[p] for _, p in part], device=device)
        truth = torch.tensor([ids[i][p] for i, p in part], device=device)
        logits = logits_at(
            model, torch.from_numpy(batch).to(device), positions, torch.from_numpy(real).to(device)
        )
        found = logits.float().log_softmax(-1).gather(1, truth[:, None])[:, 0]
        np.add.at(scores, [i for i, _ in part], found.double().cpu().numpy())
        start = end
    return scores


def minimal_pair_accuracy(model, tokenizer, pairs, *, device="cpu"):
    """Share of (good, bad) pairs in which the good sentence is the likelier; a tie counts half."""
    good, bad = zip(*pairs, strict=True)
    scores = pseudo_log_likelihood(model, tokenizer, [*good, *bad], device=device)
    margin = scores[: len(pairs)] - scores[len(pairs) :]
    return float(np.mean((margin > 0) + 0.5 * (margin == 0)))


@torch.no_grad()
def cloze_accuracy(model, corpus, *, train, sequences, device="cpu"):
    """Share of masked held-out tokens guessed right, by class of the true token.

    Returns
    -------
    dict of str to (float, int)
        Accuracy and number of masked tokens of each class that occurs.
    """
    model = model.to(device).eval()
    tokens, vocabulary = corpus.tokens("heldout"), vocabulary_of(corpus)
    classes = token_classes(corpus.tokenizer())
    batch = min(train["batch"], sequences_in(tokens, train["length"]))
    right, truth = [], []
    for step in range(max(1, min(sequences, sequences_in(tokens, train["length"])) // batch)):
        ids, positions, targets = batch_at(
            tokens, vocabulary, seed=EVALUATION_SEED, step=step, batch=batch,
            length=train["length"], mask_rate=train["mask_rate"],
        )  # fmt: skip
        guess = logits_at(
            model, torch.from_numpy(ids).to(device), torch.from_numpy(positions).to(device)
        ).argmax(-1)
        truth.append(targets.ravel())
        right.append(guess.cpu().numpy() == targets.ravel())
    right, kind = np.concatenate(right), classes[np.concatenate(truth)]
    return {
        name: (float(right[kind == name].mean()), int((kind == name).sum()))
        for name in TOKEN_CLASSES
        if (kind == name).any()
    }


def finetune(model, tokenizer, task, *, settings, seed, device="cpu"):
    """Fine-tune a classifier and score it after the last epoch.

    Parameters
    ----------
    model : PreTrainedModel
        With a sequence-classification head; trained in place.
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
    train = task.train
    rng = np.random.default_rng([seed])
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"])
    size = settings["batch"]
    total = settings["epochs"] * math.ceil(len(train) / size)
    rise = max(1, round(0.1 * total))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / rise, (total - s) / max(1, total - rise))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(settings["epochs"]):
            order = rng.permutation(len(train))
            for start in range(0, len(train), size):
                rows = train.iloc[order[start : start + size]]
                labels = torch.from_numpy(rows.label.to_numpy().copy()).to(device)
                loss = model(**_encode(tokenizer, rows, device), labels=labels).loss
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    model.eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(task.validation), 64):
            rows = task.validation.iloc[start : start + 64]
            found.append(model(**_encode(tokenizer, rows, device)).logits.argmax(-1).cpu())
    return float(METRICS[task.metric](task.validation.label, torch.cat(found).numpy()))


def _encode(tokenizer, rows, device):
    """Padded to the longest of these rows."""
    pair = None if rows.pair.isna().all() else list(rows.pair)
    batch = tokenizer(list(rows.text), pair, truncation=True, max_length=128, padding=True,
                      return_tensors="pt", return_token_type_ids=False)  # fmt: skip
    return batch.to(device)


def evaluate(run, corpus, *, settings, train, weights="trained", device="cpu"):
    """All scores of one run, as rows of the scores table.

    Parameters
    ----------
    run : dwt.params.Run
        Trained, unless ``weights`` is "random".
    corpus : dwt.corpus.Corpus
    settings, train : dict
        The sections `evaluate` and `train` of the scale.
    weights : {"trained", "random"}
        "random" scores the run's initialisation: what a task owes to the architecture alone.

    Returns
    -------
    DataFrame
        Columns kind, arm, seed, finetune_seed (missing for zero-shot scores), task, metric, score,
        examples.
    """
    torch.set_num_threads(train["threads"])
    tokenizer = corpus.tokenizer()
    trained = weights == "trained"
    if trained:
        model = load_model(run.directory)
    else:
        model = build_model(
            run.model, layers=run.layers, vocabulary=vocabulary_of(corpus),
            max_length=train["length"], pad=corpus.pad_id, seed=run.seed,
        )  # fmt: skip
    rows = []
    who = dict(
        kind=run.kind if trained else "baseline", arm=run.arm if trained else "random",
        seed=run.seed,
    )  # fmt: skip

    def add(task, metric, score, examples, finetune_seed=None):
        rows.append(who | dict(finetune_seed=finetune_seed, task=task, metric=metric,
                               score=score, examples=examples))  # fmt: skip

    tasks = finetune_tasks(corpus, names=settings["tasks"], examples=settings["examples"])
    steps = Progress(f"evaluate {who['arm']}, seed {run.seed}", 4 + len(tasks) * settings["seeds"])
    done = 0
    for kind, pairs in minimal_pairs(corpus, pairs=settings["pairs"]).items():
        score = minimal_pair_accuracy(model, tokenizer, pairs, device=device)
        add(kind, "minimal-pair accuracy", score, len(pairs))
        steps.update(done := done + 1)
    for name, (score, count) in cloze_accuracy(
        model, corpus, train=train, sequences=train["final_sequences"], device=device
    ).items():
        add(f"cloze, {name}", "accuracy", score, count)
    steps.update(done := done + 1)
    for task in tasks:
        for seed in range(settings["seeds"]):
            classifier = _classifier(model, run.directory if trained else None, task, seed)
            score = finetune(
                classifier, tokenizer, task, settings=settings, seed=seed, device=device
            )
            add(task.name, task.metric, score, len(task.validation), seed)
            steps.update(done := done + 1)
    steps.close()
    return pd.DataFrame(rows)


def _classifier(model, directory, task, seed):
    """The encoder with a fresh classification head."""
    config = AutoConfig.for_model(**model.config.to_dict())
    config.num_labels = len(task.labels)
    if hasattr(config, "classifier_pooling"):
        config.classifier_pooling = "mean"  # [CLS] is never trained by masked-LM alone
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if directory:
            return AutoModelForSequenceClassification.from_pretrained(
                directory, config=config, local_files_only=True, dtype=torch.float32
            )
        classifier = AutoModelForSequenceClassification.from_config(config)
        classifier.load_state_dict(model.state_dict(), strict=False)
        return classifier


def trivial_scores(corpus, *, settings):
    """What needs no model: a coin on minimal pairs, the commonest label of each task."""
    rows = []
    for kind, pairs in minimal_pairs(corpus, pairs=settings["pairs"]).items():
        rows.append(dict(arm="chance", task=kind, metric="minimal-pair accuracy", score=0.5,
                         examples=len(pairs)))  # fmt: skip
    for task in finetune_tasks(corpus, names=settings["tasks"], examples=settings["examples"]):
        truth = task.validation.label
        guess = np.full(len(truth), task.train.label.mode()[0])
        rows.append(dict(arm="majority", task=task.name, metric=task.metric,
                         score=float(METRICS[task.metric](truth, guess)),
                         examples=len(truth)))  # fmt: skip
    return pd.DataFrame(
        [dict(kind="baseline", seed=None, finetune_seed=None) | row for row in rows]
    )
