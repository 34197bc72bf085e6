"""Service levels: each is kept, missed or not known, and says why."""
import json
from datetime import UTC, datetime

import pytest
from monitored_window import START, day_of, window
from pydantic import ValidationError

from model_ops.monitor.levels import Levels, errors, fit, lag, latency, look, noted, quiet, refusals
from model_ops.monitor.logged import Broken

DAY = datetime(2026, 3, 1, tzinfo=UTC)


class Book:
    "What `look` asks of the settings: where the log is."
    def __init__(self, folder): self.folder = folder
    def section(self, name): return {"folder": str(self.folder)}


@pytest.mark.parametrize("told", [{"errors": 1.5}, {"errors": -0.1}, {"p99_ms": 0}, {"lag_s": "soon"}, {"quiet_hours": -1}, {"violations": 0}, {"p50_ms": 9}], ids=lambda t: next(iter(t)))
def test_a_level_that_cannot_be_is_refused(told):
    with pytest.raises(ValidationError): Levels.model_validate(told)


def test_latency_of_few_requests_and_of_none_is_not_known():
    assert latency({"p99": 900.0}, 99, Levels()).met is None
    assert latency({"p99": None}, 900, Levels()).met is None and latency({"p99": float("nan")}, 900, Levels()).met is None
    assert latency({"p99": 249.0}, 100, Levels()).met is True and latency({"p99": 251.0}, 100, Levels()).met is False


def diary(folder, lines):
    (folder / "diary").mkdir(exist_ok=True)
    (folder / "diary" / "2026-03-01-1-000000.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def refused(at, status=503, **more): return {"at": f"{at}.000Z", "kind": "refused", "status": status, "type": "busy", **more}


def test_only_our_own_faults_count_and_only_those_of_the_window(tmp_path):
    diary(tmp_path, [refused("2026-03-01T01:00:00")] * 3 + [refused("2026-03-01T02:00:00", 429)] + [refused("2026-03-01T03:00:00", 400)] * 50 + [refused("2026-02-01T03:00:00")] * 70 + [refused("2026-03-02T00:00:00")] * 70 + [{"at": "2026-03-01T05:00:00.000Z", "kind": "started"}])
    found = refusals(tmp_path, DAY, datetime(2026, 3, 2, tzinfo=UTC))
    level = errors(found, 96, Levels(errors=0.04))
    assert level.value == 0.04 and level.met and "most with 503" in level.sentence
    assert not errors(found, 95, Levels(errors=0.04)).met


def test_a_replayed_window_says_nothing_of_refusals(tmp_path):
    diary(tmp_path, [refused("2026-01-05T01:00:00")] * 5000)
    logged = window(days=3, rows=50)
    assert noted(logged, Book(tmp_path)) is None
    assert next(level for level in look(logged, Book(tmp_path), Levels(), now=DAY.timestamp()) if level.name == "errors").met is None


def state(folder, **said): (folder / "settled.json").write_text(json.dumps({"at": 1000.0, "bytes_waiting": 0, "oldest_waiting_s": 0.0, "error": "", **said}), encoding="utf-8")


def test_a_log_that_waits_waits_also_while_nobody_settles(tmp_path):
    assert lag(tmp_path, 1000.0, Levels()).met is None
    state(tmp_path)
    assert lag(tmp_path, 9e9, Levels()).met is True
    state(tmp_path, bytes_waiting=10, oldest_waiting_s=4.0)
    assert lag(tmp_path, 1001.0, Levels()).value == 5.0 and lag(tmp_path, 2000.0, Levels()).met is False
    state(tmp_path, error="No space.")
    assert lag(tmp_path, 1001.0, Levels()).met is False and "No space." in lag(tmp_path, 1001.0, Levels()).sentence
    state(tmp_path, bytes_waiting=None, oldest_waiting_s=None, error="It is locked.")
    assert lag(tmp_path, 1001.0, Levels()).met is None
    (tmp_path / "settled.json").write_text("{", encoding="utf-8")
    assert lag(tmp_path, 1001.0, Levels()).met is None


def test_silence_is_the_longest_gap_or_the_time_since_the_last_request():
    end = datetime(2026, 3, 10, tzinfo=UTC)
    assert quiet([], None, end, Levels()).met is None
    assert quiet([], end, end, Levels()).met is True
    assert quiet([], datetime(2026, 3, 8, tzinfo=UTC), end, Levels()).value == 48
    assert quiet([(DAY, datetime(2026, 3, 6, tzinfo=UTC))], end, end, Levels()).value == 120


def test_a_weekend_at_the_end_of_the_window_is_no_silence_where_gaps_finds_none():
    friday, monday = datetime(2026, 3, 6, 17, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)
    assert quiet([], friday, monday, Levels(), since=datetime(2026, 2, 9, tzinfo=UTC)).met is True
    assert quiet([], friday, monday, Levels(), since=datetime(2026, 3, 4, tzinfo=UTC)).met is False  # too short to know of weekends
    assert quiet([(friday, monday)], friday, monday, Levels(), since=datetime(2026, 2, 9, tzinfo=UTC)).value == 55


def test_what_waits_now_says_nothing_of_a_window_long_past(tmp_path):
    state(tmp_path, bytes_waiting=10, oldest_waiting_s=4000.0)
    lag_at = lambda now: next(level for level in look(window(days=3, rows=50), Book(tmp_path), Levels(), now=now) if level.name == "lag_s")
    assert lag_at(day_time(3) + 3600).met is False and lag_at(day_time(4)).met is None and "ended on 2026-01-04" in lag_at(day_time(33)).sentence


def test_the_worst_rule_decides():
    rules = [Broken("x1", "range", "warn", 10, 0.01, day_of(START, 0), 9.0), Broken("channel", "category", "warn", 90, 0.09, day_of(START, 0), "kiosk")]
    level = fit(rules, 1000, Levels())
    assert level.met is False and "channel" in level.sentence and fit(rules[:1], 1000, Levels()).met and fit([], 1000, Levels()).value == 0 and fit([], 0, Levels()).met is None


def test_every_level_of_a_window_is_told_and_one_that_is_not_known_is_not_kept(tmp_path):
    found = {level.name: level for level in look(window(days=3, rows=50), Book(tmp_path), {"p99_ms": 10}, now=day_time(3))}
    assert list(found) == ["errors", "p99_ms", "lag_s", "quiet_hours", "violations"] == [n for n in ("errors", "p99_ms", "lag_s", "quiet_hours", "violations") if n in Levels.model_fields]
    assert found["p99_ms"].met is False and found["errors"].met is None and found["lag_s"].met is None and found["quiet_hours"].met and all(level.sentence for level in found.values())


def day_time(days): return datetime.combine(day_of(START, days), datetime.min.time(), UTC).timestamp()
