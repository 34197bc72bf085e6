"The window of a report: what is told, what is not, and which zone a day has."
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops.data.contract import learn
from model_ops.errors import ParameterError
from model_ops.monitor.window import Span, local, midnight

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TIMED = learn({"at": ["2026-01-01T08:00:00Z", "2026-01-02T08:00:00Z"], "kilos": [1.0, 2.0], "late": ["no", "yes"]}, target="late", time="at")
PLAIN = learn({"kilos": [1.0, 2.0], "late": ["no", "yes"]}, target="late")


def zoned(zone: str):
    return TIMED.model_copy(update=dict(columns={**TIMED.columns, "at": TIMED.columns["at"].model_copy(update=dict(timezone=zone))}))


def test_what_is_not_told_is_now():
    span = Span.of(30, "", "", "", now=NOW, contract=TIMED)
    assert (span.until, span.as_of, span.since, span.column) == (NOW, NOW, NOW - timedelta(days=30), "event_time")
    assert Span.of(30, "", "", "", now=NOW, contract=PLAIN).column == "received_time"
    assert Span.of(30, "", "received", "", now=NOW, contract=TIMED).column == "received_time"


def test_a_window_in_the_future_of_a_clock_knows_its_own_labels():
    assert Span.of(30, "2026-06-01", "", "", now=NOW, contract=TIMED).as_of == datetime(2026, 6, 1, tzinfo=UTC)


def test_a_clock_without_an_offset_is_that_of_the_contract():
    span = Span.of(1, "2026-04-01", "", "2026-04-02T06:00:00Z", now=NOW, contract=zoned("America/New_York"))
    assert (span.until, span.as_of, span.zone) == (datetime(2026, 4, 1, 4, tzinfo=UTC), datetime(2026, 4, 2, 6, tzinfo=UTC), "America/New_York")


@pytest.mark.parametrize("told, key", [((0, "", "", ""), "days"), ((-1, "", "", ""), "days"), ((float("nan"), "", "", ""), "days"), ((float("inf"), "", "", ""), "days"), ((True, "", "", ""), "days"), (("30", "", "", ""), "days"),
                                       ((30, "soon", "", ""), "until"), ((30, "", "wall", ""), "clock"), ((30, "", "event", ""), "clock"), ((30, "", "", "2026-13-01"), "as_of")], ids=lambda v: v if isinstance(v, str) else "")
def test_a_bad_value_is_named(told, key):
    with pytest.raises(ParameterError) as e: Span.of(*told, now=NOW, contract=PLAIN)
    assert e.value.key == key and key in str(e.value)


@settings(max_examples=50, deadline=None)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)), st.sampled_from(["", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]))
def test_a_moment_lies_within_its_day(moment, zone):
    moment = moment.replace(tzinfo=UTC)
    day = pl.DataFrame({"t": [moment]}).select(local("t", zone).dt.date()).item()
    assert day == moment.astimezone(ZoneInfo(zone or "UTC")).date()
    assert midnight(day, zone) <= moment < midnight(day + timedelta(days=1), zone)
    assert isinstance(day, date)
