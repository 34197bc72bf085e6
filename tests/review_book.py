"""A workbook that looks as if its pipeline had run twice: parcels that come late, two packages, records, DVC's cache, two commits."""
import datetime
import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from model_ops.settings import Settings

START = datetime.date(2024, 1, 1)
WINDOWS = {"train": (0, 40), "test": (40, 60)}


def parcels(days: range, a_day: int = 40, seed: int = 0) -> pl.DataFrame:
    "Some parcels of some days."
    rng, n = np.random.default_rng([seed, days.start]), len(days) * a_day
    frame = pl.DataFrame({"sent": [START + datetime.timedelta(days=d) for d in days for _ in range(a_day)], "depot": rng.choice(["Bonn", "Köln", "Ulm"], n), "kilos": rng.gamma(2, 3, n).round(2)})
    return frame.with_columns(late=rng.random(n) < 0.1 + 0.4 * (frame["depot"] == "Ulm").to_numpy() + 0.03 * frame["kilos"].to_numpy())


def window(name: str) -> dict:
    "A window as the record of prepare has it."
    first, end = (START + datetime.timedelta(days=d) for d in WINDOWS[name])
    return {"name": name, "rows": 40 * (WINDOWS[name][1] - WINDOWS[name][0]), "from": first.isoformat(), "to": end.isoformat(), "digest": f"rows of {name}"}


@dataclass(frozen=True)
class Book:
    "The folder, and the ways in which tests change it."
    root: Path

    @property
    def settings(self) -> Settings: return Settings.load(self.root)

    def copy(self, to: Path) -> "Book":
        shutil.copytree(self.root, to, symlinks=True)
        return Book(to)

    def git(self, *words) -> str:
        return subprocess.run(["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *words], cwd=self.root, capture_output=True, text=True, check=True).stdout.strip()

    def run(self, depth: int, opponent: str | None = None, drop: str = "", train: str = "train") -> str:
        "What a run of the pipeline leaves, with a tree of this depth; returns the package's digest."
        from sklearn.tree import DecisionTreeClassifier
        from model_ops.data import encode
        from model_ops.data.contract import learn
        from model_ops.drift.files import compare_files
        from model_ops.evaluate.compare import evaluate
        from model_ops.evaluate.slices import columns
        from model_ops.package.build import write_package
        from model_ops.package.predictor import Predictor
        from model_ops.release.decision import decide
        from model_ops.train.recipe import Importance, Training
        frames = {name: parcels(range(*WINDOWS[name])) for name in WINDOWS}
        frames = {name: f.drop(drop) if drop else f for name, f in frames.items()}
        contract = learn(frames["train"], target="late", time="sent")
        X, y = encode.encode(contract, frames["train"]).X, encode.target(contract, frames["train"])
        params = {"max_depth": depth}
        manifest = write_package(self.root / "package", model=DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X, y), X=X[:200], contract=contract, threshold=0.4, params=params,
                                 windows={"train": window(train)}, importance={"kilos": 0.1 / depth})
        digests = {"challenger": manifest.digest} | ({"opponent": opponent} if opponent else {})
        models = {"challenger": Predictor.open(self.root / "package")} | ({"opponent": Predictor.open(self.settings.store / opponent)} if opponent else {})
        test = frames["test"]
        day = np.repeat(np.arange(20), 40)
        evaluation = evaluate(y=encode.target(contract, test), scores={**{name: m.predict(test).score for name, m in models.items()}, "dummy": np.full(len(test), 0.3)}, thresholds=dict.fromkeys([*models, "dummy"], 0.4),
                              blocks=day, digests=digests, window=window("test"), slice_columns=columns(test, [] if drop == "depot" else ["depot"]), min_rows=50, resamples=200, noun="parcels", labels=("false", "true"))
        for name, frame in frames.items():
            (self.root / "data").mkdir(exist_ok=True)
            frame.write_parquet(self.root / "data" / f"{name}.parquet")
        verdict = compare_files(self.root / "data" / "train.parquet", self.root / "data" / "test.parquet", contract=contract)
        records = self.root / "records"
        contract.save(records / "contract.json"), evaluation.save(records / "evaluation.json"), verdict.save(records / "verdict.json")
        decide(evaluation, verdict, [{"rule": "superior", "metric": "roc_auc"}, {"rule": "drift"}]).save(records / "decision.json")
        Training(estimator="tree", params=params, validation={"roc_auc": 0.7}, importance=[Importance(name="kilos", value=0.1 / depth, low=0.1 / depth - 0.001, high=0.1 / depth + 0.001)], package=manifest.digest).save(records / "train.json")
        (records / "prepare.json").write_text(json.dumps({"kind": "prepared", "version": 1, "summary": "", "windows": [window(name) for name in WINDOWS]}))
        self.lock({"train": {"max_depth": depth}, "evaluate": {"slices": ["depot"], "resamples": 200}})
        return manifest.digest

    def lock(self, told: dict) -> None:
        "Put all outputs into DVC's cache, and write dvc.lock."
        outs = []
        for path in [*sorted(self.root.glob("records/*.json")), self.root / "data" / "test.parquet"]: outs.append({"path": path.relative_to(self.root).as_posix(), "hash": "md5", "md5": self._keep(path.read_bytes())})
        listed = [{"md5": self._keep(f.read_bytes()), "relpath": f.name} for f in sorted((self.root / "package").iterdir())]
        outs.append({"path": "package", "hash": "md5", "md5": self._keep(json.dumps(listed).encode(), ".dir")})
        import yaml
        stages = {"train": {"cmd": "model-ops step train", "deps": [{"path": "nbs/steps/train.ipynb", "hash": "md5", "md5": hashlib.md5(str(told).encode()).hexdigest()}], "params": {f"params/{s}.yaml": v for s, v in told.items()}, "outs": outs}}
        (self.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False))

    def _keep(self, content: bytes, end: str = "") -> str:
        md5 = hashlib.md5(content).hexdigest() + end
        place = self.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return md5

    def commit(self, message: str) -> None:
        self.git("add", "dvc.lock", "settings.ini")
        self.git("commit", "-q", "-m", message)

    def promote(self, digest: str) -> None:
        "Put the package in the files in charge."
        from model_ops.registry.ledger import Ledger
        from model_ops.registry.store import Store
        from model_ops.release.decision import Decision
        ledger = Ledger(self.settings.ledger_url)
        Store(self.settings.store).put(self.root / "package")
        ledger.register(digest, f"store/{digest}")
        head = ledger.head()
        ledger.append("promote", after=head.seq if head else 0, champion=digest, who="Ada", why="it is better", challenger=digest, decision=Decision.load(self.root / "records" / "decision.json").digest)
