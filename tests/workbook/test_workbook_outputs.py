"Outputs: joined, bounded, in order."
from hypothesis import given, settings
from hypothesis import strategies as st
from model_ops.workbook.outputs import Outputs, Text, collapse
from model_ops.workbook.redact import Redactor


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text("ab\r\n", max_size=8), max_size=12))
def test_how_a_text_was_cut_into_pieces_does_not_matter(pieces):
    text, at_once = Text(Redactor()), Text(Redactor())
    for piece in pieces:
        text.add(piece)
    at_once.add("".join(pieces))
    text.end(), at_once.end()
    assert str(text) == str(at_once)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text("abc\n", max_size=200), max_size=12), st.integers(20, 200))
def test_a_text_is_bounded_and_says_what_is_missing(pieces, limit):
    text, whole = Text(Redactor(), limit), "".join(pieces)
    for piece in pieces:
        text.add(piece)
        assert text.size <= 10_000 + 2 * limit
    text.end()
    if len(whole) <= limit:
        assert str(text) == whole
    else:
        head, tail = str(text).split("\n‹")[0], str(text).split("›\n", 1)[1]
        missing = int(str(text).split("\n‹")[1].split(" ")[0].replace(",", ""))
        assert whole.startswith(head) and whole.endswith(tail) and len(head) + missing + len(tail) == len(whole) and len(head + tail) == limit


def test_progress_bars_keep_their_last_state():
    assert collapse("a\r\nb") == "a\nb"
    text = Text(Redactor())
    for i in range(101):
        text.add(f"\r{i}%")
    text.add("\nend\r")
    text.end()
    assert str(text) == "100%\nend"


def test_a_display_that_may_be_updated_keeps_its_place():
    outs, outputs = [], Outputs(Redactor(), rich_limit=3000)
    for i, pinned in enumerate([True, False, True, False, True]):
        out = {"output_type": "display_data", "metadata": {}, "data": {"text/plain": f"{i}" * 900}}
        outs.append(out)
        outputs.take(outs, out, 0, pinned)
    outputs.end(outs)
    assert [o["data"]["text/plain"][:8] for o in outs] == ["00000000", "‹left ou", "‹left ou", "‹display"]


def test_a_huge_error_is_cut_visibly():
    out = {"output_type": "error", "ename": "E", "evalue": "v" * 10_000, "traceback": ["t" * 10_000]}
    Outputs(Redactor(), text_limit=1000).take([out], out)
    assert len(out["evalue"]) < 200 and "9,900 characters cut here" in out["evalue"] and "cut here" in out["traceback"][0]


def test_echo_is_what_is_kept():
    heard, outs = [], []
    outputs = Outputs(Redactor({"TOKEN": "hunter2x"}), echo=lambda name, text: heard.append((name, text)))
    for piece in ("the token is hun", "ter2x\n"):
        out = {"output_type": "stream", "name": "stdout", "text": piece}
        outs.append(out)
        outputs.take(outs, out)
    outputs.end(outs)
    assert "".join(text for _, text in heard) == outs[0]["text"] == "the token is ‹env:TOKEN›\n"
