"Intervals: what they are made of, when there is none, and how often they hold the true value."
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import DataError
from model_ops.evaluate.intervals import LEAST_BLOCKS, MOST_BLOCKS, Interval, bootstrap, draw, interval, settled, significant, t_quantile, tails
from model_ops.evaluate.metrics import METRICS, measure, of_task
from model_ops.evaluate.studentized import studentized


def window(days, rows_a_day=20, *, day_effect=0.8, memory=0.0, seed=0):
    "Truth, scores of two models, day numbers; days differ by `day_effect` and resemble the day before by `memory`."
    rng = np.random.default_rng(seed)
    day, mood = np.repeat(np.arange(days), rows_a_day), rng.normal(size=days)
    for i in range(1, days): mood[i] = memory*mood[i - 1] + np.sqrt(1 - memory**2)*mood[i]
    signal = rng.normal(size=len(day))
    chance = lambda z: 1 / (1 + np.exp(1.2 - 1.2*z))
    y = rng.random(len(day)) < 1 / (1 + np.exp(1.2 - 1.2*signal - day_effect*mood[day]))
    return y, {"challenger": chance(signal), "opponent": chance(.8*signal + .6*rng.normal(size=len(day)))}, day


THRESHOLD = {"challenger": .3, "opponent": .3}


@pytest.mark.parametrize("p, df", [(.975, 1), (.975, 1.5), (.995, 4), (.025, 9.3), (.9, 29), (.975, 400)])
def test_t_quantile_is_scipys(p, df):
    from scipy.stats import t
    assert t_quantile(p, df) == pytest.approx(t.ppf(p, df), rel=1e-4)


def test_tails_widen_with_few_runs_and_end_at_the_normal():
    from scipy.stats import norm, t
    assert tails(12, .9) == pytest.approx([norm.cdf(s*np.sqrt(12/11)*t.ppf(.95, 11)) for s in (-1, 1)], rel=1e-3)
    assert tails(5)[0] < tails(20)[0] < tails(100_000)[0] == pytest.approx(0.025, rel=5e-3)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 99))
def test_a_resample_draws_as_many_blocks_as_there_are(days, resamples, seed):
    blocks = np.repeat(np.arange(days)*7 - 100, 3)
    drawn = draw(len(blocks), blocks, resamples=resamples, seed=seed)
    assert drawn.weights.shape == (resamples, days) and (drawn.weights.sum(axis=1) == days).all() and drawn.blocks == days
    assert (drawn.weights == draw(len(blocks), blocks, resamples=resamples, seed=seed).weights).all()


def test_all_blocks_are_drawn_equally_often():
    drawn = draw(31, np.arange(31), resamples=20_000)
    assert drawn.run == 3 and np.abs(drawn.weights.mean(axis=0) - 1).max() < 0.05
    neighbours = np.corrcoef(drawn.weights[:, 10], drawn.weights[:, 11])[0, 1]
    assert 0.5 < neighbours < 0.8  # runs of three share two neighbours of three


def test_many_blocks_are_joined_with_their_neighbours():
    drawn = draw(5000, np.arange(5000))
    assert drawn.weights.shape[1] == MOST_BLOCKS and drawn.blocks == 5000 and (np.diff(drawn.block) >= 0).all() and set(np.bincount(drawn.block)) <= {12, 13}


def test_rows_without_blocks_are_dealt_at_random():
    drawn = draw(5000)
    assert (drawn.run, drawn.unit, drawn.blocks) == (1, "rows", 5000) and set(np.bincount(drawn.block)) <= {12, 13} and (np.diff(drawn.block) < 0).any()
    assert draw(7).weights.shape[1] == 7


def test_blocks_must_fit():
    with pytest.raises(DataError, match="each of the 5 rows"): draw(5, [1, 2])


def test_draws_are_the_metrics_of_the_drawn_rows_and_differences_are_paired():
    y, scores, day = window(12)
    drawn = draw(len(y), day, resamples=20)
    plain = [name for name, metric in of_task("binary").items() if not metric.lifted]
    found = bootstrap(y, scores, THRESHOLD, drawn, metrics=plain)
    for r in (0, 7, 19):
        times = drawn.weights[r, drawn.block].astype(int)
        for model, score in scores.items():
            expected = measure(np.repeat(y, times), np.repeat(score, times), .3, metrics=plain)
            assert {name: v[r] for name, v in found.draws[model].items()} == pytest.approx(expected, rel=1e-9)
    assert found.values["opponent"] == pytest.approx(measure(y, scores["opponent"], .3, metrics=plain))
    for name, sign in (("roc_auc", 1), ("log_loss", -1)):
        draws, value = sign*(found.draws["challenger"][name] - found.draws["opponent"][name]), sign*(found.values["challenger"][name] - found.values["opponent"][name])
        for level in (.95, .999): assert found.difference("opponent", name, level) == studentized(value, draws, 12, drawn.run, level=level)


def test_weighted_rows_are_resampled_with_their_weights():
    y, scores, day = window(12)
    drawn, weight = draw(len(y), day, resamples=5), np.random.default_rng(0).integers(1, 4, len(y))
    found = bootstrap(y, scores, THRESHOLD, drawn, metrics=["roc_auc", "log_loss", "mcc"], weight=weight)
    for r in range(5):
        expected = measure(y, scores["opponent"], .3, weight=weight*drawn.weights[r, drawn.block], metrics=["roc_auc", "log_loss", "mcc"])
        assert {name: v[r] for name, v in found.draws["opponent"].items()} == pytest.approx(expected, rel=1e-9)


def test_what_luck_adds_is_taken_off():
    rng = np.random.default_rng(0)
    once = rng.normal(0, .01, (300, 15))
    found = [settled(abs(one).mean(), abs(one + rng.normal(0, .01, (400, 15))).mean(axis=1)) for one in once]
    assert abs(np.mean([value for value, _ in found])) < .1*abs(once).mean() and np.mean([np.quantile(draws, .025) <= 0 for _, draws in found]) > .95
    value, draws = settled(.3, np.full(50, .3))
    assert value == pytest.approx(.3) and draws == pytest.approx(.3)                # no luck at all
    assert np.isnan(settled(np.nan, np.full(3, np.nan))[0])
    y, scores, day = window(30, day_effect=0)
    told = bootstrap(y, scores, THRESHOLD, draw(len(y), day))
    own, plain = told.interval("challenger", "calibration_error"), measure(y, scores["challenger"], metrics=["calibration_error"])["calibration_error"]
    assert 0 == own.low <= own.value < plain and own.value < own.high


def test_differences_of_the_calibration_error_are_those_of_the_values_that_are_shown():
    rng = np.random.default_rng(3)
    chance = rng.random(4000)
    y = rng.random(4000) < chance
    found = bootstrap(y, {"a": chance, "b": chance**1.3, "c": chance.round(2)}, dict.fromkeys("abc", .5), draw(4000), metrics=["calibration_error"])
    own = {model: found.interval(model, "calibration_error") for model in "abc"}
    for other in "bc":
        gap = found.difference(other, "calibration_error")
        assert gap.value == pytest.approx(own[other].value - own["a"].value, abs=1e-6) and gap.low <= gap.value <= gap.high
    assert found.difference("b", "calibration_error").low > 0 >= found.difference("c", "calibration_error").low
    few = bootstrap(y[:90], {"a": chance[:90], "b": chance[:90]**3}, dict.fromkeys("ab", .5), draw(90, np.arange(90)//30), metrics=["calibration_error"]).difference("b", "calibration_error")
    assert few.value > 0 and few.low is None and few.reason


def test_ends_that_draws_do_not_reach_come_from_their_spread():
    draws = np.random.default_rng(0).normal(.9, .04, 500)
    far = interval(.9, draws, 60, level=.9999, bounds=(0, 1))
    assert far.low == studentized(.9, draws, 60, level=.9999).low < draws.min() and far.high == 1


def test_a_model_compared_with_itself_differs_by_nothing():
    y, scores, day = window(15)
    found = bootstrap(y, {"challenger": scores["challenger"], "opponent": scores["challenger"].copy()}, THRESHOLD, draw(len(y), day))
    assert all(found.difference("opponent", name) == Interval(value=0, low=0, high=0) for name in of_task("binary"))


def test_pairing_makes_differences_sharper_than_the_metrics():
    y, scores, day = window(40, day_effect=1.5)
    scores["opponent"] = scores["challenger"]**1.1
    found = bootstrap(y, scores, THRESHOLD, draw(len(y), day))
    width = lambda i: i.high - i.low
    assert width(found.difference("opponent", "log_loss")) < width(found.interval("opponent", "log_loss")) / 3


def test_reasons():
    y, scores, day = window(LEAST_BLOCKS - 1)
    few = bootstrap(y, scores, THRESHOLD, draw(len(y), day)).interval("challenger", "roc_auc")
    assert few.value and few.low is few.high is None and few.reason == "9 days; at least 10 are needed for an interval"
    rare = np.zeros(200, bool)
    rare[:10] = True
    found = bootstrap(rare, {"challenger": np.linspace(1, 0, 200), "dummy": np.full(200, .05)}, {"challenger": .99, "dummy": .5}, draw(200, np.arange(200)//10))
    assert "of the resamples" in found.interval("challenger", "roc_auc").reason        # all positives on one day
    assert found.interval("dummy", "precision") == Interval(value=None, reason=METRICS["precision"].undefined)
    assert found.difference("dummy", "precision") == Interval(value=None, reason="undefined on these rows")
    sure = bootstrap(rare, {"challenger": rare*.9}, {"challenger": .5}, draw(200, np.arange(200) % 20)).interval("challenger", "precision")
    assert (sure.value, sure.low, sure.reason) == (1, None, "1 in all resamples, the end of the range")


def test_a_metric_of_ones_own_has_intervals(monkeypatch):
    from dataclasses import replace
    monkeypatch.setitem(METRICS, "hits", replace(METRICS["accuracy"], title="hits"))
    y, scores, day = window(20)
    found = bootstrap(y, scores, THRESHOLD, draw(len(y), day), metrics=["hits", "accuracy"])
    assert found.interval("challenger", "hits") == found.interval("challenger", "accuracy")


def test_each_model_of_a_binary_task_needs_its_threshold():
    y, scores, day = window(20)
    with pytest.raises(DataError, match="no threshold for the opponent"): bootstrap(y, scores, {"challenger": .3}, draw(len(y), day))


def test_any_two_models_of_any_task_are_paired():
    rng = np.random.default_rng(0)
    y, day = rng.normal(size=900), np.arange(900)//30
    found = bootstrap(y, {"a": y + 1, "b": y + 3, "c": y - 3}, {}, draw(900, day, resamples=50), metrics=["rmse", "r2"], task="regression")
    assert found.difference("b", "rmse") == Interval(value=2, low=2, high=2) and found.difference("c", "r2").low > 0 and list(found.values) == ["a", "b", "c"]
    code = rng.integers(0, 3, 900)
    sure = bootstrap(code, {"a": np.eye(3)[code], "b": np.full((900, 3), 1/3)}, {}, draw(900, day, resamples=50), task="multiclass")
    assert sure.difference("b", "roc_auc").value == 0.5 and sure.interval("a", "accuracy").reason == "1 in all resamples, the end of the range"


def test_numbers_are_short():
    assert (significant(0.123456789), significant(-0.0), significant(float("nan")), significant(None), significant(123456.789)) == (0.123457, 0.0, None, None, 123457.0)
    found = interval(1/3, np.linspace(0, 1, 999), 50)
    assert len(str(found.low)) <= 9 and found.value == 0.333333


NAMES = ["roc_auc", "log_loss", "f1", "average_precision", "mcc", "calibration_error"]


def coverage(days, rows_a_day=20, *, by_day=True, windows=300, **kind):
    "How often the 95 % intervals of six metrics, and of their paired differences, hold the mean over very long windows."
    def both(y, scores):
        own, other = (measure(y, scores[model], .3, metrics=NAMES) for model in scores)
        return [own[n] for n in NAMES] + [METRICS[n].sign*(own[n] - other[n]) for n in NAMES]

    truth, hits = np.mean([both(*window(3000, **kind, seed=10_000 + i)[:2]) for i in range(5)], axis=0), []
    for seed in range(windows):
        y, scores, day = window(days, rows_a_day, **kind, seed=seed)
        found = bootstrap(y, scores, THRESHOLD, draw(len(y), day if by_day else None, resamples=400, seed=seed), metrics=NAMES)
        got = [found.interval("challenger", n) for n in NAMES] + [found.difference("opponent", n) for n in NAMES]
        hits.append([i.low <= t <= i.high for i, t in zip(got, truth, strict=True)])
    return np.mean(hits, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("days, kind, least", [
    (12, {}, .92),
    (60, {"day_effect": 0}, .93),  # rows are independent
    (60, {}, .93),                 # rows of a day depend on one another
    (60, {"memory": .4}, .92),     # and days on the day before
    (60, {"memory": .7}, .88),
])
def test_coverage_by_days(days, kind, least):
    found = coverage(days, **kind)
    assert least <= found.mean() <= .985 and found.min() > least - .06, found


@pytest.mark.slow
def test_coverage_by_rows():
    independent, by_day = coverage(60, 10, by_day=False, windows=100, day_effect=0), coverage(60, 40, by_day=False, windows=100)
    assert .92 <= independent.mean() <= .985, independent
    assert by_day[1] < .85, by_day  # a 95 % interval for log loss that misses the truth three times too often


def of_any_task(task, days, seed, rows_a_day=20):
    "Truth and scores of two models whose days differ: three classes, or numbers."
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows_a_day)
    signal, mood = rng.normal(size=len(day)), rng.normal(size=days)[day]
    if task == "regression": return 30 + 4*signal + mood + rng.normal(0, 2, len(day)), {"challenger": 30 + 4*signal, "opponent": 30.3 + 3.5*signal}, day
    odds = np.stack([signal, -signal, np.zeros(len(day))], axis=1)
    sure = lambda odds: np.exp(odds)/np.exp(odds).sum(axis=1, keepdims=True)
    code = (sure(odds + .4*np.stack([mood, 0*mood, -mood], axis=1)).cumsum(axis=1) < rng.random((len(day), 1))).sum(axis=1).clip(0, 2)
    return code, {"challenger": sure(1.3*odds), "opponent": sure(odds*[.7, 1, 1])}, day


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_coverage_of_all_metrics_of_a_task(task):
    names, hits = list(of_task(task)), []
    def both(y, scores): return np.array([[measure(y, score, metrics=names, task=task)[name] for name in names] for score in scores.values()])
    own, other = np.mean([both(*of_any_task(task, 3000, 10_000 + i)[:2]) for i in range(3)], axis=0)
    for seed in range(150):
        y, scores, day = of_any_task(task, 40, seed)
        found = bootstrap(y, scores, {}, draw(len(y), day, resamples=400, seed=seed), task=task)
        got = [found.interval("challenger", name) for name in names] + [found.difference("opponent", name) for name in names]
        hits.append([i.low <= t <= i.high for i, t in zip(got, [*own, *((own - other)*[METRICS[name].sign for name in names])], strict=True)])
    covered = dict(zip([*names, *(f"{name} difference" for name in names)], np.mean(hits, axis=0), strict=True))
    assert .92 <= np.mean(list(covered.values())) <= .99 and min(covered.values()) > .86, covered
