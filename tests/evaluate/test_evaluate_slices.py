"Slices: every row is in exactly one part, labels say what was cut, tables stay short."
import datetime as dt
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import DataError
from model_ops.evaluate.intervals import bootstrap, draw
from model_ops.evaluate.slices import FEW, MOST, Slices, display_slices, parts, slices
from model_ops.evaluate.words import spread

RNG = np.random.default_rng(0)
columns = st.one_of(
    st.lists(st.one_of(st.none(), st.text(max_size=3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40).map(lambda v: np.array(v, dtype=object)),
    st.lists(st.floats(width=32), min_size=1, max_size=40).map(np.array),
    st.lists(st.integers(-2**40, 2**40), min_size=1, max_size=40).map(np.array),
    st.lists(st.dates(dt.date(1900, 1, 1), dt.date(2200, 1, 1)), min_size=1, max_size=40).map(lambda v: np.array(v, dtype="datetime64[us]")),
)


@settings(deadline=None, max_examples=150)
@given(columns)
def test_every_row_is_in_exactly_one_part(values):
    found = list(parts(values))
    assert (np.sum([rows for _, rows in found], axis=0) == 1).all() and all(rows.any() for _, rows in found)
    assert len({label for label, _ in found if label != "missing"}) >= len(found) - 2


def labels(values): return {label: int(rows.sum()) for label, rows in parts(np.array(values))}


def test_labels_say_what_was_cut():
    assert labels(np.arange(100.)) == {"up to 24.8": 25, "over 24.8 up to 49.5": 25, "over 49.5 up to 74.2": 25, "over 74.2": 25}
    assert list(labels([10, 2, 2, 1])) == ["1", "2", "10"]                                  # few numbers keep their order
    assert list(labels(["a", "b", "b"])) == ["b", "a"]                                      # text: the most frequent first
    assert labels([True, False, True]) == {"True": 2, "False": 1}
    assert labels([1.5, np.nan, 1.5]) == {"1.5": 2, "missing": 1}
    assert labels(np.array([None, "x", float("nan")], dtype=object)) == {"x": 1, "missing": 2}
    assert labels(np.array(["2013-10-01T05:00", "NaT", "2013-10-01T06:00"], dtype="datetime64[m]")) == {"2013-10-01": 2, "missing": 1}
    assert list(labels(np.array([np.nan, np.nan]))) == ["missing"]
    assert sum(labels(np.r_[np.arange(50.), np.inf, -np.inf]).values()) == 52
    assert list(labels(np.r_[np.zeros(90), np.arange(1, 40)])) == ["up to 0", "over 0 up to 7", "over 7"]
    assert list(labels(1e6 + np.arange(100)/100))[0] == "up to 1,000,000.248"               # as many digits as the spread needs
    for column in (np.arange(100.), RNG.normal(0, 1e-6, 500), RNG.integers(0, 10**9, 500)):
        for label, rows in parts(column):
            if label.startswith("up to "): assert column[rows].max() <= float(label[6:].replace(",", "")) < column[~rows].min()


def case(n=4000):
    score = RNG.random(n)
    y = RNG.random(n) < score
    return y, {"challenger": score, "opponent": np.clip(score + RNG.normal(0, .2, n), 0, 1), "dummy": np.full(n, .5)}, dict.fromkeys(("challenger", "opponent", "dummy"), .5), draw(n, np.arange(n)*20//n, resamples=50)


def test_a_slice_is_the_bootstrap_of_its_rows():
    y, scores, threshold, drawn = case()
    group = RNG.choice(["a", "b"], len(y), p=[.7, .3])
    found = slices({"group": group}, y, scores, threshold, drawn, metric="f1")
    from dataclasses import replace
    rows = group == "b"
    alone = bootstrap(y[rows], {m: s[rows] for m, s in scores.items()}, threshold, replace(drawn, block=drawn.block[rows]), metrics=["f1"])
    part = found.parts[1]
    assert (part.column, part.value, part.rows, found.against) == ("group", "b", rows.sum(), "opponent")
    assert part.metric == alone.interval("challenger", "f1") and part.difference == alone.difference("opponent", "f1")
    assert Slices.model_validate_json(found.model_dump_json()) == found


def test_no_difference_without_a_second_model():
    y, scores, threshold, drawn = case(500)
    found = slices({"all": np.zeros(500)}, y, {"challenger": scores["challenger"]}, threshold, drawn)
    assert found.against == "" and found.parts[0].difference is None and "opponent" not in display_slices(found, .5)


def test_what_is_left_out_is_said():
    y, scores, threshold, drawn = case()
    many = {f"c{i}": RNG.integers(0, 30, len(y)).astype(str) for i in range(7)} | {"rare": np.where(np.arange(len(y)) < 5, "few", "most")}
    found = slices(many, y, scores, threshold, drawn, min_rows=50)
    assert len(found.parts) == MOST and max(sum(s.column == c for s in found.parts) for c in many) == FEW
    assert found.notes[0].startswith("c0: 18 more for lack of room (") and any(n.startswith("rare: 1 with fewer than 50 rows (5 rows") for n in found.notes)
    shown = sum(s.rows for s in found.parts if s.column == "c0")
    assert f"({len(y) - shown:,} rows together)" in found.notes[0]
    assert "Left out: c0" in display_slices(found, .5)


def test_a_slice_on_few_days_or_of_one_class_says_why():
    y, scores, threshold, drawn = case()
    early, one = np.where(np.arange(len(y)) < 1000, "early", "late"), np.where(y, "yes", "no")
    found = {s.value: s for s in slices({"when": early, "truth": one}, y, scores, threshold, drawn).parts}
    assert found["early"].metric.reason.startswith("5 days") and found["late"].metric.low is not None
    assert found["yes"].metric.value is None and found["yes"].metric.reason == "one class only" and found["yes"].positives == 1


def test_hostile_names_stay_text_and_short():
    y, scores, threshold, drawn = case(600)
    hostile = "<script>alert(1)</script>"
    found = slices({hostile: np.full(600, "\u202e" + "x"*10_000)}, y, scores, threshold, drawn)
    page = display_slices(found, .5)
    assert "<script>" not in page and "(10,001 characters)" in page and len(found.model_dump_json()) < 1000


def test_columns_must_fit():
    y, scores, threshold, drawn = case(600)
    with pytest.raises(DataError, match="'short' has 3 values"): slices({"short": [1, 2, 3]}, y, scores, threshold, drawn)


def test_no_rows_no_table():
    y, scores, threshold, drawn = case(100)
    assert "No slice has enough rows" in display_slices(slices({"a": y}, y, scores, threshold, drawn), .5)


def test_slices_of_classes_and_of_numbers():
    code, drawn, group = RNG.integers(0, 3, 900), draw(900, np.arange(900)//30, resamples=50), np.where(np.arange(900) % 2, "odd", "even")
    odds = np.exp(np.eye(3)[code] + RNG.normal(size=(900, 3)))
    classes = slices({"group": group}, code, {"challenger": odds/odds.sum(axis=1, keepdims=True)}, {}, drawn, task="multiclass")
    assert (classes.metric, classes.parts[0].positives, classes.parts[0].mean) == ("accuracy", None, None) and "positives" not in display_slices(classes, .5)
    numbers = slices({"group": group}, code*10., {"challenger": code*10. + 1, "opponent": code*10. + 2}, {}, drawn, task="regression")
    assert numbers.metric == "rmse" and [(s.metric.value, s.difference.value) for s in numbers.parts] == [(1, 1), (1, 1)] and numbers.parts[0].mean == pytest.approx(np.mean(code[::2])*10, rel=1e-5) and "mean truth" in display_slices(numbers, 1.)


def test_spread():
    from model_ops.evaluate.intervals import Interval
    assert [spread(Interval(value=v, low=a, high=b)) for v, a, b in ((None, None, None), (.5, None, None), (.5, .5, .5), (.5, -.1, .6))] == ["–", "0.500", "0.500", "0.500 (−0.100 to 0.600)"]
