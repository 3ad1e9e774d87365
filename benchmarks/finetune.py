"""Fine-tuning scores of dwt beside those of transformers' own example.

`python benchmarks/finetune.py` fine-tunes one DistilBERT-shaped model with
`dwt.evaluation.finetune`, as the evaluate stages do, and with a `Trainer` set up as in
transformers' run_glue.py (its own tokenization, collator, sampler, model class and schedule), and
writes results/benchmarks/finetune.json. It needs GLUE under data/external/glue and takes about six
minutes on one core.
"""

import json
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
import transformers
from scipy import stats
from sklearn.metrics import accuracy_score

from dwt.config.tasks import GLUE
from dwt.data.vocabulary import SPECIAL_TOKENS, Vocabulary, make_tokenizer, save_tokenizer
from dwt.evaluation.finetune import classifier, encode, finetune
from dwt.evaluation.glue import load_glue
from dwt.training.models import build_model, load_model

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "results" / "benchmarks" / "finetune.json"
SHAPE = dict(family="distilbert", width=128, heads=2, intermediate=512, dropout=0.1)
SETTINGS = dict(learning_rate=5e-4, epochs=3, batch=32)
LAYERS, LENGTH, PIECES = 2, 128, 4096
TASKS = {"sst2": 5000, "stsb": 2500}  # classification, and regression on two texts; examples
SEEDS = 5
METRICS = {  # as run_glue.py computes them
    "accuracy": accuracy_score,
    "pearson": lambda labels, predicted: stats.pearsonr(labels, predicted)[0],
    "spearman": lambda labels, predicted: stats.spearmanr(labels, predicted)[0],
}


def masked_lm(folder, texts):
    """Save a random DistilBERT with a vocabulary of the texts; returns the tokenizer."""
    save_tokenizer(
        make_tokenizer({"size": PIECES, "alphabet": 80}, lambda: iter(texts), root=folder), folder
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS)
    vocabulary = Vocabulary(len(tokenizer), ids[2], ids[3], ids[4], tuple(ids))
    model = build_model(
        SHAPE, layers=LAYERS, vocabulary=vocabulary, max_length=LENGTH, pad=ids[0], seed=0
    )
    model.save_pretrained(folder)
    return tokenizer


def ours(folder, tokenizer, task, seed):
    """Scores by metric, as `dwt.evaluation.evaluate` computes them."""
    made = classifier(load_model(folder), task, seed=seed)
    encoded = encode(tokenizer, task, length=LENGTH)
    scores = finetune(made, encoded, settings=SETTINGS, seed=seed)
    return {metric: score for metric, (score, _) in scores.items()}


def recipe(folder, tokenizer, task, seed):
    """Scores by metric of a `Trainer` set up as run_glue.py does it, padding each batch."""
    transformers.set_seed(seed)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(task.labels) or 1
    )

    def encoded(rows):
        texts = [list(rows.text)] + ([] if rows.pair.isna().all() else [list(rows.pair)])
        made = tokenizer(*texts, max_length=LENGTH, truncation=True)
        return datasets.Dataset.from_dict({**made, "label": rows.label.tolist()})

    def measured(prediction):
        outputs = prediction.predictions
        predicted = outputs.argmax(axis=1) if task.labels else np.squeeze(outputs)
        return {name: METRICS[name](prediction.label_ids, predicted) for name in task.metrics}

    arguments = transformers.TrainingArguments(
        output_dir=folder / "out", learning_rate=SETTINGS["learning_rate"],
        num_train_epochs=SETTINGS["epochs"], per_device_train_batch_size=SETTINGS["batch"],
        warmup_steps=0.1, weight_decay=0.01, seed=seed, use_cpu=True, disable_tqdm=True,
        save_strategy="no", logging_strategy="no", report_to=[],
    )  # fmt: skip
    trainer = transformers.Trainer(
        model, arguments, train_dataset=encoded(task.train),
        eval_dataset=encoded(task.validation[""]), compute_metrics=measured,
        processing_class=tokenizer,
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
    )  # fmt: skip
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    scores = trainer.evaluate()
    return {metric: float(scores[f"eval_{metric}"]) for metric in task.metrics}


def compare():
    """Scores of both, by task, metric and seed."""
    rows = []
    for name, examples in TASKS.items():
        where = dict(where="data/external/glue", root=ROOT)
        (task,) = load_glue([name], examples=examples, **where)
        texts = [*task.train.text, *task.train.pair.dropna()]
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = masked_lm(Path(folder), texts)
            for seed in range(SEEDS):
                for which in (ours, recipe):
                    started = time.process_time()
                    scores = which(Path(folder), tokenizer, task, seed)
                    seconds = round(time.process_time() - started, 1)
                    print(name, seed, which.__name__, scores, seconds, flush=True)
                    rows += [
                        dict(task=name, examples=examples, metric=metric, by=which.__name__,
                             seed=seed, score=round(score, 5), seconds=seconds)
                        for metric, score in scores.items()
                    ]  # fmt: skip
    return rows


def lines(scores):
    """Rows of the README's table, one per task and metric: means, deviations, difference."""
    for (name, metric, examples), rows in pd.DataFrame(scores).groupby(
        ["task", "metric", "examples"], sort=False
    ):
        by = rows.pivot(index="seed", columns="by", values="score")
        means, spreads, differ = by.mean(), by.std(), difference(by)
        shown = [f"{means[who]:.3f} ± {spreads[who]:.3f}" for who in ("ours", "recipe")]
        yield (
            f"| {GLUE[name].title}, {metric} | {examples:,} | {shown[0]} | {shown[1]} | "
            f"{means['ours'] - means['recipe']:+.3f} ({differ.low:+.3f} to {differ.high:+.3f}) |"
        )


def difference(by):
    """Welch's 95 % interval of ours - recipe; their seeds are not paired."""
    return stats.ttest_ind(by["ours"], by["recipe"], equal_var=False).confidence_interval(0.95)


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    scores = compare()
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    about = dict(shape=SHAPE, layers=LAYERS, length=LENGTH, seeds=SEEDS, **SETTINGS)
    FILE.write_text(json.dumps(dict(about=about, versions=versions, scores=scores), indent=1))
    print(*lines(scores), sep="\n")
