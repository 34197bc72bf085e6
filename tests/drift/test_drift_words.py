"The sentences of a verdict: true, short, in plain words, whatever was found."
import re
import unicodedata
from types import SimpleNamespace as Some

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_ops.drift import words
from model_ops.drift.meaning import Change, Meaning
from model_ops.drift.parts import Figure

OUTCOMES, HEALTH = ("drifted", "stable", "not enough data"), ("holds", "worse", "not enough data")
NAMES = ["temp", "dest", "wind", "origin", "carrier", "visib", "humid", "dewp", "precip", "seats", "block", "engine"]


def fig(value, low, high): return Figure(value=value, low=low, high=high)


def model(outcome="holds", by="labels", metric="roc_auc", now=(0.703, 0.684, 0.722), was=0.712, loss=(0.009, -0.01, 0.02), labelled=None, obstacle="", versus="reference", margin=0.03):
    figure = None if now is None else fig(*now)
    change = Change(better="lower" if metric in ("mae", "log_loss") else "higher", reference=was, estimated=figure if by == "estimate" else None, realized=figure if by == "labels" else None, compared_with=versus, loss=fig(*loss), margin=margin, outcome=outcome)
    rows = 8_000
    return Meaning(outcome=outcome, judged_by=by, metrics={} if now is None else {metric: change}, predictions=None, rows=rows, labelled=(rows if by == "labels" else 0) if labelled is None else labelled, assumption="A score means what it meant.", obstacle=obstacle)


def verdict(outcomes, model=None, alarms=(), left=None, importance=None, joint=None, chunk="1d", needed=24_000, starts=("2013-02-08", "2013-02-09"), wandering=()):
    columns = {n: Some(outcome=o, importance=(importance or {}).get(n), over_time=(left or {}).get(n), wanders=n in wandering, rows_needed=needed if o == "not enough data" else None) for n, o in outcomes.items()}
    found = [Some(severity="alarm", column=c, sentence=f"Column {words.listed([c])} (number) vanished.") for c in alarms] + [Some(severity="inform", column="x", sentence="Never shown.")]
    limits = Some(number=0.05, category=0.03, boolean=0.03, nulls=0.02, columns={})
    return Some(columns=columns, ranked=sorted(columns, key=lambda n: OUTCOMES.index(columns[n].outcome)), findings=found, model=model, joint=joint, family=2*len(columns), family_chunks=30 if left else 0,
                parameters=Some(chunk=chunk, alpha=0.05, least_chunks=5, margins=limits), windows={"reference": Some(rows=20_000, starts=["2013-01-01"]), "current": Some(rows=8_000, starts=list(starts))})


def out(n, first="2013-02-09"): return Some(outside=n, first=first if n else None)


def columns(drifted, stable, open_=0): return dict(zip(NAMES, ["drifted"]*drifted + ["stable"]*stable + ["not enough data"]*open_, strict=False))


LOST = dict(now=(0.624, 0.602, 0.645), loss=(0.088, 0.06, 0.11))
SITUATIONS = {
    "season, with labels": (verdict(columns(7, 5), model()), "The model holds: it puts 70 of 100 pairs of cases in the right order (ROC AUC 0.70, 0.68 to 0.72), and did 71 when it was made. The data has moved on in 7 of 12 columns (most: temp, dest), as with a season; the model copes with it.", "Nothing needs to be done."),
    "season, no labels yet": (verdict(columns(7, 5), model(by="estimate")), "The model holds: from its scores (no labels yet) it is expected to put 70 of 100 pairs of cases in the right order (ROC AUC 0.70, 0.68 to 0.72), and did 71 when it was made. The data has moved on in 7 of 12 columns (most: temp, dest), as with a season; the model should cope with it.",
                              "Nothing needs to be done. Compare again when the labels have come: scores alone cannot show whether the labels still follow from the columns as they did."),
    "worse, columns moved": (verdict(columns(3, 9), model("worse", **LOST), importance={"temp": 0.4, "dest": 0.2, "wind": 0.001}), "The model got worse: it puts 62 of 100 pairs of cases in the right order (ROC AUC 0.62, 0.60 to 0.65), and did 71 when it was made. 3 of 12 columns drifted; what probably matters are temp and dest, on which it relies.",
                             "Look at the source of temp and dest first: a fault is repaired there. If the change is real, train the model anew on recent rows."),
    "worse, no column moved": (verdict(columns(0, 12), model("worse", metric="log_loss", now=(0.55, 0.53, 0.57), was=0.48, loss=(0.07, 0.05, 0.09), versus="estimate")), "The model got worse: its log loss is 0.55 (0.53 to 0.57), and its scores let 0.48 be expected. No column is shown to have drifted, so the labels may have changed their meaning.",
                               "Ask whether a label still means what it did. If it does, train the model anew on recent rows."),
    "model open": (verdict(columns(1, 3, 8), model("not enough data", "estimate", now=(0.69, 0.64, 0.73), loss=(0.02, -0.02, 0.07))), "Not enough data to judge the model: from its scores (no labels yet) it is expected to put 69 of 100 pairs of cases in the right order (ROC AUC 0.69, 0.64 to 0.73), and did 71 when it was made. A loss above 0.03 is not ruled out. 1 of 12 columns drifted: temp; 8 cannot be told yet.",
                   "Wait for the labels, or judge a longer window: the scores of 8,000 rows did not settle it. Until then, find out whether the change of temp is known, such as a season, or a fault of the source."),
    "no model, drifted": (verdict(columns(4, 6, 2)), "4 of 12 columns drifted: temp, dest, wind and origin; 6 are stable, 2 cannot be told yet.",
                          "Find out whether the change is known (a season, a new product) or a fault of the source. If it is real and lasting, judge the model on recent rows with labels, and train it anew if it got worse. About 24,000 rows (now 8,000) would settle them."),
    "no model, stable": (verdict(columns(0, 12)), "All 12 columns are stable: none moved by more than its margin.", "Nothing needs to be done."),
    "no model, open": (verdict(columns(0, 11, 1)), "No column is shown to have drifted; of 12 columns, 11 are stable, 1 cannot be told yet.", "Wait for more rows, or ask whether the margins need to be so narrow: a wider one needs fewer. About 24,000 rows (now 8,000) would settle it."),
    "a column left its band": (verdict(columns(0, 12), left={"temp": out(2), "dest": out(0)}), "All 12 columns are stable: none moved by more than its margin. Column temp left its usual band on 2 of 2 days, first on 2013-02-09.", "Ask what happened to temp on 2013-02-09."),
    "a column vanished": (verdict(columns(0, 12), alarms=["rain"]), "Column rain (number) vanished. All 12 columns are stable: none moved by more than its margin.", "Ask the source about rain: a column that vanished or changed its type cannot be compared."),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_commonest_situations(name):
    found, summary, todo = SITUATIONS[name]
    assert words.summary(found) == summary and words.todo(found) == todo


def well_formed(text, most):
    assert text and text == text.strip() and "  " not in text and len(text) < most, text
    assert (text[0].isupper() or text[0].isdigit()) and text.endswith((".", "…")) and ".." not in text, text
    assert not re.search(r"(?<![.,\d])1 (columns|rows|days|chunks|pairs)\b|[<>]|None|nan|\(\)| [.,;:]", text), text


spans = st.tuples(st.floats(0.01, 0.99), st.floats(0, 0.3), st.floats(0, 0.3)).map(lambda t: (t[0], t[0] - t[1], t[0] + t[2]))
models = st.none() | st.builds(model, st.sampled_from(HEALTH), st.sampled_from(["labels", "estimate"]), st.sampled_from(["roc_auc", "log_loss", "mae", "accuracy", "f1", "a_new_metric"]), st.none() | spans, st.floats(0.01, 0.99), spans,
                               st.sampled_from([0, 1, 4_000, 8_000]), st.sampled_from(["", "The validation window is worth 3.1 chunks; 5 are needed", "x"*400]), st.sampled_from(["reference", "estimate"]))
joints = st.sampled_from([None, Some(outcome="drifted", auc=0.62, together=None, method="A classifier was asked."), Some(outcome="not enough data", auc=None, method="")])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(OUTCOMES), max_size=12), models, st.lists(st.sampled_from(["rain", "snow", "a"*400, "b c"]), max_size=4, unique=True), st.dictionaries(st.sampled_from(NAMES), st.builds(out, st.integers(0, 2))),
       st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1)), joints, st.sampled_from([None, 24_000]))
def test_every_combination_reads_well(outcomes, model, alarms, left, importance, joint, needed):
    found = verdict(dict(zip(NAMES, outcomes, strict=False)), model, alarms, left, importance, joint, needed=needed)
    well_formed(words.summary(found), 450)
    well_formed(words.todo(found), 450)
    for text in words.method(found): well_formed(text, 900)
    assert all(f.sentence in words.summary(found) for f in found.findings[:min(2, len(alarms))])
    if model and model.outcome != "not enough data": assert {"holds": "The model holds", "worse": "The model got worse"}[model.outcome] in words.summary(found)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=12, unique=True), st.sampled_from(HEALTH))
def test_any_name_keeps_a_sentence_on_one_line(names, health):
    found = verdict(dict.fromkeys(names, "drifted"), model(health), names[:1], {names[0]: out(1)}, dict.fromkeys(names, 0.1))
    for text in (words.summary(found), words.todo(found)): assert "  " not in text and not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text) and text.endswith(".") and len(text) < 450


@pytest.mark.parametrize("chunk, start, said", [("1d", "2013-02-09", "on 1 of 1 day, first on 2013-02-09"), ("1h", "2013-02-09T13:00:00", "in 1 of 1 hour, first at 2013-02-09 13:00"), ("12h", "2013-02-09T12:00:00", "in 1 of 1 chunk of 12 hours, first at 2013-02-09 12:00"),
                                               ("1w", "2013-02-04", "first in the week from 2013-02-04"), ("1mo", "2013-02-01", "first in 2013-02"), ("1000 rows", "3000", "in 1 of 1 chunk of 1,000 rows, first at row 3,000")])
def test_when_a_column_left_its_band(chunk, start, said):
    assert said in words.summary(verdict(columns(0, 3), left={"temp": out(1, start)}, chunk=chunk, starts=[start]))


def test_the_first_column_to_leave_is_named_and_drifted_ones_are_not():
    left = {"temp": out(2, "2013-02-08"), "dest": out(1, "2013-02-09"), "wind": out(1, "2013-02-08")}
    assert "2 columns left their usual band for a while: wind first on 2013-02-08." in words.summary(verdict(columns(1, 2), left=left))


def test_joint_drift_is_said_where_no_column_drifted():
    joint = Some(outcome="drifted", auc=0.62, together=Some(value=0.1, low=0.05, high=0.15), method="")
    assert "62 of 100 pairs of rows: how they hang together has changed" in words.summary(verdict(columns(0, 3), joint=joint)) and "pairs" not in words.summary(verdict(columns(1, 3), joint=joint))


def test_losses_that_are_shares_are_said_as_shares():
    found = verdict(columns(0, 2), model("not enough data", metric="mae", now=(12.31, 11.9, 12.8), was=11.83, loss=(0.04, 0.01, 0.12), margin=0.1))
    assert "it is off by 12.3 on average (mean absolute error, 11.9 to 12.8), and was by 11.8 when it was made. A loss above 10 % is not ruled out." in words.summary(found)
    assert "10 % of mean absolute error" in " ".join(words.method(found)) and "direct loss estimation" not in " ".join(words.method(found))


def test_the_method_says_what_the_margins_are():
    text = " ".join(words.method(verdict(columns(1, 1), model(by="estimate"), left={"temp": out(1)})))
    assert "0.13 standard deviations" in text and "11 %" in text and "a quarter" in text and "CBPE" in text and "band" in text and "a day" in text
    assert "band" not in " ".join(words.method(verdict(columns(1, 1))))


@pytest.mark.parametrize("values, spread, said", [((0.7031, 0.684, 0.722), 0.038, ["0.70", "0.68", "0.72"]), ((0.70312,), 0.0004, ["0.7031"]), ((1234.4, 1190.2), 90, ["1,234", "1,190"]), ((12.31,), 0.9, ["12.3"]), ((0.5,), 0.0, ["0.500"]), ((-0.02,), 0.05, ["−0.02"])])
def test_a_figure_has_the_digits_that_its_interval_supports(values, spread, said): assert words.figures(*values, spread=spread) == said


def test_a_category_is_not_capitalized():
    assert "What changed most: ua: 3 % → 9 %." in words.reason("drifted", "values", 0.1, 0.08, 0.12, 0.05, moved="ua: 3 % → 9 %") and "Mean 1 → 2." in words.reason("stable", "values", 0.1, 0.08, 0.12, 0.05, moved="mean 1 → 2")


def test_columns_that_move_as_slowly_as_a_season_are_told_apart_from_those_with_too_few_rows():
    some = {"temp": "not enough data", "dewp": "not enough data", "wind": "not enough data", "carrier": "stable"}
    assert words.summary(verdict(some, wandering=("temp", "dewp"))) == "No column is shown to have drifted; of 4 columns, 1 is stable, 2 move slowly, as a season does, 1 cannot be told yet."
    assert "1 moves slowly, as a season does" in words.summary(verdict(some, model(), wandering=("temp",)))
