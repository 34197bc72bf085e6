"""The whole log, journal and Delta table, under power cuts and disks that fail: nothing acknowledged is lost, nothing is there twice"""
import json
from collections import Counter
from queue import SimpleQueue
from random import Random

import pytest
from torn_disk import TornDisk

from model_ops.predictions import log
from model_ops.predictions.journal import Journal
from model_ops.predictions.settle import settle

LIVES = 250  # of a log, each with two starts that end at a random operation
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")]


class Cut(TornDisk):
    "What `files.replacing` syncs by itself, without the disk's knowledge, counts as kept: the names in folders of days."
    def sync_folder(self, folder):
        super().sync_folder(folder)
        for day in folder.glob("day=*"): self.names_kept[day] = self._listed(day)


def record(k: int, dice: Random) -> bytes:
    return json.dumps({"kind": "prediction", "id": f"r{k}", "own": True, "at": 1_760_000_000_000_000 + 1000*k + 86_400_000_000*dice.randint(0, 1), "version": "1", "digest": "d", "contract": "c",
                       "from": "v2", "ms": 1.0, "rows": 1, "inputs": [{"a": 1}], "check": 5, "outputs": {"score": [0.5], "label": ["x"]}}).encode()


def live(root, dice: Random, asked: set, acknowledged: set) -> bool:
    "Write, rotate, settle, until the end or until the disk dies; whether it died."
    news = SimpleQueue()
    disk = Cut(root, dice, dies_at=dice.randint(1, 120), power=dice.random() < 0.7, failing=dice.choice((0.0, 0.0, 0.03)), died=lambda: news.put("off"))
    journal = Journal(root, "w0", segment_bytes=dice.choice((2000, 5000)), disk=disk)
    for _ in range(dice.randint(1, 12)):
        id = f"r{len(asked)}"
        journal.append([record(len(asked), dice)], news.put)
        asked.add(id)
        answer = news.get(timeout=30)
        if answer == "off": break
        if answer is None: acknowledged.add(id)
        try:
            if dice.random() < 0.3: settle(root, disk=disk)
        except SystemExit: break
        except OSError: pass  # the next turn tries again
    journal.close()
    disk.crash()
    return disk.gone


@pytest.mark.parametrize("fifty", range(LIVES//50))
def test_the_table_has_what_was_acknowledged_once(tmp_path, fifty):
    crashes = 0
    for life in range(50):
        root, dice, asked, acknowledged = tmp_path/str(life), Random(50*fifty + life), set(), set()
        root.mkdir()
        for _ in range(2):
            crashes += live(root, dice, asked, acknowledged)
            settle(root)
            found = Counter(log.read(root)["request_id"].to_list())
            assert set(found) <= asked and acknowledged <= set(found) and max(found.values(), default=1) == 1, f"life {life}"
    assert crashes > 20
