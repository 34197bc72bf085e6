"""How long does a monitoring report over a large prediction log take, and how much memory? Printed as a Markdown table.

    python benchmarks/monitor_speed.py                   # 100,000 and 1,000,000 predictions (about a minute)
    python benchmarks/monitor_speed.py --rows 10000000   # ten million: 3 GB of disk, some minutes to make

Each row is two programs of their own, measured from outside (wall and cpu seconds, start-up included, peak memory): one that reads the window
(`monitor.logged.read`), and one that does all that a report does (drift, labels' maturity, service levels, causes, the conclusion and its page).
The log has 20 input columns (10 numbers, 4 whole numbers, 6 categories of 4 to 300 levels), a time and an id; requests of one row, 30 days, four fifths of the
labels have come. The log is made in a temporary folder by a small model package, day by day, as the settler writes it: a file a tenth of a day.
"""
import argparse
import os
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from run import once

START, DAYS, MICRO = datetime(2026, 1, 1, tzinfo=UTC), 30, 86_400_000_000
LEVELS = (4, 4, 12, 12, 60, 300)


def part(rng: np.random.Generator, rows: int, since: datetime, days: float) -> pl.DataFrame:
    "Orders of some days, in the order of time, and whether each came back."
    numbers = {f"n{i}": rng.normal(size=rows) if i % 2 else rng.lognormal(size=rows).round(3) for i in range(10)}
    whole = {f"i{i}": rng.poisson(3 * (i + 1), rows) for i in range(4)}
    named = {f"c{i}": np.array([f"level {k}" for k in range(levels)])[np.minimum(rng.geometric(2 / levels, rows), levels) - 1] for i, levels in enumerate(LEVELS)}
    at = np.sort(rng.integers(0, round(days * MICRO), rows)) + round(since.timestamp() * 1e6)
    odds = 0.8 * numbers["n1"] + 0.4 * numbers["n3"] + 0.1 * whole["i0"] - 0.5
    return pl.DataFrame({"order": np.arange(rows) + at[0] % 10**12, "at": pl.Series(at).cast(pl.Datetime("us")), **numbers, **whole, **named, "returned": np.where(rng.random(rows) < 1 / (1 + np.exp(-odds)), "yes", "no")})


def make(root: Path, rows: int) -> None:
    "The workbook, its package, and its log."
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from model_ops.data.blocks import blocks
    from model_ops.data.contract import learn
    from model_ops.data.encode import encode, target
    from model_ops.drift.profile import Profile
    from model_ops.drift.scores import Scores
    from model_ops.package.build import write_package
    from model_ops.package.predictor import Predictor
    from model_ops.predictions import journal
    from model_ops.predictions.delta import TIME, Table, schema
    from model_ops.registry.ledger import Ledger
    from model_ops.registry.store import Store
    from model_ops.settings import Settings
    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    (root / "settings.ini").write_text("[workbook]\nname = orders\nnoun = orders\n\n[registry]\nmodel = orders\n")
    train, validation = part(rng, 60_000, START - timedelta(days=44), 30), part(rng, 30_000, START - timedelta(days=14), 14)
    contract = learn(train, target="returned", time="at", roles={"order": "id"}, positive="yes")
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(encode(contract, train).X, target(contract, train))
    V = encode(contract, validation).X
    scores = Scores.of(model.predict_proba(V)[:, 1], target(contract, validation), task="binary", classes=contract.outputs, threshold=0.5, chunk=blocks(contract, validation).names)
    write_package(root / "made", model=model, X=V, contract=contract, threshold=0.5, profile=Profile.of(train, contract=contract), scores=scores, importance={n: 0.01 for n in contract.features})
    settings = Settings.load(root)
    digest = Store(settings.store).put(root / "made")
    ledger = Ledger(settings.ledger_url)
    ledger.register(digest, f"store/{digest}")
    ledger.append("promote", after=0, champion=digest, who="benchmark", why="It is the only one.")
    folder, predictor, n = Path(settings.section("log")["folder"]), Predictor.open(root / "made"), 0
    journal.describe(folder, contract.digest, {name: c.model_dump() for name, c in contract.columns.items()})
    for day in range(DAYS):
        for tenth in range(10):
            since = START + timedelta(days=day + tenth / 10)
            frame = part(rng, rows // DAYS // 10, since, 0.1)
            said = predictor.predict(frame)
            inputs = frame.select(pl.struct(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S"), pl.exclude("at", "returned")).struct.json_encode())[:, 0]
            ids = [f"{a:08x}-{b >> 48:04x}-7{b >> 36 & 0xFFF:03x}-{c >> 48:04x}-{c & 0xFFFFFFFFFFFF:012x}" for a, b, c in zip(range(n, n + frame.height), rng.integers(0, 2**62, frame.height).tolist(), rng.integers(0, 2**62, frame.height).tolist(), strict=True)]
            n += frame.height
            log = frame.select(event_time=pl.col("at").dt.replace_time_zone("UTC"), received_time=(pl.col("at") + pl.duration(milliseconds=200)).dt.replace_time_zone("UTC"), request_id=pl.Series(ids), row=pl.lit(0, pl.Int32), id_given=True,
                               version=pl.lit("1"), package=pl.lit(digest), contract=pl.lit(contract.digest), protocol=pl.lit("invocations"), subject=pl.lit(None, pl.String), key=pl.concat_str(pl.lit('{"order":"'), pl.col("order").cast(pl.String), pl.lit('"}')),
                               inputs=inputs, score=pl.Series(said.score), label=pl.Series(said.label.astype(str)), probabilities=pl.lit(None, pl.List(pl.Float64)), outputs=pl.lit(None, pl.String), latency_ms=pl.Series(rng.gamma(2, 0.8, frame.height).round(3)))
            Table(folder, "log").append(log.with_columns(day=pl.lit(since.date())).select(list(schema("log"))))
            told = log.select("request_id", "row", pl.lit(None, pl.String).alias("key"), frame["returned"].alias("label"), pl.lit(None, pl.Float64).alias("number"), pl.col("event_time").alias("label_time"),
                              (pl.col("received_time").dt.epoch("us") + pl.Series((rng.exponential(3, frame.height) * MICRO).astype(np.int64))).cast(TIME).alias("arrived"), pl.lit("shop").alias("source"))
            Table(folder, "labels").append(told.filter(pl.Series(rng.random(frame.height) < 0.8)))


def read(root: Path):
    "The window, condensed."
    from model_ops.data.contract import Contract
    from model_ops.monitor import logged
    from model_ops.monitor.window import Span
    from model_ops.settings import Settings
    contract = Contract.load(root / "made/contract.json")
    return logged.read(Settings.load(root), Span.of(DAYS, START + timedelta(days=DAYS), "", START + timedelta(days=DAYS + 7), contract=contract), slices=["c0", "c2"])


def report(root: Path):
    "All that a monitoring report does."
    from model_ops.drift.compare import compare
    from model_ops.drift.meaning import judge
    from model_ops.monitor import levels as service
    from model_ops.monitor.health import assess
    from model_ops.monitor.maturity import Expected, mature
    from model_ops.settings import Settings
    logged, settings = read(root), Settings.load(root)
    model = judge(logged.validation, logged.scores, logged.labelled, importance=logged.served.manifest.importance, package=logged.served.digest)
    verdict = compare(logged.reference, logged.profile, contract=logged.served.contract, model=model)
    health = assess(logged, verdict, mature(logged, Expected()), service.look(logged, settings, service.Levels()), now=logged.span.as_of, settings=settings)
    (root / "report.html").write_text(str(health.display()))
    return logged


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000], help="predictions in the log")
    words.add_argument("--keep", type=Path, help="a folder in which logs are made, and found again by a later run")
    words.add_argument("--do", nargs=2, metavar=("WHAT", "FOLDER"), help="make-ROWS, read or report, in a folder, and nothing else")
    told = words.parse_args()
    if told.do:
        what, root = told.do[0], Path(told.do[1])
        if what.startswith("make-"): make(root, int(what[5:]))
        else: print({"read": read, "report": report}[what](root).rows)
        return 0
    folder = told.keep or Path(tempfile.mkdtemp(prefix="model-ops-monitor-"))
    try:
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, polars {pl.__version__}, load {os.getloadavg()[0]:.1f}\n")
        print("| predictions × columns | | wall s | cpu s | peak MB |\n| --- | --- | --- | --- | --- |", flush=True)
        for rows in told.rows:
            root = folder / f"orders-{rows}"
            if not root.exists(): once([sys.executable, __file__, "--do", f"make-{rows}", root], folder)
            for what in ("read", "report"):
                used = once([sys.executable, __file__, "--do", what, root], folder)
                print(f"| {rows:,} × 20 | {what} | {used.wall:.1f} | {used.cpu:.1f} | {used.memory:.0f} |", flush=True)
    finally:
        if not told.keep: shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
