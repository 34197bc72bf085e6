"""Condensed scores: nothing is lost that counts, parts add up, and what does not fit is refused."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops.drift.effect import assess
from model_ops.drift.scores import Scores, score_edges, shape
from model_ops.errors import DataError

CALM = settings(deadline=None, max_examples=25)


def binary(rng, n=3_000, days=10, **more):
    score = rng.beta(2, 5, n)
    return score, (rng.random(n) < score).astype(int), np.array([f"2026-03-{1 + i:02}" for i in rng.integers(0, days, n)])


def of(score, y=None, day=None, **more): return Scores.of(score, y, task="binary", threshold=0.4, chunk=day, **more)


def test_every_row_is_counted_once_with_its_label():
    score, y, day = binary(np.random.default_rng(0))
    s = of(score, y, day)
    table = s.tables["1"]
    assert s.rows == table.table().sum() == 3_000 and table.table("labels").sum() == y.sum()
    for i, name in enumerate(s.chunks): assert table.table()[i].sum() == (day == name).sum() and table.table("labels")[i].sum() == y[day == name].sum()
    called = np.array([0, *table.edges]) >= 0.4
    assert table.table()[:, called].sum() == (score >= 0.4).sum()


@CALM
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.booleans(), st.sampled_from(["binary", "multiclass", "regression"]))
def test_parts_add_up_to_the_whole(seed, cut, by_day, task):
    rng = np.random.default_rng(seed)
    n = 400
    day = np.array([f"d{i}" for i in rng.integers(0, 5, n)])
    if task == "binary": score, y, more = rng.random(n), rng.integers(0, 2, n), dict(threshold=0.3)
    elif task == "multiclass": score, y, more = rng.dirichlet(np.ones(3), n), rng.integers(0, 3, n), dict(classes=["a", "b", "c"])
    else: score, y, more = rng.normal(size=n), rng.normal(size=n), dict(loss=None)
    whole = Scores.of(score, y, task=task, chunk=day if by_day else None, **more)
    first = rng.random(n) < cut
    parts = [Scores.of(score[rows], y[rows], task=task, chunk=day[rows] if by_day else None, like=whole) for rows in (first, ~first)]
    for together in (parts[0] + parts[1], parts[1] + parts[0]):
        for name, table in whole.tables.items():
            other = together.tables[name]
            if task != "multiclass" or by_day:  # rows are drawn into other random groups
                assert other.rows == table.rows
                for what in ("labels", "squares"): assert np.allclose(other.table(what), table.table(what), rtol=1e-8)
            assert (other.table().sum(axis=0) == table.table().sum(axis=0)).all()
            for key, sums in table.sums.items(): assert np.allclose(sums, other.sums[key], rtol=1e-8)
    assert parts[0] + parts[1] == parts[1] + parts[0]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_json_gives_the_record_back(task):
    rng = np.random.default_rng(1)
    n = 5_000
    score, y = (rng.random(n), rng.integers(0, 2, n)) if task == "binary" else (rng.dirichlet(np.ones(4), n), rng.integers(0, 4, n)) if task == "multiclass" else (rng.normal(size=n), rng.normal(size=n))
    s = Scores.of(score, y, task=task, classes=list("abcd") if task == "multiclass" else [], chunk=rng.integers(10, 41, n))
    assert Scores.from_json(s.to_json()) == s and len(s.chunks) == 31
    assert s.unlabelled.rows == n and not s.unlabelled.labelled and "labels" not in s.unlabelled.to_json()
    assert Scores.of(score, task=task, chunk=np.arange(n) % 31, like=s) .tables.keys() == s.tables.keys()


def test_a_month_with_many_rows_stays_small():
    rng = np.random.default_rng(2)
    score, y, day = binary(rng, 200_000, 31)
    assert len(of(score, y, day).to_json()) < 100_000


@pytest.mark.parametrize("score", [np.full(50, 0.3), np.zeros(50), np.ones(50), np.array([0.0, 1.0]*25), np.round(np.linspace(0, 1, 50), 1), np.array([0.5]), np.linspace(0, 1, 50, dtype="float32")])
def test_any_scores_have_cells(score):
    edges = score_edges(score.astype(float), threshold=0.5)
    assert edges == sorted(set(edges)) and 0 < edges[0] and edges[-1] <= 1 and 0.5 in edges
    s = of(score, (score > 0.4).astype(int))
    assert s.tables["1"].table().sum() == len(score)
    if len(np.unique(score)) < 3:
        cells = np.searchsorted(s.tables["1"].edges, np.unique(score), side="right")
        assert set(cells) == set(s.tables["1"].single) and len(set(cells)) == len(cells)


def test_a_value_that_many_rows_share_has_a_cell_of_its_own():
    rng = np.random.default_rng(3)
    score = np.where(rng.random(10_000) < 0.2, 0.25, rng.random(10_000))
    table = of(score).tables["1"]
    cell = np.searchsorted(table.edges, 0.25, side="right")
    assert table.table().sum(axis=0)[cell] == (score == 0.25).sum()


def test_scores_feed_the_drift_test_and_its_plot():
    rng = np.random.default_rng(4)
    score, y, day = binary(rng, 20_000, 20)
    reference = of(score, y, day)
    same, moved = of(binary(rng, 20_000)[0], None, day, like=reference), of(rng.beta(3, 4, 20_000), None, day, like=reference)
    assert assess(reference.window, same.window, 0.05).p_stable < 0.05 < assess(reference.window, same.window, 0.05).p_drifted
    assert assess(reference.window, moved.window, 0.05).p_drifted < 0.01
    both = shape(reference, moved)
    assert len(both.labels) == len(both.reference) + 1 == len(both.current) + 1 <= 23 and both.labels[0] == 0 and both.labels[-1] == 1
    assert np.isclose(sum(both.reference), 1) and np.isclose(sum(both.current), 1) and both.labels == sorted(both.labels)


def test_answers_of_several_classes_and_predictions_feed_it_too():
    rng = np.random.default_rng(5)
    score = rng.dirichlet([3, 2, 1], 2_000)
    several = Scores.of(score, task="multiclass", classes=["a", "b", "c"])
    assert several.window.counts.tolist() == [np.bincount(score.argmax(axis=1), minlength=3).tolist()] and not several.ordered
    assert shape(several, several).labels == ["a", "b", "c"]
    number = Scores.of(rng.normal(size=500), task="regression")
    assert number.window.rows == 500 and shape(number, number).kind == "numeric"


@pytest.mark.parametrize(("score", "y", "more", "said"), [
    ([0.2, 1.2], None, {}, "outside 0 to 1"), ([0.2, np.nan], None, {}, "missing or infinite"), ([0.2, 0.3], [1], {}, "shape"), ([0.2, 0.3], [1, 2], {}, "unknown"),
    ([0.2, 0.3], ["yes", "maybe"], dict(classes=["no", "yes"]), "maybe"), (["a", "b"], None, {}, "Numbers"), ([[0.2, 0.8]], None, {}, "shape"), ([], None, {}, "no scores"),
    ([0.2, 0.3], [1, np.nan], {}, "unknown"), ([0.2], None, dict(classes=["a"]), "classes"), ([0.2], None, dict(chunk=["a", "b"]), "chunk"), ([0.2], None, dict(loss=[0.1]), "regression"),
    ([0.2], None, dict(threshold=1.5), "threshold"), ([0.2], None, dict(task="ranking"), "ranking")])
def test_what_does_not_fit_is_refused(score, y, more, said):
    with pytest.raises(DataError, match=said): Scores.of(score, y, **dict(dict(task="binary"), **more))


def test_labels_by_name_are_labels_by_code():
    s = [Scores.of([0.1, 0.9, 0.4], y, task="binary", classes=["on time", "late"]) for y in (["on time", "late", "late"], [0, 1, 1], [False, True, True])]
    assert s[0] == s[1] == s[2]


def test_cells_of_another_reference_are_refused():
    rng = np.random.default_rng(6)
    a, b = of(rng.random(500)), of(rng.random(500))
    with pytest.raises(DataError, match="different cells"): a + b
    with pytest.raises(DataError, match="labels"): a + of(rng.random(9), np.ones(9, int), like=a)
    with pytest.raises(DataError, match="threshold"): Scores.of([0.5], task="binary", threshold=0.6, like=a)
