"""Measure what a person waits for, and print a table: medians of wall and cpu seconds, and peak memory.

    python benchmarks/run.py            # all rows (some minutes)
    python benchmarks/run.py start      # rows whose name contains a word

Each row is a program of its own, measured from outside (`wait4`: its cpu, its children's cpu, its peak memory).
The rows that run a pipeline do so in a new workbook in a temporary folder.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).resolve().parent.parent
ENV = {**{k: v for k, v in os.environ.items() if not k.startswith("MODEL_OPS_")}, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true",
       "GIT_AUTHOR_NAME": "Benchmark", "GIT_AUTHOR_EMAIL": "b@example.org", "GIT_COMMITTER_NAME": "Benchmark", "GIT_COMMITTER_EMAIL": "b@example.org"}


@dataclass(frozen=True)
class Measured:
    wall: float    # seconds
    cpu: float     # seconds, children included
    memory: float  # MB, the largest process


def once(words: list, cwd: Path) -> Measured:
    "Run a program, and measure it from outside."
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen([str(w) for w in words], cwd=cwd, env=ENV, stdout=out, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            out.seek(0)
            sys.exit(f"{' '.join(map(str, words))} ended with {child.returncode}\n{out.read().decode()[-3000:]}")
    scale = 1024 if sys.platform != "darwin" else 1024**2
    return Measured(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / scale)


def median(words: list, cwd: Path, times: int, before: Callable = lambda: None) -> Measured:
    "The medians over some runs; the first one warms the disk and is not counted where there are several."
    runs = []
    for _ in range(times + (times > 1)):
        before()
        runs.append(once(words, cwd))
    runs = runs[1:] or runs
    return Measured(*(statistics.median(getattr(r, k) for r in runs) for k in ("wall", "cpu", "memory")))


BODY = ["import numpy as np\nimport polars as pl", "x = np.random.default_rng(0).normal(size=(2_000_000,))", "table = pl.DataFrame({'x': x})"] + [f"table.select(pl.col('x').quantile({q / 10})).item()" for q in range(1, 10)]


def new_workbook(folder: Path) -> Path:
    "A workbook from the flights, committed."
    once([BIN / "model-ops", "new", folder], folder.parent)
    return folder


def add_probe(root: Path) -> Path:
    "A step of twelve cells that compute a little, and the same code as a script."
    cell = lambda source, tags=(): {"cell_type": "code", "id": f"c{abs(hash(source)) % 10**8}", "metadata": {"tags": list(tags)} if tags else {}, "source": source, "outputs": [], "execution_count": None}
    head = [cell("q: float = 0.5  # a quantile", ["parameters"]), cell("from model_ops.records import Record\nfrom model_ops.workbook.here import take\nstep = take('probe', record='records/probe.json', metrics='metrics/probe.json')\nstep")]
    end = [cell("step.finish(Record(summary='Quantiles.'), {'q': q})")]
    nb = {"cells": [*head, *map(cell, BODY), *end], "metadata": {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
    (root / "nbs/steps/probe.ipynb").write_text(json.dumps(nb))
    script = root / "probe.py"
    script.write_text("\n".join([*BODY, "import json", "open('probe.json', 'w').write(json.dumps({'summary': 'Quantiles.'}))"]))
    return script


LOGGED = """
import sys, time
from pathlib import Path
from model_ops.settings import Settings
from model_ops.tracking import runs
s, seconds = Settings.load(), []
for i in range(6):
    start = time.perf_counter()
    runs.log_run(s, step="train", params={"max_iter": i}, metrics={"roc_auc": 0.7}, tags={}, artifacts=[Path("package")])
    seconds.append(time.perf_counter() - start)
print(sorted(seconds[1:])[2])
"""


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("only", nargs="?", default="", help="rows whose name contains this word")
    words.add_argument("--times", type=int, default=5, help="runs of a quick row")
    words.add_argument("--json", type=Path, help="write the rows here")
    told = words.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="model-ops-bench-"))
    rows: list[tuple[str, str, Measured | None, str]] = []

    def row(name: str, command: list, cwd: Path, aim: str = "", times: int = told.times, before: Callable = lambda: None) -> Measured | None:
        if told.only not in name:
            return None
        found = median(command, cwd, times, before)
        rows.append((name, " ".join(Path(str(w)).name if str(w).startswith("/") else str(w) for w in command)[:60], found, aim))
        print(f"{name:34} wall {found.wall:7.2f} s   cpu {found.cpu:7.2f} s   peak {found.memory:6.0f} MB   {aim}", flush=True)
        return found

    try:
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}\n")
        row("start: python alone", [sys.executable, "-c", "pass"], folder)
        row("start: import model_ops", [sys.executable, "-c", "import model_ops"], folder, "aim: 0.10 s more than python alone")
        row("start: model-ops --help", [BIN / "model-ops", "--help"], folder, "aim: 0.30 s")
        if told.only and told.only not in "pipeline: make run, all flights; step: notebook; step: script; nothing changed; logged run":
            return 0
        root = new_workbook(folder / "flights")
        script = add_probe(root)
        row("step: the code as a script", [sys.executable, script], root, times=3)
        row("step: model-ops step", [BIN / "model-ops", "step", "probe", "-q"], root, "the difference is the overhead", times=3)
        (root / "nbs/steps/probe.ipynb").unlink()
        row("pipeline: run, all flights", [BIN / "model-ops", "run"], root, "aim: under 180 s", times=1)
        row("pipeline: nothing changed", [BIN / "model-ops", "run"], root, "over dvc repro", times=3)
        row("pipeline: dvc repro, nothing", [BIN / "dvc", "repro", "-q"], root, times=3)
        if "logged run".find(told.only) >= 0 or not told.only:
            if not (root / "package").exists():
                once([BIN / "model-ops", "run", "train"], root)
            done = subprocess.run([sys.executable, "-c", LOGGED], cwd=root, env=ENV, capture_output=True, text=True, check=True)
            print(f"{'one logged run with a model':34} wall {float(done.stdout.split()[-1]):7.2f} s   (after import)   aim: 0.20 s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if told.json:
            told.json.write_text(json.dumps([{"row": n, "command": c, "wall": m.wall, "cpu": m.cpu, "memory_mb": m.memory, "aim": a} for n, c, m, a in rows if m], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
