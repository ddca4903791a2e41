#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What check says of qcow2 images that were damaged by a seeded generator, beside qemu-img check: what QEMU calls
corrupt is refused, what it calls clean is taken, and lost clusters alone are lost clusters. The exceptions are listed
with their reasons. VBD_CORPUS_SEEDS: how many images of each kind (default 2)."""

import os
import random
import re
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import support
from support import Sandbox

SEEDS = int(os.environ.get("VBD_CORPUS_SEEDS", "2"))
OFFSET = 0x00fffffffffffe00
COPIED, PACKED = 1 << 63, 1 << 62

# name: (options of qemu-img create, snapshot, bitmap, compressed)
PARENTS = {
    "v2": ("compat=0.10,cluster_size=4k", False, False, False),
    "v3": ("cluster_size=64k", False, False, False),
    "small": ("cluster_size=512", False, False, False),
    "snapshot": ("cluster_size=4k", True, False, False),
    "snapshot-v2": ("compat=0.10,cluster_size=4k", True, False, False),
    "bitmap": ("cluster_size=4k", False, True, False),
    "extended": ("cluster_size=16k,extended_l2=on", False, False, False),
    "compressed": ("cluster_size=4k", False, False, True),
    "zstd": ("cluster_size=4k,compression_type=zstd", False, False, True),
    "packed-v2": ("compat=0.10,cluster_size=64k", False, False, True),
    **{f"rc{bits}": (f"cluster_size=4k,refcount_bits={bits}", False, False, False) for bits in (1, 2, 4, 8, 32, 64)},
}


class Image:
    """The tables of a small image, to be damaged one entry at a time."""

    def __init__(self, data):
        self.data = bytearray(data)
        self.version, = self.get(">I", 4)
        self.bits, = self.get(">I", 20)
        self.cluster = 1 << self.bits
        self.l1_size, self.l1 = self.get(">IQ", 36)
        self.table, self.table_clusters, self.snapshots, self.snapshot_at = self.get(">QIIQ", 48)
        self.order = self.get(">I", 96)[0] if self.version == 3 else 4
        self.extended = self.version == 3 and bool(self.get(">Q", 72)[0] & 16)
        self.entry = 16 if self.extended else 8

    def get(self, form, at):
        return struct.unpack_from(form, self.data, at)

    def put(self, form, at, *values):
        struct.pack_into(form, self.data, at, *values)

    def word(self, at):
        return self.get(">Q", at)[0]

    def l1_entries(self, table=None, size=None):
        table, size = table or self.l1, size or self.l1_size
        return [table + 8 * i for i in range(size) if self.word(table + 8 * i) & OFFSET]

    def l2_tables(self):
        return [self.word(at) & OFFSET for at in self.l1_entries()]

    def l2_entries(self, packed=None):
        found = []
        for table in self.l2_tables():
            for at in range(table, table + self.cluster, self.entry):
                if at + 8 > len(self.data):
                    break
                word = self.word(at)
                if word and (packed is None or bool(word & PACKED) == packed):
                    found.append(at)
        return found

    def blocks(self):
        return [at for at in range(self.table, self.table + self.table_clusters * self.cluster, 8) if self.word(at)]

    def refcount(self, cluster, value=None):
        bits = 1 << self.order
        per_block = self.cluster * 8 // bits
        block = self.word(self.table + 8 * (cluster // per_block))
        if not block:
            return 0
        index = cluster % per_block
        if bits >= 8:
            form = {8: ">B", 16: ">H", 32: ">I", 64: ">Q"}[bits]
            at = block + index * bits // 8
            if value is not None:
                self.put(form, at, min(value, (1 << min(bits, 63)) - 1))
            return self.get(form, at)[0]
        at, shift = block + index * bits // 8, index * bits % 8
        mask = (1 << bits) - 1
        if value is not None:
            self.data[at] = self.data[at] & ~(mask << shift) & 0xff | (min(value, mask) << shift)
        return self.data[at] >> shift & mask

    def used(self):
        return [c for c in range(len(self.data) // self.cluster) if self.refcount(c)]

    def somewhere(self, rng):
        """An offset that an entry should not have."""
        end = (len(self.data) + self.cluster - 1) // self.cluster * self.cluster
        places = [self.cluster, self.table, self.l1, end, end + self.cluster, 1 << 40, OFFSET & ~(self.cluster - 1),
                  self.cluster * rng.randrange(1, end // self.cluster)]
        places += [self.word(at) & OFFSET for at in self.blocks()] + self.l2_tables()
        places += [self.word(at) & OFFSET for at in self.l2_entries(packed=False)[:4]]
        if self.snapshots:
            places += [self.snapshot_at, self.word(self.snapshot_at)]
        return rng.choice(places)


def pick(rng, places):
    return rng.choice(places) if places else None


def refcount_zero(image, rng):
    image.refcount(rng.choice(image.used()), 0)


def refcount_high(image, rng):
    image.refcount(rng.choice(image.used()), 2 + rng.randrange(5))


def refcount_of_unused(image, rng):
    image.data += bytes(2 * image.cluster)
    image.refcount(len(image.data) // image.cluster - 1, 1 + rng.randrange(3))


def entry_changed(places):
    def change(image, rng):
        at = pick(rng, places(image))
        if at is None:
            return False
        word = image.word(at)
        kind = rng.randrange(6)
        if kind == 0:
            word ^= COPIED
        elif kind == 1:
            word = word & ~OFFSET | image.somewhere(rng)
        elif kind == 2:
            word |= 512 * rng.randrange(1, max(2, image.cluster // 512))
        elif kind == 3:
            word ^= 1 << rng.randrange(56, 63)
        elif kind == 4:
            word ^= 1 << rng.randrange(0, 9)
        else:
            word = 0
        image.put(">Q", at, word)
        return True
    return change


def entry_shared(places):
    def change(image, rng):
        found = places(image)
        if len(found) < 2:
            return False
        a, b = rng.sample(found, 2)
        image.put(">Q", a, image.word(b))
        return True
    return change


def packed_moved(image, rng):
    at = pick(rng, image.l2_entries(packed=True))
    if at is None:
        return False
    shift = 62 - (image.bits - 8)
    word = image.word(at)
    host, sectors = word & ((1 << shift) - 1), word >> shift & ((1 << (62 - shift)) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        host = len(image.data) + rng.randrange(1 << 20)
    elif kind == 1:
        host = image.somewhere(rng) + rng.randrange(512)
    elif kind == 2:
        sectors = (1 << (62 - shift)) - 1
    else:
        word |= COPIED
    image.put(">Q", at, word & (COPIED | PACKED) | sectors << shift | host & ((1 << shift) - 1))
    return True


def subclusters_changed(image, rng):
    if not image.extended:
        return False
    at = rng.choice(image.l2_entries())
    image.put(">Q", at + 8, image.word(at + 8) ^ 1 << rng.randrange(64))
    return True


def header_changed(image, rng):
    at, size = rng.choice([(8, 8), (16, 4), (20, 4), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 4), (60, 4), (64, 8)]
                          + ([(72, 8), (80, 8), (88, 8), (96, 4), (100, 4), (104, 4)] if image.version == 3 else []))
    form = ">Q" if size == 8 else ">I"
    value, = image.get(form, at)
    top = (1 << 8 * size) - 1
    value = rng.choice([value ^ 1 << rng.randrange(8 * size), 0, top, value + 1, max(value, 1) - 1, value + image.cluster,
                        image.somewhere(rng)]) & top
    image.put(form, at, value)


def extension_changed(image, rng):
    start = image.get(">I", 100)[0] if image.version == 3 else 72
    at = start + 4 * rng.randrange(8)
    value, = image.get(">I", at)
    image.put(">I", at, rng.choice([value ^ 1 << rng.randrange(32), 0, 0xffffffff, value + 1, 0xe2792aca, 0x23852875, 0x44415441])
              & 0xffffffff)


def snapshot_changed(image, rng):
    if not image.snapshots:
        return False
    at = image.snapshot_at + rng.choice([0, 4, 8, 12, 14, 36])
    value, = image.get(">I", at)
    image.put(">I", at, rng.choice([value ^ 1 << rng.randrange(32), 0, 0xffffffff, value + image.cluster]) & 0xffffffff)
    return True


def snapshot_entries(image):
    if not image.snapshots:
        return []
    table, size = image.get(">QI", image.snapshot_at)
    return image.l1_entries(table, size)


def bitmap_changed(image, rng):
    at = image.data.find(struct.pack(">II", 0x23852875, 24), 0, image.cluster)
    if at < 0:
        return False
    directory = image.word(at + 24)
    places = [at + 8, at + 16, at + 20, at + 24, at + 28] + [directory + i for i in (0, 4, 8, 12, 16, 20)]
    table = image.word(directory)
    where = rng.choice(places + [table, table + 4])
    value, = image.get(">I", where)
    image.put(">I", where, rng.choice([value ^ 1 << rng.randrange(32), 0, 0xffffffff, value + image.cluster]) & 0xffffffff)
    return True


def cut(image, rng):
    del image.data[rng.randrange(1, len(image.data)):]


KINDS = {
    "refcount-zero": refcount_zero, "refcount-high": refcount_high, "refcount-unused": refcount_of_unused,
    "l1": entry_changed(Image.l1_entries), "l1-shared": entry_shared(Image.l1_entries),
    "l2": entry_changed(Image.l2_entries), "l2-shared": entry_shared(Image.l2_entries),
    "block": entry_changed(Image.blocks), "block-shared": entry_shared(Image.blocks),
    "packed": packed_moved, "subclusters": subclusters_changed, "header": header_changed, "extension": extension_changed,
    "snapshot": snapshot_changed, "snapshot-l1": entry_changed(snapshot_entries), "bitmap": bitmap_changed, "cut": cut,
}


def verdict_of_qemu(path):
    """clean, leaks, corrupt; None: it can't say (it crashed, or gave no answer)."""
    try:
        done = subprocess.run(["qemu-img", "check", "-f", "qcow2", path], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=20)
    except subprocess.TimeoutExpired:
        return None
    return {0: "clean", 1: "corrupt", 2: "corrupt", 3: "leaks"}.get(done.returncode)


class Corpus(Sandbox):
    def setUp(self):
        super().setUp()
        for program in ("qemu-img", "qemu-io"):
            if not support.have(program):
                support.skip(self.id(), f"needs {program}")

    def tool(self, *words):
        done = support.run(*words)
        self.assertEqual(done.returncode, 0, f"{words}: {done.stdout} {done.stderr}")

    def parent(self, name):
        options, snapshot, bitmap, packed = PARENTS[name]
        path = os.path.join(self.dir, name)
        self.tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "1M")
        self.tool("qemu-io", "-f", "qcow2", "-c", "write -P 0x11 0 96k", "-c", "write -P 0x22 300k 40k", "-c", "write -z 128k 64k",
                  "-c", "write -P 0x33 900k 30k", path)
        if packed:
            plain = path + ".plain"
            os.rename(path, plain)
            self.tool("qemu-img", "convert", "-c", "-f", "qcow2", "-O", "qcow2", "-o", options, plain, path)
            self.tool("qemu-io", "-f", "qcow2", "-c", "write -P 0x44 600k 70k", path)
        if snapshot:
            self.tool("qemu-img", "snapshot", "-c", "one", path)
            self.tool("qemu-io", "-f", "qcow2", "-c", "write -P 0x55 16k 20k", path)
        if bitmap:
            self.tool("qemu-img", "bitmap", "--add", "-f", "qcow2", path, "bits")
            self.tool("qemu-io", "-f", "qcow2", "-c", "write -P 0x55 16k 20k", path)
        with open(path, "rb") as f:
            return f.read()

    def verdict_of_vbd(self, path):
        done = self.vbd("image", "check", "--filetype", "qcow", path, rc=None)
        return {0: "clean", 1: "leaks", 5: "refused", 6: "corrupt"}.get(done.returncode, f"exit {done.returncode}"), done

    def compare(self, name, path):
        """None where both say the same."""
        theirs = verdict_of_qemu(path)
        ours, done = self.verdict_of_vbd(path)
        if theirs is None and ours in ("corrupt", "refused"):
            return None
        if ours == theirs or (theirs == "corrupt" and ours == "refused") or self.excused(path, ours, theirs, done):
            os.unlink(path)
            return None
        return f"{name}: qemu-img check says {theirs}, vbd {ours}: {done.stdout[:300]}{done.stderr[:300]}"

    # Rules that QEMU does not have, by the reason that is told.
    STRICTER = {
        "qcow.data_file_hidden": "names a second file, which another reader may follow",
        "qcow.l1_beyond_eof": "QEMU reads a cut L1 table as zeros: what it led to is gone",
        "qcow.bitmaps_missing": "says of itself what is not so",
        "qcow.backing_length": "a backing file without a name",
        "qcow.backing_offset": "a backing file's name that lies in the header itself",
        "qcow.backing_name": "a name that can't be shown",
        "qcow.extension_duplicate": "two readers would take different ones",
        "qcow.polyglot": "another format as well",
        "qcow.header_length": "not a multiple of 8, as the format wants",
        "qcow.l2_reserved": "a zero flag in version 2, which has none",
    }

    def excused(self, path, ours, theirs, done):
        told = done.stdout + done.stderr
        if ours == "leaks" and theirs == "corrupt":
            return self.only_counts_too_high(path)
        return ours in ("corrupt", "refused") and any(reason in told for reason in self.STRICTER)

    def only_counts_too_high(self, path):
        """One reference, marked as the only one, but counted more often: the entry is right, and nobody is hurt."""
        done = support.run("qemu-img", "check", "-f", "qcow2", path)
        lines = [line for line in done.stderr.splitlines() if line]
        high = set()
        for line in lines:
            leak = re.fullmatch(r"Leaked cluster (\d+) refcount=(\d+) reference=1", line)
            if leak:
                high.add(int(leak.group(2)))
            wrong = re.fullmatch(r"ERROR OFLAG_COPIED .*entry=8[0-9a-f]+ refcount=(\d+)", line)
            if wrong and int(wrong.group(1)) not in high or not (leak or wrong or line.startswith("Leaked cluster")):
                return False
        return bool(high)

    def test_check_beside_qemu_img(self):
        jobs = []
        for name in PARENTS:
            data = self.parent(name)
            self.assertEqual(self.compare(name, os.path.join(self.dir, name)), None)
            for kind, damage in KINDS.items():
                for seed in range(SEEDS):
                    rng = random.Random(f"{name} {kind} {seed}")
                    image = Image(data)
                    if damage(image, rng) is False:
                        break
                    label = f"{name}.{kind}.{seed}"
                    with open(os.path.join(self.dir, label), "wb") as f:
                        f.write(image.data)
                    jobs.append(label)
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda label: self.compare(label, os.path.join(self.dir, label)), jobs))
        differ = [one for one in found if one]
        self.assertEqual(differ, [], f"{len(differ)} of {len(jobs)}:\n" + "\n".join(differ))


if __name__ == "__main__":
    support.main()
