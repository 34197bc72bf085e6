"""A small workbook with a prediction log of a known world, made in a second: what tests of the room monitor read.

The world: orders with a time `at`, a number `order` (the id), numbers `x0`, `x1`, … and a category `channel`; what happens is drawn from known
log-odds (or has a known mean). A logistic (or linear) model has learned it in the 30 days before the log begins, was tuned on the 14 days after
those, and is in charge. From a day on something may change: a column's values, their presence, the world itself.
"""
import atexit
import functools
import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl

from model_ops import files
from model_ops.data.blocks import blocks
from model_ops.data.contract import Contract, learn
from model_ops.data.encode import encode, target
from model_ops.drift.profile import Profile
from model_ops.drift.scores import Scores
from model_ops.package.build import write_package
from model_ops.package.predictor import Predictor
from model_ops.predictions import journal
from model_ops.predictions.delta import TIME, Table, schema
from model_ops.registry import ledger as ledgers
from model_ops.registry.store import Store
from model_ops.settings import Settings
from model_ops.train.loss import with_prediction

CHANNELS = ("phone", "shop", "web")
CLASSES = {"binary": ("no", "yes"), "multiclass": ("high", "low", "mid"), "regression": ()}
TARGET = {"binary": "returned", "multiclass": "level", "regression": "amount"}
LEARNED, TUNED = 30, 14  # days before the log in which the model was fitted, and tuned
MICRO = 86_400_000_000


def day_of(start: str | date, days: float) -> date:
    "The day so many days after another."
    return (date.fromisoformat(start) if isinstance(start, str) else start) + timedelta(days=days)


def moment(start: str | date, days: float = 0) -> datetime:
    "A moment in UTC, so many days after a day begins."
    return datetime.combine(date.fromisoformat(start) if isinstance(start, str) else start, datetime.min.time(), UTC) + timedelta(days=days)


def world(days: int, rows: int, start: str | date, *, columns: int = 4, task: str = "binary", seed: int = 0, shift: float = 0.0, flip: float = 0.0, nulls: float = 0.0, from_day: int = 0) -> pl.DataFrame:
    "So many days of about `rows` orders each, in the order of time, with what happened; `probability` (or `mean`) is what it was drawn from."
    rng = np.random.default_rng([seed, days, rows])
    n = days * rows
    micros = np.sort(rng.integers(0, days * MICRO, n))
    late = micros >= from_day * MICRO
    x = rng.normal(size=(n, columns - 1))
    x[:, 0] += shift * late
    channel = rng.integers(0, 3, n)
    lean = 0.9 * x[:, 0] + (0.5 * x[:, 1] if columns > 2 else 0) + 0.4 * (channel - 1)
    frame = pl.DataFrame({"order": np.arange(n) + 1_000_000, "at": pl.Series(micros + int(moment(start).timestamp() * 1e6)).cast(pl.Datetime("us")), **{f"x{i}": x[:, i].round(4) for i in range(columns - 1)}, "channel": np.array(CHANNELS)[channel]})
    turned = late & (rng.random(n) < flip)
    if task == "binary":
        p = 1 / (1 + np.exp(0.6 - lean))
        happened = {"returned": np.where((rng.random(n) < p) ^ turned, "yes", "no"), "probability": p}
    elif task == "multiclass":
        odds = np.exp(np.column_stack([lean, -lean, np.full(n, 0.3)]))
        cut = (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)
        code = np.where(turned, rng.integers(0, 3, n), (rng.random((n, 1)) > cut[:, :2]).sum(axis=1))
        happened = {"level": np.array(CLASSES[task])[code]}
    else:
        mean = 20 + 4 * lean
        happened = {"amount": (np.where(turned, 40 - mean, mean) + rng.normal(0, 2, n)).round(3), "mean": mean}
    gone = late & (rng.random(n) < nulls)
    return frame.with_columns(x0=pl.when(pl.Series(gone)).then(None).otherwise("x0"), **{name: pl.Series(values) for name, values in happened.items()})


@dataclass(frozen=True)
class Made:
    "What was learned before the log begins."
    folder: Path
    contract: Contract
    digests: tuple[str, ...]


@functools.cache
def _made(rows: int, start: str, columns: int, task: str, versions: int, seed: int, loss: bool = False) -> Made:
    "Contract, windows and packages, made once a session."
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    folder = Path(tempfile.mkdtemp(prefix="monitored-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    frame = world(LEARNED + TUNED, max(rows, 100), day_of(start, -LEARNED - TUNED), columns=columns, task=task, seed=seed + 1).drop("probability", "mean", strict=False)
    frame = frame.with_columns(x0=pl.when(pl.int_range(pl.len()) % 50 == 7).then(None).otherwise("x0"), order=pl.col("order") - 900_000)
    border = moment(start, -TUNED).replace(tzinfo=None)
    train, validation = frame.filter(pl.col("at") < border), frame.filter(pl.col("at") >= border)
    contract = learn(train, target=TARGET[task], time="at", roles={"order": "id"}, task=task, positive="yes" if task == "binary" else "")
    contract = contract.model_copy(update=dict(columns={n: c.model_copy(update=dict(low=-8.0, high=8.0)) if n.startswith("x") else c for n, c in contract.columns.items()}))
    profile = Profile.of(train, contract=contract)
    X, y = encode(contract, train).X, target(contract, train)
    V, truth = encode(contract, validation).X, target(contract, validation)
    windows = {"train": (train, day_of(start, -LEARNED - TUNED), day_of(start, -TUNED)), "validation": (validation, day_of(start, -TUNED), day_of(start, 0))}
    facts = {name: {"rows": f.height, "from": str(a), "to": str(b)} for name, (f, a, b) in windows.items()}
    for name, (f, *_) in windows.items(): f.write_parquet(folder / f"{name}.parquet")
    for name, record in (("contract", contract), ("profile", profile)): record.save(folder / f"{name}.json")
    threshold = 0.5 if task == "binary" else None
    importance = {n: 0.2 if n == "x0" else 0.05 if n in ("x1", "channel") else 0.0 for n in contract.features}
    digests = []
    for k in range(versions):
        some = slice(None, None, k + 1)  # a later version has learned from fewer rows: another model, about as good
        model = make_pipeline(SimpleImputer(strategy="constant", fill_value=0.0), LinearRegression() if task == "regression" else LogisticRegression(C=1000)).fit(X[some], y[some])
        said = model.predict(V) if task == "regression" else model.predict_proba(V)
        loss_model = make_pipeline(SimpleImputer(strategy="constant", fill_value=0.0), LinearRegression()).fit(with_prediction(V, said), abs(truth - said)) if loss else None
        errors = np.maximum(0, loss_model.predict(with_prediction(V, said))) if loss else None
        scores = Scores.of(said[:, 1] if task == "binary" else said, truth, task=task, classes=contract.outputs, threshold=threshold, chunk=blocks(contract, validation).names, loss=errors)
        manifest = write_package(folder / f"package-{k + 1}", model=model, loss_model=loss_model, X=V, contract=contract, threshold=threshold, profile=profile, scores=scores, importance=importance, params={"C": 1000.0, "every": k + 1}, windows=facts)
        digests.append(manifest.digest)
    return Made(folder, contract, tuple(digests))


def make(root: Path, *, days: int = 40, rows: int = 300, start: str = "2026-01-01", shift: float = 0.0, flip: float = 0.0, nulls: float = 0.0, from_day: int = 20, label_delay_days: float = 3, label_share: float = 1.0,
         columns: int = 4, versions: int = 1, seed: int = 0, task: str = "binary", loss: bool = False, sections: str = "") -> Settings:
    """Make the workbook, the ledger, the store and the log.

    `rows` a day · from `from_day` on: `shift` standard deviations of x0, a share `flip` of labels turned, a share `nulls` of x0 missing · labels come after an exponential delay of `label_delay_days` in the
    mean (0: at once), for a share `label_share` of rows · `versions`: with two, the second one takes over at `from_day` (more share the days from there evenly) · `loss`: the package of a regression has a model of its error · `sections`: more text for settings.ini.
    A request has one, two or three rows. `truth.parquet` beside the log holds what was drawn, with request_id, row, version and arrival of each row.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "settings.ini").write_text(f"[workbook]\nname = orders\nnoun = orders\n\n[registry]\nmodel = orders\n{sections}", encoding="utf-8")
    made = _made(rows, start, columns, task, versions, seed, loss)
    for name in ("train", "validation"): (root / "data").mkdir(exist_ok=True), files.write(root / f"data/{name}.parquet", (made.folder / f"{name}.parquet").read_bytes())
    for name in ("contract", "profile"): files.write(root / f"records/{name}.json", (made.folder / f"{name}.json").read_bytes())
    settings, store = Settings.load(root), Store(Path(root) / "store")
    turns = [0, *(from_day + (days - from_day) * k / (versions - 1) for k in range(versions - 1))]  # the day at which each version takes over
    ledger = ledgers.Ledger(settings.ledger_url)
    for k, (digest, turn) in enumerate(zip(made.digests, turns, strict=True)):
        store.put(made.folder / f"package-{k + 1}")
        with patch.object(ledgers, "_now", lambda at=moment(start, turn): at.isoformat(timespec="milliseconds").replace("+00:00", "Z")):
            ledger.register(digest, f"store/{digest}", {"metrics": {}})
            ledger.append("promote", after=k, champion=digest, who="test", why=f"Version {k + 1} is better.")
    folder = Path(settings.section("log")["folder"])
    journal.describe(folder, made.contract.digest, {n: c.model_dump() for n, c in made.contract.columns.items()})
    frame = world(days, rows, start, columns=columns, task=task, seed=seed, shift=shift, flip=flip, nulls=nulls, from_day=from_day)
    write(folder, frame, made, turns, start, label_delay_days, label_share, seed)
    return settings


def write(folder: Path, frame: pl.DataFrame, made: Made, turns: list[float], start: str, label_delay_days: float, label_share: float, seed: int) -> pl.DataFrame:
    "Answer the orders as the server would have, log them, and log their labels; returns what `truth.parquet` holds."
    rng, contract, n = np.random.default_rng([seed, 7]), made.contract, frame.height
    version = np.searchsorted([moment(start, t).timestamp() for t in turns], frame["at"].dt.epoch("us").to_numpy() / 1e6, side="right") - 1
    said = {k: Predictor.open(made.folder / f"package-{k + 1}").predict(frame) for k in range(len(made.digests))}
    pick = lambda part: np.choose(version, [getattr(said[k], part) for k in said]) if len(said) > 1 else getattr(said[0], part)
    several = np.repeat(np.arange(n), np.tile([1, 2, 3], n // 3 + 1)[:n])[:n]  # the request of each row
    first = np.r_[True, np.diff(several) > 0]
    row = np.arange(n) - np.flatnonzero(first)[several]
    received = frame["at"].to_numpy().astype("datetime64[us]").astype(np.int64)[np.flatnonzero(np.r_[np.diff(several) > 0, True])][several] + 200_000
    names = [*contract.features, "order", "at"]
    inputs = frame.select(pl.struct(*(pl.col(c).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f") if c == "at" else pl.col(c) for c in names)).struct.json_encode())[:, 0]
    kind = contract.task
    log = frame.select(event_time=pl.col("at").dt.replace_time_zone("UTC"), received_time=pl.Series(received).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
                       request_id=pl.Series([f"{seed:x}-{i:09x}" for i in several]), row=pl.Series(row, dtype=pl.Int32), id_given=False, version=pl.Series(version + 1).cast(pl.String),
                       package=pl.Series(np.array(made.digests)[version]), contract=pl.lit(contract.digest), protocol=pl.lit("invocations"), subject=pl.lit(None, pl.String),
                       key=pl.concat_str(pl.lit('{"order":"'), pl.col("order").cast(pl.String), pl.lit('"}')), inputs=inputs,
                       score=pl.Series(pick("score")), label=pl.lit(None, pl.String) if kind == "regression" else pl.Series(pick("label").astype(str)),
                       probabilities=pl.Series(_chosen(said, version, n).tolist(), dtype=pl.List(pl.Float64)) if kind == "multiclass" else pl.lit(None, pl.List(pl.Float64)), outputs=pl.lit(None, pl.String),
                       latency_ms=pl.Series(rng.gamma(2, 0.8, several.max() + 1 if n else 0).round(3)[several]))
    log = log.with_columns(day=pl.col("received_time").dt.date())
    Table(folder, "log").append(log.select(list(schema("log"))))
    delay = rng.exponential(1, n) * label_delay_days * MICRO
    labels = log.select("request_id", "row", "version", "event_time", "received_time", arrived=(pl.col("received_time").dt.epoch("us") + pl.Series(delay.astype(np.int64))).cast(TIME), actual=frame[contract.target].cast(pl.String),
                        labelled=pl.Series(rng.random(n) < label_share))
    told = labels.filter("labelled").sort("arrived").select("request_id", "row", pl.lit(None, pl.String).alias("key"), pl.col("actual").alias("label"), pl.col("actual").cast(pl.Float64, strict=False).alias("number"),
                                                           pl.col("event_time").alias("label_time"), "arrived", pl.lit("test").alias("source"))
    if told.height: Table(folder, "labels").append(told)
    truth = pl.concat([frame, labels.drop("event_time", "received_time"), log.select("score", "label", "probabilities", "received_time", "latency_ms")], how="horizontal")
    truth.write_parquet(folder / "truth.parquet")
    return truth


def _chosen(said: dict, version: np.ndarray, n: int) -> np.ndarray:
    "The probabilities that the version of each row gave."
    return np.stack([said[k].probabilities for k in said])[version, np.arange(n)]


def truth(settings: Settings) -> pl.DataFrame:
    "What was drawn and logged."
    return pl.read_parquet(Path(settings.section("log")["folder"]) / "truth.parquet")


def labels(settings: Settings) -> pl.DataFrame:
    "All labels that arrived."
    from model_ops.predictions.labels import history
    return history(Path(settings.section("log")["folder"]))


def served(settings: Settings) -> dict:
    "The manifest of the version in charge, as JSON."
    newest = ledgers.Ledger(settings.ledger_url).entries()[-1].champion
    return json.loads((settings.store / newest / "manifest.json").read_text())


def rewrite(settings: Settings, table: str, change) -> None:
    "A table of the log (log, labels) written anew, as `change` makes its rows."
    folder = Path(settings.section("log")["folder"])
    rows = change(pl.read_delta(str(folder / table))).select(list(schema(table)))
    shutil.rmtree(folder / table)
    Table(folder, table).append(rows)
