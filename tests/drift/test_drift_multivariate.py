"The domain classifier: what it finds, what it must not see, when it abstains, and a light simulation of how often it is wrong."
import math

import numpy as np
import polars as pl
import pytest
from model_ops.data.contract import learn
from model_ops.drift.compare import compare
from model_ops.drift.features import BINS, dated, recoded, spread
from model_ops.drift.multivariate import CELLS, Joint, _placement, _sample, _sureness, joint
from model_ops.errors import DataError, ModelOpsError, ParameterError
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

START = np.datetime64("2013-01-01", "us")


def bells(rng, rows, columns=4, like=0.0, shift=0.0):
    x = rng.normal(size=(rows, columns))
    x[:, 1] = like*x[:, 0] + math.sqrt(1 - like**2)*x[:, 1]
    x[:, 0] += shift
    return pl.DataFrame({f"c{i}": x[:, i] for i in range(columns)})


def by_day(rng, n, each=30, columns=4, first=0, **more):
    effects = 0.3*np.repeat(rng.normal(size=(n, columns)), each, axis=0)
    x = bells(rng, n*each, columns, **more)
    when = np.repeat(START + np.arange(first, first + n)*np.timedelta64(1, "D"), each)
    return pl.DataFrame({"when": when, **{c: x[c] + effects[:, i] for i, c in enumerate(x.columns)}})


def test_a_change_that_no_single_column_shows():
    rng = np.random.default_rng(0)
    pair = [bells(rng, 20_000, 3, like) for like in (0.0, 0.6)]
    assert compare(*pair).outcome == "stable"
    found = joint(*pair, rows=2_500)
    assert found.outcome == "drifted" and set(list(found.columns)[:2]) == {"c0", "c1"} and found.low > 0.55
    assert found.alone < 0.55 and found.together.low > 0 and "how they go together" in found.sentence
    assert found.rows == {"reference": 2_500, "current": 2_500} and found.chunks == {"reference": 0, "current": 0}


def test_a_shift_needs_no_interplay():
    rng = np.random.default_rng(1)
    found = joint(bells(rng, 3_000), bells(rng, 3_000, shift=0.6))
    assert found.outcome == "drifted" and next(iter(found.columns)) == "c0" and found.columns["c0"] > 0.8
    assert found.alone > 0.55 and "one by one" in found.sentence
    assert joint(bells(rng, 3_000), bells(rng, 3_000, shift=0.6), leave_out=["c0"]).outcome != "drifted"


def test_by_day():
    rng = np.random.default_rng(2)
    still = joint(by_day(rng, 40), by_day(rng, 30, first=40), time="when")
    assert still.outcome != "drifted" and still.chunks == {"reference": 40, "current": 30} and 5 < still.effective_chunks <= 30
    moved = joint(by_day(rng, 40), by_day(rng, 40, first=40, shift=1.0), time="when")
    assert moved.outcome == "drifted" and next(iter(moved.columns)) == "c0"
    one_side = joint(by_day(rng, 40), by_day(rng, 40).drop("when"), time="when")
    assert one_side.outcome != "drifted" and one_side.chunks == {"reference": 40, "current": 0}


def test_the_time_tells_nothing():
    rng = np.random.default_rng(3)
    def windows(first, n=30):
        frame = by_day(rng, n, first=first)
        return frame.with_columns(pl.col("when").dt.month().alias("month"), pl.col("when").dt.weekday().alias("weekday"), pl.col("when").dt.epoch("s").alias("stamp"), pl.col("when").dt.date().alias("booked"),
                                  pl.Series("number", np.arange(frame.height) + first*30), pl.lit(1).alias("constant"))
    found = joint(windows(0, 60), windows(60), time="when", rows=1_000)
    assert found.outcome != "drifted" and {"month", "weekday", "stamp", "booked", "number"} <= {*found.left_out} | {"number"}
    assert all("time" in found.left_out[n] for n in ("month", "weekday", "stamp", "booked"))
    assert not {"month", "stamp", "number", "when"} & {*found.columns}


def test_daily_weather_does_not_follow_from_the_time():
    rng = np.random.default_rng(4)
    when = pl.Series("when", np.repeat(START + np.arange(60)*np.timedelta64(1, "D"), 20))
    X = pl.DataFrame(dict(weather=np.repeat(rng.normal(size=60), 20), hour=np.tile(np.arange(20), 60), noise=rng.normal(size=1_200), day=np.repeat(np.arange(60.0), 20)))
    assert set(dated(X, (np.arange(1_200) >= 800).astype(int), when, True)) == {"day"}


def test_weather_does_not_hide_what_else_has_changed():
    rng = np.random.default_rng(21)
    def window(like):
        frame = by_day(rng, 60, each=40, like=like)
        weather = np.repeat(rng.normal(size=(60, 3)), 40, axis=0) + 0.1*rng.normal(size=(2_400, 3))
        return frame.with_columns(**{f"w{i}": weather[:, i] for i in range(3)})
    found = joint(window(0.0), window(0.8), time="when")
    assert found.outcome == "drifted" and {"w0", "w1", "w2"} == {*found.left_out} and {*found.columns} >= {"c0", "c1"}


def test_neither_target_nor_id_enters():
    rng = np.random.default_rng(5)
    made = lambda label, first: bells(rng, 600).with_columns(pl.Series("label", rng.random(600) < label), pl.Series("id", [f"{first + i}" for i in range(600)]))
    reference, current = made(0.1, 0), made(0.9, 600)
    contract = learn(reference, target="label", roles={"id": "id"})
    assert joint(reference, current, contract).outcome != "drifted"
    assert joint(reference, current).outcome == "drifted"


def test_what_one_window_does_not_have_is_left_out():
    rng = np.random.default_rng(6)
    reference = bells(rng, 400, 5).with_columns(pl.Series("kind", rng.choice(["a", "b", None], 400)), c4=pl.Series([math.inf, 1.0, 2.0, None]*100))
    current = bells(rng, 400, 5).with_columns(pl.Series("kind", rng.choice(["a", "new", None], 400)), c2=pl.lit("text"), c3=pl.lit(None)).drop("c1")
    found = joint(reference, current)
    assert {"c1", "c2", "c3"} <= {*found.left_out} and found.auc is not None and "kind" in {*found.columns}
    assert "does not have it" in found.left_out["c1"] and "number" in found.left_out["c2"] and "no value" in found.left_out["c3"]


def test_the_record():
    rng = np.random.default_rng(7)
    found = joint(bells(rng, 300), bells(rng, 300, shift=0.5))
    assert Joint.model_validate_json(found.model_dump_json()) == found
    assert abs(sum(found.columns.values()) - 1) < 0.05 and all(x > 0 for x in found.columns.values())
    with pytest.raises(ValidationError): Joint(**{**found.model_dump(), "more": 1})


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_each_time(threads):
    pair = [bells(np.random.default_rng(seed), 500, like=like) for seed, like in ((8, 0.0), (9, 0.5))]
    with threadpool_limits(threads): found = joint(*pair, rows=400)
    assert found == joint(*pair, rows=400) and found != joint(*pair, rows=400, seed=1)


@pytest.mark.slow
def test_too_little_to_conclude_anything():
    rng = np.random.default_rng(10)
    few = joint(bells(rng, 300), bells(rng, 29))
    assert few.outcome == "not enough data" and few.auc is None and "29 rows" in few.obstacle and few.sentence and few.method
    days = joint(by_day(rng, 40), by_day(rng, 9), time="when")
    assert days.outcome == "not enough data" and days.auc is None and "9 chunks" in days.obstacle
    trend = by_day(rng, 40).with_columns(pl.col("c0") + pl.int_range(1_200)/200)
    found = joint(trend, by_day(rng, 20), time="when")
    assert found.outcome == "not enough data" and found.p_drifted is None and found.low is None and found.auc is not None and "independent" in found.sentence
    weak = joint(bells(rng, 150, 12), bells(rng, 150, 12))
    assert weak.outcome != "drifted"


@pytest.mark.slow
def test_stable_only_where_a_planted_shift_is_found():
    rng = np.random.default_rng(11)
    found = [joint(bells(rng, 350, 12), bells(rng, 350, 12)) for _ in range(3)]
    assert all(j.control > j.margin for j in found if j.outcome == "stable")
    sure = joint(bells(rng, 2_500, 2), bells(rng, 2_500, 2))
    assert sure.outcome == "stable" and sure.control > sure.margin and "could not tell" in sure.sentence


def test_chunks_by_number_of_rows():
    rng = np.random.default_rng(12)
    found = joint(bells(rng, 3_000), bells(rng, 2_000).with_columns(pl.int_range(3_000, 5_000).alias("c4")).drop("c4"), chunk="100 rows")
    assert found.chunks == {"reference": 30, "current": 20} and found.outcome != "drifted"


def test_text_dates_and_zones():
    rng = np.random.default_rng(13)
    pair = [by_day(rng, n) for n in (30, 20)]
    plain = joint(*pair, time="when")
    zoned = joint(*(f.with_columns(pl.col("when").dt.replace_time_zone("America/New_York")) for f in pair), time="when")
    assert zoned.chunks == plain.chunks and zoned.auc == plain.auc
    text = [f.with_columns(pl.col("when").dt.strftime("%Y-%m-%dT%H:%M:%S"), pl.Series("label", np.arange(f.height) % 2)) for f in pair]
    contract = learn(text[0], target="label", time="when")
    assert joint(*text, contract).chunks == plain.chunks


@pytest.mark.slow
def test_wide_tables_give_fewer_rows():
    rng = np.random.default_rng(14)
    found = joint(bells(rng, 3_400, 300, 0.0), bells(rng, 3_400, 300, 0.0, 0.8))
    assert found.rows["current"] == CELLS//600 and next(iter(found.columns)) == "c0"


@pytest.mark.parametrize(("wrong", "says"), [(dict(rows=99), "rows"), (dict(rows=1e4), "rows"), (dict(folds=1), "folds"), (dict(folds=50), "folds"), (dict(alpha=0), "alpha"), (dict(margin=0.5), "margin"), (dict(margin=1), "margin"),
                                             (dict(seed=-1), "seed"), (dict(least_chunks=1), "least_chunks"), (dict(leave_out=["c9"]), "c9"), (dict(time="wen"), "wen"), (dict(chunk="often"), "often"), (dict(leave_out=["c0", "c1", "c2", "c3"]), "No column")])
def test_what_cannot_be(wrong, says):
    rng = np.random.default_rng(15)
    with pytest.raises(ModelOpsError, match=says): joint(bells(rng, 200), bells(rng, 200), **wrong)


def test_nothing_to_compare():
    rng = np.random.default_rng(16)
    with pytest.raises(DataError, match="current window has no rows"): joint(bells(rng, 200), bells(rng, 0))
    with pytest.raises(DataError, match="No column") as e: joint(bells(rng, 200), pl.DataFrame({"other": range(200)}))
    assert set(e.value.left_out) == {"c0", "c1", "c2", "c3"}
    with pytest.raises(DataError, match="No column"): joint(*[pl.DataFrame({"a": [1]*200, "b": ["x"]*200})]*2)
    assert not isinstance(e.value, ParameterError)


def test_samples_are_spread_over_the_chunks():
    rng = np.random.default_rng(17)
    chunk = rng.permutation(np.repeat(np.arange(50), rng.integers(5, 200, 50)))
    picked = spread(chunk, len(chunk), 1_000, rng)
    expected = np.bincount(chunk)*1_000/len(chunk)
    assert len(picked) == len(set(picked.tolist())) == 1_000 and (abs(np.bincount(chunk[picked], minlength=50) - expected) < 1.01).all()


@pytest.mark.parametrize(("chunks", "folds"), [(10, 5), (30, 5), (200, 5), (7, 3)])
def test_no_chunk_teaches_what_it_judges(chunks, folds):
    s = _sample(0, chunks*3, np.repeat(np.arange(chunks), 3), folds, np.random.default_rng(0))
    for fold in range(folds):
        judged, taught = set(s.chunk[s.fold == fold].tolist()), set(s.chunk[s.teaching(fold)].tolist())
        assert judged and taught and min(abs(a - b) for a in judged for b in taught) > min(2, (chunks - len(judged))//4)
    assert sorted(set(s.fold.tolist())) == list(range(folds))


def test_placements_and_codes():
    rng = np.random.default_rng(18)
    a, b = rng.integers(0, 9, 200), rng.integers(2, 11, 300)
    auc = roc_auc_score(np.repeat([0, 1], [200, 300]), np.r_[a, b])
    assert _placement(b, a).mean() == pytest.approx(auc) and 1 - _placement(a, b).mean() == pytest.approx(auc)
    codes = recoded(np.r_[np.nan, rng.zipf(1.3, 5_000) % 100].astype(np.float32))
    assert np.isnan(codes[0]) and set(codes[1:].tolist()) == set(range(BINS))


def test_sureness_of_rows_is_twice_that_of_fixed_classifiers():
    rng = np.random.default_rng(19)
    values = [rng.random(400), rng.random(300)]
    samples = [_sample(0, 400, None, 5, rng), _sample(400, 300, None, 5, rng)]
    assert _sureness(samples, values).error == pytest.approx(math.sqrt(2*(values[0].var()/400 + values[1].var()/300)))


@pytest.mark.slow
def test_light_calibration():
    rng = np.random.default_rng(20)
    assert sum(joint(bells(rng, 500, 12), bells(rng, 500, 12)).outcome == "drifted" for _ in range(20)) <= 3
    found = [joint(by_day(rng, 60, columns=6), by_day(rng, 30, columns=6, first=60), time="when") for _ in range(20)]
    assert sum(j.outcome == "drifted" for j in found) <= 3 and np.mean([j.auc for j in found]) == pytest.approx(0.5, abs=0.02)
