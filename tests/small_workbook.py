"""A small workbook that tests may run: the real step notebooks, on a table that is made here."""
import csv
import datetime
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).resolve().parent.parent
QUIET = {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.org",
         "GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@example.org", "GIT_CONFIG_NOSYSTEM": "1"}


def untimed(value):
    "A record without seconds and memory."
    if isinstance(value, list): return [untimed(v) for v in value]
    return {k: untimed(v) for k, v in value.items() if "seconds" not in k and k != "costs"} if isinstance(value, dict) else value


@dataclass(frozen=True)
class Workbook:
    "A workbook in a folder of its own, with the ways in which tests use it."
    root: Path

    def call(self, *words, check=True, env=None, cwd=None, timeout=300) -> subprocess.CompletedProcess:
        "Run a program of this environment in the workbook."
        full = {**{k: v for k, v in os.environ.items() if not k.startswith("MODEL_OPS_")}, **QUIET, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **(env or {})}
        done = subprocess.run([str(w) for w in words], cwd=cwd or self.root, env=full, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, words))} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    def ops(self, *words, **options) -> subprocess.CompletedProcess:
        "model-ops …"
        return self.call(BIN / "model-ops", *words, **options)

    def git(self, *words, **options) -> str:
        "git …"
        return self.call("git", *words, **options).stdout.strip()

    def status(self) -> dict:
        "What `model-ops status --json` says."
        return json.loads(self.ops("status", "--json").stdout)

    def json(self, path: str) -> dict:
        "A JSON file of the workbook."
        return json.loads((self.root / path).read_text())

    def records(self) -> dict[str, str]:
        "All records, byte by byte; of the diagnosis without what it measured of this machine."
        found = {p.name: p.read_text() for p in sorted((self.root / "records").glob("*.json"))}
        if "diagnosis.json" in found: found["diagnosis.json"] = json.dumps(untimed(json.loads(found["diagnosis.json"])))
        return found

    def outputs(self) -> dict[str, bytes]:
        "All files that the pipeline wrote, byte by byte."
        folders = ("data", "records", "metrics", "plots", "package", "reports")
        runs = [p for p in (self.root / "runs").glob("*.ipynb")]
        return {str(p.relative_to(self.root)): p.read_bytes() for p in sorted([*runs, *(f for d in folders for f in (self.root / d).rglob("*") if f.is_file())])}

    def ledger(self) -> list[tuple]:
        "The ledger's entries: number, kind, who is in charge after it."
        from model_ops.registry.ledger import Ledger
        return [(e.seq, e.kind, e.champion) for e in Ledger(f"sqlite:///{self.root}/ledger.db").entries()]

    def told(self, step: str, **values) -> None:
        "Write other parameters for a step."
        import yaml
        path = self.root / "params" / f"{step}.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}, sort_keys=False))

    def copy(self, to: Path) -> "Workbook":
        "The same workbook, with all its state, somewhere else."
        shutil.copytree(self.root, to, symlinks=True)
        return Workbook(to)


def write_table(path: Path, days: int = 120, a_day: int = 40, seed: int = 1) -> None:
    "A table with a time, numbers, categories, missing values, and a target that can be learned."
    rng, start = random.Random(seed), datetime.datetime(2024, 1, 1)
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["order_id", "placed", "amount", "distance", "channel", "region", "returned"])
        for i in range(days * a_day):
            at = start + datetime.timedelta(days=i // a_day, minutes=30 * (i % a_day))
            amount, distance = round(rng.lognormvariate(3, 0.6), 2), rng.randint(1, 400)
            channel, region = rng.choice(["web", "web", "shop", "phone"]), rng.choice(["north", "south", "east", "west"])
            odds = -1.6 + 0.03 * (amount - 22) + 0.006 * (distance - 200) + {"web": 0.6, "shop": -0.9, "phone": 0.0}[channel]
            out.writerow([f"o{i:06d}", at.isoformat(sep=" "), amount, "" if rng.random() < 0.03 else distance, channel, region, "yes" if rng.random() < 1 / (1 + 2.718281828 ** -odds) else "no"])


@pytest.fixture(scope="session")
def fresh_workbook(tmp_path_factory) -> Workbook:
    "A committed workbook on a small table, not yet run. Copy it before you change it."
    from model_ops.workbook import start
    os.environ.update(QUIET)
    root = tmp_path_factory.mktemp("workbook") / "orders"
    start.new(root)
    book = Workbook(root)
    (root / "source").mkdir()
    write_table(root / "source" / "orders.csv")
    book.told("prepare", source="source/orders.csv", target="returned", time="placed",
              windows={"train": ["2024-01-01", "2024-03-01"], "validation": ["2024-03-01", "2024-03-21"], "test": ["2024-03-21", "2024-04-10"], "current": ["2024-04-10", "2024-05-01"]})
    book.told("train", max_iter=30, folds=3)
    book.told("evaluate", slices=["channel", "region"], resamples=200)
    book.told("diagnose", seconds=0.0, repeats=1, rows=1000)
    book.told("monitor", slices=["channel", "region"])
    settings = root / "settings.ini"
    settings.write_text(settings.read_text().replace("flights", "orders"))
    book.git("add", "-A")
    book.git("commit", "-q", "-m", "Orders")
    return book


@pytest.fixture(scope="session")
def run_workbook(fresh_workbook, tmp_path_factory) -> Workbook:
    "The same workbook after one `model-ops run`, committed. Copy it before you change it."
    book = fresh_workbook.copy(tmp_path_factory.mktemp("run") / "orders")
    book.ops("run")
    book.git("add", "-A")
    book.git("commit", "-q", "-m", "First run")
    return book
