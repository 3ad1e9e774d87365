"""Time and memory of building a corpus, by megabytes of text.

`python benchmarks/corpus.py data/raw/big.txt 40 400` builds a corpus from the first 40 and the
first 400 MB of a file and prints the time and the largest memory, all processes together.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from memory import Memory

from dwt.data.corpus import build_corpus


def processor_seconds():
    """CPU seconds of this process and of its finished children."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("megabytes", type=float, nargs="+")
    parser.add_argument("--out-of-domain", type=Path, required=True, help="another text file")
    parser.add_argument(
        "--vocabulary", help="a vocabulary file; by default one of 8,192 is learned"
    )
    parser.add_argument("--workers", type=int, help="by default one per core")
    parser.add_argument("--sample", type=float)
    given = parser.parse_args()
    vocabulary = {"file": given.vocabulary} if given.vocabulary else {"size": 8192, "alphabet": 150}
    print(f"{'MB':>6} {'seconds':>8} {'processor s':>11} {'MB per processor s':>18} {'peak MB':>8}")
    for megabytes in given.megabytes:
        settings = {
            "source": "files", "files": [str(given.file.resolve())], "limit_mb": megabytes,
            "out_of_domain": [str(given.out_of_domain.resolve())], "heldout": 0.01,
            "vocabulary": vocabulary, "sample": given.sample,
        }  # fmt: skip
        memory, began, processor = Memory(), time.monotonic(), processor_seconds()
        memory.start()
        with tempfile.TemporaryDirectory() as folder:
            build_corpus(
                settings, directory=Path(folder) / "corpus", root=Path.cwd(), workers=given.workers
            )
        memory.done.set()
        seconds, processor = time.monotonic() - began, processor_seconds() - processor
        rate = megabytes / processor
        print(
            f"{megabytes:6g} {seconds:8.1f} {processor:11.1f} {rate:18.2f} {memory.peak:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
