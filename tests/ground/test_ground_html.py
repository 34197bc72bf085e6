"""Markup is escaped by construction, whatever stands in names and values."""
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops.errors import DataError
from model_ops.html import el, name, number, table
from model_ops.records import Record

HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'; DROP TABLE", "x" * 10_000, "\u202eabc", "مرحبا", "]]>", "&lt;"]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.attributes += attrs


def tags(markup):
    parser = Tags()
    parser.feed(str(markup))
    return parser.found, parser.attributes


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text):
    found, attributes = tags(el("p", name(text), table([[text, 1.0]], [text, "n"]), title=text))
    assert set(found) <= {"p", "code", "bdi", "div", "table", "thead", "tbody", "tr", "th", "td"}
    assert not [a for a, _ in attributes if a.startswith("on")]


@settings(deadline=None, max_examples=100)
@given(st.text(), st.text())
def test_any_text_in_any_place(child, attribute):
    found, attributes = tags(el("p", child, title=attribute))
    assert found == ["p"] and [a for a, _ in attributes] == ["title"]


@pytest.mark.parametrize("value, shown", [(None, "–"), (float("nan"), "–"), (0, "0"), (1234567, "1,234,567"), (0.5, "0.500"), (123.456, "123.5"), (1234.5, "1,234"), (-0.25, "−0.250"), (0.00021, "0.00021"), (0.00001, "0.000010"), (1e-9, "1.0e−09"), (float("inf"), "∞"), (True, "yes")])
def test_numbers_as_people_write_them(value, shown):
    assert number(value) == shown


def test_a_newer_record_is_refused_and_an_older_one_is_upgraded():
    class New(Record):
        kind = "thing"
        version = 2
        size: int

        @classmethod
        def upgrade(cls, data, version):
            return {**data, "size": data["length"]}
    assert New.from_json('{"kind": "thing", "version": 1, "summary": "x", "length": 3}').size == 3
    assert New.from_json('{"kind": "thing", "version": 2, "summary": "x", "size": 3, "added_later": 1}').size == 3
    with pytest.raises(DataError, match="Update model_ops"):
        New.from_json('{"kind": "thing", "version": 3}')
