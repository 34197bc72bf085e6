"Figures in words: the digits that an interval supports, and which way is better."
import math
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.evaluate.words import figures, gain, rough, span

number = st.floats(-1e6, 1e6).map(lambda v: round(v, 4))


@pytest.mark.parametrize("measured, said", [
    ((None, None, None), "–"), ((.5, .5, .5), "0.500"), ((.741, None, None), "0.741"), ((.741, .732, .75), "0.741 (0.732 to 0.750)"), ((12.134, 11.81, 12.42), "12.1 (11.8 to 12.4)"),
    ((0., -.00034, -1e-9), "0.00000 (−0.00034 to 0.00000)"), ((41230.2, 40811., 41702.), "41,230 (40,811 to 41,702)"), ((1.5, 1.4999, 1.5001), "1.50000 (1.49990 to 1.50010)")])
def test_spans(measured, said): assert span(*measured) == said


@pytest.mark.parametrize("measured, said", [
    ((.0021, .0003, .004), "better by 0.0021 (0.0003 to 0.0040)"), ((-.006, -.009, -.003), "worse by 0.006 (0.003 to 0.009)"), ((.011, -.003, .025), "better by 0.011 (0.003 worse to 0.025 better)"),
    ((-.002, -.02, .011), "worse by 0.002 (0.020 worse to 0.011 better)"), ((0, 0, 0), "no difference"), ((0., -.1, .2), "no difference (0.100 worse to 0.200 better)"), ((None, None, None), "–"), ((-.5, None, None), "worse by 0.500"),
    ((.02, 0., .03), "better by 0.020 (0.000 to 0.030)"), ((12.2, 12.2, 12.2), "better by 12.200")])
def test_gains(measured, said): assert gain(*measured) == said


@settings(deadline=None, max_examples=150)
@given(st.lists(number, min_size=3, max_size=3, unique=True).map(sorted))
def test_a_gain_has_no_sign_and_its_ends_are_told_apart(ends):
    low, value, high = ends
    said = gain(value, low, high)
    assert "−" not in said and "-" not in said and said.split(" ")[0] in ("better", "worse", "no") and (low >= 0 or high <= 0 or "worse to" in said)
    shown = [float(text.replace(",", "").replace("−", "-")) for text in figures(low, high, width=high - low)]
    assert shown[0] < shown[1] and math.isclose(shown[1] - shown[0], high - low, rel_tol=.35)


@pytest.mark.parametrize("value, said", [(3.1734, "3.17"), (-13.453, "−13.5"), (123_456., "123,456"), (.00412, "0.00412"), (0, "0"), (99.96, "100.0")])
def test_rough(value, said): assert rough(value) == said
