"""The sections of one scale of params.yaml: text, shape of the models, training, evaluation."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from dwt.config.corpus import CorpusSettings, Text
from dwt.config.section import Section, as_list, choices
from dwt.config.tasks import GLUE, TASKS

Share = Annotated[float, Field(ge=0, le=1)]


def on_off(value: Any) -> Any:
    """Turn true and false, as YAML reads a bare on or off, back into "on" and "off"."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _threads(value: Any) -> int | str:
    if value == "auto" or (type(value) is int and value > 0):
        return value
    raise ValueError(f"{value!r} is neither 'auto' nor a whole number of at least 1")


def _checkpoints(value: Any) -> bool | list[str]:
    if isinstance(value, bool) or (isinstance(value, list) and all(type(v) is str for v in value)):
        return value
    raise ValueError(f"{value!r} is neither true, nor false, nor a list of tasks")


class Shape(Section):
    """Shape of student and teachers; `dwt.training.families` has the families."""

    family: Literal["modernbert", "distilbert", "bert"]
    width: PositiveInt
    heads: PositiveInt
    intermediate: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    initializer_range: PositiveFloat = 0.02
    positions: PositiveInt | None = None  # of the position table; train.length where left out

    @model_validator(mode="after")
    def _heads_divide_width(self):
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if self.family == "modernbert" and self.width // self.heads % 2:
            raise ValueError(
                f"width {self.width} / heads {self.heads} is odd; rotary positions need it even"
            )
        return self


class Train(Section):
    """Pre-training of one model."""

    steps: PositiveInt
    batch: PositiveInt
    length: Annotated[int, Field(ge=4)]
    mask_rate: Annotated[float, Field(gt=0, lt=1)]
    learning_rate: PositiveFloat
    betas: tuple[Share, Share] = (0.9, 0.98)
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Share = 0.06
    clip: PositiveFloat = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    # Threads of the CPU; auto: one per core.
    threads: Annotated[int | Literal["auto"], BeforeValidator(_threads)] = "auto"
    compile: Annotated[Literal["auto", "on", "off"], BeforeValidator(on_off)] = "auto"
    accumulate: PositiveInt = 1
    log_every: PositiveInt
    evaluate_every: PositiveInt
    evaluate_sequences: PositiveInt
    final_sequences: PositiveInt
    checkpoint_every: PositiveInt
    keep: list[Annotated[float, Field(gt=0, lt=1)]] = []

    @model_validator(mode="after")
    def _batch_splits_evenly(self):
        if self.batch % (parts := self.accumulate):
            raise ValueError(f"batch {self.batch} is not a multiple of accumulate {parts}")
        if self.evaluate_every % self.log_every:
            raise ValueError("evaluate_every must be a multiple of log_every")
        return self


class Evaluate(Section):
    """Zero-shot and fine-tuned scores."""

    pairs: PositiveInt
    tasks: Annotated[list[Literal[TASKS]], Field(min_length=1)]  # type: ignore[valid-type]
    glue: str = "nyu-mll/glue"  # a folder of TASK/train.parquet, or a hub dataset
    examples: PositiveInt | None  # at most so many of each task to fine-tune on; null: all
    validation: PositiveInt | None = None  # at most so many of GLUE's to score; null: all
    seeds: PositiveInt
    epochs: Annotated[list[PositiveInt], Field(min_length=1), BeforeValidator(as_list)]
    learning_rate: Annotated[list[PositiveFloat], Field(min_length=1), BeforeValidator(as_list)]
    batch: PositiveInt
    length: Annotated[int, Field(ge=8)] = 128  # longer texts are cut
    checkpoints: Annotated[bool | list[str], BeforeValidator(_checkpoints)] = False
    blimp: str | None = None  # a parquet file, a folder of them or a hub dataset
    blimp_pairs: PositiveInt | None = None  # pairs of each BLiMP set; null: all

    @model_validator(mode="after")
    def _lists_hold_each_once_and_checkpoints_are_scored_on_tasks(self):
        for key in ("tasks", "epochs", "learning_rate"):
            if len({*(values := getattr(self, key))}) < len(values):
                raise ValueError(f"{key}: {values} names one twice")
        for name in self.checkpoints if isinstance(self.checkpoints, list) else []:
            if name not in self.tasks:
                tasks = choices(name, self.tasks)
                raise ValueError(f"checkpoints: '{name}' is not in tasks; choose from {tasks}")
        return self


class Scale(Section):
    """One scale of the study."""

    corpus: CorpusSettings
    model: Shape
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _sections_fit_each_other(self):
        model, length, longest = self.model, self.train.length, self.evaluate.length
        positions = model.positions or length
        if positions < length:
            raise ValueError(f"model.positions {positions} is less than train.length {length}")
        if self.evaluate.checkpoints and not self.train.keep:
            raise ValueError("evaluate.checkpoints: train.keep names no checkpoint to score")
        if model.family != "modernbert" and longest > positions:
            raise ValueError(
                f"evaluate.length {longest} is more than the {positions} positions of a "
                f"{model.family} (train.length); ModernBERT has no such limit"
            )
        return self

    def local_files(self) -> dict[str, str]:
        """Paths and globs of all files that the scale reads -> the key that names each."""
        corpus, evaluate = self.corpus, self.evaluate
        texts: dict[str, Text] = {"": corpus, ".out_of_domain": corpus.out_of_domain}
        texts |= {f".parts.{i}": part for i, part in enumerate(corpus.parts or ())}
        files = {f: f"corpus{name}.files" for name, text in texts.items() for f in text.files or ()}
        if corpus.vocabulary.file:
            files[corpus.vocabulary.file] = "corpus.vocabulary.file"
        for task in filter(GLUE.get, evaluate.tasks if _is_path(evaluate.glue) else ()):
            sets = (f"validation_{name}".rstrip("_") for name in GLUE[task].validation)
            names = (f"{evaluate.glue}/{task}/{name}.parquet" for name in ("train", *sets))
            files |= dict.fromkeys(names, "evaluate.glue")
        if evaluate.blimp and _is_path(evaluate.blimp):
            files[evaluate.blimp] = "evaluate.blimp"
        return files


def _is_path(benchmark: str) -> bool:
    """Whether a benchmark is on the disk: the name of a hub dataset has at most one slash."""
    return benchmark.count("/") > 1 or benchmark.endswith(".parquet")
