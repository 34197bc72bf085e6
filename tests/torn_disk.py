"""A disk that fails, dies and forgets: what POSIX allows after a crash, chosen at random.

It writes real files below one folder, so that everything that reads them works as usual, and keeps beside them what a power cut
would leave: of each file the bytes that were synced, of each folder the names. `crash` puts the folder into one of the states
that a real disk may be in. Files that others wrote there (a table's) count as unsynced until `sync_file` was called for them.
"""
import errno, os, shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from model_ops.predictions.disk import Disk

BLOCK = 64  # bytes that a dying disk keeps or drops as one; small, so that small records meet it


class Node:
    "A file: what is on the disk of it, and which ranges of its bytes are only in memory."
    def __init__(self): self.disk, self.dirty = bytearray(), []

    def flush(self, seen: bytes, keep: Callable[[], bool], size: int):
        "Take the dirty blocks of `seen` that `keep` says; the file is `size` long then."
        self.disk = self.disk[:size].ljust(size, b"\0")
        for begin, end in self.dirty:
            for a in range(begin - begin % BLOCK, min(end, size), BLOCK):
                a, b = max(a, begin), min(a - a % BLOCK + BLOCK, end, size)
                if a < b and keep(): self.disk[a:b] = seen[a:b].ljust(b - a, b"\0")


class TornDisk(Disk):
    def __init__(self, root: Path, random: Random, *, dies_at: int = 0, power: bool = True, failing: float = 0.0, died: Callable[[], object] = lambda: None):
        self.root, self.random = root, random
        self.dies_at, self.power, self.failing, self.died = dies_at, power, failing, died  # the operation at which it ends; with the power, or the process alone
        self.operations, self.gone, self.open = 0, False, {}
        self.nodes = {path: self._whole(path) for path in root.rglob("*") if path.is_file()}
        self.names_kept = {folder: self._listed(folder) for folder in (root, *root.rglob("*")) if folder.is_dir()}

    # what the process sees

    def folder(self, path):
        self._turn()
        super().folder(path)

    def create(self, path):
        self._turn(fails=errno.ENOSPC)
        handle = super().create(path)
        self.nodes[path], self.open[handle] = Node(), path
        return handle

    def write(self, handle, data):
        path, begin = self.open[handle], os.fstat(handle).st_size
        part = data[:self.random.randint(0, len(data))]
        def half():
            super(TornDisk, self).write(handle, part)
            self.nodes[path].dirty.append((begin, begin + len(part)))
        self._turn(half, fails=errno.ENOSPC)
        super().write(handle, data)
        self.nodes[path].dirty.append((begin, begin + len(data)))

    def sync(self, handle):
        self._turn(lambda: self._forget(self.open[handle]), fails=errno.EIO)
        self._sync(self.open[handle])

    def cut(self, handle, size):
        self._turn(fails=errno.EIO)
        super().cut(handle, size)
        node = self.nodes[self.open[handle]]
        node.dirty = [(a, min(b, size)) for a, b in node.dirty if a < size]

    def close(self, handle):
        self._turn()
        super().close(handle)
        del self.open[handle]

    def rename(self, old, new):
        self._turn(fails=errno.EIO)
        super().rename(old, new)
        self.nodes[new] = self.nodes.pop(old)
        for handle, path in self.open.items():
            if path == old: self.open[handle] = new

    def remove(self, path):
        self._turn(fails=errno.EIO)
        super().remove(path)

    def sync_file(self, path):
        self._turn(fails=errno.EIO)
        self.nodes.setdefault(path, Node()).dirty.append((0, path.stat().st_size))
        self._sync(path)

    def sync_folder(self, folder):
        self._turn(fails=errno.EIO)
        self.names_kept[folder] = self._listed(folder)

    # what the disk does

    def _turn(self, half=lambda: None, fails: int = 0):
        "One operation: it goes well, fails, or is the last one."
        if self.gone: raise SystemExit("the machine is off")
        self.operations += 1
        if self.operations == self.dies_at:
            if self.random.random() < 0.8: half()
            self.gone = True
            self.died()
            raise SystemExit("the machine goes off")
        if fails and self.random.random() < self.failing:
            half()
            raise OSError(fails, os.strerror(fails))

    def _sync(self, path):
        node, seen = self.nodes[path], path.read_bytes()
        node.flush(seen, lambda: True, len(seen))
        node.dirty = []

    def _forget(self, path):
        "A failed sync: some blocks are on the disk, and all count as if they were."
        node, seen = self.nodes[path], path.read_bytes()
        node.flush(seen, lambda: self.random.random() < 0.5, len(seen))
        node.dirty = []

    def _whole(self, path):
        node = Node()
        node.disk = bytearray(path.read_bytes())
        return node

    def _listed(self, folder): return {path.name: None if path.is_dir() else self.nodes.setdefault(path, self._unknown(path)) for path in folder.iterdir()}

    def _unknown(self, path):
        node = Node()
        node.dirty = [(0, path.stat().st_size)]
        return node

    def crash(self):
        "The process is dead; where the power went, its folder is as a disk may keep it."
        self.gone = True
        for handle in self.open: os.close(handle)  # as the system does: the locks are free
        self.open = {}
        if not self.power: return
        kept = {}
        self._kept(self.root, kept)
        for path in self.root.iterdir(): shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path, content in kept.items():
            if content is None: path.mkdir()
            else: path.write_bytes(content)

    def _kept(self, folder, kept):
        now, before = self._listed(folder), self.names_kept.get(folder, {})
        for name in sorted({*now, *before}):
            was, node = before.get(name, self), now.get(name, self)  # self: no such name
            if was is not node and self.random.random() < 0.5: node = was  # a change of names that was not synced
            if node is self: continue
            path = folder/name
            kept[path] = None if node is None else self._left(node, path)
            if node is None: self._kept(path, kept)

    def _left(self, node, path):
        seen = path.read_bytes() if path.exists() and self.nodes.get(path) is node else bytes(node.disk)
        if node.dirty or len(seen) != len(node.disk):
            share = self.random.choice((0.0, 0.5, 1.0))
            node.flush(seen, lambda: self.random.random() < share, self.random.choice((len(node.disk), len(seen), self.random.randint(*sorted((len(node.disk), len(seen)))))))
        return bytes(node.disk)
