"""The card in the package: nothing foreign means anything in it."""
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.data.contract import Column, Contract
from model_ops.package.card import card, code, markdown, markup
from model_ops.package.manifest import File, Input, Manifest, Origin

ODD = "a``b <script>alert(1)</script>\n# head | [x](javascript:y) **b** &amp;"


def html_of(text):
    from markdown_it import MarkdownIt
    return MarkdownIt("commonmark").enable("table").render(text)


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("ab1.#+-=*_`[]()<>&|\\!~ \n$:/"), max_size=30))
def test_text_means_nothing_in_markdown(text):
    from html import unescape
    seen = html_of(f"- x\n- {markdown(['x ' + text])}\n")
    inside = seen.split("<li>x ")[-1] if text.strip() else ""
    assert not any(tag in seen for tag in ("<em", "<strong", "<a ", "<h1", "<h2", "<img", "<code", "<blockquote", "<hr", "<pre", "<script"))
    if text.strip(): assert " ".join(unescape(inside.split("</li>")[0]).split()) == " ".join(text.split())


@pytest.mark.parametrize("start", ["# head", "1. one", "23) x", "- item", "+ item", "> quote", "=== x", "* x", "    indented", "```", "| a | b |", "<div>"])
def test_a_line_begins_as_text(start):
    seen = html_of(f"- a\n- {markdown([start])}\n")
    assert seen.count("<li>") == 2 and not any(tag in seen for tag in ("<h1", "<ol", "<blockquote", "<pre", "<code", "<table", "<div", "<hr"))


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40))
def test_names_are_code(text):
    from html import unescape
    seen = html_of(markdown([code(text)]))
    assert seen.count("<code>") == 1
    if "\x00" not in text and text.strip(): assert " ".join(unescape(seen.split("<code>")[1].split("</code>")[0]).split()) == " ".join(text.split())
    assert "<" not in markup([text]).replace("&lt;", "")


def manifest(task="binary", classes=("no", ODD), **more):
    return Manifest(summary=f"Is it {ODD}?", task=task, target=ODD, classes=list(classes), threshold=0.5 if task == "binary" else None, inputs=[Input(name=ODD, dtype="text", nullable=True)], format="onnx", contract="c",
                    files={"model.onnx": File(sha256="ab"*32, size=1)}, origin=Origin(estimator=f"Model({ODD})", params={"p": ODD}, metrics={"roc_auc": 0.7}), **more)


CONTRACT = Contract(task="binary", positive="yes", columns={"a": Column(dtype="number"), "name": Column(dtype="text", role="personal"), "y": Column(dtype="category", role="target", categories=["no", "yes"])})


@pytest.mark.parametrize("task, classes", [("binary", ("no", ODD)), ("multiclass", [ODD, *map(str, range(30))]), ("regression", ())])
def test_the_page_of_each_task(task, classes):
    page = card(manifest(task, classes), CONTRACT)
    seen = html_of(page)
    assert "<script" not in seen and "<a " not in seen and "<strong" not in seen and seen.count("<h1>") == 1 and "What it reads" in seen and "personal" in seen
    assert ("threshold was chosen" in page) == (task == "binary")


def test_a_package_without_a_comparison_has_a_card():
    page = card(manifest(), CONTRACT)
    assert "Predicts with ONNX Runtime." in page
