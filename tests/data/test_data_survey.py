"A first look at a table: guesses with evidence, questions where the table cannot tell, clear words where it cannot serve."
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from model_ops.data.contract import learn
from model_ops.data.survey import Survey, survey
from model_ops.data.windows import split
from model_ops.errors import DataError

N = 2_000
START = datetime(2022, 1, 1)


def draw(seed: int = 2) -> np.random.Generator: return np.random.default_rng(seed)


def orders(**columns) -> pl.DataFrame:
    "Two years of orders, nine hours apart or so."
    rng = draw(1)
    x = rng.normal(size=N)
    at = pl.Series([START + timedelta(hours=8.7*i) for i in range(N)]).dt.cast_time_unit("us")
    frame = pl.DataFrame({"order_no": np.arange(N) + 70_000, "ordered": at, "net": np.exp(x).round(2), "items": rng.poisson(3, N) + 1, "country": rng.choice(["DE", "AT", "FR"], N), "express": rng.random(N) < 0.3,
                          "returned": rng.random(N) < 1/(1 + np.exp(2 - x))}, strict=False)
    return frame.with_columns(**columns)


def roles(s: Survey) -> dict[str, str]: return {c: column.role for c, column in s.contract.columns.items()}


def test_a_plain_table_with_a_time():
    s = survey(orders(), target="returned")
    assert (s.task, s.positive, s.time, s.subject, s.shuffle, s.questions) == ("binary", "true", "ordered", "", False, [])
    assert roles(s) == {"order_no": "id", "ordered": "time", "net": "feature", "items": "feature", "country": "feature", "express": "feature", "returned": "target"}
    assert s.windows == {"train": ["2022-01-01", "2023-03-01"], "validation": ["2023-03-01", "2023-06-01"], "test": ["2023-06-01", "2023-09-01"], "current": ["2023-09-01", "2023-12-27"]}
    assert s.chunk == "1w" and s.slices == ["country", "express"] and "rows lie in its order" in s.why["time"]
    assert s.parameters()["roles"] == {} and Survey.from_json(s.to_json()) == s


@pytest.mark.parametrize("days, rows, chunk", [(9, 20_000, "1h"), (30, 20_000, "1d"), (100, 6_000, "1d"), (300, 3_000, "1w"), (700, 20_000, "1w"), (3_000, 5_000, "1mo")])
def test_chunks_follow_the_span(days, rows, chunk):
    at = pl.Series([START + timedelta(days=days*i/rows) for i in range(rows)]).dt.cast_time_unit("us")
    s = survey(pl.DataFrame({"at": at, "x": draw().normal(size=rows), "y": draw().random(rows)}), target="y")
    assert s.chunk == chunk, s.why["chunk"]
    cut = split(pl.DataFrame({"at": at}), s.windows, time="at")
    shares = [w.rows/rows for w in cut.windows]
    assert cut.record.outside == 0 and np.abs(np.array(shares) - [0.6, 0.1, 0.15, 0.15]).max() < 0.12, shares


def test_every_window_has_both_classes_even_where_the_rarer_one_comes_in_bursts():
    late = np.arange(N) % 500 > 430
    s = survey(orders(returned=pl.Series(late)), target="returned")
    counts = [split(orders(returned=pl.Series(late)), s.windows, time="ordered").frames[w]["returned"].sum() for w in s.windows]
    assert min(counts) >= 5, (counts, s.windows)


def test_two_candidates_for_the_time_are_a_question():
    frame = orders().with_columns(delivered=pl.col("ordered") + pl.duration(days=2), birth_date=pl.lit(date(1970, 1, 1)) + pl.duration(days=pl.int_range(N)))
    s = survey(frame.sample(N, shuffle=True, seed=0), target="returned")
    assert s.time == "ordered" and [(q.about, set(q.options), q.chosen) for q in s.questions] == [("time", {"ordered", "delivered", ""}, "ordered")]
    assert roles(s)["birth_date"] == "personal" and [(leak.columns, leak.rule) for leak in s.leaks.found] == [(["delivered"], "after the event")]
    assert survey(frame, target="returned", time="delivered").questions == []
    none = survey(frame, target="returned", time="")
    assert none.time == none.chunk == "" and none.windows == {"train": 0.6, "validation": 0.1, "test": 0.15, "current": 0.15} and none.why["time"] == "Told: there is none."


@pytest.mark.parametrize("order, words, shuffle, asked", [
    (lambda f: f.sort("returned"), "sorted by the target", True, 0), (lambda f: f.sort("items"), "sorted by items", True, 0), (lambda f: f.sort("country"), "sorted by country", True, 0), (lambda f: f.sample(N, shuffle=True, seed=0), "No order", False, 0),
    (lambda f: pl.concat([f.filter("returned"), f.filter(~pl.col("returned")), f.filter("returned").head(50)]), "share of", True, 0), (lambda f: f.with_columns(net=pl.col("net") + pl.int_range(pl.len())/200), "order of net", True, 1),
    (lambda f: f.with_columns(net=pl.when(pl.int_range(pl.len()) < 1_200).then("net")), "missing values", True, 1),
])
def test_rows_in_an_order_are_shuffled(order, words, shuffle, asked):
    s = survey(order(orders().drop("ordered", "order_no")), target="returned")
    assert s.shuffle == shuffle and words in s.why["shuffle"] and len(s.questions) == asked and all(q.about == "shuffle" for q in s.questions)


def test_roles_with_their_reasons():
    frame = orders(customer_id=pl.Series(draw().integers(0, 700, N)*13 + 5_000), email=pl.Series([f"u{i % 900}@x.org" for i in range(N)]), phone=pl.Series([f"+49 30 {i:07d}" for i in range(N)]), first_name=pl.Series(draw().choice(["Ann", "Bo", "Çi"], N)),
                   comment=pl.Series([f"please ring at door {i} or wait" for i in range(N)]), token=pl.Series([f"{i:x}" for i in draw().integers(0, 2**62, N)]), net_copy=pl.Series(range(N)), population=pl.Series(draw().permutation(10**6)[:N]),
                   store_type=pl.Series(draw().integers(1, 6, N)), pclass=pl.Series(draw().integers(1, 4, N)), fnlwgt=pl.Series(draw().integers(1_000, 9_000, N)), currency=pl.lit("EUR"), empty=pl.lit(None, dtype=pl.String)).with_columns(net_copy=pl.col("net"))
    s = survey(frame, target="returned")
    got = roles(s)
    assert {c: got[c] for c in ("customer_id", "email", "phone", "first_name", "comment", "token", "net_copy", "population", "store_type", "pclass", "fnlwgt", "currency", "empty")} == {
        "customer_id": "id", "email": "personal", "phone": "personal", "first_name": "personal", "comment": "ignore", "token": "id", "net_copy": "ignore", "population": "feature", "store_type": "feature", "pclass": "feature",
        "fnlwgt": "feature", "currency": "ignore", "empty": "ignore"}
    assert s.contract.columns["store_type"].dtype == "category" and s.contract.columns["pclass"].dtype == "integer"
    assert {q.about: q.chosen for q in s.questions} == {"subject": "", "roles.fnlwgt": "feature"}
    assert all(guess.why.endswith(".") for guess in s.roles.values()) and "same as net" in s.roles["net_copy"].why
    plain = learn(split(frame, s.windows, time="ordered").frames["train"], target="returned", time="ordered")
    assert all(plain.columns[c].role != guess.role for c, guess in s.roles.items())  # only where it differs


def test_a_subject_is_asked_and_keeps_windows_apart():
    frame = orders(patient=pl.Series([f"p{i}" for i in np.repeat(np.arange(N//4), 4)])).drop("ordered")
    s = survey(frame, target="returned")
    assert s.subject == "patient" and [(q.about, q.chosen) for q in s.questions] == [("subject", "patient")] and roles(s)["patient"] == "subject"
    frames = split(frame, s.windows, subject=s.subject, shuffle=0 if s.shuffle else None).frames
    assert not set(frames["train"]["patient"]) & set(frames["test"]["patient"])
    assert survey(frame, target="returned", subject="").subject == ""


@pytest.mark.parametrize("target, told, task, positive, asked", [
    (pl.Series(["yes", "no", "no", "no"]*(N//4)), "", "binary", "yes", []), (pl.Series(["a", "b", "b", "b", "b"]*(N//5)), "", "binary", "a", []), (pl.Series(["M", "F"]*(N//2)), "", "binary", None, ["positive"]), (pl.Series([1, 2, 2]*N)[:N], "", "binary", "1", ["positive"]),
    (pl.Series([0.0, 1.0]*(N//2)), "", "binary", "1", []), (pl.Series(["a", "b", "c", "d"]*(N//4)), "", "multiclass", "", []), (pl.Series([3, 4, 5, 6, 7]*(N//5)), "", "multiclass", "", ["task"]), (pl.Series([3.0, 4, 5, 6, 7]*(N//5)), "", "multiclass", "", ["task"]),
    (pl.Series([3, 4, 5, 6, 7]*(N//5)), "regression", "regression", "", []), (pl.Series(np.arange(N) % 40), "", "regression", "", []), (pl.Series(draw().normal(size=N)), "", "regression", "", []),
])
def test_tasks_and_positive_classes(target, told, task, positive, asked):
    frame = orders().drop("ordered", "returned").with_columns(y=target.sample(N, shuffle=True, seed=0))
    s = survey(frame, target="y", task=told)
    assert s.task == task and [q.about for q in s.questions] == asked and (positive is None or s.positive == positive) and s.task in s.summary
    assert s.contract.task == task and s.contract.positive == s.positive


def test_what_is_found():
    y = np.where(np.arange(N) % 3 == 0, "b", "a").astype(object)
    y[:12] = "rare"
    y[50:90] = None
    frame = orders(y=pl.Series(y[draw().permutation(N)].tolist()), price=pl.Series([f"{i}.5" if i % 100 else "12O" for i in range(N)]), hollow=pl.Series([float(i) if i % 30 == 0 else None for i in range(N)]), one=pl.lit(1)).drop("returned")
    s = survey(pl.concat([frame, frame.head(100)]), target="y", time="")
    found = " ".join(f"{f.what} {f.why} {f.todo}" for f in s.findings)
    for words in ("'rare' (1", "target is missing in", "One value only: one.", "95 % of the rows: hollow", "values are none: '12O'"): assert words in found, words
    assert any(leak.rule == "repeated rows" for leak in s.leaks.found)
    assert survey(orders().head(200), target="returned").findings[-1].what == "The table has 200 rows."


def test_a_column_that_is_missing_in_later_windows_only():
    frame = orders().with_columns(score=pl.when(pl.int_range(N) < 1_500).then("net"), few=pl.when(pl.int_range(N) != 1_900).then("net"))
    s = survey(frame, target="returned")
    assert s.roles["score"].role == "ignore" and "would be rejected" in s.roles["score"].why and "few" not in s.roles


def test_leaks_are_named_and_left():
    y = draw().lognormal(size=N)
    frame = orders(total=pl.Series(y), goods=pl.Series(y - (part := draw().random(N)*3)), freight=pl.Series(part)).with_columns(weighed=pl.col("total").sqrt())
    frame = frame.with_columns(total=pl.when(pl.int_range(N) % 20 == 0).then(None).otherwise("total")).with_columns(paid=pl.when(pl.col("total").is_not_null()).then(pl.col("ordered").dt.epoch() % 97))
    s = survey(frame, target="total")
    rules = {tuple(leak.columns): leak.rule for leak in s.leaks.found}
    assert rules == {("weighed",): "predicts alone", ("goods", "freight"): "sums to target", ("paid",): "after the event"}, rules
    assert {"weighed", "goods", "freight", "paid"} <= set(s.contract.features)  # the choice is left


@pytest.mark.parametrize("told, words", [
    (dict(target="returnd"), r"no column 'returnd', which was told as the target. Did you mean 'returned'\?"), (dict(target="zzz"), "Its columns: order_no, ordered"), (dict(target="returned", time="orderd"), "as the time. Did you mean 'ordered'"),
    (dict(target="returned", subject="client"), "as the subject"), (dict(target="returned", time="returned"), "two things"), (dict(target="returned", task="binry"), "Did you mean 'binary'"), (dict(target="returned", time="country"), "'country' cannot be read as dates or times; its values are such as '(DE|AT|FR)'"),
    (dict(target="one"), "has one value only: '1' in all 2,000 rows"), (dict(target="none"), "'none' has no value"), (dict(target="text"), "2,000 different texts in 2,000 rows"), (dict(target="nearly"), "holds numbers, but 20 of 2,000 values are none: 'abc'"),
    (dict(target="ordered"), "fractions or dates"), (dict(target="rare"), "class 'True|class 'true' of the target 'rare' has 3 rows"), (dict(target="returned", time="iso"), "In a frame or a Parquet file, dates are dates"), (dict(target="returned", task="regression"), "a boolean"),
    (dict(target="net", task="binary"), "fractions|classes"),
])
def test_refused_with_clear_words(told, words):
    frame = orders(one=pl.lit(1), none=pl.lit(None, dtype=pl.Float64), text=pl.Series([f"t{i}" for i in range(N)]), nearly=pl.Series(["abc" if i % 100 == 0 else str(i) for i in range(N)]), rare=pl.Series([i < 3 for i in range(N)]),
                   iso=pl.Series([str(date(2022, 1, 1) + timedelta(days=i//3)) for i in range(N)]))
    with pytest.raises(DataError, match=words): survey(frame, **told)


def test_ten_rows_and_a_wrong_file(tmp_path):
    with pytest.raises(DataError, match="has 10 rows. At least 30 are needed"): survey(orders().head(10), target="net")
    with pytest.raises(DataError, match="There is no file"): survey(tmp_path/"orders.csv", target="y")
    (tmp_path/"train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError) as e: survey(tmp_path/"orders.csv", target="y")
    assert "Did you mean" not in str(e.value)
    with pytest.raises(DataError, match="Did you mean 'train.csv'"): survey(tmp_path/"trian.csv", target="y")
    with pytest.raises(DataError, match="Did you mean 'train.csv'"): survey("trian.csv", target="y", root=tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow"])
def test_of_a_large_table_some_rows_are_looked_at(suffix, tmp_path):
    frame, path = pl.concat([orders()]*20).with_columns(order_no=pl.int_range(20*N), ordered=pl.lit(START) + pl.duration(minutes=20*pl.int_range(20*N))), tmp_path/f"web_orders.{suffix}"
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "arrow": frame.write_ipc}[suffix](path)
    s = survey(path, target="returned", rows=4_000)
    assert s.rows == 20*N and abs(s.looked - 4_000) < 100 and "were looked at" in s.told[-1] and s.noun == "orders"
    assert s.windows["train"][0] == s.windows["current"][1] == "" and roles(s)["order_no"] == "id"
    cut = split(frame, s.windows, time="ordered")
    assert cut.record.outside == 0 and abs(len(cut.frames["train"])/frame.height - 0.6) < 0.07


def test_a_number_may_order_the_rows():
    s = survey(orders(year=pl.Series(np.sort(draw().integers(1990, 2020, N)))).drop("ordered"), target="returned", time="year")
    assert s.time == "year" and s.chunk == "" and s.windows["train"] == 0.6 and roles(s)["year"] == "time"


def test_the_display_has_all_of_it_and_no_markup_of_others():
    s = survey(orders().rename({"country": "<b>land</b>"}).with_columns(mail=pl.Series([f"a{i}@b.de" for i in range(N)]), sent=pl.col("ordered") + pl.duration(days=1)), target="returned")
    page = str(s.__html__())
    assert "<b>land" not in page and "What only you know" in page and "After the event" in page or "after the event" in page
    assert "e-mail addresses" in page and "Cut at the start of a month" in page


def test_every_answer_can_be_told():
    frame = orders(fnlwgt=pl.Series(draw().integers(1_000, 9_000, N)), sex=pl.Series(draw().choice(["M", "F"], N))).drop("ordered").sort("items")
    asked = survey(frame, target="sex")
    assert {q.about for q in asked.questions} == {"positive", "roles.fnlwgt"} and asked.shuffle
    s = survey(frame, target="sex", positive="F", shuffle=False, roles={"fnlwgt": "weight", "net": "ignore"})
    assert (s.positive, s.shuffle, s.questions) == ("F", False, []) and s.contract.positive == "F" and s.why["positive"] == s.why["shuffle"] == "Told."
    assert roles(s)["fnlwgt"] == "weight" and s.parameters()["roles"] == {"fnlwgt": "weight", "net": "ignore"} and s.roles["fnlwgt"].dtype == "integer"
    for told, words in ((dict(positive="X"), "no class 'X'"), (dict(roles={"fnlwg": "weight"}), "Did you mean 'fnlwgt'"), (dict(roles={"net": "wait"}), "no role 'wait'"), (dict(roles={"sex": "id"}), "One role a column")):
        with pytest.raises(DataError, match=words): survey(frame, target="sex", **told)
