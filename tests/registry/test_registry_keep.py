"""verify finds what is not as it was; clean takes nothing that anybody names, and nothing while somebody puts it there."""
import json, os, shutil, threading, time
import pytest
from hypothesis import given, settings as drawn, strategies as st
from model_ops import files
from model_ops.errors import LedgerError, ParameterError
from model_ops.registry.apply import alone
from model_ops.registry.keep import Cleaned, Inventory, age, clean, verify
from test_registry_apply import Book

class Shelf(Book):
    "A workbook with a store of stand-ins."
    def put(self, weights: str, number: bool = True) -> str:
        self.train(weights)
        digest = self.store.put(self.root/"package")
        if number: self.ledger.register(digest)
        return digest
    def charge(self, digest: str): self.ledger.append("promote", after=(h.seq if (h := self.ledger.head()) else 0), champion=digest, challenger=digest, who="ci", why="better")
    def verify(self) -> Inventory: return verify(self.settings, store=self.store)
    def clean(self, older_than="90d", **more) -> Cleaned: return clean(older_than, self.settings, store=self.store, **more)
    def old(self, days=400):
        for place in self.settings.store.iterdir(): os.utime(place, (time.time() - days*86_400,)*2)

@pytest.fixture
def shelf(tmp_path): return Shelf(tmp_path/"a book")

def test_looking_creates_nothing(shelf):
    found = shelf.verify()
    assert found.outcome == "sound" and found.packages == [] and "empty" in found.summary and shelf.clean().removed == []
    assert not shelf.settings.store.exists() and not shelf.ledger.file.exists()

def test_all_is_found_out_and_named(shelf):
    first, second, third, fourth = (shelf.put(w, w != "4") for w in "1234")
    shelf.charge(first)
    assert shelf.verify().outcome == "sound" and "1 of them is named by nobody" in shelf.verify().summary
    (shelf.settings.store/first/"data"/"weights").write_text("torn")
    shutil.rmtree(shelf.settings.store/third)
    found = shelf.verify()
    assert [(p.digest, p.version, p.named, p.state) for p in found.packages] == [(first, 1, "in charge", "damaged"), (second, 2, "registered", "sound"), (third, 3, "registered", "missing"), (fourth, None, "by nobody", "sound")]
    assert found.outcome == "damaged" and "The package in charge, version 1" in found.summary and "2 of 4" in found.summary
    assert first[:12] in found.text() and "damaged" in found.__html__() and Inventory.from_json(found.to_json()) == found

def test_only_what_nobody_names_goes_and_only_when_it_is_old(shelf):
    charged, kept, opponent, pinned, here, nobodys = (shelf.put(w, w in "12") for w in "123456")
    shelf.charge(charged)
    shelf.ledger.append("keep", after=1, champion=charged, challenger=kept, opponent=opponent, who="ci", why="no gain")
    files.write(shelf.root/"opponent"/"pin.json", json.dumps({"opponent": pinned, "earlier": []}))
    files.write(shelf.root/"package"/"manifest.json", json.dumps({"digest": here}))
    assert shelf.clean().removed == [] and "Nothing to remove" in shelf.clean().summary
    shelf.old()
    dry = shelf.clean(dry_run=True)
    assert [p.digest for p in dry.removed] == [nobodys] and len(shelf.store.digests()) == 6 and "would go" in dry.summary
    assert shelf.clean("500d").removed == []
    done = shelf.clean()
    assert [p.digest for p in done.removed] == [nobodys] and nobodys not in shelf.store.digests() and done.stays == 5 and done.size == dry.size > 0
    assert shelf.verify().outcome == "sound" and Cleaned.from_json(done.to_json()) == done and nobodys[:12] in done.text()

def test_leftovers_of_cut_off_commands_go(shelf):
    shelf.charge(shelf.put("1"))
    for name in (".0123456789ab.x.tmp", ".restore.y.tmp"): files.write(shelf.settings.store/name/"package"/"weights", "half")
    assert len(shelf.verify().leftovers) == 2 and shelf.clean().leftovers == []
    shelf.old()
    assert len(shelf.clean().leftovers) == 2 and len(list(shelf.settings.store.iterdir())) == 1

def test_without_its_ledger_a_store_is_left_alone(shelf):
    for w in "12": shelf.put(w, False)
    shelf.old()
    with pytest.raises(LedgerError, match="names no package, but the store holds 2"): shelf.clean()
    shelf.ledger.file.write_bytes(os.urandom(9000))
    with pytest.raises(LedgerError, match="damaged"): shelf.clean()
    assert len(shelf.store.digests()) == 2

def test_nothing_is_taken_between_the_store_and_the_ledger(shelf):
    shelf.charge(shelf.put("1"))
    second = shelf.put("2", False)
    shelf.old()
    done = []
    with alone(shelf.store):
        cleaner = threading.Thread(target=lambda: done.append(shelf.clean()))
        cleaner.start()
        cleaner.join(.3)
        assert cleaner.is_alive() and not done
        shelf.ledger.register(second)
    cleaner.join()
    assert done[0].removed == [] and second in shelf.store.digests()

@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5d", "90 days", "1y", "9999999d", None])
def test_odd_ages_are_refused(text):
    with pytest.raises(ParameterError, match="90d"): age(text)

@drawn(max_examples=10, deadline=None)
@given(named=st.sets(st.sampled_from("12345"), min_size=1), cut=st.sampled_from(["0h", "36h", "2w"]))
def test_whatever_is_named_stays(tmp_path_factory, named, cut):
    shelf = Shelf(tmp_path_factory.mktemp("any")/"book")
    digests = {w: shelf.put(w, w in named) for w in "12345"}
    (shelf.root/"package").rename(shelf.root/"away")
    shelf.old()
    assert {p.digest for p in shelf.clean(cut).removed} == {d for w, d in digests.items() if w not in named}
    assert set(shelf.store.digests()) == {digests[w] for w in named} and shelf.verify().outcome == "sound"
