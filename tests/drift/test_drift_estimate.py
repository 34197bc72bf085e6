"""Estimated and realized performance: against scikit-learn on raw data, and against the truth of simulations."""
import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as judge

from model_ops.drift.estimate import METRICS, difference, estimate, layers, calibrated, realized, surprise
from model_ops.drift.scores import Scores
from model_ops.errors import DataError
from model_ops.evaluate.metrics import measure


CONDENSED = [name for name in METRICS["binary"] if name != "positives"]  # what counts over bins of scores can tell


def days(rng, n, like_before=0.0):
    x = rng.normal(size=n)
    for t in range(1, n): x[t] = like_before*x[t - 1] + np.sqrt(1 - like_before**2)*x[t]
    return x


def window(rng, n_days=30, rows=200, like_before=0.0, effect=0.3, shift=0.0, squeeze=1.0, changed=0.0, like=None, chunks=True):
    d = np.repeat(np.arange(n_days), rows)
    x = -1.2 + shift + 0.3*days(rng, n_days, like_before)[d] + rng.normal(size=len(d))
    y = rng.random(len(d)) < expit(x + changed + effect*days(rng, n_days, like_before)[d])
    return Scores.of(expit(squeeze*x), y, task="binary", threshold=0.4, chunk=np.char.zfill(d.astype(str), 4) if chunks else None, like=like)


@pytest.mark.parametrize("n", [2_000, 20_000])
@pytest.mark.parametrize("kind", ["smooth", "few values", "float32", "extreme"])
def test_realized_metrics_are_those_of_the_rows(n, kind):
    rng = np.random.default_rng(n)
    score = {"smooth": rng.beta(1, 4, n), "few values": rng.choice([0.05, 0.2, 0.55, 0.9], n), "float32": rng.beta(1, 4, n).astype("float32"),
             "extreme": np.where(rng.random(n) < 0.3, 0.0, rng.beta(0.5, 0.5, n))}[kind]
    y = rng.random(n) < 0.1 + 0.8*score
    s = Scores.of(score, y, task="binary", threshold=0.31)
    shown, exact = {k: f.value for k, f in realized(s).items()}, measure(y, score, 0.31, metrics=CONDENSED)
    for name, value in exact.items():
        tolerance = 1e-5*max(1, value) if name not in ("roc_auc", "average_precision") or kind == "few values" else 2e-4 if name == "roc_auc" else 5e-3*np.sqrt(2_000/n)
        assert shown[name] == pytest.approx(value, abs=tolerance), name
    assert shown["positives"] == pytest.approx(y.mean(), abs=1e-6)


def test_realized_metrics_of_a_later_window_are_those_of_its_rows():
    rng = np.random.default_rng(3)
    before, score = rng.beta(2, 5, 5_000), rng.beta(4, 3, 5_000)
    y = rng.random(5_000) < score
    like = Scores.of(before, rng.random(5_000) < before, task="binary")
    shown, exact = realized(Scores.of(score, y, task="binary", like=like)), measure(y, score, metrics=CONDENSED)
    for name, value in exact.items(): assert shown[name].value == pytest.approx(value, abs=3e-3 if name in ("roc_auc", "average_precision") else 1e-5), name


@pytest.mark.parametrize("chunks", [True, False])
def test_several_classes(chunks):
    rng = np.random.default_rng(0)
    def several(shift, like=None):
        z = rng.normal(size=(9_000, 4))*1.3 + np.array([0.5 + shift, 0, 0, -0.5])
        p = np.exp(z)/np.exp(z).sum(axis=1, keepdims=True)
        y = (p.cumsum(axis=1) < rng.random((9_000, 1))).sum(axis=1).clip(0, 3)
        return p, y, Scores.of(p, y, task="multiclass", classes=list("abcd"), chunk=np.repeat(np.arange(100, 130), 300) if chunks else None, like=like)
    _, _, reference = several(0)
    p, y, current = several(0.7, reference)
    exact = {"accuracy": judge.accuracy_score(y, p.argmax(axis=1)), "log_loss": judge.log_loss(y, p), "roc_auc": judge.roc_auc_score(y, p, multi_class="ovr"), "f1": judge.f1_score(y, p.argmax(axis=1), average="macro")}
    shown, told = realized(current), estimate(reference, current)
    assert set(shown) == set(told.metrics) == set(METRICS["multiclass"])
    for name, value in exact.items():
        assert shown[name].value == pytest.approx(value, abs=1e-3 if name == "roc_auc" else 1e-5), name
        assert told.metrics[name].low < value < told.metrics[name].high and told.metrics[name].high - told.metrics[name].low < 0.1, name


@pytest.mark.parametrize("model", ["predicted loss", "prediction"])
def test_a_regression(model):
    rng = np.random.default_rng(0)
    def numbers(shift, like=None):
        x = rng.normal(shift, 1, 9_000)
        scale = np.exp(0.5*x)
        y = 3*x + scale*rng.normal(size=9_000)
        return x, y, Scores.of(3*x, y, task="regression", loss=scale*np.sqrt(2/np.pi) if model == "predicted loss" else None, chunk=np.repeat(np.arange(100, 130), 300), like=like)
    _, _, reference = numbers(0)
    x, y, current = numbers(0.3, reference)
    exact = {"mae": judge.mean_absolute_error(y, 3*x), "rmse": judge.mean_squared_error(y, 3*x)**0.5}
    shown, told = realized(current), estimate(reference, current.unlabelled)
    for name, value in exact.items():
        assert shown[name].value == pytest.approx(value, rel=1e-5)
        assert told.metrics[name].low < value < told.metrics[name].high, name
        assert told.reference[name].high < told.metrics[name].low and told.change[name].low > 0
    assert difference(reference, current)["mae"].low > 0 and surprise(reference, current)["mae"].low < 0 < surprise(reference, current)["mae"].high


@pytest.mark.parametrize(("like_before", "trials"), [(0.0, 25), (0.5, 25), pytest.param(0.0, 200, marks=pytest.mark.slow), pytest.param(0.5, 200, marks=pytest.mark.slow)])
def test_the_interval_contains_what_labels_show(like_before, trials):
    found = []
    for seed in range(trials):
        rng = np.random.default_rng([1, seed])
        reference = window(rng, like_before=like_before)
        now = surprise(reference, window(rng, shift=0.5, like_before=like_before, like=reference))
        found.append([now[m].low <= 0 <= now[m].high if m in now else np.nan for m in ("roc_auc", "log_loss", "positives")])
    assert (np.nanmean(found, axis=0) >= (0.9 if trials > 100 else 0.8)).all() and (np.isnan(found).mean(axis=0) < 0.15).all()


def test_independent_rows_have_the_right_width():
    off, half = [], []
    for seed in range(40):
        rng = np.random.default_rng([2, seed])
        reference = window(rng, 1, 2_000, effect=0, chunks=False)
        now = estimate(reference, current := window(rng, 1, 2_000, shift=0.3, effect=0, like=reference, chunks=False)).metrics
        true = realized(current)
        off.append([now[m].value - true[m].value for m in ("roc_auc", "log_loss", "f1")])
        half.append([now[m].high - now[m].value for m in ("roc_auc", "log_loss", "f1")])
    off, half = np.array(off), np.array(half)
    assert (abs(off.mean(axis=0)) < 0.5*off.std(axis=0)).all()
    assert ((abs(off) <= half).mean(axis=0) >= 0.85).all() and (half.mean(axis=0) < 1.4*1.96*off.std(axis=0)).all()


def test_the_change_covers_what_the_model_is_worth():
    truth = window(np.random.default_rng(0), 1_000, 300)
    far = window(np.random.default_rng(1), 1_000, 300, shift=0.5, like=truth)
    wanted = {m: realized(far)[m].value - realized(truth)[m].value for m in ("roc_auc", "log_loss", "positives")}
    held = []
    for seed in range(25):
        rng = np.random.default_rng([3, seed])
        reference = window(rng)
        change = estimate(reference, window(rng, shift=0.5, like=reference).unlabelled).change
        held.append([change[m].low <= v <= change[m].high if m in change else np.nan for m, v in wanted.items()])
    assert (np.nanmean(held, axis=0) >= 0.84).all()


def test_squeezed_scores_are_straightened():
    rng = np.random.default_rng(5)
    reference = window(rng, rows=1_000, squeeze=0.3, effect=0)
    current = window(rng, rows=1_000, squeeze=0.3, effect=0, shift=1.0, like=reference)
    told, table = estimate(reference, current).metrics, current.tables["1"]
    naive = sum(table.sums["score"])/current.rows
    true = realized(current)
    assert abs(told["positives"].value - true["positives"].value) < 0.01 < abs(naive - true["positives"].value)
    learned = calibrated(layers(reference)[0], layers(current)[0]).now
    assert (learned >= 0).all() and (learned <= 1).all()


def test_a_changed_relation_is_not_seen_but_surprises():
    rng = np.random.default_rng(6)
    reference = window(rng)
    as_was, changed = (window(np.random.default_rng(7), changed=c, like=reference) for c in (0, 1.0))
    a, b = (estimate(reference, w) for w in (as_was, changed))
    assert a.metrics == b.metrics and "cannot be seen" in a.assumption
    assert surprise(reference, changed)["log_loss"].low > 0 and surprise(reference, as_was)["log_loss"].low < 0


def test_the_estimate_of_the_reference_is_what_its_labels_showed():
    reference = window(np.random.default_rng(8), rows=1_000)
    told = estimate(reference, reference)
    for name, figure in told.metrics.items(): assert figure.value == pytest.approx(told.reference[name].value, abs=2e-3), name
    for figure in difference(reference, reference).values(): assert figure.value == 0 and figure.low < 0 < figure.high


def test_stretches_of_several_months_widen_the_interval():
    rng = np.random.default_rng(9)
    parts, first = [], None
    for k, changed in enumerate((0.6, -0.5, 0.1)):
        w = window(rng, changed=changed, effect=0, like=first)
        first = first or w
        parts.append(w.model_copy(update=dict(chunks=[f"{k}{c}" for c in w.chunks])))
    current = window(rng, effect=0, changed=0.4, like=first)
    one, three = (estimate(r, current).metrics["positives"] for r in (parts[2], parts[0] + parts[1] + parts[2]))
    true = realized(current)["positives"].value
    assert not one.low < true < one.high and three.low < true < three.high


@pytest.mark.parametrize(("reference", "current", "word"), [
    (dict(n_days=30, rows=2), dict(), "labelled rows"), (dict(n_days=5), dict(), "5 chunks"), (dict(), dict(n_days=1, rows=3), "3 rows"), (dict(), dict(shift=9.0), "beyond"), (dict(like_before=0.98, effect=3), dict(), "so like")])
def test_where_nothing_can_be_known_nothing_is_said(reference, current, word):
    rng = np.random.default_rng(0)
    before = window(rng, **reference)
    told = estimate(before, window(rng, **current, like=before))
    assert word in told.obstacle and len(told.metrics) < 9


def test_labels_are_needed_and_cells_must_agree():
    rng = np.random.default_rng(0)
    a, b = window(rng), window(rng)
    with pytest.raises(DataError, match="no labels"): realized(a.unlabelled)
    with pytest.raises(DataError, match="no labels"): estimate(a.unlabelled, a)
    with pytest.raises(DataError, match="different cells"): estimate(a, b)


def test_one_class_only_and_nobody_called_are_left_out():
    rng = np.random.default_rng(0)
    score = 0.3*rng.random(2_000)
    y = rng.random(2_000) < score
    shown = realized(Scores.of(score, y, task="binary", threshold=0.9))
    assert "precision" not in shown and shown["recall"].value == 0 and "roc_auc" in shown
    assert realized(Scores.of(score, np.zeros(2_000), task="binary")) == {}
