"The diary: no values, no waiting, no full disk; and answers to the usual questions."
import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops.errors import DataError
from model_ops.serve.diary import LONGEST, MOST, Diary, entries, errors, slow
from model_ops.serve.problem import TITLES, Problem


def _files(folder): return sorted((folder/"diary").glob("*.jsonl"))


def _lines(folder): return [json.loads(line) for file in _files(folder) for line in file.read_text().splitlines()]


def _refusal(**more): return Problem(**{**dict(status=422, type="value-of-another-type", wrong="Column 'age', row 3: 'SECRET' cannot be read as integer.", column="age", rule="type", row=3), **more})


@pytest.mark.parametrize(("access", "kinds"), [("trouble", ["answered", "refused", "started"]), ("all", ["answered", "answered", "refused", "started"]), ("off", ["started"])], ids=["trouble", "all", "off"])
def test_access_says_which_requests_have_a_line(tmp_path, access, kinds):
    diary = Diary(tmp_path, "w0", access=access, slow_ms=100)
    diary.event("started", version="7")
    diary.answered("quick", "v2", 1, "7", 0.0, 0.01, 0.08, 0.099)
    diary.answered("slow", "v2", 1, "7", 0.0, 0.01, 0.09, 0.1)
    diary.refused(_refusal(), "refused", "v2", 0.001)
    diary.close()
    assert sorted(line["kind"] for line in _lines(tmp_path)) == kinds
    assert slow(tmp_path).rows["id"].to_list() == ([] if access == "off" else ["slow"])


def test_a_line_says_who_where_and_how_long(tmp_path):
    diary = Diary(tmp_path, "w0")
    diary.answered("a-1", "grpc", 20, "7", 0.001, 0.002, 0.3, 0.303)
    diary.refused(_refusal(), "a-2", "v2", 0.0005)
    diary.close()
    first, second = _lines(tmp_path)
    assert datetime.fromisoformat(first.pop("at")).tzinfo is not None and first == {"kind": "answered", "id": "a-1", "protocol": "grpc", "status": 200, "rows": 20, "version": "7", "slow": True, "ms": {"total": 303, "queue": 1, "predict": 2, "log": 300}, "worker": "w0"}
    second.pop("at")
    assert second == {"kind": "refused", "id": "a-2", "protocol": "v2", "status": 422, "type": "value-of-another-type", "column": "age", "rule": "type", "row": 3, "ms": {"total": 0.5}, "worker": "w0"}


@settings(deadline=None, max_examples=30)
@given(status=st.sampled_from(sorted(TITLES)), named=st.booleans(), row=st.one_of(st.none(), st.integers(0, 9)), caused=st.booleans())
def test_no_value_is_written_unless_asked_for(tmp_path_factory, status, named, row, caused):
    for values in (False, True):
        folder = tmp_path_factory.mktemp("diary")
        problem = Problem(status, "some-type", "Column 'age': 'SECRET' is none.", "Not SECRET.", "Send no SECRET.", column="age" if named else "SECRET", rule="type" if named else "", row=row)
        if caused: problem.__cause__ = ValueError("could not convert SECRET")
        diary = Diary(folder, "w0", values=values)
        diary.refused(problem, "id", "invocations", 0.1)
        diary.close()
        assert ("SECRET" in _files(folder)[0].read_text()) == values


def test_a_mistake_of_our_own_says_where_it_happened(tmp_path):
    problem = Problem(500, "server-mistake", "The model could not be asked.")
    try: {}["nothing"]
    except KeyError as e: problem.__cause__ = e
    diary = Diary(tmp_path, "w0")
    diary.refused(problem, "id", "v2", 0.1)
    diary.close()
    cause = _lines(tmp_path)[0]["cause"]
    assert cause.startswith("KeyError at test_serve_diary.py:") and "nothing" not in cause and "/" not in cause
    assert errors(tmp_path).rows["cause"][0] == cause


@pytest.mark.parametrize("id", ["x" * 5000, "\ud800", 'quote " and \n newline', "\x00", "😀"], ids=["long", "surrogate", "newline", "zero", "emoji"])
def test_whatever_a_client_calls_its_request_stays_one_line(tmp_path, id):
    diary = Diary(tmp_path, "w0")
    diary.refused(_refusal(), id, "v2", 0.1)
    diary.close()
    lines = _lines(tmp_path)
    assert len(lines) == 1 and len(lines[0]["id"]) <= LONGEST + 1 and errors(tmp_path).rows.height == 1


def test_a_flood_is_cut_and_its_size_is_noted(tmp_path):
    diary = Diary(tmp_path, "w0")
    with diary._writing:  # the disk is busy meanwhile
        for i in range(50_000): diary.refused(_refusal(), f"r-{i}", "v2", 0.0)
        diary.event("in charge", version="8")
    diary.close()
    lines = _lines(tmp_path)
    refused, cut = sum(line["kind"] == "refused" for line in lines), sum(line["lines"] for line in lines if line["kind"] == "cut")
    assert refused + cut == 50_000 and refused <= 10*MOST["refused"] and any(line["kind"] == "in charge" for line in lines)
    assert any("lines were cut" in sentence for sentence in errors(tmp_path).sentences)


def test_files_stay_small_and_few(tmp_path):
    (tmp_path/"diary").mkdir()
    (tmp_path/"diary"/"2001-01-01-w0-000000.jsonl").write_text("")
    (tmp_path/"diary"/"2001-01-01-w1-000000.jsonl").write_text("")
    diary = Diary(tmp_path, "w0", file_bytes=1000, files=3)
    for i in range(60):
        diary.refused(_refusal(), f"r-{i}", "v2", 0.0)
        diary.flush()
    diary.close()
    own = [f for f in _files(tmp_path) if "-w0-" in f.name]
    assert len(own) == 3 and all(f.stat().st_size < 1500 for f in own) and (tmp_path/"diary"/"2001-01-01-w1-000000.jsonl").exists(), "another worker's files are left alone"
    assert [line["id"] for line in _lines(tmp_path)][-1] == "r-59"


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path):
    (tmp_path/"diary").write_text("a file where a folder should be")
    diary = Diary(tmp_path, "w0")
    diary.event("started")
    diary.flush()
    assert diary.trouble.startswith("The diary cannot be written") and diary.lost == 1
    (tmp_path/"diary").unlink()
    diary.event("in charge")
    diary.close()
    assert diary.trouble == "" and [line["kind"] for line in map(json.loads, filter(None, _files(tmp_path)[0].read_text().splitlines()))] == ["in charge"]


def test_a_torn_line_is_passed_over(tmp_path):
    diary = Diary(tmp_path, "w0")
    for i in range(3): diary.refused(_refusal(), f"r-{i}", "v2", 0.0)
    diary.close()
    content = _files(tmp_path)[0].read_bytes()
    _files(tmp_path)[0].write_bytes(content[:-30])
    assert [e["id"] for e in entries(tmp_path)] == ["r-0", "r-1"]


FULL = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
from model_ops.serve.diary import Diary, entries
diary = Diary(Path(sys.argv[1]), "w0")
for i in range(20): diary.event("tick", number=i)
diary.flush()
assert diary.trouble and diary.lost == 20
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
diary.event("tick", number=20)
diary.close()
print([e["number"] for e in entries(Path(sys.argv[1]))])
"""


def test_after_a_full_disk_the_next_line_begins_anew(tmp_path):
    said = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    numbers = json.loads(said.stdout or "[]")
    assert numbers and numbers[-1] == 20 and numbers[:-1] == list(range(len(numbers) - 1)) and len(numbers) < 20, said.stderr


def test_threads_may_note_at_once(tmp_path):
    diary = Diary(tmp_path, "w0", access="all")
    threads = [threading.Thread(target=lambda t=t: [diary.answered(f"{t}-{i}", "v2", 1, "7", 0, 0, 0, 0) for i in range(500)]) for t in range(4)]
    for t in threads: t.start()
    for _ in range(20): diary.flush()
    for t in threads: t.join()
    diary.close()
    assert len({line["id"] for line in _lines(tmp_path)}) == 2000


def test_since_leaves_out_what_is_older(tmp_path):
    diary = Diary(tmp_path, "w0")
    diary.refused(_refusal(), "r", "v2", 0.0)
    diary.close()
    hour, now = timedelta(hours=1), datetime.now(UTC)
    assert errors(tmp_path, now - hour).rows.height == 1 and errors(tmp_path, now + hour).rows.height == 0
    assert errors(tmp_path, (now - hour).replace(tzinfo=None).isoformat()).rows.height == 1, "a time without a zone is one of UTC"
    assert errors(tmp_path, "2001-01-01").rows.height == 1 and errors(tmp_path, "2999-01-01").rows.height == 0
    with pytest.raises(DataError, match="is no time"): list(entries(tmp_path, "yesterday"))


def _written(folder, *lines):
    (folder/"diary").mkdir(exist_ok=True)
    (folder/"diary"/"2025-03-01-w0-000000.jsonl").write_text("".join(json.dumps({"worker": "w0", **line}) + "\n" for line in lines))
    return folder


def _answer(minute, i, **ms):
    ms = {"queue": 1.0, "predict": 1.0, "log": 1.0, **ms}
    return {"at": f"2025-03-01T14:{minute:02}:00.000Z", "kind": "answered", "id": f"{minute}-{i}", "protocol": "v2", "rows": 1, "version": "7", "slow": True, "ms": {"total": sum(ms.values()), **ms}}


def test_slow_answers_are_explained(tmp_path):
    folder = _written(tmp_path, *(_answer(3, i, log=300.0 + i) for i in range(9)), *(_answer(m, 0, queue=400.0) for m in (10, 20, 30)), {**_answer(40, 0, log=999.0), "slow": False})
    found = slow(folder, n=4)
    assert found.sentences[0] == "12 answers were slow; the slowest took 402 ms (request 30-0)."
    assert found.sentences[1].startswith("9 waited mostly for the log. ") and found.sentences[2].startswith("3 waited mostly for their turn. ")
    assert found.sentences[3] == "9 of them came within one minute, at 14:03 UTC on 2025-03-01."
    assert found.rows["id"].to_list() == ["30-0", "20-0", "10-0", "3-8"] and "waited mostly" in found._repr_html_() and "30-0" in found.text()
    assert slow(tmp_path, since="2025-03-02").sentences == ["No slow answer is in the diary."]


def test_refusals_are_counted_by_kind_over_all_workers(tmp_path):
    for name in ("w0", "w1"):
        diary = Diary(tmp_path, name)
        for i in range(10): diary.refused(_refusal(), f"{name}-{i}", "v2", 0.0)
        diary.refused(Problem(413, "too-many-rows", "20,000 rows.", "At most 10,000."), f"{name}-x", "invocations", 0.0)
        diary.event("trouble", why="The ledger is out of reach.")
        diary.event("trouble over", why="")
        diary.close()
    found = errors(tmp_path)
    assert found.rows.select("times", "status", "type", "column", "rule").rows() == [(20, 422, "value-of-another-type", "age", "type"), (2, 413, "too-many-rows", None, None)]
    assert found.sentences == ["22 requests were refused.", "20 with 422: The rows break the contract.", "2 with 413: The request is too large.", "Most often to blame: age (type, 20).", "Trouble of the server (2 times): The ledger is out of reach."]


def test_an_empty_folder_has_nothing_to_tell(tmp_path):
    assert slow(tmp_path).sentences == ["No slow answer is in the diary."] and errors(tmp_path).sentences == ["No refusal is in the diary."]


def test_what_is_shown_is_escaped(tmp_path):
    folder = _written(tmp_path, {**_answer(1, 0), "id": "<script>alert(1)</script>"})
    assert "<script>" not in slow(folder)._repr_html_()
