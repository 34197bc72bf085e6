"""A small workbook with a prediction log, a health record and files that a retraining changes: what tests of retraining start from."""
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl
from monitored_log import make

from model_ops import files
from model_ops.data.contract import Contract
from model_ops.drift.compare import compare
from model_ops.drift.meaning import Change, Meaning
from model_ops.drift.parts import Figure
from model_ops.drift.profile import Profile
from model_ops.monitor.book import Book
from model_ops.monitor.health import Health, Stretch, Training
from model_ops.package.predictor import Predictor
from model_ops.predictions import journal
from model_ops.predictions.delta import Table, schema
from model_ops.registry import cycle
from model_ops.registry.ledger import Ledger
from model_ops.settings import Settings

NOW = datetime(2026, 2, 12, tzinfo=UTC)  # two days after the log's last
POLICY = {"train": "20d", "validation": "4d", "test": "4d", "current": "4d", "least_rows": 100, "cooldown_days": 0}
PREPARE = '# Chosen by Ada.\nsource: orders.csv\ntarget: returned # never later\nquery: ""\nwindows: # [from, to)\n  train: ["2025-11-01", "2025-12-01"]\n  test: ["2025-12-01", "2026-01-01"]\n'


def looked(settings, loss: float = 0.06, conclusion: str = "retrain", now: datetime = NOW, rows: int = 2400, days: int = 40) -> Health:
    "A health record about the package in charge, whose log loss lies so much beyond what its scores promise."
    package = cycle.package_in_charge(settings=settings)
    reference, head = Profile.load(package / "profile.json"), Ledger(settings.ledger_url).champion()
    figure = lambda value: Figure(value=value, low=value - 0.005, high=value + 0.005)
    change = Change(better="lower", reference=0.5, realized=figure(0.5 + loss), loss=figure(loss), compared_with="estimate", margin=0.03, outcome="worse" if loss > 0.035 else "holds")
    model = Meaning(outcome=change.outcome, judged_by="labels", metrics={"log_loss": change}, predictions=None, rows=rows, labelled=rows, package=head.champion, assumption="none")
    at = lambda moment: moment.isoformat().replace("+00:00", "Z")
    window = Stretch(since=at(now - timedelta(days=days)), until=at(now), as_of=at(now), clock="event", rows=rows, days=days, requests=rows, labelled=rows)
    return Health(summary=f"Version 1: {conclusion}.", conclusion=conclusion, because="worse by labels" if conclusion == "retrain" else "nothing", reason="The labels show a loss.", todo="model-ops retrain", badge=conclusion, at=at(now),
                  served="1", package=head.champion, window=window, verdict=compare(reference, reference, model=model), training=Training(age_days=50.0, seconds=60.0), metrics={"worse_by_labels": float(change.outcome == "worse")})


class RetrainedBook:
    "The workbook in a folder, with a pipeline and a release that count how often they did something."
    def __init__(self, root: Path | str): self.root = Path(root)

    def fill(self, rows: int = 60, **told) -> None:
        "Make it: `told` is for the builder of the log."
        make(self.root, rows=rows, label_delay_days=0, **told)
        files.write(self.root / "params/prepare.yaml", PREPARE)
        files.write(self.root / "params/monitor.yaml", json.dumps({"policy": POLICY, "costs": {"loss": 1, "retrain": 10, "hour": 36}}))
        self.look()

    @property
    def settings(self) -> Settings: return Settings.load(self.root)
    @property
    def ran(self) -> Path: return self.root / "ran"
    @property
    def released(self) -> Path: return self.root / "released"

    def look(self, **told) -> Health:
        health = looked(self.settings, **told)
        health.save(self.root / "records/health.json")
        return health

    @property
    def book(self) -> Book: return Book(self.settings.ledger_url)

    def prepare(self) -> str: return (self.root / "params/prepare.yaml").read_text()

    def run(self, settings) -> None:
        "In place of the pipeline: what it found."
        assert (self.root / "data/source/production.parquet").exists() and "production.parquet" in self.prepare()
        loss = lambda value: {"metrics": {"log_loss": {"value": value}}}
        files.write(self.root / "records/evaluation.json", json.dumps({"models": {"opponent": loss(0.55), "challenger": loss(0.52)}}))
        files.write(self.ran, str(int(self.ran.read_text()) + 1 if self.ran.exists() else 1))

    def release(self, settings, who=""):
        "In place of a staged rollout: acts once, however often it is told."
        files.write(self.released, who)
        return SimpleNamespace(outcome="promoted", sentence="Version 2 is in charge now.", version=2, entry=None)


def log_orders(settings, orders: pl.DataFrame, arrived: datetime) -> None:
    "Answer orders by the package in charge, log them as the server would have, and log their labels, which came at one moment."
    package = cycle.package_in_charge(settings=settings)
    contract, folder, n = Contract.load(package / "contract.json"), Path(settings.section("log")["folder"]), orders.height
    journal.describe(folder, contract.digest, {name: c.model_dump() for name, c in contract.columns.items()})
    known = orders.drop(contract.target)
    inputs = known.select(pl.struct(pl.col(contract.time).dt.strftime("%Y-%m-%dT%H:%M:%S"), pl.all().exclude(contract.time)).struct.json_encode()).to_series()
    moment, none = pl.col(contract.time).dt.replace_time_zone("UTC"), lambda dtype: pl.lit(None, dtype)
    rows = orders.select(event_time=moment, received_time=moment, request_id=pl.format("r{}", pl.int_range(n)), row=pl.lit(0, pl.Int32), id_given=True, version=pl.lit("1"), package=pl.lit(package.name), contract=pl.lit(contract.digest), protocol=pl.lit("v2"),
                         subject=none(pl.String), key=none(pl.String), inputs=inputs, score=pl.Series(Predictor.open(package).predict(known).score), label=none(pl.String), probabilities=none(pl.List(pl.Float64)), outputs=none(pl.String), latency_ms=pl.lit(1.0))
    Table(folder, "log").append(rows.with_columns(day=pl.col("received_time").dt.date()).select(list(schema("log"))))
    told = rows.select("request_id", "row", key=none(pl.String), label=orders[contract.target].cast(pl.String), number=none(pl.Float64), label_time=none(schema("labels")["label_time"]), arrived=pl.lit(arrived, schema("labels")["arrived"]), source=pl.lit("shop"))
    Table(folder, "labels").append(told)
