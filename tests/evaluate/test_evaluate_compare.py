"The evaluation record: one sentence that is true, a page that is safe, a file that is small and the same each time."
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
import numpy as np
import pytest
from markupsafe import escape
from model_ops.errors import DataError, ParameterError
from model_ops.evaluate.compare import Evaluation, check_overlap, evaluate, flat_metrics, surer
from model_ops.evaluate.metrics import HEADLINE, LEADING, METRICS, measure, of_task
from model_ops.evaluate.periods import cut

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
        expected, told = measure(case["y"], score, case["thresholds"][model]), {n: i.value for n, i in found.models[model].metrics.items()}
        assert told.pop("calibration_error") <= expected.pop("calibration_error")  # what luck adds is taken off
        assert told == {n: None if v is None else pytest.approx(v, rel=1e-5) for n, v in expected.items()}
        assert sum(found.models[model].confusion.values()) == N
    assert found.models["opponent"].digest == "bb" and found.models["dummy"].digest is None
    assert found.window == {"name": "test", "digest": "dd", "rows": N, "positives": pytest.approx(case["y"].mean(), rel=1e-5), "mean": None, "blocks": 30, "unit": "days", "from": "2013-10-01", "to": "2013-11-01T00:00:00"}
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
    for word in [m.title for m in of_task("binary").values()] + ["Calibration", "Precision and recall", "Challenger against dummy", "Opponent at threshold 0.5", "95% interval, from 200 resamples of 30 days, drawn in runs of 3", "log loss ↓"]: assert word in page, word
    assert page.count("<svg") == 2 + 3 + 2 + 1 and len(page) < 150_000


def test_json_stays_small_with_the_longest_names():
    columns = {"x"*10_000 + str(i): np.array([f"{k}" + "y"*10_000 for k in range(20)], dtype=object)[np.arange(N) % 20] for i in range(8)}
    found = evaluate(**(arrays() | {"resamples": 20}), slice_columns=columns)
    assert len(found.slices.parts) == 60 and len(found.to_json()) < 100_000 and len(found.__html__()) < 200_000


def test_scores_that_are_no_probabilities_have_no_calibration():
    case = arrays()
    found = evaluate(**(case | {"scores": {m: s*10 for m, s in case["scores"].items()}}))
    assert list(found.curves) == ["roc", "pr"] and found.models["challenger"].metrics["brier"].value is None and "Calibration" not in found.__html__()
    assert "scores that are no probabilities" in found.__html__()


def test_flat_metrics():
    flat = flat_metrics(evaluate(**arrays()))
    assert set(flat) == set(of_task("binary")) | {f"roc_auc{end}" for end in ("_low", "_high", *(f"_vs_{o}{e}" for o in ("opponent", "dummy") for e in ("", "_low", "_high")))}
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
    (dict(labels=("a", "b", "c")), DataError, "3 labels.*binary task has 2"),
    (dict(task="ranking"), ParameterError, "no task 'ranking'"),
    (dict(metrics=["roc_auc", "rmse"]), ParameterError, "'rmse' is no metric of a binary task"),
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


def parcels(classes=4, gain=.6, seed=0):
    "Several classes, the last of them rare, and a regression's numbers on the same rows."
    rng = np.random.default_rng(seed)
    shares = np.r_[np.full(classes - 1, .998/(classes - 1)), .002]
    code = rng.choice(classes, N, p=shares)
    def likely(strength):
        odds = shares*np.exp(strength*np.eye(classes)[code] + rng.normal(size=(N, classes)))
        return odds/odds.sum(axis=1, keepdims=True)
    return dict(task="multiclass", target="mode", y=code, labels=tuple(f"class {k}" for k in range(classes)), blocks=np.arange(N)*DAYS//N, resamples=100,
                scores={"challenger": likely(1 + max(0, gain)), "opponent": likely(1 + max(0, -gain)), "dummy": np.tile(shares, (N, 1))})


def hours(gain=1., seed=0):
    "Numbers, with two models of which the challenger is closer for a positive `gain`."
    rng = np.random.default_rng(seed)
    known = rng.normal(size=N)
    y = 30 + 10*known + rng.normal(0, 4, N)
    worse = lambda much: 30 + 10*known + much*rng.normal(size=N)
    return dict(task="regression", target="the hours", y=y, blocks=np.arange(N)*DAYS//N, resamples=100, noun="parcels", scores={"challenger": worse(max(0, -gain)), "opponent": worse(max(0, gain)), "dummy": np.full(N, 30.)})


def test_a_record_of_before_there_were_tasks_loads():
    old = Path(__file__).with_name("evaluation_binary_only.json")
    found = Evaluation.load(old)
    assert (found.task, found.target, found.classes, found.labels) == ("binary", "", [], ("false", "true")) and "ROC AUC 0.715" in found.summary and found.models["challenger"].confusion["tp"] == 4071
    for word in ("Calibration", "Challenger at threshold", "Slices", "of them “true”"): assert word in found.__html__()
    again = Evaluation.from_json(found.to_json())
    assert again == found and flat_metrics(again)["roc_auc"] == 0.715385
    kept = json.loads(old.read_text())
    assert {k: v for k, v in json.loads(found.to_json()).items() if k in kept and k not in ("models", "slices", "window", "inference")} == {k: v for k, v in kept.items() if k not in ("models", "slices", "window", "inference")}
    assert (found.inference.challengers, found.tests, found.periods, found.steady) == (1, {}, [], {}) and "further metric" not in found.__html__() and "Periods" not in found.__html__() and "Tests" not in found.__html__()


def test_several_classes():
    case = parcels()
    found = evaluate(**case, slice_columns={"half": np.where(np.arange(N) % 2, "odd", "even")}, noun="parcels")
    assert found.headline == HEADLINE["multiclass"] and list(found.better) == list(of_task("multiclass")) and list(found.curves) == ["calibration"] and found.window["positives"] is None is found.window["mean"]
    assert found.summary.startswith("The challenger classifies parcels better than the opponent: accuracy 0.") and found.summary.endswith("on 6,000 parcels of 30 days.")
    for model, score in case["scores"].items():
        plain = [n for n in of_task("multiclass") if n != "calibration_error"]
        assert {n: found.models[model].metrics[n].value for n in plain} == {n: None if v is None else pytest.approx(v, rel=1e-5) for n, v in measure(case["y"], score, metrics=plain, task="multiclass").items()}
        counts = np.array(found.models[model].confusion)
        assert counts.shape == (4, 4) and counts.sum() == N and found.models[model].threshold is None and counts.sum(axis=1).tolist() == [c.rows for c in found.classes]
        assert np.trace(counts)/N == pytest.approx(found.models[model].metrics["accuracy"].value, rel=1e-5)
        for c, line, right in zip(found.classes, counts, np.diag(counts), strict=True): assert c.recall[model].value == pytest.approx(right/line.sum(), rel=1e-5)
    assert Evaluation.from_json(found.to_json()) == found and found.to_json() == evaluate(**case, slice_columns={"half": np.where(np.arange(N) % 2, "odd", "even")}, noun="parcels").to_json()
    page = found.__html__()
    for word in ("Recall of each class", "Calls of the challenger", "Calls of the opponent", "Calibration of the calls", "recall, dummy", "parcels of 4 classes", "balanced accuracy ↑", "Slices"): assert word in page, word
    assert "positive" not in page.replace(METRICS["average_precision"].sentence, "") and "Rare among these parcels: “class 3” (" in page
    assert set(flat_metrics(found)) >= set(of_task("multiclass")) | {"accuracy_vs_opponent", "accuracy_low"}


def test_many_classes_are_shown_as_thirty():
    case = parcels(50)
    found = evaluate(**case)
    assert len(found.classes) == 30 == len(found.models["challenger"].confusion) and found.classes[-1].name == "21 others" and sum(c.rows for c in found.classes) == N and len(found.labels) == 50
    others = {int(name.split()[1]) for name in found.labels} - {int(c.name.split()[1]) for c in found.classes[:-1]}
    rows = np.isin(case["y"], list(others))
    assert found.classes[-1].recall["challenger"].value == pytest.approx((case["scores"]["challenger"].argmax(axis=1) == case["y"])[rows].mean(), rel=1e-5)
    mistakes = found.__html__().split("most frequent mistakes")[1]
    assert "others" not in mistakes and mistakes.count("<tr>") == 11 and "Calls of the" not in found.__html__() and len(found.__html__()) < 150_000


def test_rare_and_missing_classes_are_named():
    case = parcels(8)
    case["y"] = np.where(case["y"] == 7, 0, case["y"])
    case["y"][:3] = 7
    few = evaluate(**case, noun="parcels").notes[-1]
    assert few == "Rare among these parcels: “class 7” (3). What is said of so few is luck, and averages over the classes move with it."
    case["y"] = np.where(case["y"] > 1, 0, case["y"])
    found = evaluate(**case)
    assert found.notes[-1] == "None of these rows is “class 2”, “class 3”, “class 4”, “class 5”, “class 6”, 1 more: nothing can be said of such."
    assert found.classes[7].rows == 0 and found.classes[7].recall["challenger"].reason == "no rows" and "no rows" not in found.summary and Evaluation.from_json(found.to_json()) == found and found.__html__()
    assert any("Rare among these rows: “yes” (5)" in note for note in evaluate(**(arrays() | {"y": np.arange(N) < 5})).notes)


def test_numbers():
    case = hours()
    found = evaluate(**case, slice_columns={"half": np.where(np.arange(N) % 2, "odd", "even")})
    assert found.summary.startswith("The challenger predicts the hours closer than the opponent: RMSE 4.0") and ", better by 0." in found.summary and found.summary.endswith("on 6,000 parcels of 30 days.")
    assert found.labels == () and found.classes == [] and found.models["challenger"].confusion is None is found.models["challenger"].threshold and found.window["mean"] == pytest.approx(case["y"].mean(), rel=1e-5)
    for model, score in case["scores"].items(): assert {n: i.value for n, i in found.models[model].metrics.items()} == {n: pytest.approx(v, rel=1e-4, abs=1e-5) for n, v in measure(case["y"], score, task="regression").items()}
    assert list(found.curves) == ["calibration", "error_by_size", "errors", "within"] and all(sum(c.y) <= 1.0001 for c in found.curves["errors"].values())
    assert found.curves["calibration"]["challenger"].y == pytest.approx(found.curves["calibration"]["challenger"].x, abs=1) and found.slices.parts[0].mean == pytest.approx(30, abs=1)
    assert Evaluation.from_json(found.to_json()) == found
    page = found.__html__()
    for word in ("RMSE ↓", "in % of the opponent&#39;s error", "Error by size of the prediction", "Distribution of the errors", "Off by at most", "Half of the challenger&#39;s predictions are off by at most", "mean truth", "the hours 30.", "RMSE by slice"): assert word in page, word
    assert "threshold" not in page and "ROC" not in page and len(page) < 150_000
    assert flat_metrics(found)["rmse_vs_opponent"] > 0


@pytest.mark.parametrize("gain, words", [(1., "predicts the hours closer than the opponent"), (-1., "predicts the hours less closely than the opponent"), (0, "predicts the hours neither clearly closer nor clearly less closely than the opponent")])
def test_the_summary_of_numbers_claims_what_the_interval_allows(gain, words):
    case = hours(gain)
    if gain == 0: case["scores"] |= {"challenger": hours(-.5)["scores"]["challenger"], "opponent": hours(.5, seed=0)["scores"]["opponent"][::-1] - hours()["scores"]["challenger"][::-1] + hours()["scores"]["challenger"]}
    found = evaluate(**case)
    assert words in found.summary and "−" not in found.summary


def test_numbers_of_other_headlines_and_of_perfect_models():
    assert evaluate(**hours(), headline="r2").summary.startswith("The challenger explains the hours better than the opponent: R² 0.8")
    assert "predicts parcels closer than the dummy" in evaluate(**without(hours() | {"target": ""}, "opponent")).summary
    case = hours()
    perfect = evaluate(**(case | {"scores": {"challenger": case["y"], "dummy": np.full(N, 30.)}}))
    assert "errors" not in perfect.curves and perfect.models["challenger"].metrics["rmse"].value == 0 and perfect.__html__() and Evaluation.from_json(perfect.to_json()) == perfect
    same = evaluate(**(case | {"y": np.full(N, 5.)}))
    assert same.models["challenger"].metrics["r2"].reason == "the same truth in all rows" and same.__html__()


@pytest.mark.parametrize("case, change, error, words", [
    (parcels, dict(labels=("a", "b")), DataError, "The challenger gives scores of the shape .*2 classes"), (parcels, dict(labels=None), DataError, "0 classes"), (parcels, dict(y=np.full(N, 4)), DataError, "no code of a class"),
    (parcels, dict(headline="rmse"), ParameterError, "headline"), (hours, dict(labels=("a", "b")), DataError, "A regression task has 0"), (hours, dict(y=np.full(N, np.nan)), DataError, "no finite numbers"),
    (hours, dict(metrics=["accuracy"]), ParameterError, "'accuracy' is no metric of a regression task"),
])
def test_what_does_not_fit_a_task(case, change, error, words):
    with pytest.raises(error, match=words): evaluate(**(case() | change))


def test_a_page_of_each_task_shows_nothing_foreign_as_markup():
    hostile = "<script>alert('x')</script>"
    for case in (parcels(), hours()):
        found = evaluate(**(case | {"target": hostile, "noun": hostile} | ({"labels": (hostile, "<b>b</b>", "c", "d")} if case["task"] == "multiclass" else {})))
        assert "<script" not in found.__html__() and "<b>b" not in found.__html__() and "&lt;script&gt;" in found.__html__()


DATES = np.array([f"2013-10-{d:02}" for d in range(1, DAYS + 1)])[np.arange(N)*DAYS//N]


def test_periods_are_judged_by_themselves():
    case = arrays(.6)
    found = evaluate(**case, periods=cut(DATES, 3))
    assert [(p.name, p.rows, p.blocks) for p in found.periods] == [(f"2013-10-{a} to 2013-10-{b}", 2000, 10) for a, b in (("01", 10), (11, 20), (21, 30))]
    for k, period in enumerate(found.periods):
        rows = slice(2000*k, 2000*(k + 1))
        assert period.metrics["roc_auc"].value == pytest.approx(measure(case["y"][rows], case["scores"]["challenger"][rows])["roc_auc"], rel=1e-5) and period.difference.value > 0
    assert list(found.periods[0].metrics)[0] == "roc_auc" and set(found.steady) == {"metric", "difference"} and all(p > .01 for p in found.steady.values())
    assert Evaluation.from_json(found.to_json()) == found and found.to_json() == evaluate(**case, periods=cut(DATES, 3)).to_json()
    for word in ("Periods", "ROC AUC by period", "Challenger against opponent by period", "further metrics by period"): assert word in found.__html__(), word
    for other in (parcels(), hours()):
        told = evaluate(**other, periods=cut(DATES, 2))
        assert len(told.periods) == 2 and told.periods[0].difference.value > 0 and "by period" in told.__html__() and Evaluation.from_json(told.to_json()) == told


def test_later_challengers_have_to_be_surer():
    first, third = evaluate(**arrays()), evaluate(**arrays(), earlier=2)
    assert (first.inference.level, first.inference.challengers) == (.95, 1) and (third.inference.level, third.inference.challengers) == (pytest.approx(1 - .1/12), 3)
    for name in ("roc_auc", "log_loss", "accuracy"):
        near, far = first.differences["opponent"][name], third.differences["opponent"][name]
        assert far.low < near.low < near.value == far.value < near.high < far.high
    assert third.notes[-2].startswith("This is challenger number 3 that is judged on this test window.") and "99.17 % instead of 95 %" in third.notes[-2] and "99.17% interval" in third.__html__() and not any("challenger number" in note for note in first.notes)
    assert all(escape(note) in third.__html__() for note in third.notes)
    assert sum((1 - surer(k))/2 for k in range(1, 10_000)) == pytest.approx(.05, abs=1e-5) and surer(1, .9) == pytest.approx(.9)


def test_classical_tests_stand_beside_the_bootstrap():
    found = evaluate(**(arrays(.6) | {"blocks": None}))
    assert list(found.tests) == ["opponent", "dummy"] and [test.name for test in found.tests["opponent"]] == ["DeLong", "McNemar"]
    delong, boot = found.tests["opponent"][0], found.differences["opponent"]["roc_auc"]
    assert delong.value == pytest.approx(boot.value, rel=1e-5) and delong.low == pytest.approx(boot.low, rel=.1) and delong.decides
    assert "Tests" in found.__html__() and "gates read this interval" in found.__html__() and Evaluation.from_json(found.to_json()) == found
    assert evaluate(**hours()).tests == {"opponent": [], "dummy": []} and "Tests" not in evaluate(**hours()).__html__()


def test_a_reader_sees_a_handful_first():
    for case, task, named in ((arrays(), "binary", "MCC ↑"), (parcels(), "multiclass", "weighted F1 ↑"), (hours(), "regression", "pinball loss at 10 % ↓")):
        found = evaluate(**case)
        first, _, folded = found.__html__().partition("further metrics")
        assert named not in first and named in folded and len(set(LEADING[task]) & set(found.better)) == first.count(" ↑</td>") + first.count(" ↓</td>")
    assert "half the MAE" in found.__html__() and "MSE ↓</td>" in evaluate(**hours(), headline="mse").__html__().partition("further")[0]


@pytest.mark.parametrize("change, error, words", [
    (dict(earlier=-1), ParameterError, "-1 challengers"), (dict(periods=[("a", np.ones(3, bool))]), DataError, "'a' have shape .3,."), (dict(periods=[("a", np.ones(N))]), DataError, "type float64"),
    (dict(periods=[("a", np.zeros(N, bool))]), DataError, "'a' has no rows"), (dict(periods=[("a", np.ones(N, bool)), ("b", np.arange(N) < 5)]), DataError, "two periods"), (dict(periods=[("a", np.arange(N) < 5), ("a", np.arange(N) > 5)]), DataError, "same name"),
])
def test_periods_and_counts_that_do_not_fit(change, error, words):
    with pytest.raises(error, match=words): evaluate(**(arrays() | change))
