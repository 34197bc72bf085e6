"Leaks: each planted one is found with a number, clean tables give no alarm."
import time
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from model_ops.data.contract import learn
from model_ops.data.leaks import Leaks, _auc, find_leaks
from model_ops.errors import DataError


def clean(seed, rows=3_000, kind="binary"):
    "A table with honest signal: numbers, categories, dates, holes, an id and a time; no leak."
    rng = np.random.default_rng(seed)
    a, b, c, d = rng.normal(size=rows), rng.gamma(2, 30, rows), rng.integers(0, 500, rows), rng.choice(["x", "y", "z"], rows, p=[.6, .3, .1])
    hidden = a + b/60 + (d == "x") + rng.normal(size=rows)*1.5
    frame = pl.DataFrame({"order_id": [f"o{i:06}" for i in rng.permutation(rows)], "at": np.datetime64("2024-01-01T00:00:00", "us") + np.sort(rng.integers(0, 365*86_400, rows)).astype("timedelta64[s]"),
                          "a": a, "b": b, "c": c, "d": d, "level": rng.choice([f"k{i}" for i in range(60)], rows), "flag": rng.random(rows) < 0.2,
                          "holes": np.where(rng.random(rows) < 0.4, np.nan, rng.normal(size=rows)), "cents": rng.integers(100, 10_000_000, rows)})
    frame = frame.with_columns(pl.col("holes").fill_nan(None), since=pl.col("at") - pl.duration(minutes=pl.Series(rng.integers(1, 10_000, rows))))
    y = {"binary": hidden > 3.5, "multiclass": np.digitize(hidden, [1.5, 3.5]).astype(str), "regression": hidden*40}[kind]
    return frame.with_columns(y=pl.Series(y))


def look(frame, positive="", **roles):
    features = {c: "feature" for c in frame.columns if c not in ("y", "at", "order_id")}
    return find_leaks(frame, learn(frame, target="y", time="at", roles={**features, "order_id": "id", **roles}, positive=positive))


def rules(leaks, column=None):
    return {leak.rule for leak in leaks.found if column is None or column in leak.columns}


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_twenty_clean_tables_give_no_alarm(kind):
    alarms = [leak for seed in range(20) for leak in look(clean(seed, kind=kind)).found]
    assert alarms == []  # 0 of 20 tables, 60 over the three tasks


@pytest.mark.parametrize("rows", [60, 150, 400])
def test_small_clean_tables_give_no_alarm(rows):
    assert [leak for seed in range(20) for leak in look(clean(seed, rows)).found] == []


def test_a_signal_is_no_leak():
    rng, frame = np.random.default_rng(101), clean(1)
    strong = frame["y"].to_numpy()*1.8 + rng.normal(size=len(frame))  # ROC AUC about 0.90
    assert look(frame.with_columns(strong=pl.Series(strong))).found == []


def test_a_column_that_predicts_alone():
    frame = clean(2)
    y, rng = frame["y"].to_numpy(), np.random.default_rng(2)
    leaks = look(frame.with_columns(delay=pl.Series(np.where(y, 16 + rng.exponential(20, len(y)), rng.uniform(-30, 18, len(y)))), inside=pl.Series(np.where(y, rng.uniform(-1, 1, len(y)), rng.choice([-1, 1], len(y))*rng.uniform(1, 5, len(y)))),
                                    paid=pl.Series(np.where(y, 1.0, np.nan)).fill_nan(None), branch=pl.Series(np.where(y, rng.choice(["p", "q"], len(y)), rng.choice(["r", "s", "t"], len(y))))))
    for column in ("delay", "inside", "paid", "branch"): assert rules(leaks, column) == {"predicts alone"}
    (delay,) = (leak for leak in leaks.found if leak.columns == ["delay"])
    assert delay.value > 0.98 and delay.evidence == f"Alone it reaches ROC AUC {delay.value:.3f} on rows it has not seen."
    assert len(leaks.found) == 4  # nothing else: no sum of a leak with something


def test_a_number_that_predicts_a_number():
    frame = clean(3, kind="regression")
    noisy = frame["y"]*2 + pl.Series(np.random.default_rng(103).normal(size=len(frame)))
    (leak,) = look(frame.with_columns(noisy=noisy)).found
    assert leak.columns == ["noisy"] and leak.rule == "predicts alone" and leak.value > 0.99 and "variance of the target's ranks" in leak.evidence


def test_one_class_of_three_that_is_told_is_not_enough_but_all_are():
    frame = clean(4, kind="multiclass")
    y = frame["y"].to_numpy()
    assert rules(look(frame.with_columns(one=pl.Series(y == "0"))), "one") == set()
    assert rules(look(frame.with_columns(all=pl.Series(np.char.add(y.astype(str), np.random.default_rng(4).choice(["a", "b"], len(y)))))), "all") == {"predicts alone"}


@pytest.mark.parametrize("kind, copy", [("binary", lambda y: pl.when(y).then(pl.lit("late")).otherwise(pl.lit("ok"))), ("binary", lambda y: y.cast(pl.Int8)), ("multiclass", lambda y: y.replace_strict({"0": "low", "1": "mid", "2": "high"})),
                                        ("regression", lambda y: y/60 + 3), ("regression", lambda y: (-y).cast(pl.Float32))])
def test_a_copy(kind, copy):
    (leak,) = look(clean(5, kind=kind).with_columns(copy=copy(pl.col("y")))).found
    assert leak.columns == ["copy"] and leak.rule == "copy of target" and "3,000 rows" in leak.evidence


@pytest.mark.parametrize("parts, formula", [
    ({"net": lambda y, u, v: u, "tax": lambda y, u, v: y - u}, "net + tax"), ({"gross": lambda y, u, v: y + u, "cost": lambda y, u, v: u}, "gross − cost"),
    ({"p": lambda y, u, v: u, "q": lambda y, u, v: v, "r": lambda y, u, v: y - u + v}, "p − q + r"), ({"net": lambda y, u, v: np.round(u, 2), "tax": lambda y, u, v: np.round(y - u, 2)}, "net + tax"),
])
def test_parts_that_sum_to_a_number(parts, formula):
    frame, rng = clean(6, kind="regression"), np.random.default_rng(6)
    y, u, v = frame["y"].to_numpy(), rng.normal(0, 500, len(frame)), rng.normal(0, 500, len(frame))
    (leak,) = look(frame.with_columns(**{k: pl.Series(f(y, u, v)) for k, f in parts.items()})).found
    assert leak.rule == "sums to target" and leak.evidence == f"{formula} follows the target exactly." and set(leak.columns) == set(parts)


def test_a_duration_between_two_times():
    frame = clean(7, kind="regression")
    (leak,) = (k for k in look(frame.with_columns(done=pl.col("at") + pl.duration(seconds=(pl.col("y")*60).cast(pl.Int64)))).found if k.rule == "sums to target")
    assert set(leak.columns) == {"done", "at"}


@pytest.mark.parametrize("size", [2, 3])
def test_a_threshold_on_a_sum(size):
    frame, rng = clean(8), np.random.default_rng(8)
    y, u, v = frame["y"].to_numpy(), rng.normal(0, 300, len(frame)), rng.normal(0, 300, len(frame))
    delay = np.where(y, 16 + rng.exponential(20, len(y)), rng.uniform(-30, 15, len(y)))
    parts = {"plan": u, "seen": u + delay} if size == 2 else {"plan": u, "gain": v, "seen": u + v + delay}
    (leak,) = look(frame.with_columns(**{k: pl.Series(x) for k, x in parts.items()})).found
    assert leak.rule == "sums to target" and set(leak.columns) == set(parts) and leak.value > 0.99 and "A threshold on" in leak.evidence


def test_times_after_the_event():
    frame = clean(9).with_columns(closed=pl.col("at") + pl.duration(hours=30), day=pl.col("at").dt.date(), next_day=pl.col("at").dt.date() + pl.duration(days=1))
    leaks = look(frame)
    assert rules(leaks, "closed") == rules(leaks, "next_day") == {"after the event"} and rules(leaks, "day") == rules(leaks, "since") == set()
    assert leaks.found[0].evidence == "It lies after at in 100.0% of the rows, in the median by 30.0 hours."


def test_identifiers():
    rows = 3_000
    frame = clean(10).with_columns(row=pl.Series(range(rows)), customer_id=pl.Series(np.random.default_rng(0).choice(10**9, rows, replace=False)), note=pl.Series([f"text {i}" for i in range(rows)]))
    leaks = look(frame)
    assert [(leak.columns, leak.rule) for leak in leaks.found] == [([c], "identifier") for c in ("row", "customer_id", "note")]
    assert leaks.found[2].evidence == "3,000 different values in 3,000 rows."


def test_repeated_rows():
    frame = clean(11)
    (leak,) = look(pl.concat([frame, frame[:100].with_columns(order_id=pl.lit("again"))])).found
    assert leak.rule == "repeated rows" and leak.columns == [] and leak.evidence == "100 of 3,100 rows (3.2%) repeat another row."
    rng = np.random.default_rng(0)
    dice = pl.DataFrame({"a": rng.integers(1, 7, 2_000), "b": rng.integers(1, 7, 2_000), "y": rng.random(2_000) < 0.5})  # 72 kinds of rows: repetition is no news
    assert find_leaks(dice, learn(dice, target="y")).found == []


def test_without_time_a_random_half_is_judged():
    frame = clean(12).sort("y").drop("at", "since")  # the first half alone would have one class
    y = frame["y"].to_numpy()
    leaks = find_leaks(frame.with_columns(told=pl.Series(y + np.random.default_rng(0).normal(size=len(y))*.1)), learn(frame.with_columns(told=pl.lit(0.5)*pl.col("a")), target="y", roles={"order_id": "id"}))
    assert rules(leaks, "told") == {"predicts alone"}


def test_too_few_rows_are_said():
    leaks = look(clean(13, rows=50))
    assert leaks.found == [] and "too few to fit anything" in leaks.notes[0]


def test_missing_values_and_targets_do_no_harm():
    frame = clean(14, kind="regression").with_columns(y=pl.when(pl.col("c") > 50).then("y"), empty=pl.lit(None, pl.Float64), constant=pl.lit(1.0), infinite=pl.lit(float("inf")))
    contract = SimpleNamespace(target="y", time="at", task="regression", positive="", features=["a", "b", "holes", "empty", "constant", "infinite", "d", "since"])
    leaks = find_leaks(frame, contract)
    assert leaks.found == [] and leaks.rows < 3_000


def test_a_missing_target_is_named():
    with pytest.raises(DataError, match="no column 'y'"): find_leaks(clean(15).drop("y"), SimpleNamespace(target="y", time=None, task="binary", positive="true", features=["a"]))


def test_the_same_seed_gives_the_same_record():
    frame = clean(16, rows=25_000)
    assert look(frame).to_json() == look(frame).to_json() and look(frame).rows == 20_000


def test_the_record_comes_back_and_shows_itself(tmp_path):
    frame = clean(17).with_columns(pl.col("y").cast(pl.Int8).alias("<script>alert(1)</script>"))
    leaks = look(frame)
    assert Leaks.load(leaks.save(tmp_path/"leaks.json")) == leaks
    assert "<script>alert" not in str(leaks.__html__()) and "Nothing was dropped" in str(leaks.__html__())


def test_auc_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score
    rng = np.random.default_rng(0)
    y, score = rng.random(500) < 0.3, rng.integers(0, 20, 500)
    assert _auc(score.astype(float), y.astype(float)) == pytest.approx(roc_auc_score(y, score), abs=1e-12)


def test_fast_on_a_large_table():
    rng, rows = np.random.default_rng(0), 300_000
    frame = pl.DataFrame({f"n{i}": rng.normal(size=rows) for i in range(24)} | {f"c{i}": rng.choice(list("abcdefgh"), rows) for i in range(5)}
                         | {"at": np.arange(rows).astype("datetime64[m]").astype("datetime64[us]"), "y": rng.random(rows) < 0.3})
    contract = SimpleNamespace(target="y", time="at", task="binary", positive="true", features=[c for c in frame.columns if c not in ("at", "y")])
    start = time.process_time()
    assert find_leaks(frame, contract).found == []
    assert time.process_time() - start < 10  # about 2 s of processor time; the rest is room for a busy machine
