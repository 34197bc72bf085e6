"Secrets: each form, each way of cutting a stream, and what must stay as it is."
import base64
import html
import json
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_ops.errors import ParameterError
from model_ops.workbook.redact import RedactedStream, Redactor, redact_notebook

values = st.text(st.characters(codec="utf-8"), min_size=4, max_size=40).filter(lambda v: v.strip() and len(set(v)) > 2 and not v.startswith("env:"))


@settings(deadline=None, max_examples=60)
@given(values, st.text(max_size=20), st.text(max_size=20))
def test_no_form_of_a_value_survives(value, before, after):
    redact = Redactor({"CANARY": value})
    for shown in (value, repr(value), json.dumps(value), json.dumps(json.dumps(value)), html.escape(value), urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value), repr({"password": [value]})):
        hidden = redact.text(f"{before} {shown} {after}")
        assert value not in hidden.replace("‹env:CANARY›", "") or value in f"{before}  {after}"
        assert redact.text(hidden) == hidden


@settings(deadline=None, max_examples=60)
@given(values.filter(lambda v: len(v.encode()) >= 12), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_of_the_value_inside_other_data(value, before, after):
    encoded = base64.b64encode(before + value.encode() + after).decode()
    hidden = Redactor({"CANARY": value}).text(encoded)
    assert "‹env:CANARY›" in hidden and len(hidden.replace("‹env:CANARY›", "")) <= len(encoded) - len(value.encode()) + 4


@settings(deadline=None, max_examples=100)
@given(st.data(), st.lists(values, min_size=1, max_size=3))
def test_cutting_a_stream_changes_nothing(data, secrets):
    redact = Redactor({f"CANARY_{i}": v for i, v in enumerate(secrets)})
    whole = "".join(data.draw(st.lists(st.one_of(st.sampled_from(secrets), st.text("ab \n", max_size=6)), max_size=8)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    stream = RedactedStream(redact)
    pieces = [stream.add(whole[a:b]) for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert "".join(pieces) + stream.end() == redact.text(whole)


def test_a_secret_too_short_to_hide_is_refused_and_an_empty_one_hides_nothing():
    with pytest.raises(ParameterError, match="PIN has 3 characters"):
        Redactor({"PIN": "123"})
    assert Redactor({"EMPTY": ""}).text("as it was") == "as it was" == Redactor().text("as it was")


def test_marks_are_left_alone_even_where_they_hold_a_value():
    redact = Redactor({"DB_PASSWORD": "PASSWORD", "OTHER": "env:"})
    assert redact.text("env:DB_PASSWORD ‹env:DB_PASSWORD› PASSWORD") == "env:DB_PASSWORD ‹env:DB_PASSWORD› ‹env:DB_PASSWORD›"


def test_colours_inside_a_value():
    redact = Redactor({"CANARY": "hunter2x"})
    assert redact.text("\x1b[31mhun\x1b[0mter2x\x1b[0m") == "‹env:CANARY›"
    assert redact.text("\x1b[31mred\x1b[0m hunter2x") == "\x1b[31mred\x1b[0m ‹env:CANARY›"


def test_each_line_of_a_key_file():
    key = "-----BEGIN KEY-----\nMIIBOgIBAAJBAKj34\nGkxFhD90vcNLYLInF\n-----END KEY-----"
    hidden = Redactor({"KEY": key}).text("line 2 is MIIBOgIBAAJBAKj34, all is " + key)
    assert hidden == "line 2 is ‹env:KEY›, all is ‹env:KEY›"


def test_a_notebooks_structure_and_pictures_survive_a_secret_that_is_an_ordinary_word():
    picture = base64.b64encode(bytes(range(256)) * 4).decode()
    word = picture[40:44]  # four letters that the picture holds by chance
    notebook = {"metadata": {"kernelspec": {"name": "data"}}, "cells": [{"cell_type": "code", "metadata": {"tags": ["data"]}, "source": "x", "outputs": [
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": picture, "application/json": {word: ["data"]}}}]}]}
    redact_notebook(notebook, Redactor({"WORD": word, "OTHER": "data"}))
    output = notebook["cells"][0]["outputs"][0]
    assert output["data"]["image/png"] == picture and notebook["cells"][0]["metadata"]["tags"] == ["data"] and notebook["metadata"]["kernelspec"]["name"] == "data"
    assert output["data"]["application/json"] == {"‹env:WORD›": ["‹env:OTHER›"]}
