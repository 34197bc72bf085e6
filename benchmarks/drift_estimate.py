"""How well is a model's performance estimated without labels? python benchmarks/drift_estimate.py [--flights] [--repetitions 200] [--seed 0]

Without --flights, simulated: 30 reference days and 30 current days of other scores; how far off is the estimate, how often does its interval contain
what the labels then showed (aim: 90 to 97 % for the nominal 95 %), how often does it abstain.
With --flights: a model that learned from January to March, its ROC AUC and log loss of each later month estimated and realized.
"""
import argparse
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import expit

from model_ops.drift.estimate import difference, estimate, realized, surprise
from model_ops.drift.scores import Scores

SHOWN = ("roc_auc", "average_precision", "log_loss", "f1", "positives")


def days(rng: np.random.Generator, n: int, like_before: float) -> np.ndarray:
    "Day effects, each like the one before."
    x = rng.normal(size=n)
    for t in range(1, n): x[t] = like_before*x[t - 1] + np.sqrt(1 - like_before**2)*x[t]
    return x


def window(rng, n_days=30, rows=300, like_before=0.0, effect=0.3, shift=0.0, spread=1.0, squeeze=1.0, changed=0.0, chunks=True, like=None) -> Scores:
    "Scores whose log-odds are normal, with day effects in scores and labels."
    d = np.repeat(np.arange(n_days), rows)
    x = -1.2 + shift + 0.3*days(rng, n_days, like_before)[d] + spread*rng.normal(size=len(d))
    y = rng.random(len(d)) < expit(x + changed + effect*days(rng, n_days, like_before)[d])
    return Scores.of(expit(squeeze*x), y, task="binary", threshold=0.4, chunk=np.char.zfill(d.astype(str), 4) if chunks else None, like=like)


def simulated(repetitions: int, seed: int) -> None:
    cases = {"independent rows, no days": dict(effect=0.0, chunks=False), "days, no effect on labels": dict(effect=0.0), "days, effect 0.3": {}, "effect 0.3, likeness 0.5": dict(like_before=0.5),
             "effect 0.7, likeness 0.5": dict(effect=0.7, like_before=0.5), "effect 0.3, likeness 0.8": dict(like_before=0.8), "scores squeezed to 0.4": dict(squeeze=0.4, like_before=0.5),
             "20 rows a day": dict(rows=20), "90 reference days": dict(n_days=90, like_before=0.5), "relation changed by 0.7": dict(changed=0.7)}
    print(f"\nEstimate against realized, {repetitions} repetitions: interval contains it (abstained); bias and half width in standard deviations of the error")
    print(f"{'':28}" + "".join(f"{m:>25}" for m in SHOWN))
    for name, how in cases.items():
        found = np.full((repetitions, len(SHOWN), 3), np.nan)
        for r in range(repetitions):
            rng = np.random.default_rng([seed, r])
            then = window(rng, **{k: v for k, v in how.items() if k != "changed"})
            now = surprise(then, window(rng, shift=0.4, spread=1.2, like=then, **{k: v for k, v in how.items() if k != "n_days"}))
            for i, m in enumerate(SHOWN):
                if m in now: found[r, i] = -now[m].value, now[m].low <= 0 <= now[m].high, (now[m].high - now[m].low)/2
        off = np.nanstd(found[..., 0], axis=0)
        parts = zip(np.nanmean(found[..., 1], axis=0), np.isnan(found[..., 1]).mean(axis=0), np.nanmean(found[..., 0], axis=0)/off, np.nanmedian(found[..., 2], axis=0)/off, strict=True)
        print(f"{name:28}" + "".join(f"{f'{held:6.1%} ({out:.0%}) {bias:+.2f} {half:.1f}':>25}" for held, out, bias, half in parts), flush=True)

    print("\nRealized difference and estimated change, both against the difference of endless windows: intervals contain it")
    truth = window(np.random.default_rng([seed, 1, 1]), 3_000)
    far = window(np.random.default_rng([seed, 1, 2]), 3_000, shift=0.4, spread=1.2, like=truth)
    wanted = {m: realized(far)[m].value - realized(truth)[m].value for m in SHOWN}
    for like_before in (0.0, 0.5):
        held = np.full((2, repetitions, len(SHOWN)), np.nan)
        for r in range(repetitions):
            rng = np.random.default_rng([seed, r, 3])
            then = window(rng, like_before=like_before)
            now = window(rng, like_before=like_before, shift=0.4, spread=1.2, like=then)
            for k, change in enumerate((difference(then, now), estimate(then, now).change)):
                held[k, r] = [change[m].low <= wanted[m] <= change[m].high if m in change else np.nan for m in SHOWN]
        for k, word in enumerate(("difference", "change")):
            print(f"{f'{word}, likeness {like_before}':28}" + "".join(f"{f'{a:6.1%} ({b:.0%})':>25}" for a, b in zip(np.nanmean(held[k], axis=0), np.isnan(held[k]).mean(axis=0), strict=True)), flush=True)


def flights_scores(
    path: str | Path | None = None,  # a Parquet file to write; None: none
    learn_until: int = 3,            # the last month that the model learns from
    months: tuple[int, ...] = tuple(range(4, 13)),  # that it scores; the first is the validation window
) -> pl.DataFrame:
    "A row for each flight of later months: month, day, score, label, window."
    from sklearn.ensemble import HistGradientBoostingClassifier

    from model_ops.data.contract import learn
    from model_ops.data.encode import encode
    from model_ops.data.flights import flights
    frame = flights()
    month = frame["departure"].dt.month()
    contract = learn(frame.filter(month <= learn_until), target="late", time="departure", roles={"flight_id": "id"})
    learned, scored = ((month <= learn_until).to_numpy(), month.is_in(months).to_numpy())
    model = HistGradientBoostingClassifier(max_iter=200, early_stopping=False, random_state=0).fit(encode(contract, frame.filter(learned)).X, frame["late"].to_numpy()[learned])
    table = pl.DataFrame({"month": month.cast(pl.Int64), "day": frame["departure"].dt.date()}).filter(scored).with_columns(
        score=pl.Series(model.predict_proba(encode(contract, frame.filter(scored)).X)[:, 1].astype(np.float64)), label=pl.Series(frame["late"].to_numpy()[scored]),
        window=pl.when(pl.col("month") == months[0]).then(pl.lit("validation")).otherwise(pl.lit("current")))
    if path: table.write_parquet(path)
    return table


def counted(table: pl.DataFrame, like: Scores | None = None) -> Scores:
    "The scores of some flights, by day."
    return Scores.of(table["score"].to_numpy(), table["label"].to_numpy(), task="binary", threshold=0.3, chunk=table["day"].cast(pl.String).to_numpy(), like=like)


def on_flights(path: str | Path | None) -> None:
    table = flights_scores(path)
    folds = pl.concat([*(flights_scores(learn_until=m - 1, months=(m,)) for m in (2, 3)), table.filter(pl.col("month") == 4)])
    before = {"April": lambda month: table.filter(pl.col("month") == 4), "out-of-time folds, February to April": lambda month: folds,
              "the three months before": lambda month: table.filter(pl.col("month").is_between(month - 3, month - 1))}
    for name, rows in before.items():
        print(f"\nReference: {name}\n month  " + "".join(f"{m:>34}" for m in ("ROC AUC estimated (interval), true", "log loss", "share of late flights")))
        off, held, wide, naive = [], [], [], []
        for month in range(7 if "three" in name else 5, 13):
            then = counted(rows(month))
            now = counted(table.filter(pl.col("month") == month), then)
            told, gap = estimate(then, now), surprise(then, now)
            line = []
            for m in ("roc_auc", "log_loss", "positives"):
                if m not in gap: line.append("–"); continue
                e, true = told.metrics[m], told.metrics[m].value + gap[m].value
                line.append(f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f}) {true:.3f}")
            off.append([abs(gap[m].value) if m in gap else np.nan for m in ("roc_auc", "log_loss", "positives")])
            held.append([gap[m].low <= 0 <= gap[m].high if m in gap else np.nan for m in ("roc_auc", "log_loss", "positives")])
            wide.append([(gap[m].high - gap[m].low)/2 if m in gap else np.nan for m in ("roc_auc", "log_loss", "positives")])
            naive.append([abs(told.metrics[m].value + gap[m].value - told.reference[m].value) if m in gap and m in told.reference else np.nan for m in ("roc_auc", "log_loss", "positives")])
            print(f"{month:6}  " + "".join(f"{text:>34}" for text in line))
        for word, values in (("mean absolute error", off), ("the same if nothing had changed", naive), ("half width", wide), ("interval contains the truth", held)):
            print(f"{word:32}" + "".join(f"{v:>12.3f}" for v in np.nanmean(np.array(values, dtype=float), axis=0)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flights", action="store_true")
    parser.add_argument("--scores", help="with --flights: write the scores to this Parquet file")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    on_flights(told.scores) if told.flights else simulated(told.repetitions, told.seed)
