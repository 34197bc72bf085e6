"""A panel without a browser: what is redrawn, how often, and what is said when it fails."""
import ipywidgets
import pytest

from model_ops.errors import DataError
from model_ops.html import el
from model_ops.plots import bars
from model_ops.widgets.panel import Chooser, Panel, Several, problem, words

HOSTILE = '<img src=x onerror="alert(1)">&amp;\u202eevil'


class Counter(Panel):
    "Two sliders, of which the second follows the first."
    def __init__(self):
        self.first, self.second = (ipywidgets.IntSlider(0, 0, 100, description=name) for name in ("First", "Second"))
        self.drawn = []
        super().__init__("Counter", [[self.first, self.second], "sum"])
        self.changes(self.first, self.follow)
        self.changes(self.second, self.redraw)
        self.draw(self.redraw)

    def follow(self):
        self.second.value = self.first.value
        self.draw(self.redraw)

    def redraw(self):
        if self.first.value == 13: raise DataError("Thirteen.", "Any other number.", "Move on.")
        if self.first.value == 14: raise KeyError("<fourteen>")
        self.drawn.append((self.first.value, self.second.value))
        self.show("sum", el("p", self.first.value + self.second.value))


def test_a_redraw_asked_for_twice_runs_once_and_after_the_present_one():
    panel = Counter()
    panel.first.value = 5
    assert panel.drawn == [(0, 0), (5, 5)]


def test_controls_changed_together_are_redrawn_once():
    panel = Counter()
    with panel.together():
        for i in range(2, 10): panel.second.value = i
    assert panel.drawn == [(0, 0), (0, 9)]


def test_an_error_is_shown_in_words_and_goes_when_it_is_mended():
    panel = Counter()
    panel.first.value = 13
    assert "Thirteen.\nAny other number.\nMove on." in panel.text() and isinstance(panel.error, DataError) and "mo-late" in panel._dom_classes
    panel.first.value = 14
    assert "KeyError: '<fourteen>'" in panel.text() and "&lt;fourteen&gt;" in panel.__html__() and "Traceback" not in panel.text()
    panel.first.value = 15
    assert panel.error is None and "mo-late" not in panel._dom_classes and panel.text().endswith("30")


def test_the_same_choice_gives_the_same_text_and_a_face_without_a_browser():
    one, two = Counter(), Counter()
    one.first.value = two.first.value = 7
    assert one.text() == two.text() and one.__html__() == two.__html__()
    bundle = one._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"} and "<script" not in bundle["text/html"]


def test_a_control_without_a_description_is_refused():
    with pytest.raises(ValueError, match="has no description"): Panel("Mute", [ipywidgets.IntSlider()])


def test_a_name_that_ipywidgets_uses_for_itself_is_refused():
    with pytest.raises(TypeError, match="keys"): type("Bad", (Panel,), {"keys": lambda self: None})


def test_hostile_text_is_escaped_everywhere():
    panel = Panel(HOSTILE, [chooser := Chooser(HOSTILE, ["name"], {HOSTILE: [HOSTILE]}), "view"], HOSTILE)
    panel.show("view", HOSTILE, bars([HOSTILE], [1], title=HOSTILE, x_label=HOSTILE))
    panel.say(HOSTILE)
    for markup in (panel.__html__(), *(child.value for child in panel.children if isinstance(child, ipywidgets.HTML)), problem(ValueError(HOSTILE))):
        assert "<img" not in markup
    assert chooser.value == HOSTILE and "<img" in panel.text() and "\u202e" not in chooser.options[0][0] and not chooser.description_allow_html


def test_a_chooser_keeps_its_choice_where_it_is_left():
    one = Chooser("window", ["window", "rows"], {"train": ["train", 251_000], "test": ["test", 42]})
    several = Several("window", ["window", "rows"], {"train": ["train", 251_000], "test": ["test", 42], "日本": ["日本", 7]})
    assert one.value == "train" and several.value == ()
    one.value, several.value = "test", ("train", "日本")
    one.fill({"test": ["test", 1], "new": ["new", None]})
    several.fill({"日本": ["日本", 7]})
    assert one.value == "test" and several.value == ("日本",)
    one.fill({})
    assert one.value is None
    lines = [text for text, _ in Chooser("w", ["window", "rows"], {1: ["a b", 1], 2: ["日本", 22]}).options]
    assert lines == ["a b     " .replace("     ", "\u00a0"*5) + "\u00a0\u00a0\u00a01", "日本\u00a0\u00a0\u00a0\u00a0\u00a0\u00a022"]


def test_words_read_tables_row_by_row_and_plots_by_their_sentence():
    assert words(str(el("table", el("tr", el("th", "a"), el("th", "b")), el("tr", el("td", 1), el("td", "x < y"))))) == "a | b\n1 | x < y"
    assert words(str(el("div", bars(["a"], [1], title="T", x_label="n"), el("p", "after")))) == "T. n: a 1\nafter"
