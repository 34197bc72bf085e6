"What a column of text holds: every value counts, nothing ambiguous is guessed, everything is said."
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.data.dtypes import dates, decide
from model_ops.errors import DataError


def read(values, **options):
    lines = pl.LazyFrame({"x": values}, schema={"x": pl.String})
    exprs, notes = decide(lines, **options)
    return lines.select(exprs).collect()["x"], " ".join(notes.sentences())


@pytest.mark.parametrize("values, expected, dtype", [
    (["1", " 2", "-3"], [1, 2, -3], pl.Int64),
    (["1", "2.5", "1e3", ".5"], [1, 2.5, 1000, 0.5], pl.Float64),
    (["1", "NA", "", None], [1, None, None, None], pl.Int64),
    (["1.234,56", "3"], [1234.56, 3], pl.Float64),
    (["1,234.56", "3"], [1234.56, 3], pl.Float64),
    (["1,234,567", "5"], [1234567, 5], pl.Float64),
    (["0,125", "1,250"], [0.125, 1.25], pl.Float64),
    (["-1,5", "2"], [-1.5, 2], pl.Float64),
    (["1 234,5", "2\u00a0000,0", "3\u202f000"], [1234.5, 2000, 3000], pl.Float64),
    (["1'234.5", "1’000"], [1234.5, 1000], pl.Float64),
    (["12 345", "1 000"], [12345, 1000], pl.Float64),
    (["TRUE", "False", "n/a"], [True, False, None], pl.Boolean),
    (["2013-12-24", "2013-1-5"], [date(2013, 12, 24), date(2013, 1, 5)], pl.Date),
    (["2013/12/24"], [date(2013, 12, 24)], pl.Date),
    (["24.12.2013", "1.2.2013"], [date(2013, 12, 24), date(2013, 2, 1)], pl.Date),
    (["12/24/2013", "01/02/2013"], [date(2013, 12, 24), date(2013, 1, 2)], pl.Date),
    (["24-12-2013", "01-02-2013"], [date(2013, 12, 24), date(2013, 2, 1)], pl.Date),
    (["2013-12-24T18:00:00", "2013-12-24 18:00:00.25", "2013-12-24"], [datetime(2013, 12, 24, 18), datetime(2013, 12, 24, 18, 0, 0, 250_000), datetime(2013, 12, 24)], pl.Datetime),
    (["12/24/2013 6:30 PM"], [datetime(2013, 12, 24, 18, 30)], pl.Datetime),
    (["2013-12-24T18:00:00Z", "2013-12-24 18:00:00+02:00"], [datetime(2013, 12, 24, 18, tzinfo=UTC), datetime(2013, 12, 24, 16, tzinfo=UTC)], pl.Datetime),
])
def test_read(values, expected, dtype):
    x, _ = read(values)
    assert x.to_list() == expected and x.dtype == dtype


@pytest.mark.parametrize("values, reason", [
    (["007", "12"], "leading zeros"),
    (["9007199254740993", "1"], "lose digits"),
    (["99999999999999999999", "1"], "lose digits"),
    (["1,234", "5,678"], "a comma may mark decimals or thousands"),
    (["03/04/2013", "05/06/2013"], "day and month cannot be told apart"),
    (["13/12/2013", "12/13/2013"]*10, "look like dates"),
    (["2013-02-28"]*20 + ["2013-02-30"], "1 of 21 cannot be read with the others, such as '2013-02-30'"),
    (["12"]*20 + ["abc"], "1 of 21 are not, such as 'abc'"),
    (["1,5"]*20 + ["007,5"], "such as '007,5'"),
    (["2013-12-24T18:00:00Z"]*20 + ["2013-12-24 18:00:00"], "look like dates"),
    (["true"]*20 + ["maybe"], ""),
    (["hello", "NA"], "Kept in columns of text .*'NA'"),
    ([None, ""], "Without any value"),
])
def test_what_is_open_stays_text_and_is_said(values, reason):
    x, told = read(values)
    assert x.dtype == pl.String and x.to_list() == [v or None for v in values]
    pl.select(pl.lit(told).str.contains(reason).alias("x")).item() or pytest.fail(f"{reason!r} is not in {told!r}")


def test_other_columns_decide_what_a_comma_means():
    def mass(price):
        lines = pl.LazyFrame({"price": price, "mass": ["1,234", "5,678"]})
        return lines.select(decide(lines)[0]).collect()["mass"].to_list()
    assert mass(["1,5", "2,5"]) == [1.234, 5.678]
    assert mass(["1.5", "2.5"]) == [1234, 5678]
    assert mass(["a", "b"]) == ["1,234", "5,678"]


def test_a_point_before_three_digits_is_a_decimal_point_unless_the_file_has_decimal_commas():
    assert read(["1.234", "5.678"])[0].to_list() == [1.234, 5.678]
    assert "'1.234' is 1.234" in read(["1.234", "5.678"])[1]
    lines = pl.LazyFrame({"price": ["1,5"], "mass": ["1.234"]})
    assert lines.select(decide(lines)[0]).collect()["mass"].item() == 1234


def test_two_columns_that_contradict_each_other_decide_nothing():
    lines = pl.LazyFrame({"a": ["1,5"], "b": ["1.5"], "c": ["1,234"]})
    assert lines.select(decide(lines)[0]).collect().row(0) == (1.5, 1.5, "1,234")


def test_a_person_decides():
    assert read(["1,234"], decimal=",")[0].item() == 1.234
    assert read(["1,234"], decimal=".")[0].item() == 1234
    assert read(["03/04/2013"], day_first=True)[0].item() == date(2013, 4, 3)
    assert read(["03/04/2013"], day_first=False)[0].item() == date(2013, 3, 4)
    assert read(["hello", "NA", "unknown"], missing=["NA", "unknown"])[0].to_list() == ["hello", None, None]
    assert read(["1", "unknown"], missing="unknown")[0].to_list() == [1, None]
    with pytest.raises(DataError, match="Allowed"): read(["1"], decimal=";")


def test_a_late_value_counts_as_much_as_an_early_one():
    x, told = read(["1"]*5_000 + ["n/k"])
    assert x.dtype == pl.String and "'n/k'" in told
    x, _ = read(["01/02/2013"]*5_000 + ["25/02/2013"])
    assert x[0] == date(2013, 2, 1)


def test_sentences_name_at_most_a_dozen_columns():
    lines = pl.LazyFrame({f"c{i}": ["007"] for i in range(40)})
    (sentence,) = decide(lines)[1].sentences()
    assert "c11" in sentence and "c12" not in sentence and sentence.endswith("and 28 more.")


def test_dates_of_a_database_are_read_and_the_rest_left():
    frame, told = dates(pl.DataFrame({"day": ["2013-12-24"], "id": ["007"], "n": [1.5]}))
    assert frame.schema == {"day": pl.Date, "id": pl.String, "n": pl.Float64} and told == ["Dates: day."]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-10**14, 10**14), min_size=1, max_size=20), st.sampled_from([".", ",", " ", "'"]))
def test_thousands_come_back(numbers, group):
    decimal = "," if group != "," else "."
    x, _ = read([f"{n:,}".replace(",", group) + f"{decimal}5" for n in numbers])
    assert x.to_list() == [float(f"{n}.5") for n in numbers]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=20), st.sampled_from(["%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S.%f"]))
def test_datetimes_come_back(moments, form):
    assert read([m.strftime(form) for m in moments])[0].to_list() == moments


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=10))
def test_any_text_is_read_or_kept(values):
    x, _ = read(values)
    assert len(x) == len(values)
    if x.dtype == pl.String: assert [v or "" for v in x.to_list()] == [pl.select(pl.lit(v).str.strip_chars()).item() for v in values]


def test_years_and_spans_far_away():
    assert read(["13-01-05"])[0].dtype == pl.String  # two digits are no year
    assert read([str(date(2013, 1, 1) + timedelta(days=i)) for i in range(400)])[0].dtype == pl.Date


@pytest.mark.parametrize("values, expected", [
    (["4 January 2013", "05 Feb 2014"], [date(2013, 1, 4), date(2014, 2, 5)]),
    (["04-Jan-13", "05-Dec-99"], [date(2013, 1, 4), date(1999, 12, 5)]),
    (["January 4, 2013", "Dec 24th, 2013 6:30 PM"], [datetime(2013, 1, 4), datetime(2013, 12, 24, 18, 30)]),
    (["4. März 2013", "24. Dez. 2014"], [date(2013, 3, 4), date(2014, 12, 24)]),
    (["Mon, 24 Dec 2012", "Tue, 25 Dec 2012"], [date(2012, 12, 24), date(2012, 12, 25)]),
    (["20130104", "20131224", "NA"], [date(2013, 1, 4), date(2013, 12, 24), None]),
    (["13/12/99", "01/02/13"], [date(1999, 12, 13), date(2013, 2, 1)]),
    (["2013-12-24", "24.12.2013", "24 Dec 2013"], [date(2013, 12, 24)]*3),
    (["2013-12-24"]*1_100 + ["2013-12-24 10:30"], [datetime(2013, 12, 24)]*1_100 + [datetime(2013, 12, 24, 10, 30)]),
    (["€ 1.234,50", "€ 3,00", "-"], [1234.5, 3, None]), (["-$5", "$1,207.25"], [-5, 1207.25]), (["12 %", "3,5 %"], [12, 3.5]), (["36 months", " 60 months"], [36, 60]),
    (["2.5kg", "10kg"], [2.5, 10]), (["1", "unknown", "#DIV/0!"], [1, None, None]),
    (["A12", "A13"], ["A12", "A13"]), (["12 kg", "13"], ["12 kg", "13"]), (["20130004", "20131224"], [20130004, 20131224]), (["12:30", "13:45"], ["12:30", "13:45"]),
    (["2013-12-24", "03/04/2013"], ["2013-12-24", "03/04/2013"]), (["marble 12 2013", "may 5"], ["marble 12 2013", "may 5"]),
])
def test_other_ways_to_write_dates_and_units(values, expected):
    assert read(values)[0].to_list() == expected


def test_other_columns_decide_which_number_is_the_day():
    lines = pl.LazyFrame({"sent": ["03/04/2013", "05/06/2013"], "paid": ["13/04/2013", "15/06/2013"]})
    exprs, notes = decide(lines)
    assert lines.select(exprs).collect()["sent"][0] == date(2013, 4, 3) and len(notes) == 1
