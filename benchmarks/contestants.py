"""Contestants of the benchmark: dwt in three modes, a transformers Trainer, Liger's fused loss."""

import importlib.util
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from dwt.config.params import load_params
from dwt.data.vocabulary import Vocabulary
from dwt.training.batches import batch_at, masked_per_sequence
from dwt.training.device import prefetch, set_threads, should_compile
from dwt.training.loss import DWTLoss
from dwt.training.models import build_model, forward_flops, output_layer
from dwt.training.step import Distiller, batch_to_device
from dwt.training.teacher_cache import TeacherCache

ROOT = Path(__file__).resolve().parents[1]
CONTESTANTS = ("naive", "online", "cached", "alone")  # on any device; described in tables.py
PAPER = dict(family="distilbert", width=768, heads=12, intermediate=3072)
TRAIN = dict(
    learning_rate=1e-4, betas=(0.9, 0.98), weight_decay=0.01, clip=1.0, accumulate=1,
    compile="auto", length=128,
)  # fmt: skip


def shapes(device):
    """The settings to time, by name.

    `steps` is the length of a whole run, which decides what is compiled; `timed` the steps of one
    turn. The shape of the scale laptop is timed on one thread, as the study runs it, and as "cores"
    on all.
    """
    scales, cuda = load_params(ROOT / "params.yaml").scales, device == "cuda"
    laptop, gpu = (_shape(scales[name]) for name in ("laptop", "gpu"))
    paper = scales["paper"].train
    return {
        "laptop": laptop | dict(threads=scales["laptop"].train.threads, timed=20),
        "cores": laptop | dict(timed=20),
        "paper": dict(
            # params.yaml has the name of the vocabulary, not its size.
            model=PAPER, vocabulary=30_522, mask_rate=paper.mask_rate, steps=paper.steps,
            batch=paper.batch if cuda else 8, timed=20 if cuda else 2,
        ),
        "gpu": gpu | dict(batch=gpu["batch"] if cuda else 8, timed=20 if cuda else 3),
    }  # fmt: skip


def _shape(scale):
    """The settings of a scale in params.yaml that decide the cost of a step."""
    train = scale.train
    return dict(
        model=scale.model.model_dump(), vocabulary=scale.corpus.vocabulary.size,
        mask_rate=train.mask_rate, batch=train.batch, steps=train.steps,
    )  # fmt: skip


def running(device):
    """The contestants that can run: Liger on CUDA only, if liger-kernel is installed."""
    liger = device == "cuda" and importlib.util.find_spec("liger_kernel")
    return (*CONTESTANTS, "liger") if liger else CONTESTANTS


class NaiveTrainer(Trainer):
    """Distillation as usually written: two full forward passes and a KL term."""

    def __init__(self, *args, teacher, **kwargs):
        super().__init__(*args, **kwargs)
        self.teacher = teacher

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        with torch.no_grad():
            teacher_logits = self.teacher(input_ids=inputs["input_ids"]).logits
        masked = inputs["labels"] != -100
        soft = F.kl_div(
            F.log_softmax(outputs.logits[masked].float(), dim=-1),
            F.softmax(teacher_logits[masked].float(), dim=-1),
            reduction="batchmean",
        )
        loss = outputs.loss + soft
        return (loss, outputs) if return_outputs else loss


class Setting:
    """One shape at one precision on one device: models, batches and FLOPs."""

    def __init__(self, shape, *, precision, device, batch=None):
        self.shape, self.device = shape, torch.device(device)
        set_threads(shape.get("threads", "auto"))
        self.batch = batch or shape["batch"]
        self.train = TRAIN | dict(precision=precision, mask_rate=shape["mask_rate"])
        self.vocabulary = Vocabulary(shape["vocabulary"], 2, 3, 4, (0, 1, 2, 3, 4))
        rng = np.random.default_rng(0)
        length = self.train["length"]
        # Random tokens for 64 batches; their values do not affect timings.
        self.tokens = rng.integers(5, shape["vocabulary"], 64 * self.batch * length).astype("u2")
        self.masked = masked_per_sequence(length, shape["mask_rate"])

    def model(self, layers):
        return build_model(
            self.shape["model"], layers=layers, vocabulary=self.vocabulary,
            max_length=self.train["length"], seed=layers,
        )  # fmt: skip

    def teacher(self):
        return self.model(4).eval().requires_grad_(False).to(self.device)

    def draw(self, step):
        return batch_at(
            self.tokens, self.vocabulary, seed=0, step=step, batch=self.batch,
            length=self.train["length"], mask_rate=self.train["mask_rate"],
        )  # fmt: skip

    def flops(self, layers):
        """FLOPs of one forward pass, output layer on masked positions only."""
        with torch.device("meta"):  # allocates no weights
            config = self.model(layers).config
        shape = dict(batch=self.batch, length=self.train["length"], masked=self.masked)
        return forward_flops(config, **shape)

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class Dwt:
    """`dwt.training.step`, driven as `dwt.training.train` drives it."""

    def __init__(self, setting, kind, folder, *, compile="auto"):
        self.setting, self.kind = setting, kind
        teacher = None if kind == "alone" else setting.teacher()
        self.distiller = Distiller(
            setting.model(6), teacher, train=setting.train, device=setting.device
        )
        steps = setting.shape["steps"]
        flops = {"student": 3 * setting.flops(6), "teacher": setting.flops(4) if teacher else 0}
        for which, each in flops.items():
            if should_compile(compile, flops=each * steps, device=setting.device.type):
                self.distiller.compile(which, self.draw(0))
        if kind == "cached":
            rows, bf16 = setting.batch * setting.masked, setting.train["precision"] == "bf16"
            self.cache = TeacherCache(
                folder, key="bench", steps=setting.shape["timed"],
                shape=(rows, teacher.config.hidden_size),
                dtype=torch.bfloat16 if bf16 else torch.float32, limit_bytes=20e9,
            )  # fmt: skip
            for step in range(setting.shape["timed"]):
                hidden = self.distiller.teacher_hidden(self.draw(step))
                self.cache.put(step, hidden, seconds=0.0)

    def draw(self, step):
        return batch_to_device(self.setting.draw(step), self.setting.device)

    def draw_cached(self, step):
        return batch_to_device(self.setting.draw(step), self.setting.device, self.cache.get(step))

    def __call__(self, steps):
        """Seconds per step over `steps` steps, without the first."""
        weights = dict(hard_weight=1.0, soft_weight=float(self.kind != "alone"))
        draw = self.draw_cached if self.kind == "cached" else self.draw
        for step, batch in prefetch(draw, 0, steps):
            if self.kind == "online":
                batch = batch._replace(teacher_hidden=self.distiller.teacher_hidden(batch))
            # As in training, every tenth step is measured.
            self.distiller.step(batch, learning_rate=1e-4, measure=step % 10 == 9, **weights)
            if step == 0:
                self.setting.synchronize()
                started = time.perf_counter()
        self.setting.synchronize()
        return (time.perf_counter() - started) / (steps - 1)


class Liger(Dwt):
    """dwt with the teacher computed and Liger's fused distillation loss instead of dwt's."""

    def __init__(self, setting, kind, folder, *, compile="auto"):
        from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

        super().__init__(setting, "online", folder, compile=compile)
        # The generalised Jensen-Shannon divergence with beta = 0 is KL(teacher || student).
        self.loss = LigerFusedLinearJSDLoss(1.0, 1.0, beta=0, compiled=compile != "off")
        self.distiller._forward = self._forward

    def _forward(self, part, weights, **options):
        hidden = self.distiller._read("student", part)
        layers = output_layer(self.distiller.student), self.distiller._teacher_head
        (weight, bias), (teacher_weight, teacher_bias) = (
            (each.weight.to(hidden.dtype), each.bias.to(hidden.dtype)) for each in layers
        )
        total = self.loss(
            hidden, weight, part.teacher_hidden.to(hidden.dtype), teacher_weight,
            part.targets.flatten(), bias, teacher_bias,
        )  # fmt: skip
        return DWTLoss(total, *[total.new_tensor(math.nan)] * 2)


class Naive:
    """`NaiveTrainer` on the same batches, masked beforehand."""

    def __init__(self, setting, kind, folder, *, compile="auto"):
        self.setting, self.compile = setting, compile == "on"
        self.examples = []
        for step in range(setting.shape["timed"]):
            ids, positions, targets = map(torch.from_numpy, setting.draw(step))
            labels = torch.full_like(ids, -100).scatter(1, positions, targets)
            self.examples += [dict(input_ids=i, labels=y) for i, y in zip(ids, labels, strict=True)]
        self.folder, self.model, self.teacher = folder, setting.model(6), setting.teacher()

    def trainer(self, steps, *callbacks):
        arguments = TrainingArguments(
            output_dir=str(self.folder), max_steps=steps, report_to=[], disable_tqdm=True,
            per_device_train_batch_size=self.setting.batch, learning_rate=1e-4, max_grad_norm=1.0,
            bf16=self.setting.train["precision"] == "bf16", save_strategy="no",
            logging_strategy="no", use_cpu=self.setting.device.type == "cpu",
            torch_compile=self.compile,
        )  # fmt: skip
        made = NaiveTrainer(
            self.model, arguments, train_dataset=self.examples, callbacks=[*callbacks],
            teacher=self.teacher,
        )  # fmt: skip
        made.remove_callback(PrinterCallback)
        return made

    def __call__(self, steps):
        clock = _Clock(self.setting)
        self.trainer(steps, clock).train()
        return (clock.last - clock.first) / (steps - 1)


class _Clock(TrainerCallback):
    def __init__(self, setting):
        self.setting, self.first = setting, None

    def on_step_end(self, *args, **kwargs):
        self.setting.synchronize()
        self.last = time.perf_counter()
        self.first = self.first or self.last


def contestant(setting, kind, folder, **options):
    kinds = {"naive": Naive, "liger": Liger}
    return kinds.get(kind, Dwt)(setting, kind, Path(folder), **options)
