"""The command of `make bench`: what a training step costs beside a transformers Trainer.

It times the contestants in turns on this machine's device and writes
results/benchmarks/<device>.json, the figure beside it and the tables of benchmarks/README.md.
Names of shapes or sections as arguments measure only these and keep the rest.
"""

import gc
import json
import platform
import sys
from importlib import metadata
from pathlib import Path

import torch
from contestants import ROOT, Setting, running, shapes
from sections import SECTIONS
from tables import draw, write_tables
from timing import time_setting


def versions(device):
    """Versions of the timed packages."""
    packages = ["torch", "transformers", "accelerate"]
    packages += ["liger-kernel"] if "liger" in running(device) else []
    return {name: metadata.version(name) for name in packages}


def measure(device, names, results):
    """Measure the named shapes and sections and put them into `results`."""
    results["device"] = torch.cuda.get_device_name() if device == "cuda" else _processor()
    results["versions"] = {"python": platform.python_version(), **versions(device)}
    every = shapes(device)
    for name, shape in every.items():
        for precision in ("fp32", "bf16") if name in names else ():
            setting = Setting(shape, precision=precision, device=device)
            by_shape = results.setdefault("shapes", {}).setdefault(name, {})
            by_shape[precision] = time_setting(setting)
            print(name, precision, json.dumps(by_shape[precision]), flush=True)
            gc.collect()
    for name, section in SECTIONS.items():
        if name in names:
            results[name] = section(Setting(every["laptop"], precision="fp32", device=device))
    results["shapes"] = {name: results["shapes"][name] for name in every}
    return results


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name") and line.split(":")[1].strip() not in ("", "unknown"):
            return f"CPU, {line.split(':')[1].strip()}"
    return f"CPU, {platform.machine()}"


def main():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    names, allowed = sys.argv[1:], [*shapes(device), *SECTIONS]
    if unknown := set(names) - set(allowed):
        sys.exit(f"{unknown.pop()!r} is not a section; choose from {', '.join(allowed)}")
    name = "cpu" if device == "cpu" else torch.cuda.get_device_name().split()[-1].lower()
    file = ROOT / "results" / "benchmarks" / f"{name}.json"
    results = json.loads(file.read_text(encoding="utf-8")) if names and file.is_file() else {}
    results = measure(device, names or allowed, results)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results, file.with_suffix(".svg"))
    write_tables()
    print(f"written: {file.relative_to(ROOT)}, a figure beside it, tables in benchmarks/README.md")


if __name__ == "__main__":
    main()
