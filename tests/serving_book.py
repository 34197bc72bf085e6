"""A workbook with three registered versions of a model, made in a second or two: what tests of the whole server serve."""
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

from model_ops.data.contract import learn
from model_ops.data.encode import encode, target
from model_ops.drift.profile import Profile
from model_ops.package.build import write_package
from model_ops.package.predictor import Predictor
from model_ops.registry.ledger import Ledger
from model_ops.registry.store import Store
from model_ops.settings import Settings


def parcels(rows: int = 1500, seed: int = 0) -> pl.DataFrame:
    "Parcels, and whether each came late."
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"number": np.arange(rows) * 7 + 1000, "depot": rng.choice(["Bonn", "Köln", "Ulm"], rows), "kilos": rng.gamma(2, 3, rows).round(2),
                          "day": rng.integers(1, 8, rows), "fragile": rng.random(rows) < 0.3})
    late = rng.random(rows) < 0.1 + 0.5 * (frame["depot"] == "Ulm").to_numpy() + 0.03 * frame["kilos"].to_numpy()
    return frame.with_columns(kilos=pl.when(pl.int_range(rows) % 20 == 3).then(None).otherwise("kilos"), late=late)


@dataclass
class ServingBook:
    "The workbook: `promote(k)` puts version k in charge."
    root: Path
    digests: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Settings: return Settings.load(self.root)
    @property
    def ledger(self) -> Ledger: return Ledger(self.settings.ledger_url)
    @property
    def store(self) -> Store: return Store(self.settings.store)

    def promote(self, version: int, who: str = "test") -> None:
        ledger = self.ledger
        head = ledger.head()
        ledger.append("promote", after=head.seq if head else 0, champion=self.digests[version - 1], who=who, why=f"The test wants version {version}.")

    def predictor(self, version: int) -> Predictor: return Predictor.open(self.store.get(self.digests[version - 1]))

    def rows(self, n: int, seed: int = 9) -> list[dict]:
        "Rows as a client sends them."
        return json.loads(parcels(n, seed).drop("late").write_json())


def serving_book(root: Path, versions: int = 3, **sections: str) -> ServingBook:
    "Make it; the first version is in charge. `sections`: text for [serve] and [log]."
    root.mkdir(parents=True, exist_ok=True)
    told = "".join(f"\n[{name}]\n{text}\n" for name, text in sections.items())
    (root / "settings.ini").write_text(f"[workbook]\nname = parcels\nnoun = parcels\n\n[registry]\nmodel = late-parcels\n{told}", encoding="utf-8")
    frame = parcels()
    contract = learn(frame[:1000], target="late", roles={"number": "id"}, positive="true")
    X, y = encode(contract, frame).X, target(contract, frame)
    profile = Profile.of(frame[:1000], contract=contract)
    book = ServingBook(root)
    for k in range(1, versions + 1):
        model = HistGradientBoostingClassifier(max_iter=10 * k, random_state=k).fit(X[:1000], y[:1000])
        write_package(root / f"made/{k}", model=model, X=X[1000:], contract=contract, threshold=0.3 + 0.1 * k, profile=profile, params={"max_iter": 10 * k})
        book.digests.append(book.store.put(root / f"made/{k}"))
        book.ledger.register(book.digests[-1], f"store/{book.digests[-1]}")
    book.promote(1)
    return book
