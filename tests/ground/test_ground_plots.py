"Plots: every picture is well-formed, escaped, inside its frame, without collisions, and the same bytes each time."
import datetime as dt
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops import axes, plots
from model_ops.picture import WIDTH

HOSTILE = ["<script>alert('x')</script>", "x" * 10_000, "مطار القاهرة الدولي", "a\u202eb", "\x00\ud800", '"><img src=x onerror=alert(1)>', "", "quotes \" and '", "出発時刻" * 50, None, 3]
DAYS = [dt.date(2013, 1, 1) + dt.timedelta(d) for d in range(400)]


def pictures(name="column", values=(0.1, 0.5, 0.3, None)):
    "One picture of each kind, with `name` wherever people's words go."
    n, labels = len(values), [name] * len(values)
    shares = [1 / n] * n
    return {
        "lines": plots.lines({str(name): (range(n), values), "dummy": (range(n), values)}, x_label=name, y_label=name, title=name, marks=[(0, 0.2, name), (1, None, name)]),
        "days": plots.lines({"late": (DAYS[:n], values)}, x_label=name, y_label=name, title=name, bands={"late": (DAYS[:n], values, values)}),
        "intervals": plots.intervals([(name, v, v, v) for v in values], title=name, x_label=name, reference=0, reference_label=name),
        "bars": plots.bars(labels, values, title=name, x_label=name, highlight=labels[:1]),
        "numeric": plots.overlay(range(n + 1), shares, shares, title=name, x_label=name, extra={str(name): (0.1, 0.2), "missing": (0, 0.1)}),
        "category": plots.overlay(labels, shares, shares, title=name, kind="category", x_label=name),
        "matrix": plots.matrix(np.ones((n, n)), labels, labels, title=name, row_name=str(name), column_name=str(name)),
        "sparkline": plots.sparkline(values, 0, 1),
        "timeline": plots.timeline(labels, values, values, values, (0, 0.2), title=name, y_label=name, x_label=name, band_label=name),
        "dates": plots.timeline(DAYS[:n], values, title=name, y_label=name),
    }


def texts(plot):
    "The boxes of all visible texts: (left, right, base line, text), as wide as we think they are."
    boxes = []

    def walk(node, dx=0.0, dy=0.0, size=12.0, anchor="start"):
        move = node.get("transform", "")
        if move: dx, dy = (a + float(b) for a, b in zip((dx, dy), move[len("translate("):-1].split(), strict=True))
        size, anchor = float(node.get("font-size", size)), node.get("text-anchor", anchor)
        if node.tag.endswith("}text") and node.text:
            x, y, w = float(node.get("x")) + dx, float(node.get("y")) + dy, axes.width(node.text, size)
            left = x - {"start": 0, "middle": w / 2, "end": w}[anchor]
            boxes.append((left, left + w, y, node.text))
        for child in node: walk(child, dx, dy, size, anchor)

    walk(ET.fromstring(str(plot)))
    return boxes


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_text_and_are_short(name):
    for kind, plot in pictures(name).items():
        root = ET.fromstring(str(plot))  # well-formed: nothing opened an element of its own
        assert {e.tag.split("}")[1] for e in root.iter()} <= {"svg", "g", "title", "desc", "text", "line", "path", "rect", "circle"}, kind
        assert not any(a.lower().startswith("on") or a == "href" for e in root.iter() for a in e.attrib), kind
        assert len(str(plot)) < 20_000, (kind, len(str(plot)))
        str(plot).encode()  # no half of a broken character is left


@pytest.mark.parametrize("name", HOSTILE + ["scheduled_departure_hour_of_day"], ids=range(len(HOSTILE) + 1))
def test_texts_neither_leave_the_frame_nor_touch(name):
    for kind, plot in pictures(name, (0.1, 0.5, -0.3, 1234.5)).items():
        boxes, height = texts(plot), float(ET.fromstring(str(plot)).get("viewBox").split()[3])
        for left, right, y, text in boxes:
            assert -1 <= left and right <= WIDTH + 1 and 8 <= y <= height, (kind, text, left, right, y, height)
        for i, a in enumerate(boxes):
            for b in boxes[i + 1:]:
                assert a[1] <= b[0] + 0.5 or b[1] <= a[0] + 0.5 or abs(a[2] - b[2]) >= 9, (kind, a, b)


VALUES = st.lists(st.none() | st.floats() | st.integers(-10**9, 10**9), max_size=40)


@settings(deadline=None, max_examples=60)
@given(VALUES)
def test_any_values_give_a_picture_of_finite_numbers(values):
    for kind, plot in pictures("c", values).items() if values else ():
        assert not {"nan", "inf"} & set(str(plot).replace("<", " ").replace(">", " ").replace('"', " ").replace("L", " ").split()), kind
        ET.fromstring(str(plot))


def test_nothing_to_show_is_a_picture_too():
    for plot in [plots.lines({}, x_label="x", y_label="y", title="t"), plots.lines({"a": ([], [])}, x_label="x", y_label="y", title="t"), plots.intervals([], title="t", x_label="x"),
                 plots.bars([], [], title="t", x_label="x"), plots.overlay([], [], [], title="t"), plots.overlay([], [], [], title="t", kind="category"), plots.sparkline([]),
                 plots.timeline([], [], title="t", y_label="y"), plots.matrix([], [], [], title="t"), plots.sparkline([None, float("nan")])]:
        ET.fromstring(str(plot))


def test_the_same_bytes_in_another_process():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_ground_plots as t, hashlib; print(hashlib.sha256(''.join(map(str, t.pictures().values())).encode()).hexdigest())"
    runs = {subprocess.run([sys.executable, "-c", code, __file__.rsplit("/", 1)[0]], capture_output=True, text=True, env={"PYTHONHASHSEED": seed, "LC_ALL": "C"}, check=True).stdout for seed in ("1", "2")}
    assert len(runs) == 1


def test_wrong_lengths_and_mixed_axes_are_refused():
    with pytest.raises(ValueError): plots.bars(["a", "b"], [1], title="t", x_label="x")
    with pytest.raises(ValueError, match="same kind"): plots.lines({"a": ([1], [1]), "b": (DAYS[:1], [1])}, x_label="x", y_label="y", title="t")
    with pytest.raises(ValueError): plots.overlay([1, 2, 3], [1], [1], title="t")


def test_long_series_are_thin_and_keep_their_spike():
    y = np.zeros(1_000_000)
    y[123_456] = 5
    plot = plots.lines({"a": (np.arange(y.size), y)}, x_label="x", y_label="y", title="t")
    assert len(str(plot)) < 20_000 and "5" in [t[3] for t in texts(plot)]
    many = plots.timeline(range(100_000), np.sin(np.arange(100_000)), band=(-0.1, 0.1), title="t", y_label="y")
    assert len(str(many)) < 40_000
    comb = plots.lines({"a": (np.arange(9999), np.where(np.arange(9999) % 2, np.nan, 1.0))}, x_label="x", y_label="y", title="t")
    assert len(str(comb)) < 20_000


def test_usual_pictures_are_small():
    rate = np.linspace(0, 1, 5000)
    three = {name: (rate, rate**k) for name, k in (("challenger", 0.3), ("opponent", 0.4), ("dummy", 1))}
    assert len(str(plots.lines(three, x_label="x", y_label="y", title="ROC", diagonal=True))) < 20_000
    assert len(str(plots.matrix(np.full((10, 10), 1234), range(10), range(10), title="t"))) < 20_000
    assert len(str(plots.bars([f"column {i}" for i in range(30)], np.arange(30.0), title="t", x_label="x"))) < 20_000


def test_rows_beyond_the_picture_are_counted():
    shown = [t[3] for t in texts(plots.bars([f"c{i}" for i in range(100)], range(100), title="t", x_label="x"))]
    assert "… and 40 more" in shown
    shown = [t[3] for t in texts(plots.overlay([f"c{i}" for i in range(100)], [0.01] * 100, [0.01] * 100, kind="category", title="t"))]
    assert "80 others" in shown and "80.0% → 80.0%" in shown


@settings(deadline=None, max_examples=200)
@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e12), st.integers(2, 8))
def test_number_ticks_are_round_distinct_and_inside(low, span, n):
    high = low + span
    if not high - low > 1e-9 * max(abs(low), abs(high)): return
    ticks = axes.number_ticks(low, high, n)
    assert len(ticks) <= n + 2 and all(low - span * 1e-5 <= v <= high + span * 1e-5 for v, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks), ticks


@settings(deadline=None, max_examples=200)
@given(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), st.floats(5, 1e10))
def test_time_ticks_fall_on_the_calendar(start, span):
    low = axes.floats([start])[0]
    ticks = axes.time_ticks(low, low + span)
    assert 1 <= len(ticks) <= 7 and all(low <= t[0] <= low + span for t in ticks)
    assert [t[0] for t in ticks] == sorted(t[0] for t in ticks) and (ticks[0][2] or ticks[0][1].isdigit())


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=200), st.floats(20, 300))
def test_shortened_text_fits(text, room):
    short = axes.shorten(text, room)
    assert axes.width(short) <= room + 1e-6 and (short == axes.plain(text) or "…" in short)


def test_a_plot_is_a_value(tmp_path):
    plot = plots.sparkline([1, 2, 3])
    assert plot == plots.sparkline([1, 2, 3]) and plot._repr_mimebundle_()["text/html"] == str(plot)
    assert ET.parse(plot.save(tmp_path / "a.svg")).getroot().get("role") == "img"


def test_dates_of_all_kinds_agree():
    pl, pd = pytest.importorskip("polars"), pytest.importorskip("pandas")
    days = DAYS[:3]
    same = [days, np.array(days, dtype="datetime64[D]"), pl.Series(days), pd.Series(pd.to_datetime(days)), [dt.datetime.combine(d, dt.time(), dt.UTC) for d in days], pd.to_datetime(days, utc=True)]
    assert len({tuple(axes.floats(s)) for s in same}) == 1 and all(map(axes.is_time, same))
