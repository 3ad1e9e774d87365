"""What has a pre-trained model learned? Zero-shot and fine-tuned scores, as tidy rows."""

import numpy as np
import pandas as pd
import torch

from dwt.blimp import by_phenomenon
from dwt.finetune import METRICS, classifier, finetune
from dwt.heldout import heldout_batches
from dwt.machine import set_threads
from dwt.models import build_model, load_model, logits_at
from dwt.progress import Progress
from dwt.tasks import TOKEN_CLASSES, token_classes

# Per forward pass of the zero-shot scores: more leave the CPU's cache, fewer leave a GPU idle.
TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 65_536}


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
    for length in sorted({len(row) for row in ids}):  # sentences of one length: nothing is padded
        rows = [(i, p) for i, row in enumerate(ids) if len(row) == length
                for p in range(1, length - 1)]  # fmt: skip
        at_once = max(1, TOKENS_AT_ONCE[torch.device(device).type] // length)
        for part in (rows[k : k + at_once] for k in range(0, len(rows), at_once)):
            sentence, place = np.array(part).T  # [R], [R]
            batch = np.stack([ids[i] for i in sentence])  # [R, L]
            truth = torch.from_numpy(batch[np.arange(len(part)), place]).to(device)
            batch[np.arange(len(part)), place] = tokenizer.mask_token_id
            logits = logits_at(
                model, torch.from_numpy(batch).to(device), torch.tensor(place[:, None]).to(device)
            )
            found = logits.float().log_softmax(-1).gather(1, truth[:, None])[:, 0]
            np.add.at(scores, sentence, found.double().cpu().numpy())
    return scores


def pairs_right(model, tokenizer, pairs, *, device="cpu"):
    """1 for each (good, bad) pair in which the good sentence is the likelier, 0.5 for a tie."""
    good, bad = zip(*pairs, strict=True)
    scores = pseudo_log_likelihood(model, tokenizer, [*good, *bad], device=device)
    margin = scores[: len(good)] - scores[len(good) :]
    return (margin > 0) + 0.5 * (margin == 0)


def minimal_pair_accuracy(model, tokenizer, pairs, *, device="cpu"):
    """Share of (good, bad) pairs in which the good sentence is the likelier; a tie counts half."""
    return float(pairs_right(model, tokenizer, pairs, device=device).mean())


def blimp_accuracy(model, tokenizer, blimp, *, device="cpu"):
    """Minimal-pair accuracy of BLiMP and of its phenomena, as `dwt.blimp.by_phenomenon`.

    The sentences of all sets are scored in one call: sets alone would fill no batch.
    """
    pairs = list(zip(blimp.sentence_good, blimp.sentence_bad, strict=True))
    return by_phenomenon(blimp, pairs_right(model, tokenizer, pairs, device=device))


@torch.no_grad()
def cloze_accuracy(model, corpus, *, train, sequences, device="cpu"):
    """Share of masked held-out tokens guessed right, by class of the true token.

    Returns
    -------
    dict of str to (float, int)
        Accuracy and number of masked tokens of each class that occurs.
    """
    model = model.to(device).eval()
    tokens, vocabulary = corpus.tokens("heldout"), corpus.vocabulary
    classes = token_classes(corpus.tokenizer())
    right, truth = [], []
    for ids, positions, targets in heldout_batches(
        tokens, vocabulary, sequences=sequences, train=train
    ):
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


def evaluate(
    run, corpus, *, pairs, tasks, settings, train, blimp=None, weights="trained", device=None
):
    """All scores of one run, as rows of the scores table.

    Parameters
    ----------
    run : dwt.params.Run
        Trained, unless ``weights`` is "random".
    corpus : dwt.corpus.Corpus
    pairs : dict of str to list of (str, str)
        From `dwt.pairs.minimal_pairs`; made once for all runs.
    tasks : list of dwt.tasks.Task
        From `dwt.tasks.finetune_tasks`.
    settings, train : dict
        The sections `evaluate` and `train` of the scale.
    blimp : DataFrame, optional
        From `dwt.blimp.read_blimp`.
    weights : {"trained", "random"}
        "random" scores the run's initialisation: what a task owes to the architecture alone.
    device : str, optional
        By default "cuda" where there is one, else "cpu".

    Returns
    -------
    DataFrame
        Columns kind, arm, seed, finetune_seed (missing for zero-shot scores), task, metric, score,
        examples.
    """
    set_threads(train["threads"])
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = corpus.tokenizer()
    trained = weights == "trained"
    if trained:
        model = load_model(run.directory)
    else:
        model = build_model(
            run.model, layers=run.layers, vocabulary=corpus.vocabulary,
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

    steps = Progress(
        f"evaluate {who['arm']}, seed {run.seed}",
        len(pairs) + (blimp is not None) + 1 + len(tasks) * settings["seeds"],
    )
    done = 0
    for kind, of_kind in pairs.items():
        score = minimal_pair_accuracy(model, tokenizer, of_kind, device=device)
        add(kind, "minimal-pair accuracy", score, len(of_kind))
        steps.update(done := done + 1)
    if blimp is not None:
        for name, (score, count) in blimp_accuracy(model, tokenizer, blimp, device=device).items():
            add(name, "minimal-pair accuracy", score, count)
        steps.update(done := done + 1)
    for name, (score, count) in cloze_accuracy(
        model, corpus, train=train, sequences=train["final_sequences"], device=device
    ).items():
        add(f"cloze, {name}", "accuracy", score, count)
    steps.update(done := done + 1)
    for task in tasks:
        for seed in range(settings["seeds"]):
            score = finetune(
                classifier(model, task, seed=seed), tokenizer, task,
                settings=settings, seed=seed, device=device,
            )  # fmt: skip
            add(task.name, task.metric, score, len(task.validation), seed)
            steps.update(done := done + 1)
    steps.close()
    return pd.DataFrame(rows)


def trivial_scores(pairs, tasks, blimp=None):
    """What needs no model: a coin on minimal pairs, the commonest label of each task."""
    rows = []
    counts = {kind: len(of_kind) for kind, of_kind in pairs.items()}
    if blimp is not None:
        counts |= {k: n for k, (_, n) in by_phenomenon(blimp, np.full(len(blimp), 0.5)).items()}
    for kind, count in counts.items():
        rows.append(dict(arm="chance", task=kind, metric="minimal-pair accuracy", score=0.5,
                         examples=count))  # fmt: skip
    for task in tasks:
        truth = task.validation.label
        guess = np.full(len(truth), task.train.label.mode()[0])
        rows.append(dict(arm="majority", task=task.name, metric=task.metric,
                         score=float(METRICS[task.metric](truth, guess)),
                         examples=len(truth)))  # fmt: skip
    return pd.DataFrame(
        [dict(kind="baseline", seed=None, finetune_seed=None) | row for row in rows]
    )
