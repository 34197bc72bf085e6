"""A window of a known world, condensed in memory as `monitor.logged.read` would condense the log of it: many worlds in little time.

The world, its model and its packages are those of monitored_log; only the tables are left out. `spoil` changes what arrives (inputs after the truth was drawn), `answers` what the server says, `labelled` says whose labels come (rows, scores → true or false).
"""
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
from monitored_log import _made, day_of, moment, world  # noqa: F401 (day_of: for tests)

from model_ops.data.contract import Contract
from model_ops.data.encode import target
from model_ops.drift.compare import compare
from model_ops.drift.meaning import judge, scored
from model_ops.drift.profile import Profile
from model_ops.drift.scores import Scores
from model_ops.monitor.health import Health, assess
from model_ops.monitor.levels import Levels, fit, latency, quiet
from model_ops.monitor.logged import Broken, Logged, Served
from model_ops.monitor.maturity import Expected, mature
from model_ops.monitor.window import Span
from model_ops.package.predictor import Predictor

START = "2026-01-01"


@cache
def _predictor(folder) -> Predictor: return Predictor.open(folder)


def rescored(logged: Logged, folder, rows: pl.DataFrame):
    "What a package says of rows of the sample."
    return _predictor(folder).predict(rows["inputs"].struct.unnest())


def _served(made, k: int, since: float) -> Served:
    folder = made.folder / f"package-{k + 1}"
    predictor = _predictor(folder)
    return Served(str(k + 1), k + 1, made.digests[k], moment(START, since), folder, Contract.load(folder / "contract.json"), predictor.manifest)


def _loss(rows: pl.DataFrame, task: str) -> np.ndarray:
    "Log loss, or the absolute error, of each row."
    y, s = rows["actual"].to_numpy(), rows["score"].to_numpy()
    if task == "regression": return abs(s - y)
    p = np.array(rows["probabilities"].to_list())[np.arange(len(y)), y.astype(int)] if task == "multiclass" else np.where(y == 1, s, 1 - s)
    return -np.log(np.clip(p, 1e-12, 1))


def window(*, days: int = 30, rows: int = 300, seed: int = 0, model: int = 0, task: str = "binary", versions: int = 1, from_day: int = 10, shift: float = 0.0, flip: float = 0.0, nulls: float = 0.0, delay: float = 2.0, share: float = 1.0, labelled=None, unfit: int = 0,
           spoil=None, answers=None, known: bool = True, violations: list[Broken] = (), frame: pl.DataFrame | None = None) -> Logged:
    "The window: a month of the world, as it was known at its end."
    made = _made(rows, START, 4, task, versions, model)
    truth = world(days, rows, START, task=task, seed=1000 + seed, shift=shift, flip=flip, nulls=nulls, from_day=from_day) if frame is None else frame
    sent = (spoil(truth) if spoil else truth).drop("probability", "mean", strict=False)
    late = (sent["at"] >= moment(START, from_day).replace(tzinfo=None)).to_numpy()
    version = np.where(late, versions - 1, 0)
    parts = [_predictor(made.folder / f"package-{k + 1}").predict(sent) for k in range(versions)]
    score = np.where(version == versions - 1, parts[-1].score, parts[0].score)
    if answers: score = answers(sent, score)
    chances = None if task != "multiclass" else np.where((version == versions - 1)[:, None], parts[-1].probabilities, parts[0].probabilities)
    rng, n, end = np.random.default_rng([seed, 3]), sent.height, moment(START, days)
    arrived = sent["at"].dt.replace_time_zone("UTC") + pl.Series((rng.exponential(delay, n) * 86_400e6).astype(np.int64)).cast(pl.Duration("us"))
    came = (arrived < end).to_numpy() & (rng.random(n) < share)
    came = came if labelled is None else came & labelled(sent, score)
    served, contract = _served(made, versions - 1, from_day if versions > 1 else -1), made.contract
    kept = served.folder
    reference, validation = Profile.load(kept / "profile.json"), Scores.load(kept / "scores.json")
    y = np.asarray(target(contract, sent))
    log = sent.with_columns(request_id=pl.format("r{}", pl.int_range(n)), row=pl.lit(0, pl.Int32), version=pl.Series(version + 1).cast(pl.String), package=pl.Series(np.array(made.digests)[version]),
                            event_time=pl.col("at").dt.replace_time_zone("UTC"), received_time=pl.col("at").dt.replace_time_zone("UTC"), score=pl.Series(score), label=pl.lit(None, pl.String),
                            probabilities=pl.Series(chances.tolist()) if chances is not None else pl.lit(None, pl.List(pl.Float64)), actual=pl.when(pl.Series(came)).then(pl.col(contract.target)), day=pl.col("at").dt.date())
    own = (version == versions - 1)
    mine = log.filter(pl.Series(own))
    said = chances[own] if chances is not None else score[own]
    scores, told = scored(validation, mine.with_columns(pl.col("actual").alias(contract.target)), contract, said)
    facts = log.select("day", "version", "package", "score", at="event_time", arrived=arrived, actual=pl.Series(y.astype(float)), labelled=pl.Series(came), probabilities="probabilities")
    compact = facts.filter("labelled").select(time="at", day="day", version="version", score="score", probabilities="probabilities", actual="actual", arrived="arrived", first_arrived="arrived")
    compact = compact.with_columns(loss=pl.Series(_loss(compact, task)))
    of = [pl.len().alias("rows"), pl.col("labelled").sum().cast(pl.Int64), pl.col("score").mean().alias("score_mean")]
    lost = compact.group_by("day", "version").agg(mean_actual=pl.col("actual").mean(), said_mean=pl.col("score").mean(), loss_mean=pl.col("loss").mean())
    by_day = facts.group_by("day", "version").agg(*of, requests=pl.len()).join(lost, on=["day", "version"], how="left").sort("day", "version")
    by_version = facts.group_by("version", "package").agg(*of, first=pl.col("at").min(), last=pl.col("at").max()).join(compact.group_by("version").agg(loss_mean=pl.col("loss").mean()), on="version", how="left").sort("version").with_columns(known=pl.lit(known))
    delays = facts.filter("labelled").select("day", delay_days=((pl.col("arrived") - pl.col("at")).dt.total_days()).cast(pl.Int64)).group_by("day", "delay_days").agg(labels=pl.len()).sort("day", "delay_days")
    parted = compact.with_columns(value=log.filter(pl.Series(came))["channel"]).group_by("value", "day").agg(rows=pl.len(), labelled=pl.len(), loss_sum=pl.col("loss").sum()).sort("value", "day").with_columns(column=pl.lit("channel"))
    return Logged(span=Span(moment(START), end, end, "event"), rows=n, untimed=0, served=served, previous=_served(made, versions - 2, -1) if versions > 1 else None, versions=by_version, reference=reference,
                  profile=Profile.of(sent.drop(contract.target), like=reference, contract=contract), validation=validation, scores=scores, labelled=told, violations=list(violations), days=by_day,
                  latency={"p50": 2.0, "p95": 8.0, "p99": 20.0, "p999": 30.0, "max": 40.0}, delays=delays, labels={"new": int(came.sum()) + unfit, "unfit": unfit}, gaps=[], skew={}, sample=log.select(pl.struct(sent.drop(contract.target).columns).alias("inputs"), "request_id", "row", "version", "package", "event_time", "received_time", "score", "label", "probabilities", "actual"), slices=parted, labelled_rows=compact, earlier=pl.DataFrame())


def report(logged: Logged, *, expected: Expected | None = None, levels: Levels | None = None, harm: dict | None = None, score=rescored) -> Health:
    "The health of a window, as the step `monitor` assesses it."
    levels, maturity = levels or Levels(), mature(logged, expected or Expected())
    model = judge(logged.validation, logged.scores, logged.labelled, harm=harm, importance=logged.served.manifest.importance, package=logged.served.digest)
    verdict = compare(logged.reference, logged.profile, contract=logged.served.contract, model=model)
    found = [latency(logged.latency, logged.rows, levels), quiet(logged.gaps, logged.span.until - timedelta(minutes=5), logged.span.until, levels), fit(logged.violations, logged.rows, levels)]
    return assess(logged, verdict, maturity, found, now=datetime(2026, 3, 1, tzinfo=UTC), harm=harm, score=score)


