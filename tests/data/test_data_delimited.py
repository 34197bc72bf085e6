"Delimited text: encodings, delimiters, headers, ragged rows; proved, or said, or refused with the line."
import csv
import gzip
import io
import os

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.data.delimited import _check_fields, read, scan
from model_ops.errors import DataError


def write(tmp_path, content, name="t.csv"):
    path = tmp_path/name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"])
@pytest.mark.parametrize("feed", ["\n", "\r\n", "\r"])
def test_every_mix_gives_the_same_table(tmp_path, delimiter, encoding, feed):
    text = feed.join(delimiter.join(row) for row in [["Größe", "Ort"], ["1", "Köln"], ["2", f'"a{delimiter}b ""c"""'], ["", "x"]]) + feed
    expected = {"Größe": [1, 2, None], "Ort": ["Köln", f'a{delimiter}b "c"', "x"]}
    for name, data in {"t.csv": text.encode(encoding), "t.csv.gz": gzip.compress(text.encode(encoding))}.items():
        frame, told = read(write(tmp_path, data, name))
        assert frame.to_dict(as_series=False) == expected, told
        assert scan(tmp_path/name)[0].collect().equals(frame)
    assert any("Windows-1252" in t and "'Größe'" in t for t in told) == (encoding in ("cp1252", "latin-1"))


def test_bytes_without_a_meaning_in_windows_1252_are_latin_1(tmp_path):
    frame, told = read(write(tmp_path, b"a\n\xe4\x81\n"))
    assert frame.item() == "ä\x81" and "Latin-1" in told[0]


@pytest.mark.parametrize("content, line, fields", [
    ("a,b\n1,2\n3\n", 3, 1), ("a,b\n1,2,3\n", 2, 3), ('a,b\n"x\ny",2\n\n3,4,5\n', 5, 3), ("a,b\r\n1,2\r\n3", 3, 1), ("a,b,c\n1,2\n,,\n", 2, 2),
])
def test_a_ragged_row_is_named_by_its_line(tmp_path, content, line, fields):
    with pytest.raises(DataError, match=f"line {line} has {fields} fields") as e: read(write(tmp_path, content))
    assert (e.value.line, e.value.fields) == (line, fields)


@pytest.mark.parametrize("content, words", [
    ("", "is empty"), ("\n \n", "is empty"), ("a,b\n", "has a header, but no rows"), ("a,b\n\n,\n", "has a header, but no rows"),
    ('a,b\n1,"2\n3,4\n', "begins in line 2 is never closed"), (b"PK\x03\x04rest", "Excel"), (b"%PDF-1.4", "PDF"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"), (gzip.compress(b"a,b\n1,2\n"*1000, mtime=0)[:-20], "cannot be decompressed"), ('a,b\n1, "2,3"\n', "line 2|cannot be parsed"),
])
def test_refused(tmp_path, content, words):
    with pytest.raises(DataError, match=words): read(write(tmp_path, content))
    with pytest.raises(DataError, match=words): scan(write(tmp_path, content))


def test_a_damaged_archive_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="Copy it again"): read(write(tmp_path, b"\x1f\x8b\x08\x00rubbish", "t.csv.gz"))


def test_names(tmp_path):
    frame, told = read(write(tmp_path, ' id ,,"two\nlines",\n1,x,3,\n2,y,4,\n'))
    assert frame.columns == ["id", "column_2", "two\nlines"]
    assert "Without a name in the header: column_2, column_4." in told and any("neither name nor values: column_4" in t for t in told)


def test_a_header_of_numbers_is_said(tmp_path):
    frame, told = read(write(tmp_path, "1,2\n3,4\n"))
    assert frame.columns == ["1", "2"] and any("although it holds numbers" in t for t in told)


def test_blank_rows_are_left_out_and_counted(tmp_path):
    frame, told = read(write(tmp_path, "a,b\n1,2\n\n,\n3,4\n\n"))
    assert frame.rows() == [(1, 2), (3, 4)] and "3 rows without any value were left out." in told


def test_a_single_column(tmp_path):
    frame, told = read(write(tmp_path, "text\nhello, world\nbye\n"))
    assert frame["text"].to_list() == ["hello, world", "bye"] and "one column" in told[0]


def test_decimal_commas_do_not_make_commas_the_delimiter(tmp_path):
    frame, _ = read(write(tmp_path, "a;b;c\n1,5;2,5;3,5\n4,5;5,5;6,5\n"))
    assert frame.rows() == [(1.5, 2.5, 3.5), (4.5, 5.5, 6.5)]


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    scratch = tmp_path/"scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    read(write(tmp_path, "a,b\n1,ä\n".encode("utf-16")))
    with pytest.raises(DataError): read(write(tmp_path, "a,b\n1\n".encode("utf-16")))
    assert os.listdir(scratch) == []


def test_a_lazy_table_is_read_in_pieces(tmp_path):
    path = write(tmp_path, "day;x\n" + "".join(f"{d:02}.03.2013;{i},5\n" for i, d in enumerate(list(range(1, 29))*500)))
    lazy, told = scan(path)
    assert lazy.select(pl.len(), pl.col("x").sum(), pl.col("day").max().dt.day()).collect(engine="streaming").row(0) == (14_000, sum(range(14_000)) + 7_000, 28)


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)


@settings(deadline=None, max_examples=80)
@given(st.integers(2, 4).flatmap(lambda k: st.lists(st.lists(FIELD, min_size=k, max_size=k), min_size=1, max_size=12)), st.sampled_from(",;\t|"), st.integers(1, 40))
def test_fields_are_counted_as_the_csv_module_counts_them(tmp_path_factory, rows, delimiter, chunk):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).writerows(rows)
    path = tmp_path_factory.mktemp("f")/"t.csv"
    path.write_text(text.getvalue(), newline="")
    records, empty = _check_fields(path, "t.csv", delimiter, len(rows[0]), size=chunk)
    assert records + empty == len(rows)
    with path.open("a", newline="") as f: f.write(delimiter.join("xxxxxxx"[:len(rows[0]) + 1]) + "\n")
    with pytest.raises(DataError) as e: _check_fields(path, "t.csv", delimiter, len(rows[0]), size=chunk)
    assert e.value.line == text.getvalue().count("\n") + 1 and e.value.fields == len(rows[0]) + 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.text("ab\n\";,", max_size=6), st.text("xyz'é", min_size=1, max_size=4)), min_size=1, max_size=12))
def test_texts_come_back_as_they_were_written(tmp_path_factory, rows):
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("left", "right"), *rows])
    path = tmp_path_factory.mktemp("f")/"t.csv"
    path.write_text(text.getvalue(), newline="")
    frame, told = read(path)
    assert [tuple(v or "" for v in row) for row in frame.rows()] == [(a.strip(), b) for a, b in rows], told


@pytest.mark.parametrize("content, columns, sentence", [
    ("sep=;\na;b;c\n1;2;3\n4;5;6\n", ["a", "b", "c"], "above the header was left out: 'sep=;'"),
    ("Report 2024\n\na;b;c\n1;2;3\n4;5;6\n", ["a", "b", "c"], "above the header was left out: 'Report 2024'"),
    ("Report;;\n;;\na;b;c\n1;2;3\n4;5;6\n", ["a", "b", "c"], "above the header was left out: 'Report;;'"),
    ("a,b\n1,2,\n4,5,\n", ["a", "b"], "Every row ends with a delimiter"),
    ("a,b,a,a\n1,2,3,4\n4,5,6,7\n", ["a", "b", "a_2", "a_3"], "has a name twice, so it was numbered: a_2, a_3"),
])
def test_what_exports_put_around_a_table_is_left_out_and_said(tmp_path, content, columns, sentence):
    path = write(tmp_path, content)
    frame, told = read(path)
    assert frame.columns == columns and frame["a"].to_list() == [1, 4] and any(sentence in t for t in told), told
    assert scan(path)[0].collect().equals(frame)


def test_the_line_of_a_ragged_row_counts_what_stands_above(tmp_path):
    with pytest.raises(DataError, match="line 106 has 2 fields"): read(write(tmp_path, "Report\n\nby me\n\na,b,c\n" + "1,2,3\n"*100 + "4,5\n"))
