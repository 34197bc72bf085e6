"""Lags never look nearer than the horizon, never into another series, and say what they cannot do."""
from datetime import date, datetime, timedelta
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.data.lags import Lags, lagged
from model_ops.errors import DataError, ModelOpsError, ParameterError


def table(rows=20, shops=("a", "b"), seed=0):
    days = [date(2024, 1, 1) + timedelta(d) for d in range(rows)]
    frame = pl.DataFrame({"day": days*len(shops), "shop": [s for s in shops for _ in days], "sold": np.random.default_rng(seed).normal(size=rows*len(shops))})
    return frame.sample(fraction=1, shuffle=True, seed=seed)


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 15), horizon=st.integers(1, 4), more=st.integers(0, 5), window=st.integers(1, 6), seed=st.integers(0, 99))
def test_columns_are_what_a_loop_would_make(rows, horizon, more, window, seed):
    frame, lag = table(rows, seed=seed), horizon + more
    out, _ = lagged(frame, Lags(columns={"sold": [lag]}, rolling={"sold": [window]}, horizon=horizon, series=["shop"]), time="day", target="sold")
    assert out.select(frame.columns).equals(frame)
    known = {(shop, day): sold for day, shop, sold in frame.rows()}
    for day, shop, _, back, mean in out.rows():
        assert back == known.get((shop, day - timedelta(lag)))
        before = [known[key] for k in range(horizon, horizon + window) if (key := (shop, day - timedelta(k))) in known]
        assert mean == pytest.approx(np.mean(before)) if before else mean is None


@settings(deadline=None, max_examples=30)
@given(horizon=st.integers(1, 5), changed=st.integers(0, 19), seed=st.integers(0, 99))
def test_the_future_changes_nothing(horizon, changed, seed):
    frame = table(seed=seed)
    told = Lags(columns={"sold": [horizon, horizon + 2]}, rolling={"sold": [3]}, horizon=horizon, series=["shop"])
    after = date(2024, 1, 1) + timedelta(changed)
    other = frame.with_columns(pl.when(pl.col("day") >= after).then(pl.col("sold") + 100).otherwise("sold").alias("sold"))
    known = pl.col("day") < after + timedelta(horizon)  # their lags reach no later than the day before the change
    one, two = (lagged(f, told, time="day")[0].filter(known).select(told.names) for f in (frame, other))
    assert one.equals(two)


def test_a_series_may_have_two_keys_and_a_column_any_type():
    frame = pl.DataFrame({"t": [1, 2, 1, 2], "x": ["a", "a", "a", "a"], "y": [1, 1, 2, 2], "what": ["p", "q", "r", "s"]})
    out, said = lagged(frame, Lags(columns={"what": [1]}, series=["x", "y"]), time="t")
    assert out["what_lag_1"].to_list() == [None, "p", None, "r"] and "2 of 4 rows lack" in said[1] and "x and y" in said[0]


def test_nothing_told_changes_nothing():
    frame = table()
    out, said = lagged(frame, Lags(), time="")
    assert out is frame and said == []


def test_means_are_of_what_is_known():
    frame = pl.DataFrame({"t": [1, 2, 3, 4], "v": [1.0, None, 3.0, 9.0]})
    out, _ = lagged(frame, Lags(rolling={"v": [2]}), time="t")
    assert out["v_mean_2"].to_list() == [None, 1.0, 1.0, 3.0]


def test_gaps_are_told():
    days = [datetime(2024, 1, 1) + timedelta(hours=h) for h in (0, 1, 2, 8, 9)]
    _, said = lagged(pl.DataFrame({"t": days, "v": range(5)}), Lags(columns={"v": [1]}), time="t")
    assert "1 gap:" in said[-1] and "1 hour as a rule, and 6 hours at most" in said[-1]
    assert not any("gaps" in one for one in lagged(table(), Lags(columns={"sold": [1]}, series=["shop"]), time="day")[1])


@pytest.mark.parametrize("told, more, error, said", [
    (dict(columns={"sold": [1]}, horizon=2), {}, ParameterError, "is not known 2 rows ahead"), (dict(columns={"sold": [1]}), {}, DataError, "stand more than once"), (dict(columns={"sold": [1]}), {"time": ""}, ParameterError, "needs a time"),
    (dict(columns={"sodl": [1]}), {}, ParameterError, "Did you mean 'sold'"), (dict(rolling={"shop": [2]}, series=["shop"]), {}, ParameterError, "has no mean"), (dict(columns={"sold": [1]}, series=["shp"]), {}, ParameterError, "'shop'"),
    (dict(columns={"sold": [1]}, series=["shop"]), {"time": "never"}, ParameterError, "no column 'never'")])
def test_what_cannot_be_is_refused(told, more, error, said):
    with pytest.raises(error, match=said): lagged(table(), Lags(**told), **{"time": "day", **more})


def test_missing_times_and_taken_names_are_refused():
    told = Lags(columns={"sold": [1]}, series=["shop"])
    with pytest.raises(DataError, match="1 rows have no day"): lagged(table().with_columns(pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("day").alias("day")), told, time="day")
    with pytest.raises(ModelOpsError, match="sold_lag_1"): lagged(table().with_columns(pl.lit(1).alias("sold_lag_1")), told, time="day")
    for wrong in (dict(columns={"sold": []}), dict(columns={"sold": [0]}), dict(columns={"sold": [2, 2]}), dict(horizon=0), dict(lag={"sold": [1]})):
        with pytest.raises(ValueError): Lags(**wrong)
