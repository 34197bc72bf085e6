"""What drift means for the model: labels decide where they are, the scores where not, and seasons do no harm."""
import numpy as np
import pytest
from model_ops.drift.compare import compare
from model_ops.drift.meaning import HARM, Meaning, harm_of, judge
from model_ops.drift.scores import Scores
from model_ops.errors import DataError, ParameterError


def _window(seed, days=30, rows=500, shift=0.0, changed=0.0, like=None, known=True, task="binary"):
    rng = np.random.default_rng(seed)
    day, mood = np.repeat(np.arange(days), rows), rng.normal(size=(2, days)) * 0.1
    x = -1.2 + shift + mood[0][day] + rng.normal(size=len(day))
    chunk = np.char.zfill(day.astype(str), 3)
    if task == "regression":
        y = x * (1 - changed) + 0.5 * rng.normal(size=len(day))
        return Scores.of(x, y if known else None, task=task, chunk=chunk, like=like, loss=np.full(len(x), 0.4) + 0.01 * rng.random(len(x)))
    y = rng.random(len(day)) < 1 / (1 + np.exp(-(x * (1 - changed) + mood[1][day])))
    return Scores.of(1 / (1 + np.exp(-x)), y if known else None, task=task, classes=["on time", "late"], threshold=0.4, chunk=chunk, like=like)


@pytest.fixture(scope="module")
def july(): return _window(0)


def test_a_season_is_no_damage(july):
    season = judge(july, _window(1, shift=0.8, like=july, known=False), _window(1, shift=0.8, like=july))
    assert season.outcome == "holds" and season.judged_by == "labels" and season.predictions.outcome == "drifted"
    assert season.metrics["log_loss"].compared_with == "estimate" and season.metrics["log_loss"].realized.value > season.metrics["log_loss"].reference + 0.05


def test_labels_that_stopped_following_the_scores_are_damage_that_only_labels_show(july):
    damaged = _window(2, changed=0.6, like=july)
    assert judge(july, damaged).outcome == "holds" and judge(july, damaged).metrics["log_loss"].outcome is None
    seen = judge(july, damaged, damaged)
    assert seen.outcome == "worse" and {n for n, c in seen.metrics.items() if c.outcome == "worse"} == {"roc_auc", "log_loss"}
    assert seen.metrics["roc_auc"].loss.low > HARM["binary"]["roc_auc"]


def test_few_labels_do_not_decide(july):
    few = _window(3, days=6, rows=30, changed=0.6, like=july)
    seen = judge(july, _window(3, like=july, known=False), few)
    assert seen.judged_by == "estimate" and seen.labelled == 180 and seen.metrics["roc_auc"].realized is None
    some = judge(july, _window(3, like=july, known=False), _window(3, days=12, rows=30, like=july))
    assert some.judged_by == "labels" and some.outcome == "not enough data"


@pytest.mark.slow
def test_the_same_is_called_worse_at_most_in_one_of_twenty(july):
    # the model lost exactly its margin: the margin is what the change of a large window is
    lost = [judge(july, w, w).metrics["roc_auc"].loss for w in (_window(s, changed=0.25, like=july) for s in range(100, 125))]
    margin = float(np.mean([one.value for one in lost]))
    assert sum(one.low > margin for one in lost) <= 3 and sum(one.high < margin for one in lost) <= 3


def test_a_regression_is_judged_by_its_error_as_a_share():
    then = _window(4, task="regression")
    same, worse = _window(5, task="regression", like=then), _window(6, task="regression", changed=0.5, like=then)
    assert judge(then, same, same).outcome == "holds" and judge(then, worse, worse).outcome == "worse"
    assert list(judge(then, same).metrics)[0] == "mae" and judge(then, same).outcome == "holds"


def test_it_is_a_part_of_the_verdict_and_ranks_its_columns(july):
    import polars as pl
    rng, n = np.random.default_rng(0), 5000
    frames = [pl.DataFrame({"carries": rng.normal(size=n) + 0.3 * k, "idle": rng.normal(size=n) + k}) for k in (0, 1)]
    seen = judge(july, _window(1, like=july, known=False), importance={"carries": 0.3, "idle": 0.001}, package="ab" * 32)
    verdict = compare(*frames, model=seen)
    assert verdict.ranked == ["carries", "idle"] and compare(*frames).ranked == ["idle", "carries"]
    assert verdict.columns["carries"].importance == pytest.approx(0.3 / 0.301, rel=1e-4)
    assert type(verdict).from_json(verdict.to_json()) == verdict and isinstance(verdict.model, Meaning)
    assert verdict.metrics["estimated_roc_auc"] == seen.metrics["roc_auc"].estimated.value


def test_negative_importance_counts_as_none(july):
    import polars as pl
    rng = np.random.default_rng(0)
    seen = judge(july, _window(1, like=july, known=False), importance={"a": 0.2, "b": -0.1})
    verdict = compare(*(pl.DataFrame({"a": rng.normal(size=500), "b": rng.normal(size=500)}) for _ in range(2)), model=seen)
    assert verdict.columns["a"].importance == 1 and verdict.columns["b"].importance == 0


@pytest.mark.parametrize("told, named", [({"auc": 0.1}, "'auc'"), ({"roc_auc": 0}, "roc_auc is 0"), ({"roc_auc": "a"}, "'a'"), ({"roc_auc": True}, "True")])
def test_wrong_margins_are_named(told, named):
    with pytest.raises(ParameterError, match=named): harm_of(told, "binary")


def test_windows_of_other_cells_are_refused(july):
    with pytest.raises(DataError): judge(july, _window(1))
