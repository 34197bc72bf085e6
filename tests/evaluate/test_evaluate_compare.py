"The evaluation record: one sentence that is true, a page that is safe, a file that is small and the same each time."
import datetime as dt
import json
import subprocess
import sys
import numpy as np
import pytest
from markupsafe import escape
from model_ops.errors import DataError, ParameterError
from model_ops.evaluate.compare import Evaluation, check_overlap, evaluate, flat_metrics
from model_ops.evaluate.metrics import METRICS, measure

N, DAYS = 6000, 30


def arrays(gain=0.3, seed=0):
    "Truth, scores of three models (the challenger better for a positive `gain`), days."
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=N)
    chance = lambda z: 1 / (1 + np.exp(1 - z))
    y = rng.random(N) < chance(signal)
    noisy = lambda noise: chance(signal + noise*rng.normal(size=N))
    return dict(y=y, scores={"challenger": noisy(max(0, -gain)), "opponent": noisy(max(0, gain)), "dummy": np.full(N, .3)}, blocks=np.arange(N)*DAYS//N,
                thresholds={"challenger": .4, "opponent": .5, "dummy": .1}, resamples=200)


def without(case, *models): return case | {"scores": {m: s for m, s in case["scores"].items() if m not in models}}


def test_the_record_holds_what_the_parts_give():
    case = arrays()
    found = evaluate(**case, digests={"challenger": "aa", "opponent": "bb"}, window={"name": "test", "from": dt.date(2013, 10, 1), "to": dt.datetime(2013, 11, 1), "digest": "dd"})
    assert list(found.models) == ["challenger", "opponent", "dummy"] and list(found.differences) == ["opponent", "dummy"]
    for model, score in case["scores"].items():
        expected = measure(case["y"], score, case["thresholds"][model])
        assert {n: i.value for n, i in found.models[model].metrics.items()} == {n: None if v is None else pytest.approx(v, rel=1e-5) for n, v in expected.items()}
        assert sum(found.models[model].confusion.values()) == N
    assert found.models["opponent"].digest == "bb" and found.models["dummy"].digest is None
    assert found.window == {"name": "test", "digest": "dd", "rows": N, "positives": pytest.approx(case["y"].mean(), rel=1e-5), "blocks": 30, "unit": "days", "from": "2013-10-01", "to": "2013-11-01T00:00:00"}
    better = found.differences["opponent"]["log_loss"]
    assert better.low > 0 and better.value == pytest.approx(found.models["opponent"].metrics["log_loss"].value - found.models["challenger"].metrics["log_loss"].value, abs=1e-5)


def test_round_trip_and_the_same_bytes_each_time():
    first, again = (evaluate(**arrays(), slice_columns={"hour": np.arange(N) % 24}) for _ in range(2))
    assert first.to_json() == again.to_json() and Evaluation.from_json(first.to_json()) == first and first.digest == again.digest
    assert evaluate(**arrays(), seed=1).to_json() != first.to_json()
    longest = max(len(token.strip(" ,-")) for token in first.to_json().split("\n") if token.strip(" ,-").replace(".", "").isdigit())
    assert longest <= 9  # digits that differ between machines are not kept


@pytest.mark.parametrize("gain, words", [(.6, "ranks rows better than the opponent: ROC AUC"), (-.6, "ranks rows worse than the opponent"), (0, "neither clearly better nor clearly worse")])
def test_the_summary_claims_what_the_interval_allows(gain, words):
    case = arrays(gain)
    if gain == 0: case["scores"]["opponent"] = np.clip(case["scores"]["challenger"] + np.random.default_rng(1).normal(0, .001, N), 0, 1)
    found = evaluate(**case)
    assert words in found.summary and found.summary.endswith("on 6,000 rows of 30 days.")


def test_the_summary_without_opponent_without_blocks_and_with_another_metric():
    assert evaluate(**without(arrays(), "opponent"), noun="flights").summary.endswith("on 6,000 flights of 30 days; no opponent yet.")
    alone = evaluate(**without(arrays(), "opponent", "dummy"))
    assert alone.summary.endswith("it was compared with nothing.") and alone.differences == {}
    rows = evaluate(**(arrays() | {"blocks": None}), headline="log_loss")
    assert rows.summary.startswith("The challenger estimates rows better than the opponent: log loss") and rows.summary.endswith("on 6,000 rows.") and rows.window["unit"] == "rows"


def test_too_few_days_and_one_class_say_so():
    case = arrays()
    few = evaluate(**(case | {"blocks": np.arange(N)*3//N}))
    assert few.summary.startswith("Whether the challenger ranks rows better than the opponent is open (3 days; at least 10") and few.models["challenger"].metrics["f1"].low is None
    one = evaluate(**(case | {"y": np.zeros(N)}), slice_columns={"hour": np.arange(N) % 24})
    assert one.summary == "The challenger's ROC AUC is not defined on 6,000 rows of 30 days: one class only."
    assert "roc_auc" not in flat_metrics(one) and all(isinstance(v, float) for v in flat_metrics(one).values())
    for record in (few, one): assert Evaluation.from_json(record.to_json()) == record and escape(record.summary) in record.__html__()


def test_the_display_shows_everything_and_nothing_foreign_as_markup():
    hostile = "<script>alert('x')</script>"
    found = evaluate(**arrays(), slice_columns={hostile: np.where(np.arange(N) % 2, hostile, "\u202e\"'&")}, noun=hostile, labels=(hostile, "late"), window={"name": hostile, "from": "2013-10-01", "to": "2013-11-01"})
    page = found.__html__()
    assert "<script" not in page and "&lt;script&gt;" in page
    for word in [m.title for m in METRICS.values()] + ["Calibration", "Precision and recall", "Challenger against dummy", "Opponent at threshold 0.5", "95% interval, from 200 resamples of 30 days, drawn in runs of 3", "log loss ↓"]: assert word in page, word
    assert page.count("<svg") == 2 + 3 + 2 + 1 and len(page) < 150_000


def test_json_stays_small_with_the_longest_names():
    columns = {"x"*10_000 + str(i): np.array([f"{k}" + "y"*10_000 for k in range(20)], dtype=object)[np.arange(N) % 20] for i in range(8)}
    found = evaluate(**(arrays() | {"resamples": 20}), slice_columns=columns)
    assert len(found.slices.parts) == 60 and len(found.to_json()) < 100_000 and len(found.__html__()) < 200_000


def test_scores_that_are_no_probabilities_have_no_calibration():
    case = arrays()
    found = evaluate(**(case | {"scores": {m: s*10 for m, s in case["scores"].items()}}))
    assert found.curves["calibration"] == {} and found.models["challenger"].metrics["brier"].value is None and "Calibration" not in found.__html__()
    assert "scores outside 0 to 1" in found.__html__()


def test_flat_metrics():
    flat = flat_metrics(evaluate(**arrays()))
    assert set(flat) == set(METRICS) | {f"roc_auc{end}" for end in ("_low", "_high", *(f"_vs_{o}{e}" for o in ("opponent", "dummy") for e in ("", "_low", "_high")))}
    json.dumps(flat, allow_nan=False)


@pytest.mark.parametrize("change, error, words", [
    (dict(headline="auc"), ParameterError, "headline"),
    (dict(metrics=["f1"]), ParameterError, "headline"),
    (dict(metrics=["roc_auc", "recal"]), ParameterError, "Did you mean 'recall'"),
    (dict(thresholds={"challenger": .5, "dummy": .5}), DataError, "no threshold for the opponent"),
    (dict(y=np.zeros(3)), DataError, "one number a row|block number"),
    (dict(blocks=np.zeros(3)), DataError, "block number"),
    (dict(scores={}), DataError, "none"),
    (dict(scores={"dummy": np.zeros(N), "challenger": np.zeros(N)}), DataError, "in this order"),
    (dict(slice_columns={"a": [1]}), DataError, "'a' has 1 values"),
])
def test_what_does_not_fit(change, error, words):
    with pytest.raises(error, match=words): evaluate(**(arrays() | change))


TEST = {"from": "2013-10-01", "to": "2013-11-01", "digest": "t"}


@pytest.mark.parametrize("trained", [
    {"from": "2013-01-01", "to": "2013-10-01"}, {"from": "2013-11-01", "to": "2013-12-01"}, {"from": "2013-01-01T00:00:00", "to": "2013-10-01T00:00:00"},
    {"from": dt.date(2013, 1, 1), "to": dt.datetime(2013, 10, 1)}, {"from": "2013-01-01", "to": "2013-10-01T02:00:00+02:00"},
])
def test_windows_that_touch_do_not_overlap(trained):
    assert check_overlap(trained, TEST).endswith("no row in common.")


@pytest.mark.parametrize("trained", [
    {"from": "2013-01-01", "to": "2013-10-01T00:00:01"}, {"from": "2013-10-31T23:59:59", "to": "2014-01-01"}, {"from": "2013-10-05", "to": "2013-10-06"},
    {"from": "2012-01-01", "to": "2014-01-01"}, TEST, {"digest": "t"}, {"from": "2013-01-01", "to": "2013-02-01", "digest": "t"},
])
def test_windows_that_overlap(trained):
    with pytest.raises(DataError, match="champion was trained on rows of the test window"): check_overlap(trained, TEST, "champion")


def test_row_numbers_and_the_unknown():
    assert check_overlap({"from": 0, "to": 100}, {"from": 100, "to": 200}).endswith("no row in common.")
    with pytest.raises(DataError): check_overlap({"from": 0, "to": 101}, {"from": 100, "to": 200})
    for trained in (None, {}, {"from": 0, "to": 5}, {"from": "2013-01-01"}, {"digest": "other"}): assert "not known" in check_overlap(trained, TEST)
    with pytest.raises(DataError, match="'yesterday' is no time"): check_overlap({"from": "yesterday", "to": "2013-01-01"}, TEST)


def test_evaluate_refuses_a_model_that_saw_the_test_window():
    with pytest.raises(DataError, match="The opponent was trained on rows"): evaluate(**arrays(), window=TEST, training={"challenger": {"from": "2013-01-01", "to": "2013-09-01"}, "opponent": {"from": "2013-09-01", "to": "2013-10-15"}})


def test_nothing_heavy_is_imported():
    code = "import sys, model_ops.evaluate.compare; print([m for m in ('sklearn', 'scipy', 'pandas', 'polars', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
