"""What does a step cost, against what a user would write with transformers alone?

`make bench` times the contestants on this machine's device, in turns, and writes
results/benchmarks/<device>.json, the figure beside it and the tables of benchmarks/README.md.
"""

import gc
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import Trainer, TrainerCallback, TrainingArguments

from dwt.batches import Vocabulary, batch_at, masked_per_sequence
from dwt.cache import TeacherCache
from dwt.engine import Engine, on_device
from dwt.machine import ahead, set_threads, should_compile
from dwt.models import build_model, forward_flops
from dwt.params import load_params

ROOT = Path(__file__).resolve().parents[1]
CONTESTANTS = {
    "naive": "transformers Trainer, both models on every position",
    "online": "dwt, teacher computed at each step",
    "cached": "dwt, teacher's states from the cache",
    "alone": "dwt, student without a teacher",
}
PAPER = dict(family="distilbert", width=768, heads=12, intermediate=3072)
MIDDLE = dict(family="distilbert", width=512, heads=8, intermediate=2048)
TRAIN = dict(
    learning_rate=1e-4, betas=(0.9, 0.98), weight_decay=0.01, clip=1.0, accumulate=1,
    compile="auto", length=128,
)  # fmt: skip


def shapes(device):
    """The three settings that are timed.

    `steps` is how long such a run is, which decides what is compiled; `timed` how many steps one
    turn of a contestant takes here.
    """
    laptop, cuda = load_params(ROOT / "params.yaml").scales["laptop"], device == "cuda"
    return {
        "laptop": dict(
            model=laptop.model.model_dump(), vocabulary=laptop.corpus.vocabulary.size,
            mask_rate=laptop.train.mask_rate, batch=laptop.train.batch, steps=laptop.train.steps,
            timed=20,
        ),
        "paper": dict(
            model=PAPER, vocabulary=30_522, mask_rate=0.15, batch=128 if cuda else 8,
            steps=4_700_000, timed=20 if cuda else 2,
        ),
        "gpu": dict(
            model=MIDDLE, vocabulary=16_384, mask_rate=0.15, batch=256 if cuda else 8,
            steps=50_000, timed=20 if cuda else 3,
        ),
    }  # fmt: skip


class NaiveTrainer(Trainer):
    """Distillation as it is usually written: two full forward passes and a KL term."""

    def __init__(self, *args, teacher, **kwargs):
        super().__init__(*args, **kwargs)
        self.teacher = teacher

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        with torch.no_grad():
            taught = self.teacher(input_ids=inputs["input_ids"]).logits
        masked = inputs["labels"] != -100
        soft = F.kl_div(
            F.log_softmax(outputs.logits[masked].float(), dim=-1),
            F.softmax(taught[masked].float(), dim=-1),
            reduction="batchmean",
        )
        loss = outputs.loss + soft
        return (loss, outputs) if return_outputs else loss


class Setting:
    """One shape at one precision on one device: models, batches, and a way to time contestants."""

    def __init__(self, shape, *, precision, device, batch=None):
        self.shape, self.device = shape, torch.device(device)
        self.batch = batch or shape["batch"]
        self.train = TRAIN | dict(precision=precision, mask_rate=shape["mask_rate"])
        self.vocabulary = Vocabulary(shape["vocabulary"], 2, 3, 4, (0, 1, 2, 3, 4))
        rng = np.random.default_rng(0)
        length = self.train["length"]
        # Random tokens: what they are changes no timing. Enough of them for 64 batches.
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
        """Of one forward pass, output layer on masked positions only."""
        config = self.model(layers).config
        shape = dict(batch=self.batch, length=self.train["length"], masked=self.masked)
        return forward_flops(config, **shape)

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class Ours:
    """dwt's engine, driven as `dwt.train` drives it."""

    def __init__(self, setting, kind, folder):
        self.setting, self.kind = setting, kind
        taught = kind != "alone"
        teacher = setting.teacher() if taught else None
        self.engine = Engine(setting.model(6), teacher, train=setting.train, device=setting.device)
        steps = setting.shape["steps"]
        flops = {"student": 3 * setting.flops(6), "teacher": setting.flops(4) if taught else 0}
        for which, per_step in flops.items():
            if per_step and should_compile(
                "auto", flops=per_step * steps, device=setting.device.type
            ):
                self.engine.compile(which, self._draw(0))
        if kind == "cached":
            rows, bf16 = setting.batch * setting.masked, setting.train["precision"] == "bf16"
            self.cache = TeacherCache(
                folder, key="bench", steps=setting.shape["timed"],
                shape=(rows, teacher.config.hidden_size),
                dtype=torch.bfloat16 if bf16 else torch.float32, limit_bytes=20e9,
            )  # fmt: skip
            for step in range(setting.shape["timed"]):
                taught = self.engine.teach(self._draw(step))
                self.cache.put(step, taught, seconds=0.0)

    def _draw(self, step):
        return on_device(self.setting.draw(step), self.setting.device)

    def _draw_taught(self, step):
        return on_device(self.setting.draw(step), self.setting.device, self.cache.get(step))

    def __call__(self, steps):
        """Seconds per step over `steps` steps, the first of them not counted."""
        weights = dict(hard_weight=1.0, soft_weight=float(self.kind != "alone"))
        draw = self._draw_taught if self.kind == "cached" else self._draw
        for step, batch in ahead(draw, 0, steps):
            if self.kind == "online":
                batch = batch._replace(taught=self.engine.teach(batch))
            self.engine.step(batch, learning_rate=1e-4, **weights)
            if step == 0:
                self.setting.wait()
                started = time.perf_counter()
        self.setting.wait()
        return (time.perf_counter() - started) / (steps - 1)


class Naive:
    """The Trainer, on the same batches, masked beforehand."""

    def __init__(self, setting, kind, folder):
        self.setting = setting
        self.examples = []
        for step in range(setting.shape["timed"]):
            ids, positions, targets = map(torch.from_numpy, setting.draw(step))
            labels = torch.full_like(ids, -100).scatter(1, positions, targets)
            self.examples += [dict(input_ids=i, labels=y) for i, y in zip(ids, labels, strict=True)]
        self.folder, self.model, self.taught_by = folder, setting.model(6), setting.teacher()

    def __call__(self, steps):
        clock = _Clock(self.setting)
        arguments = TrainingArguments(
            output_dir=str(self.folder), max_steps=steps, report_to=[], disable_tqdm=True,
            per_device_train_batch_size=self.setting.batch, learning_rate=1e-4, max_grad_norm=1.0,
            bf16=self.setting.train["precision"] == "bf16", save_strategy="no",
            logging_strategy="no", use_cpu=self.setting.device.type == "cpu",
        )  # fmt: skip
        trainer = NaiveTrainer(
            self.model, arguments, train_dataset=self.examples, callbacks=[clock],
            teacher=self.taught_by,
        )  # fmt: skip
        trainer.train()
        return (clock.last - clock.first) / (steps - 1)


class _Clock(TrainerCallback):
    def __init__(self, setting):
        self.setting, self.first = setting, None

    def on_step_end(self, *args, **kwargs):
        self.setting.wait()
        self.last = time.perf_counter()
        self.first = self.first or self.last


def contestant(setting, kind, folder):
    return (Naive if kind == "naive" else Ours)(setting, kind, Path(folder))


def best_product(setting):
    """Operations per second of the fastest square matrix product, at the setting's precision."""
    bf16 = setting.train["precision"] == "bf16"
    best = 0.0
    for n in (2048, 4096) if setting.device.type == "cpu" else (4096, 8192):
        a = torch.randn(n, n, device=setting.device, dtype=torch.bfloat16 if bf16 else None)
        for _ in range(3):
            setting.wait()
            started = time.perf_counter()
            a @ a
            setting.wait()
            best = max(best, 2 * n**3 / (time.perf_counter() - started))
    return best


def time_setting(setting, *, rounds):
    """All contestants, `rounds` turns each, one after the other."""
    torch.compiler.reset()
    with tempfile.TemporaryDirectory() as folder:
        racers = {kind: contestant(setting, kind, folder) for kind in CONTESTANTS}
        steps = setting.shape["timed"]
        seconds = {kind: [] for kind in racers}
        products = []
        for racer in racers.values():
            racer(steps)  # warm-up
        for _ in range(rounds):
            products.append(best_product(setting))
            for kind, racer in racers.items():
                seconds[kind].append(racer(steps))
    return summarise(setting, seconds, peak=max(products))


def summarise(setting, seconds, *, peak):
    """Medians and extremes of the turns; ratios are medians of the ratios within each turn."""
    tokens = setting.batch * setting.train["length"]
    student, teacher = 3 * setting.flops(6), setting.flops(4)
    rows = setting.batch * setting.masked
    width, vocabulary = setting.shape["model"]["width"], setting.shape["vocabulary"]
    needed = {
        "naive": student + teacher, "online": student + teacher,
        "cached": student + 2 * rows * width * vocabulary, "alone": student,
    }  # fmt: skip
    found = {}
    for kind, times in seconds.items():
        times = np.array(times)
        found[kind] = {
            "tokens_per_second": _spread(tokens / times),
            "speedup": _spread(np.array(seconds["naive"]) / times),
            "step_over_alone": _spread(times / np.array(seconds["alone"])),
            "flops_share": _spread(needed[kind] / times / peak),
        }
    return {
        "batch": setting.batch, "threads": torch.get_num_threads(), "rounds": len(times),
        "matrix_product_flops": float(f"{peak:.3g}"), "contestants": found,
    }  # fmt: skip


def _spread(values):
    return [float(f"{v:.4g}") for v in (np.median(values), min(values), max(values))]


def peak_memory(name, kind, *, batch, precision, device):
    """Bytes beyond weights, gradients and optimizer state in two steps; call it in a new process.

    On a CPU the resident set, on CUDA what PyTorch allocated.
    """
    setting = Setting(shapes(device)[name], precision=precision, device=device, batch=batch)
    setting.shape["timed"] = 2
    student, teacher = (
        sum(p.numel() for p in setting.model(layers).parameters()) for layers in (6, 4)
    )
    gc.collect()
    start = _resident("VmRSS") if device == "cpu" else 0
    with tempfile.TemporaryDirectory() as folder:
        racer = contestant(setting, kind, folder)
        racer(2)
    peak = _resident("VmHWM") if device == "cpu" else torch.cuda.max_memory_allocated()
    # AdamW: weights, gradients and two moments, four bytes each; the teacher has weights only.
    return peak - start - 16 * student - 4 * teacher * (kind != "alone")


def _resident(which):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) * 1024


def growth(setting):
    """How time and memory grow: twice the steps, twice the text."""
    with tempfile.TemporaryDirectory() as folder:
        racer = contestant(setting, "online", folder)
        racer(5)
        once, twice, text, memory = [], [], [], []
        for _ in range(5):
            memory.append(_resident("VmRSS") if setting.device.type == "cpu" else
                          torch.cuda.memory_allocated())  # fmt: skip
            once.append(40 * racer(41))
            twice.append(80 * racer(81))
            short, setting.tokens = setting.tokens, np.concatenate([setting.tokens] * 2)
            text.append(40 * racer(41))
            setting.tokens = short
    return {
        "seconds_of_twice_the_steps": _spread(np.array(twice) / np.array(once)),
        "seconds_with_twice_the_text": _spread(np.array(text) / np.array(once)),
        "memory_after_700_steps_over_before": _spread([memory[-1] / memory[0]])[0],
    }


def measure(device):
    """Everything; minutes."""
    found = {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "transformers", "accelerate")},
        },
        "shapes": {},
    }
    for name, shape in shapes(device).items():
        for precision in ("fp32", "bf16"):
            setting = Setting(shape, precision=precision, device=device)
            found["shapes"].setdefault(name, {})[precision] = time_setting(setting, rounds=7)
            print(name, precision, *rows_of(found, name, precision), sep="\n", flush=True)
            gc.collect()
    batch = 64
    found["memory"] = {
        "shape": "paper",
        "batch": batch,
        "precision": "fp32" if device == "cpu" else "bf16",
    }
    for kind in CONTESTANTS:
        command = [
            sys.executable,
            __file__,
            "memory",
            kind,
            str(batch),
            found["memory"]["precision"],
        ]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found["memory"][kind] = int(said.split()[-1])
    setting = Setting(shapes(device)["laptop"], precision="fp32", device=device)
    found["growth"] = growth(setting)
    return found


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name") and line.split(":")[1].strip() not in ("", "unknown"):
            return f"CPU: {line.split(':')[1].strip()}"
    return f"CPU: {platform.machine()}"


def rows_of(found, name, precision):
    """One Markdown table row per contestant."""
    setting = found["shapes"][name][precision]
    for kind, words in CONTESTANTS.items():
        it = setting["contestants"][kind]
        yield (
            f"| {words} | {it['tokens_per_second'][0]:,.0f} | {it['speedup'][0]:.2f} "
            f"({it['speedup'][1]:.2f} to {it['speedup'][2]:.2f}) | {it['step_over_alone'][0]:.2f} "
            f"| {100 * it['flops_share'][0]:.0f} % |"
        )


def main():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    set_threads("auto")
    if sys.argv[1:2] == ["memory"]:
        kind, batch, precision = sys.argv[2:]
        print(peak_memory("paper", kind, batch=int(batch), precision=precision, device=device))
        return
    found = measure(device)
    name = "cpu" if device == "cpu" else found["device"].split()[-1].lower()
    file = ROOT / "results" / "benchmarks" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"written: {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
