"""The comparison on a terminal, in a pull request and as a page: whole, bounded, and deaf to what names from the data say."""
import html
import json
import re

import mistune
import pytest
from hypothesis import example, given, settings, strategies as st
from markdown_it import MarkdownIt
from model_ops.cli.main import main
from model_ops.evaluate.intervals import Interval
from model_ops.review.changes import Change, Cut, Group, Weight
from model_ops.review.diff import Diff, diff
from model_ops.review.markdown import MARK, ROOM, code, prose

EVIL = ["@everyone", "a|b", "`x`", "``", "\\|", "a\\", "<img src=x onerror=alert(1)>", "[a](http://b.example)", "http://b.example", "www.b.example", "a@b.example", "#12", "GH-1", "o/r#5", "*b* _i_ ~s~", "</code></details>", "<!-- x -->", "-->", "&amp;",
        "&#64;a", "\n# x", "| - |", "$x$", ":tada:", "1. x", "- x", "> x", "\u202eevil", "\x1b[31mred", "line\r\nbreak", "x" * 5000, "", " ", "```\nx", "![](x)", "{{7*7}}", "~~x~~", "MAILTO:a@b", "|||||"]
names = st.one_of(st.sampled_from(EVIL), st.text(max_size=60), st.text("`|\\<>@#[]()*_&!:/.w-\n\t ", max_size=30))
SEEN = re.compile(r"<(a|img|script|em|strong|del|h\d|iframe|ul|ol|li|blockquote|hr|s)\b", re.I)


def shown(markup: str) -> str:
    "What a reader sees of rendered Markdown."
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", markup))).replace("\u2060", "").replace("\xa0", "").strip()


def rendered(markdown: str) -> list[str]:
    "The same by two independent readers of GitHub's dialect; elements that we write ourselves stay as they are."
    return [str(mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url", "task_lists"])(markdown)), MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)]


@settings(deadline=None, max_examples=150)
@given(names)
@example("a\\|b`")
def test_a_name_is_shown_as_it_is_and_does_nothing(text):
    for gate in (code, prose):
        cell = gate(text)
        assert "\n" not in cell and "|" not in cell and len(cell) < 8000
        for page in rendered(f"| a | b |\n| --- | --- |\n| {cell} | end |\n"):
            body = page.split("<tbody>")[1]
            assert body.count("<td") == 2 and not SEEN.search(body), page
            assert shown(body.split("<td", 2)[1].partition(">")[2]) == shown_text(text, gate)


def shown_text(text: str, gate) -> str:
    "What should be seen: one line, no control characters, cut at the gate's length."
    from model_ops.axes import plain
    text, most = " ".join(plain(text).split()), 120 if gate is code else 600
    text = text if len(text) <= most else f"{text[:most - 1]}…"
    return re.sub(r"\s+", " ", text.replace("\xa0", "")).strip()


@pytest.mark.parametrize("text", ["@team", "mail a@b.example", "see #12", "o/r#5", "GH-12", "http://b.example", "www.b.example"])
def test_nobody_is_called_and_nothing_is_linked(text):
    for gate in (code, prose):
        page = rendered(gate(text))[0]
        bare = html.unescape(re.sub(r"<code>.*?</code>", "", page))
        assert "<a" not in page and not re.search(r"@\w|#\d|GH-\d|://|www\.", bare)


@pytest.fixture(scope="module")
def found(two_runs) -> Diff:
    return diff(settings=two_runs.settings)


@pytest.fixture(scope="module")
def crowded(found) -> Diff:
    "A comparison in which everything changed, under names that mean harm."
    interval = Interval(value=-.1, low=-.2, high=-.05)
    many = [Change(what=f"{EVIL[i % len(EVIL)]} {i}", before=EVIL[i % len(EVIL)] * 3, after={"x": EVIL[i % len(EVIL)]}, note=EVIL[-i % len(EVIL)]) for i in range(700)]
    group = lambda title: Group(title=title, noun="things", changes=many, same=3)
    told = found.drift.model_copy(update={"parts": group("Drift"), "outcome": ("stable", "drifted"), "summary": ("<b>x</b> @team", "y|z")})
    return found.model_copy(update={
        "groups": [group(t) for t in ("Parameters", "Code", "Windows", "Contract")], "drift": told, "decision": told, "notes": EVIL, "summary": "now <b> | @team is worse", "outcome": "worse", "noun": "@rows|",
        "slices": found.slices.model_copy(update={"changed": [Cut(column=EVIL[i % len(EVIL)], value=EVIL[-i % len(EVIL)], rows=i, change=interval, word="worse") for i in range(300)]}),
        "importance": [Weight(name=f"{e}{i}", before=(.1, .1, .1), after=(.2, .2, .2), moved=True) for i in range(8) for e in EVIL]})


def test_text_fits_a_screen_and_aligns(found, crowded):
    for one in (found, crowded):
        lines = one.text(100).splitlines()
        assert len(lines) <= 40 and max(map(len, lines)) <= 104, len(lines)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", one.text())
    table = [line for line in found.text().splitlines() if line.endswith(("better", "worse", "no clear difference"))]
    numbers = [line for line in table if "↑" in line or "↓" in line]
    assert len(numbers) == len(found.metrics) and len({line.index("↑" if "↑" in line else "↓") > 0 for line in numbers}) == 1
    assert all(line.strip()[0] in "✓✗≈" for line in table)


def test_the_comment_is_bounded_and_whole(found, crowded):
    for one in (found, crowded):
        text = one.comment()
        assert text.startswith(MARK) and len(text) < ROOM and text.count("<details>") == text.count("</details>") > 3
        for page in rendered(text):
            assert not re.search(r"<(a|img|script|iframe|em)\b", page, re.I) and "@team" not in shown_raw(page)


def shown_raw(page: str) -> str: return html.unescape(re.sub(r"<code>.*?</code>", "", page, flags=re.S))


def test_the_page_is_escaped_and_offline(found, crowded):
    for one in (found, crowded):
        page = one.page("parcels")
        assert "<script" not in page and "<img" not in page and "default-src 'none'" in page and not re.search(r'(src|href)="http', page)
        assert len(page) < 900_000
    assert found.summary.split(":")[0] in found.page("parcels") and found.page() == found.page()
    assert "✓ better" in str(found.__html__()) or "≈ no clear difference" in str(found.__html__())


def test_the_command(two_runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(two_runs.root)
    def call(*words):
        with pytest.raises(SystemExit) as e: main(["diff", *words])
        return e.value.code, capsys.readouterr()
    code_, said = call("--html", str(tmp_path / "d.html"), "--markdown", str(tmp_path / "d.md"), "--json", str(tmp_path / "d.json"))
    assert code_ == 0 and "champion v1" in said.out and (tmp_path / "d.md").read_text().startswith(MARK) and Diff.load(tmp_path / "d.json").kind == "diff" and "<html" in (tmp_path / "d.html").read_text()
    code_, said = call("HEAD~1", "--markdown", "-")
    assert code_ == 0 and said.out.startswith(MARK)
    better = json.loads((tmp_path / "d.json").read_text())["outcome"]
    first, last = ("HEAD", "HEAD~1") if better == "better" else ("HEAD~1", "HEAD")
    assert call(first, last, "--fail-on", "worse")[0] == 3 and call(last, first, "--fail-on", "worse")[0] == 0
    code_, said = call("chmpion")
    assert code_ == 2 and "Did you mean 'champion'?" in said.err
