"""Many challengers on one test window are counted: the pin names those before this one, and stays as it is when nothing, or nothing new, happens."""
import json
import pytest
from hypothesis import given, settings as drawn, strategies as st
from model_ops import files
from model_ops.errors import PackageError
from model_ops.package.opponent import earlier
from model_ops.registry import apply as module, cycle
from test_registry_apply import Book

W1, W2 = "a1"*32, "b2"*32

class Small(Book):
    "A workbook without MLflow and DVC, whose runs are a package, a pin and a decision."
    def run(self, weights: str, window: str = W1, outcome: str = "keep", who: str | None = "ci") -> dict:
        files.write(self.root/"records"/"prepare.json", json.dumps({"windows": [{"name": "train", "digest": "0"*64}, {"name": "test", "digest": window}]}))
        digest = self.train(weights)
        files.write(self.root/"package"/"manifest.json", json.dumps({"digest": digest}))
        cycle.pin(self.settings, who)
        told = self.pin()
        self.decide(weights, told["opponent"], outcome)
        files.write(self.root/"package"/"manifest.json", json.dumps({"digest": digest}))
        if who: self.apply()
        return told
    def pin(self) -> dict: return json.loads((self.root/"opponent"/"pin.json").read_text())

def _small(root, patch):
    patch.setattr(module.mirror, "sync", lambda *words: [])
    patch.setattr(module.runs, "runs", lambda *words, **more: [])
    patch.setattr(module, "provenance", lambda root: {})
    patch.setattr(cycle, "_materialize", lambda digest, folder, settings: files.write(folder/"manifest.json", json.dumps({"digest": digest})))
    return Small(root)

@pytest.fixture
def small(tmp_path, monkeypatch): return _small(tmp_path/"book", monkeypatch)

def test_challengers_are_counted_by_window(small):
    first = small.run("1", outcome="promote")
    assert first == {"opponent": None, "earlier": []} and small.ledger.head().evidence["window"] == W1
    digests = [small.champion()]
    for weights in "234":
        told = small.run(weights)
        assert told == {"opponent": digests[0], "earlier": digests, "window": W1} and earlier(small.root/"opponent"/"pin.json") == len(digests)
        digests.append(small.ledger.head().challenger)
    assert small.run("5", W2)["earlier"] == []
    assert small.run("6", W1)["earlier"] == digests and small.ledger.judged(W2) == [small.ledger.entries()[-2].challenger]

def test_a_second_run_and_a_parameter_changed_back_change_nothing(small):
    small.run("1", outcome="promote")
    text = (small.root/"opponent"/"pin.json").read_bytes()
    small.run("2")
    second = (small.root/"opponent"/"pin.json").read_bytes()
    small.run("2")
    assert (small.root/"opponent"/"pin.json").read_bytes() == second and len(small.ledger.entries()) == 2
    small.run("3")
    small.run("1", outcome="promote")
    assert (small.root/"opponent"/"pin.json").read_bytes() == text and len(small.ledger.entries()) == 3
    small.run("2")
    assert (small.root/"opponent"/"pin.json").read_bytes() == second and len(small.ledger.entries()) == 3

@pytest.mark.parametrize("text", ['{"opponent": null}', '{"opponent": null}\n', '{"opponent":null,"earlier":[]}'])
def test_a_pin_that_says_the_same_is_not_written_anew(small, text):
    files.write(small.root/"opponent"/"pin.json", text)
    small.run("1")
    assert (small.root/"opponent"/"pin.json").read_text() == text and earlier(small.root/"opponent"/"pin.json") == 0

def test_a_clone_goes_on_counting(small, tmp_path, monkeypatch):
    for weights in "12": small.run(weights)
    told = small.run("3")
    clone = _small(tmp_path/"clone", monkeypatch)
    files.write(clone.root/"opponent"/"pin.json", json.dumps(told) + "\n")
    assert clone.run("3", who=None) == told and not clone.ledger.file.exists()
    assert clone.run("3") == told and clone.ledger.head().evidence["earlier"] == told["earlier"]
    assert clone.run("3") == told and len(clone.ledger.entries()) == 1
    assert clone.run("4")["earlier"] == [*told["earlier"], clone.ledger.entries()[0].challenger]
    assert clone.run("1")["earlier"] == [] and clone.run("2")["earlier"] == told["earlier"][:1]
    assert clone.run("5", W2)["earlier"] == []

def test_a_clone_that_adopts_its_champion_keeps_the_pin(small, tmp_path, monkeypatch):
    small.run("1", outcome="promote")
    told = small.run("2")
    clone = _small(tmp_path/"clone", monkeypatch)
    files.write(clone.root/"opponent"/"pin.json", json.dumps(told) + "\n")
    def adopt(digest, ledger, settings, who):
        ledger.register(digest)
        ledger.append("adopt", after=0, champion=digest, who=who, why="The checkout names it.")
    monkeypatch.setattr(cycle, "_adopt", adopt)
    assert clone.run("2", who=None) == told and not clone.ledger.file.exists()
    text = (clone.root/"opponent"/"pin.json").read_bytes()
    for _ in range(2):
        assert clone.run("2") == told and (clone.root/"opponent"/"pin.json").read_bytes() == text
    assert [e.kind for e in clone.ledger.entries()] == ["adopt", "keep"] and len(clone.run("3")["earlier"]) == 2

def test_a_pin_of_another_window_counts_nothing(small):
    files.write(small.root/"opponent"/"pin.json", json.dumps({"opponent": None, "earlier": ["c"*64], "window": W2}))
    assert small.run("1")["earlier"] == [] and "earlier" not in small.ledger.head().evidence

@pytest.mark.parametrize("text", ["{}", "[]", "", '{"opponent": 3}', '{"opponent": null, "earlier": 3}', '{"opponent": null, "earlier": [3]}'])
def test_a_broken_pin_is_named(tmp_path, text):
    (tmp_path/"pin.json").write_text(text)
    with pytest.raises(PackageError, match="pin.json"): earlier(tmp_path/"pin.json")

@drawn(max_examples=6, deadline=None)
@given(runs=st.lists(st.tuples(st.sampled_from("1234"), st.sampled_from([W1, W2]), st.sampled_from(["keep", "promote", "not enough data"])), max_size=5))
def test_whatever_is_run_a_repeated_run_says_the_same(tmp_path_factory, runs):
    "The pin of a challenger on a window never names itself, never changes once it was judged there, and grows by one with each new one."
    with pytest.MonkeyPatch.context() as patch:
        small = _small(tmp_path_factory.mktemp("any")/"book", patch)
        seen = {}
        for weights, window, outcome in runs:
            told = small.run(weights, window, outcome)["earlier"]
            judged, me = small.ledger.judged(window), files.digest_file(small.root/"package"/"data"/"weights")
            if me in judged: assert told == judged[:judged.index(me)] == seen.setdefault((weights, window), told)
