"""How two runs are compared: from the records, by asking both packages, or honestly not at all."""
import json

import numpy as np
import polars as pl
import pytest
from model_ops.evaluate.intervals import Interval
from model_ops.review.changes import contract, importance, parameters, windows, word_of
from model_ops.review.diff import Diff, diff
from model_ops.review.runs import side


def test_the_record_holds_the_pair(two_runs):
    found = diff(settings=two_runs.settings)
    held = side("now", two_runs.settings).evaluation
    assert found.how == "paired" and found.before.title == "champion v1" and "in the record" in found.notes[0]
    for number in found.metrics:
        better, sign = held.differences["opponent"][number.name], 1 if number.better == "higher" else -1
        assert number.change.value == pytest.approx(sign * better.value) and number.change.value == pytest.approx(number.after.value - number.before.value, abs=1e-5)
        assert number.change.low <= number.change.value <= number.change.high
        assert (number.word == "better") == (better.low > 0) and (number.word == "worse") == (better.high < 0)


def test_the_other_way_round_turns_the_signs(two_runs):
    there, back = diff("HEAD~1", "HEAD", two_runs.settings), diff("HEAD", "HEAD~1", two_runs.settings)
    turned = {"better": "worse", "worse": "better"}
    for a, b in zip(there.metrics, back.metrics, strict=True):
        assert (a.change.value, a.change.low, a.change.high) == pytest.approx((-b.change.value, -b.change.high, -b.change.low)) and b.word == turned.get(a.word, a.word)
        assert (a.before, a.after) == (b.after, b.before)
    assert {c.value: c.word for c in back.slices.changed} == {c.value: turned[c.word] for c in there.slices.changed}
    assert there.curves["roc"]["before"] == back.curves["roc"]["after"]


def test_what_was_changed_is_said_and_the_rest_is_counted(two_runs):
    groups = {g.title: g for g in diff(settings=two_runs.settings).groups}
    assert [(c.what, c.before, c.after) for c in groups["Parameters"].changes] == [("train.max_depth", 1, 4)] and groups["Parameters"].same == 2
    assert [c.what for c in groups["Code"].changes] == ["nbs/steps/train.ipynb"]
    assert not groups["Windows"].changes and not groups["Contract"].changes and groups["Contract"].same == 4
    assert [w.moved for w in diff(settings=two_runs.settings).importance] == [True]


def _never_compared(book):
    "Without the comparison in the record: both packages have to be asked."
    path = book.root / "records/evaluation.json"
    record = json.loads(path.read_text())
    record["models"].pop("opponent"), record["differences"].pop("opponent")
    for curves in record["curves"].values(): curves.pop("opponent", None)
    for part in record["slices"]["parts"]: part["difference"] = None
    path.write_text(json.dumps(record | {"slices": record["slices"] | {"against": ""}}))
    book.lock({"train": {"max_depth": 4}, "evaluate": {"slices": ["depot"], "resamples": 200}})
    return book


def test_asking_both_packages_gives_what_the_record_says(two_runs, tmp_path):
    book = _never_compared(two_runs.copy(tmp_path / "book"))
    asked, held = diff(settings=book.settings), diff(settings=two_runs.settings)
    assert asked.how == "paired" and "asked" in asked.notes[0] and asked.metrics == held.metrics and asked.slices == held.slices and asked.rows == held.rows


def test_rows_that_one_has_learned_from_are_refused(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    book.run(3, train="test")
    found = diff("champion", "now", book.settings)
    assert found.how == "not paired" and "trained on rows of the test window" in found.why and {n.word for n in found.metrics} == {"not paired"} and all(n.change is None for n in found.metrics)
    assert found.outcome == "not paired" and "row by row" in found.summary


def test_a_lost_column_is_a_reason(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    book.run(3, drop="depot")
    found = diff("champion", "now", book.settings)
    assert found.how == "not paired" and "depot" in found.why
    assert [(c.what, c.note) for g in found.groups if g.title == "Contract" for c in g.changes] == [("depot", "lost")]


def test_without_the_rows_only_the_records_speak(two_runs, tmp_path):
    book = _never_compared(two_runs.copy(tmp_path / "book"))
    (book.root / "data/test.parquet").unlink()
    found = diff("champion", "now", book.settings)
    assert found.how == "not paired" and "rows of the test window" in found.why
    assert all(n.before.low is not None and n.after.low is not None for n in found.metrics if n.name == "roc_auc")


def test_other_rows_are_not_comparable(two_runs, tmp_path):
    book = _never_compared(two_runs.copy(tmp_path / "book"))
    path = book.root / "records/evaluation.json"
    path.write_text(path.read_text().replace("rows of test", "rows of a later test"))
    (book.root / "data/test.parquet").unlink()
    found = diff("champion", "now", book.settings)
    assert found.how == found.outcome == "not comparable" and "other rows" in found.why and "cannot be compared" in found.summary


def test_another_question_is_not_comparable(two_runs):
    a, b = side("HEAD~1", two_runs.settings), side("now", two_runs.settings)
    from model_ops.review.diff import compare
    b.contract = b.contract.model_copy(update={"positive": "false"})
    found = compare(a, b)
    assert found.how == "not comparable" and "late" in found.why and found.summary.count("predicts") == 1


def test_the_record_survives_a_file(two_runs, tmp_path):
    found = diff(settings=two_runs.settings)
    assert Diff.load(found.save(tmp_path / "diff.json")) == found


@pytest.mark.parametrize("low, high, better, word", [(.1, .2, "higher", "better"), (.1, .2, "lower", "worse"), (-.2, -.1, "lower", "better"), (-.1, .1, "higher", "no clear difference"), (0, .1, "higher", "no clear difference"),
                                                    (0, 0, "higher", "as before"), (None, None, "higher", "not comparable")])
def test_words(low, high, better, word): assert word_of(Interval(value=.05, low=low, high=high), better) == word


def test_nested_parameters_are_compared_leaf_by_leaf():
    found = parameters({"a": {"x": {"y": 1, "z": []}, "g": [{"m": 1}, {"m": 2}]}, "only": {"q": 1}}, {"a": {"x": {"y": 1, "z": [1]}, "g": [{"m": 1}, {"m": 3}, {"m": 4}]}})
    assert [(c.what, c.before, c.after) for c in found.changes] == [("a.x.z", [], [1]), ("a.g.2.m", 2, 3), ("a.g.3.m", None, 4)] and found.same == 2
    assert parameters({"a": {"x": 1}}, {"b": {"x": 2}}).why


def test_windows_and_contracts():
    w = {"rows": 10, "from": "2024-01-01", "to": "2024-02-01", "digest": "a"}
    assert windows({"test": w}, {"test": dict(w)}).same == 1
    assert windows({"test": w}, {"test": w | {"digest": "b"}}).changes[0].note == "the same span, other rows"
    assert windows({"test": w}, {"test": w | {"digest": "b", "target_level": [.75, .25]}}).changes[0].after.endswith("0.250 positive")
    from model_ops.data.contract import learn
    a = learn(pl.DataFrame({"k": ["a", "b"] * 60, "n": np.arange(120) % 7, "y": [True, False] * 60}), target="y")
    b = learn(pl.DataFrame({"k": ["a", "c"] * 60, "n": [None, 1.5, 9.0] * 40, "y": [True, False] * 60}), target="y")
    assert {c.what: c.note for c in contract(a, b).changes} == {"k: categories": "new: c; gone: b", "n: type": "", "n: may be missing": "", "ranges": "moved with the training window"}
    assert importance({}, {"a": (1, 1, 1)}) == []


@pytest.mark.parametrize("task, target", [("multiclass", "depot"), ("regression", "kilos"), ("binary", "late")])
def test_every_task_is_asked_on_the_same_rows(task, target, tmp_path):
    from review_book import WINDOWS, parcels, window
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
    from model_ops.data import encode
    from model_ops.data.contract import learn
    from model_ops.package.build import write_package
    from model_ops.review.diff import compare
    from model_ops.review.sides import Side, Who, opener
    train, test = (parcels(range(*WINDOWS[name])) for name in WINDOWS)
    test.write_parquet(tmp_path / "test.parquet")
    contract_, sides = learn(train, target=target, time="sent"), {}
    X, y = encode.encode(contract_, train).X, encode.target(contract_, train)
    for name, depth in (("v1", 1), ("now", 4)):
        model = (DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier)(max_depth=depth, random_state=0).fit(X, y)
        manifest = write_package(tmp_path / name, model=model, X=X[:100], contract=contract_, threshold=0.4 if task == "binary" else None, windows={"train": window("train")}, importance={})
        sides[name] = Side(Who(title=name, called=name, digest=manifest.digest), contract=contract_, open=opener(tmp_path / name), test=tmp_path / "test.parquet", windows={"test": window("test")})
    found = compare(sides["v1"], sides["now"])
    assert found.how == "paired" and found.task == task and found.rows.rows == 800 and {n.word for n in found.metrics} <= {"better", "worse", "no clear difference", "as before", "not comparable"}
    assert "now" in found.text() and len(found.text().splitlines()) <= 40 and found.comment() and found.page().count("<svg") >= 2
    assert compare(sides["now"], sides["v1"]).metrics[0].change.value == pytest.approx(-found.metrics[0].change.value)
