#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""map, check and resize of images, beside qemu-img."""

import json
import os
import struct

import support
from support import MiB, Sandbox


class Images(Sandbox):
    def setUp(self):
        super().setUp()
        for program in ("qemu-img", "qemu-io"):
            if not support.have(program):
                support.skip(self.id(), f"needs {program}")

    def qemu(self, *argv):
        done = support.run(*argv)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def make(self, name, *options, size="64M", writes=()):
        path = os.path.join(self.storage, name)
        self.qemu("qemu-img", "create", "-q", *options, path, size)
        for write in writes:
            self.qemu("qemu-io", "-f", options[1], "-c", write, path)
        return path

    def content(self, pieces):
        """What must agree between two maps, whatever the borders: for each MiB, is there data, and where does it lie."""
        seen = {}
        for piece in pieces:
            for at in range(piece["start"] // 65536, (piece["start"] + piece["length"]) // 65536):
                seen[at] = (piece["data"], piece["depth"] if piece["data"] else 0,
                            piece["offset"] + at * 65536 - piece["start"] if piece["data"] and "offset" in piece else None)
        return seen

    def assert_map(self, path, filetype, qemu_format):
        ours = self.vbd_json("image", "map", "--filetype", filetype, path)
        self.assertEqual(ours["schema"], "vbdkit.map/1")
        self.assertEqual(ours["extents"][0]["start"], 0)
        for one, two in zip(ours["extents"], ours["extents"][1:]):
            self.assertEqual(one["start"] + one["length"], two["start"])
        theirs = json.loads(self.qemu("qemu-img", "map", "-f", qemu_format, "--output=json", path))
        self.assertEqual(self.content(ours["extents"]), self.content(theirs))
        return ours["extents"]

    def test_map_agrees_with_qemu_img(self):
        raw = self.make("raw", "-f", "raw", writes=["write 1M 2M", "write 10M 64k"])
        self.assert_map(raw, "raw", "raw")
        qcow = self.make("qcow", "-f", "qcow2", writes=["write 1M 2M", "write -z 4M 1M", "write 62M 128k"])
        self.assert_map(qcow, "qcow", "qcow2")
        packed = os.path.join(self.storage, "packed")
        self.qemu("qemu-img", "convert", "-c", "-f", "qcow2", "-O", "qcow2", qcow, packed)
        self.assertTrue(any(piece["compressed"] for piece in self.assert_map(packed, "qcow", "qcow2")))

    def test_map_as_text(self):
        path = os.path.join(self.storage, "raw")
        self.vbd("image", "create", "--filetype", "raw", path, "1M")
        self.assertEqual(self.vbd("image", "map", "--filetype", "raw", path).stdout,
                         f"OFFSET  LENGTH   KIND  AT  FILE\n0       1048576  hole  -   {path}\n")

    def test_map_reads_a_chain_where_policy_allows_it(self):
        base = self.make("base", "-f", "qcow2", size="32M", writes=["write 0 1M", "write 31M 1M"])
        middle = self.make("middle", "-f", "qcow2", "-b", base, "-F", "qcow2", writes=["write 2M 1M"])
        top = self.make("top", "-f", "qcow2", "-b", middle, "-F", "qcow2", writes=["write 0 512k"])
        self.fails(5, "image.reference", "image", "map", "--filetype", "qcow", top)
        self.write_config("references: below-allowed-dirs\n")
        extents = self.assert_map(top, "qcow", "qcow2")
        self.assertEqual({piece["depth"] for piece in extents if piece["data"]}, {0, 1, 2})
        # Outside of the allowed directories, without a format, in a circle: refused.
        outside = os.path.join(self.dir, "outside")
        self.qemu("qemu-img", "create", "-q", "-f", "qcow2", outside, "32M")
        self.qemu("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", outside, "-F", "qcow2", base)
        self.fails(5, "image.reference", "image", "map", "--filetype", "qcow", top)
        self.qemu("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", top, "-F", "qcow2", base)
        self.fails(5, "image.reference", "image", "map", "--filetype", "qcow", top)
        self.qemu("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "", base)
        with open(middle, "r+b") as f:  # the header extension that names the format becomes one to ignore
            header = f.read(65536)
            at = header.index(struct.pack(">I", 0xE2792ACA))
            f.seek(at)
            f.write(struct.pack(">I", 0x12345678))
        self.fails(5, "image.reference", "image", "map", "--filetype", "qcow", top)

    def test_check_and_repair(self):
        path = self.make("qcow", "-f", "qcow2", writes=["write 0 1M"])
        self.assertEqual(self.vbd("image", "check", "--filetype", "qcow", path).stdout, f"{path}: clean\n")
        with open(path, "r+b") as f:
            f.seek(48)  # the refcount table; its first entry is the block that counts cluster 40, unused
            block = struct.unpack(">Q", (f.seek(struct.unpack(">Q", f.read(8))[0]), f.read(8))[1])[0]
            f.seek(block + 2 * 40)
            f.write(b"\0\1")
        os.truncate(path, 41 * 65536)
        before = self.snapshot(self.storage)
        found = self.vbd_json("image", "check", "--filetype", "qcow", path, rc=1)
        self.assertEqual((found["errors"], found["leaks"]), (0, 1))
        self.vbd("--dry-run", "image", "check", "--repair=leaks", "--filetype", "qcow", path, rc=1)
        self.assertEqual(self.snapshot(self.storage), before)
        self.vbd("image", "check", "--repair=leaks", "--filetype", "qcow", path)
        self.qemu("qemu-img", "check", "-f", "qcow2", path)

    def test_check_of_damage(self):
        path = self.make("qcow", "-f", "qcow2", writes=["write 0 1M"])
        with open(path, "r+b") as f:
            f.seek(48)
            table = struct.unpack(">Q", f.read(8))[0]
            f.seek(table)
            block = struct.unpack(">Q", f.read(8))[0]
            f.seek(block + 2 * 8)  # a data cluster that nothing counts
            f.write(b"\0\0")
        found = self.vbd_json("image", "check", "--filetype", "qcow", path, rc=6)
        self.assertGreater(found["errors"], 0)
        self.assertTrue(found["reason"].startswith("qcow."))
        self.vbd("image", "check", "--repair=leaks", "--filetype", "qcow", path, rc=6)
        self.vbd("image", "check", "--repair=all", "--filetype", "qcow", path)
        self.qemu("qemu-img", "check", "-f", "qcow2", path)

    def test_compare(self):
        raw = self.make("raw", "-f", "raw", writes=["write -P 1 1M 3M", "write -P 2 40M 1M"])
        qcow = os.path.join(self.storage, "qcow")
        self.qemu("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow)
        self.assertEqual(self.vbd("image", "compare", "--filetype", "raw", raw, "--filetype-b", "qcow", qcow).stdout,
                         "identical\n")
        for write in ("write -P 3 2M 512", "write -P 3 2098176 512", "write -P 4 50M 64k", "write -P 0 1M 4k"):
            self.qemu("qemu-io", "-f", "qcow2", "-c", write, qcow)
        found = self.vbd_json("image", "compare", "--filetype", "raw", raw, "--filetype-b", "qcow", qcow, rc=1)
        expected = [(1 * MiB, 4096), (2 * MiB, 512), (2 * MiB + 1024, 512), (50 * MiB, 65536)]
        self.assertEqual([(d["start"], d["length"]) for d in found["differences"]], expected)
        shown = self.vbd("image", "compare", "--filetype", "qcow", qcow, "--filetype-b", "raw", raw, rc=1).stdout
        self.assertTrue(shown.startswith(f"first difference at {MiB}\nOFFSET"), shown)

    def test_compare_of_different_sizes(self):
        small, large = self.make("small", "-f", "raw", size="1M"), self.make("large", "-f", "raw", size="2M")
        self.vbd("image", "compare", "--filetype", "raw", small, large)
        self.qemu("qemu-io", "-f", "raw", "-c", "write -P 1 2096640 512", large)
        found = self.vbd_json("image", "compare", "--filetype", "raw", small, large, rc=1)
        self.assertEqual(found["differences"], [{"start": 2 * MiB - 512, "length": 512}])

    def test_hostile_header_is_named(self):
        path = self.make("qcow", "-f", "qcow2")
        with open(path, "r+b") as f:
            f.seek(36)
            f.write(struct.pack(">I", 0x7FFFFFFF))  # l1_size
        for verb in ("info", "map", "check"):
            self.assertIn("[qcow.", self.vbd("image", verb, "--filetype", "qcow", path, rc=6).stderr)

    def test_resize(self):
        for filetype, qemu_format in (("raw", "raw"), ("qcow", "qcow2")):
            path = self.make("disk." + filetype, "-f", qemu_format, writes=["write -P 7 63M 1M"])
            self.vbd("image", "resize", "--filetype", filetype, path, "100M")
            self.assertEqual(self.vbd_json("image", "info", "--filetype", filetype, path)["virtual_size"], 100 * MiB)
            self.qemu("qemu-io", "-f", qemu_format, "-c", "read -P 7 63M 1M", "-c", "read -P 0 64M 36M", path)
            before = self.snapshot(self.storage)
            self.fails(2, "image.would_shrink", "image", "resize", "--filetype", filetype, path, "10M")
            self.fails(2, "usage.size", "image", "resize", "--filetype", filetype, path, "100")
            self.vbd("--dry-run", "image", "resize", "--shrink", "--filetype", filetype, path, "10M")
            self.assertEqual(self.snapshot(self.storage), before)
            self.vbd("image", "resize", "--shrink", "--filetype", filetype, path, "10M")
            self.assertEqual(self.vbd_json("image", "info", "--filetype", filetype, path)["virtual_size"], 10 * MiB)
            self.vbd("image", "check", "--filetype", filetype, path)

    def test_resize_of_an_instances_disk(self):
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start", "web")
        self.fails(5, "image.listed", "image", "resize", "--filetype", "raw",
                   os.path.join(self.storage, "web", "sda"), "2M")


class Beside(Sandbox):
    needs_loops = True

    def test_readers_work_beside_an_attached_disk(self):
        path = os.path.join(self.storage, "sda")
        self.vbd("image", "create", "--filetype", "raw", path, "1M")
        disk = self.logical_id(path)
        self.vbd("disk", "attach", disk)
        self.vbd("image", "info", "--filetype", "raw", path)
        self.vbd("image", "map", "--filetype", "raw", path)
        self.fails(4, "image.in_use", "image", "check", "--filetype", "raw", path)
        self.fails(4, "image.in_use", "image", "resize", "--filetype", "raw", path, "2M")
        self.vbd("disk", "detach", disk)
        self.assert_nothing_left()


if __name__ == "__main__":
    support.main()
