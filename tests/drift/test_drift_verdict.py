"Verdicts: outcomes, findings, bad input, and the page."
import json
import re
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from model_ops.data.contract import learn
from model_ops.drift.profile import Profile
from model_ops.drift.compare import compare
from model_ops.drift.files import compare_files, page
from model_ops.drift.verdict import Margins, Verdict
from model_ops.errors import DataError, ModelOpsError, ParameterError


def table(rows=5_000, seed=0, columns=3, **more) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    numbers = {f"x{i}": rng.normal(size=rows) for i in range(columns)}
    return pl.DataFrame({**numbers, "c": rng.choice(["a", "b", "d"], rows), "b": rng.random(rows) < 0.3, **more})


def dated(frame: pl.DataFrame, days: int, start=datetime(2013, 1, 1)) -> pl.DataFrame:
    return frame.with_columns(when=pl.Series([start + timedelta(days=i % days) for i in range(frame.height)]))


def outcomes(verdict: Verdict) -> dict: return {n: c.outcome for n, c in verdict.columns.items()}


def test_the_same_distribution_is_stable_and_a_shift_is_found():
    verdict = compare(table(40_000), table(40_000, seed=1).with_columns(x1=pl.col("x1") + 0.5))
    assert verdict.outcome == "drifted" and outcomes(verdict) == {"x0": "stable", "x1": "drifted", "x2": "stable", "c": "stable", "b": "stable"}
    column = verdict.columns["x1"]
    assert column.about == "values" and column.p_adjusted < 0.05 and column.low > column.margin == 0.05 and abs(column.effect - 0.197) < 0.02
    assert verdict.ranked[0] == "x1" and verdict.summary.startswith("1 of 5 columns drifted: x1") and verdict.metrics["drifted"] == 1
    assert compare(table(40_000), table(40_000, seed=1)).outcome == "stable"


def test_the_json_has_the_promised_shape():
    verdict = compare(dated(table(20_000), 60), dated(table(10_000, seed=1), 30, datetime(2013, 4, 1)), time="when")
    data = json.loads(verdict.to_json())
    assert list(data)[:4] == ["kind", "version", "summary", "outcome"] and data["kind"] == "verdict"
    for column in data["columns"].values(): assert {"outcome", "effect", "margin", "p_adjusted", "rows_needed", "distances", "reason"} <= set(column)
    assert Verdict.from_json(verdict.to_json()) == verdict and verdict.to_json() == compare(dated(table(20_000), 60), dated(table(10_000, seed=1), 30, datetime(2013, 4, 1)), time="when").to_json()
    assert len(data["windows"]["current"]["starts"]) == 30 and data["parameters"]["time"] == "when" and "chunk" in " ".join(data["method"])
    digits = lambda text: len(text.lstrip("-").split("e")[0].replace(".", "").strip("0"))
    assert max(digits(n) for n in re.findall(r"(?<=[ \[])-?\d+\.\d+(?:e-?\d+)?", verdict.to_json())) <= 6


def test_profiles_stand_for_their_frames():
    reference, current = table(3_000), table(3_000, seed=1)
    profile = Profile.of(reference)
    assert compare(profile, Profile.of(current, like=profile)) == compare(reference, current) == compare(Profile.from_json(profile.to_json()), current)


def test_nulls_are_judged_apart():
    broken = table(20_000, seed=1).with_columns(x0=pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise("x0"))
    verdict = compare(table(20_000), broken)
    column = verdict.columns["x0"]
    assert column.outcome == "drifted" and column.about == "nulls" and column.margin == 0.02 and abs(column.effect - 0.1) < 0.01
    assert column.questions["values"].outcome == "stable" and column.nulls == (0.0, 0.1) and "Missing: 0 % → 10 %" in column.reason
    assert "nulls" not in verdict.columns["x1"].questions and any(f.rule == "nulls" and f.column == "x0" for f in verdict.findings)


def test_unseen_categories_are_information_and_their_share_is_judged():
    few, many = (table(20_000, seed=1).with_columns(c=pl.when(pl.int_range(pl.len()) % every == 0).then(pl.lit("new")).otherwise("c")) for every in (500, 5))
    for current, outcome in ((few, "stable"), (many, "drifted")):
        verdict = compare(table(20_000), current)
        finding = next(f for f in verdict.findings if f.rule == "unseen categories")
        assert verdict.columns["c"].outcome == outcome and finding.severity == "inform" and "new" in finding.sentence
    assert "Unseen: 0 % → 20 %" in verdict.columns["c"].reason


def test_new_vanished_and_changed_columns_are_findings():
    verdict = compare(table(), table(seed=1, extra=1).drop("x0").with_columns(x1=pl.lit("many")))
    assert {(f.column, f.rule, f.severity) for f in verdict.findings} >= {("x0", "vanished column", "alarm"), ("x1", "changed type", "alarm"), ("extra", "new column", "inform")}
    assert verdict.outcome == "drifted" and "Column x0 (number) vanished." in verdict.summary and set(verdict.columns) == {"x2", "c", "b"}


def test_labels_may_come_late():
    labelled = table(2_000, y=pl.Series([0, 1]*1_000))
    contract = learn(labelled, target="y")
    for late in (labelled.drop("y"), labelled.with_columns(y=pl.lit(None, pl.Int64))):
        verdict = compare(labelled, late, contract=contract)
        assert "y" not in verdict.columns and [(f.rule, f.severity) for f in verdict.findings] == [("no labels", "inform")] and verdict.outcome != "drifted"


def test_text_that_spells_numbers_is_still_compared():
    verdict = compare(table(), table(seed=1).with_columns(pl.col("x0").cast(pl.String)))
    assert "x0" in verdict.columns and any(f.rule == "read as another type" for f in verdict.findings)


def test_time_makes_days_count():
    rng = np.random.default_rng(3)
    def window(days, start):
        effect = np.repeat(rng.normal(0, 0.5, days), 200)
        return pl.DataFrame({"x": rng.normal(size=days*200) + effect, "when": [start + timedelta(days=d) for d in range(days) for _ in range(200)]})
    reference, current = window(90, datetime(2013, 1, 1)), window(20, datetime(2013, 4, 1))
    with_time, without = compare(reference, current, time="when"), compare(reference.drop("when"), current.drop("when"))
    assert with_time.columns["x"].outcome == "not enough data" and with_time.columns["x"].high - with_time.columns["x"].low > 2*(without.columns["x"].high - without.columns["x"].low)
    assert with_time.columns["x"].rows_needed > 4_000 and "days) would do" in with_time.columns["x"].reason


def test_few_days_abstain_and_say_so():
    verdict = compare(dated(table(9_000), 60), dated(table(3_000, seed=1), 3, datetime(2013, 5, 1)), time="when")
    assert verdict.outcome == "not enough data" and all(c.p_adjusted is None and "independent chunks" in c.reason for c in verdict.columns.values())


def test_without_a_time_column_in_the_current_window():
    verdict = compare(dated(table(9_000), 60), table(9_000, seed=1), time="when")
    assert any(f.rule == "no time" for f in verdict.findings) and not verdict.windows["current"].starts


@pytest.mark.parametrize("change", [
    dict(x0=pl.lit(None, pl.Float64)), dict(x0=pl.lit(None)), dict(x0=pl.lit(1.0)), dict(x0=pl.lit(float("inf"))), dict(x0=pl.lit(1e308)), dict(x0=pl.lit(float("nan"))),
    dict(c=pl.lit(None, pl.String)), dict(c=pl.lit("only")), dict(x0=pl.lit(-1e308)), dict(x0=pl.lit(True)),
])
@pytest.mark.parametrize("turned", [False, True])
def test_odd_columns_have_a_verdict_and_no_stack_trace(change, turned):
    pair = [table(2_000), table(2_000, seed=1).with_columns(**change)]
    verdict = compare(*(pair[::-1] if turned else pair))
    odd = next(iter(change))
    assert verdict.columns[odd].outcome == "drifted" if odd in verdict.columns else any(f.column == odd and f.severity == "alarm" for f in verdict.findings)
    assert Verdict.from_json(verdict.to_json()) == verdict and "nan" not in str(verdict.display()).lower().replace("finance", "")


def test_constant_and_empty_columns_on_both_sides_are_stable():
    odd = dict(k=1, n=pl.Series([None]*20_000, dtype=pl.Float64), s="same")
    assert {n: o for n, o in outcomes(compare(table(20_000, **odd), table(20_000, seed=1, **odd))).items() if n in odd} == {"k": "stable", "n": "stable", "s": "stable"}


@pytest.mark.parametrize("rows", [1, 2, 29])
def test_next_to_no_rows_are_not_enough(rows):
    for pair in ((table(1_000), table(rows, seed=1)), (table(rows), table(1_000, seed=1)), (table(rows), table(rows, seed=1))):
        verdict = compare(*pair)
        assert set(outcomes(verdict).values()) == {"not enough data"} and all(f"{rows} row" in c.reason for c in verdict.columns.values())


@pytest.mark.parametrize("call, error, wrong", [
    (lambda: compare(table(), table(0)), DataError, "current window has no rows"),
    (lambda: compare(table(0), table()), DataError, "reference window has no rows"),
    (lambda: compare(Profile.of(table()), Profile.of(table(seed=1))), DataError, "other cells than the reference"),
    (lambda: compare(table(), table(), alpha=5), ParameterError, "alpha is 5"),
    (lambda: compare(table(), table(), margins={"number": 0}), ParameterError, "margin number is 0"),
    (lambda: compare(table(), table(), margins={"numbers": 0.1}), ParameterError, "Did you mean 'number'"),
    (lambda: compare(table(), table(), margins={"columns": {"x9": 0.1}}), ParameterError, "no such column"),
    (lambda: compare(table(), table(), time="day"), DataError, "no time column 'day'"),
    (lambda: compare(table(), {"z": [1, 2]}), DataError, "No column can be counted"),
    (lambda: compare(3, table()), DataError, "no table"),
    (lambda: compare(table(), pd.DataFrame([[1, 2]], columns=["x", "x"])), DataError, "same name"),
])
def test_errors_say_what_is_wrong(call, error, wrong):
    with pytest.raises(error, match=wrong): call()


def test_margins_decide():
    pair = table(40_000), table(40_000, seed=1).with_columns(x1=pl.col("x1") + 0.3)
    assert compare(*pair).columns["x1"].outcome == "drifted"
    assert compare(*pair, margins={"columns": {"x1": 0.2}}).columns["x1"].outcome == "stable"
    assert compare(*pair, margins=Margins(number=0.2)).parameters.margins.number == 0.2


def test_hostile_names_stay_text():
    bad = ["<script>alert(1)</script>", 'quote"\'>', "x"*10_000, "\u202eright to left", "</style>", "a\nb"]
    make = lambda seed: pl.DataFrame({n: np.random.default_rng(seed).choice(["<img src=x>", "&amp;", "y"*5_000], 500) for n in bad})
    current = make(1).with_columns(pl.lit("<b>new</b>").alias(bad[0])).drop(bad[1])
    html = page(compare(make(0), current), "<title>")
    assert not re.search(r"<(script|img|b>new)", html) and "&lt;script&gt;" in html and len(html) < 150_000 and html.count("</style>") == html.count("<style>")


def test_the_page_stands_alone():
    html = page(compare(dated(table(20_000), 60), dated(table(20_000, seed=1), 30, datetime(2013, 4, 1)).with_columns(x1=pl.col("x1")*2, c=pl.lit("a")), time="when"), "Drift")
    assert html.startswith("<!doctype html>") and "default-src 'none'" in html and "<title>Drift</title>" in html
    assert not re.search(r"<script|javascript:|https?://(?!www\.w3\.org/)|url\(|@import| on\w+=", html)
    assert html.count("<svg") >= 7 and "not enough" not in html.split("<h3>Columns")[0]


def test_forty_columns_stay_small():
    rng = np.random.default_rng(5)
    make = lambda days, start, shift: dated(pl.DataFrame({f"x{i}": rng.normal(size=20_000) + shift*i/40 for i in range(40)}), days, start)
    verdict = compare(make(90, datetime(2013, 1, 1), 0), make(30, datetime(2013, 4, 1), 1), time="when")
    assert len(verdict.to_json()) < 300_000 and len(page(verdict, "40 columns")) < 300_000 and verdict.metrics["drifted"] > 10


def test_files_of_two_kinds(tmp_path):
    table(2_000).write_csv(tmp_path/"a.csv", separator=";")
    table(2_000, seed=1).write_parquet(tmp_path/"b.parquet")
    verdict = compare_files(tmp_path/"a.csv", tmp_path/"b.parquet")
    assert set(verdict.columns) == {"x0", "x1", "x2", "c", "b"} and verdict.windows["reference"].told
    with pytest.raises(ModelOpsError): compare_files(tmp_path/"a.csv", tmp_path/"missing.csv")


def test_reports_without_drift_raise_no_alarm():
    def draw(rng, rows):
        return pl.DataFrame({"n": rng.normal(size=rows), "l": rng.lognormal(size=rows), "t": rng.standard_t(2, size=rows), "k": rng.poisson(3, rows), "b": rng.random(rows) < 0.1,
                             **{f"z{k}": pl.Series(rng.zipf(1.5, rows) % k).cast(pl.String) for k in (10, 100, 1_000)}})
    rng = np.random.default_rng(11)
    alarms = sum(compare(draw(rng, rows), draw(rng, rows)).outcome == "drifted" for rows in (200, 2_000) for _ in range(25))
    assert alarms <= 5  # 50 reports, at most 5 % expected; 6 would be beyond the 97.5 % quantile


def _days(days, start, seed, level=lambda d: 0.0, rows=300):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=rows) + level(d) for d in range(days)])
    return pl.DataFrame({"x": x, "calm": rng.normal(size=len(x)), "when": [start + timedelta(days=d) for d in range(days) for _ in range(rows)]})


def test_one_broken_day_is_named_and_is_no_drift():
    reference, current = _days(40, datetime(2026, 1, 1), 0), _days(20, datetime(2026, 2, 10), 1, lambda d: 50.0 if d == 7 else 0.0)
    verdict = compare(reference, current, time="when")
    odd = [f for f in verdict.findings if f.rule == "odd chunk"]
    assert [f.column for f in odd] == ["x"] and odd[0].severity == "inform" and odd[0].sentence.startswith("On 2026-02-17, ") and odd[0].share == pytest.approx(0.05)
    assert verdict.columns["x"].outcome != "drifted" and verdict.outcome != "drifted"


def test_a_lasting_change_says_since_when():
    reference, current = _days(60, datetime(2026, 1, 1), 2), _days(30, datetime(2026, 3, 2), 3, lambda d: 0.8 if d >= 12 else 0.0)
    column = compare(reference, current, time="when").columns["x"]
    assert column.over_time.first == "2026-03-14" and column.over_time.outside >= 15
    whole = compare(reference, _days(30, datetime(2026, 3, 2), 4, lambda d: 0.8), time="when").columns["x"]
    assert whole.outcome == "drifted" and whole.over_time.since == "2026-03-02"


def test_long_tailed_categories_at_their_margin_are_not_called_drifted_too_often():
    rng = np.random.default_rng(5)
    k = 200
    p = 1 / np.arange(1, k + 1); p /= p.sum()
    moved = p.copy(); moved[0] += 0.03; moved[1:] *= (1 - moved[0]) / moved[1:].sum()
    draw = lambda q: pl.DataFrame({"c": pl.Series(rng.choice(k, 2_000, p=q)).cast(pl.String)})
    drifted = sum(compare(draw(p), draw(moved)).columns["c"].outcome == "drifted" for _ in range(60))
    assert drifted <= 6  # 5 of 100 at most, and chance
