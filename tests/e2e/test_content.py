#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""compare, digest and the pictures of map: what the guest sees of images, whatever their filetype."""

import hashlib
import os
import random
import re
import signal
import subprocess
import xml.etree.ElementTree

import support
from support import MiB, Sandbox

BLOCK = 65536
TiB = 1 << 40


def sha(data):
    return hashlib.sha256(data).digest()


def digest(size, blocks):
    """docs/digest.md in Python. blocks: {number: bytes}; all others are zeros. Returns the root and {number: digest}."""
    zero = [sha(bytes(BLOCK))]
    count = max(1, -(-size // BLOCK))
    height = (count - 1).bit_length()
    for _ in range(height):
        zero.append(sha(zero[-1] + zero[-1]))
    leaves = {i: sha(data.ljust(BLOCK, b"\0")) for i, data in blocks.items() if data.strip(b"\0")}
    level = dict(leaves)
    for l in range(height):
        level = {i: sha(level.get(2 * i, zero[l]) + level.get(2 * i + 1, zero[l])) for i in {i // 2 for i in level}}
    root = sha(b"vbdkit.digest/1 %d 65536 %s\n" % (size, level.get(0, zero[height]).hex().encode()))
    return root.hex(), {i: d.hex() for i, d in leaves.items()}


def has_open(pid, path):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}") == path:
                return True
        except OSError:
            pass  # closed in between
    return False


class Content(Sandbox):
    def setUp(self):
        super().setUp()
        for program in ("qemu-img", "qemu-io"):
            if not support.have(program):
                support.skip(self.id(), f"needs {program}")

    def qemu(self, *argv):
        done = support.run(*argv)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def path(self, name):
        return os.path.join(self.storage, name)

    def raw(self, name, size, writes):
        """A raw image with bytes at places; holes elsewhere."""
        path = self.path(name)
        with open(path, "wb") as f:
            f.truncate(size)
            for at, data in writes.items():
                f.seek(at)
                f.write(data)
        return path

    def blocks_of(self, path):
        with open(path, "rb") as f:
            return {i: data for i, data in enumerate(iter(lambda: f.read(BLOCK), b"")) if data.strip(b"\0")}

    def peak(self, *words):
        """Runs vbd, returns its peak of resident memory in bytes."""
        pid = os.posix_spawn(support.VBD, self.argv(*words), self.environment(),
                             file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)])
        _, status, usage = os.wait4(pid, 0)
        self.assertIn(os.waitstatus_to_exitcode(status), (0, 1))
        return usage.ru_maxrss * 1024

    def test_digest_is_that_of_the_definition(self):
        chance = random.Random(1)
        for size in (512, BLOCK, BLOCK + 512, 3 * MiB, 20 * MiB + 1536):
            writes = {chance.randrange(size): chance.randbytes(chance.choice((1, 700, 70000))) for _ in range(12)}
            path = self.raw("raw", size, {at: data[:size - at] for at, data in writes.items()})
            root, leaves = digest(size, self.blocks_of(path))
            self.assertEqual(self.vbd("image", "digest", "--filetype", "raw", path).stdout, f"{root}  {path}\n")
            lines = [f"{d}  {i * BLOCK}\n" for i, d in sorted(leaves.items())]
            shown = self.vbd("image", "digest", "--blocks", "--filetype", "raw", path).stdout
            self.assertEqual(shown, "".join(lines) + f"{root}  {path}\n")

    def test_digest_does_not_depend_on_the_form(self):
        path = self.raw("raw", 64 * MiB, {0: b"boot", 5 * MiB: os.urandom(MiB), 40 * MiB - 7: b"x" * 100000})
        root = self.vbd("image", "digest", "--filetype", "raw", path).stdout[:64]
        full = self.path("full")
        support.run("cp", "--sparse=never", path, full)
        packed, plain, old = self.path("packed"), self.path("plain"), self.path("old")
        self.qemu("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", path, packed)
        self.qemu("qemu-img", "convert", "-S", "0", "-f", "raw", "-O", "qcow2", path, plain)
        self.qemu("qemu-img", "convert", "-f", "raw", "-O", "qcow", path, old)
        for filetype, other in (("raw", full), ("qcow", packed), ("qcow", plain), ("qcow", old)):
            self.assertEqual(self.vbd("image", "digest", "--filetype", filetype, other).stdout, f"{root}  {other}\n")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 63M 1", packed)
        self.assertNotEqual(self.vbd("image", "digest", "--filetype", "qcow", packed).stdout[:64], root)

    def test_digest_of_a_chain_and_its_policy(self):
        base = self.raw("base", 8 * MiB, {MiB: b"below" * 1000})
        top = self.path("top")
        self.qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top, "16M")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 512", "-c", "write -P 8 15M 512", top)
        self.fails(5, "image.reference", "image", "digest", "--filetype", "qcow", top)
        self.fails(5, "image.reference", "image", "compare", "--filetype", "qcow", top, "--filetype-b", "raw", base)
        self.write_config("references: below-allowed-dirs\n")
        flat = self.path("flat")
        self.qemu("qemu-img", "convert", "-f", "qcow2", "-O", "raw", top, flat)
        self.assertEqual(self.vbd("image", "digest", "--filetype", "qcow", top).stdout[:64],
                         self.vbd("image", "digest", "--filetype", "raw", flat).stdout[:64])
        self.assertEqual(self.vbd("image", "compare", "--filetype", "qcow", top, "--filetype-b", "raw", flat).stdout,
                         "identical\n")

    def test_digest_in_json(self):
        path = self.raw("raw", 2 * MiB, {BLOCK: b"a", 3 * BLOCK: b"b"})
        root, leaves = digest(2 * MiB, {1: b"a", 3: b"b"})
        expected = {"schema": "vbdkit.digest/1", "path": path, "filetype": "FT_RAW", "size": 2 * MiB, "block_size": BLOCK,
                    "data_blocks": 2, "digest": root, "in_use": None}
        self.assertEqual(self.vbd_json("image", "digest", "--filetype", "raw", path), expected)
        expected["blocks"] = [{"offset": i * BLOCK, "digest": d} for i, d in leaves.items()]
        self.assertEqual(self.vbd_json("image", "digest", "--blocks", "--filetype", "raw", path), expected)
        empty = self.raw("empty", MiB, {})
        self.assertEqual(self.vbd_json("image", "digest", "--blocks", "--filetype", "raw", empty)["blocks"], [])

    def test_a_list_that_breaks_off_says_so(self):
        """A compressed cluster is damaged after much that can be read."""
        raw = self.raw("raw", 1200 * MiB, {0: os.urandom(100 * MiB), 1100 * MiB: b"late" * 16384})
        path = self.path("qcow")
        self.qemu("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, path)
        with open(path, "r+b") as f:
            f.seek(40)  # the L1 table; its entry 2 is for what begins at 1 GiB
            f.seek(int.from_bytes(f.read(8), "big") + 2 * 8)
            f.seek((int.from_bytes(f.read(8), "big") & 0x00FFFFFFFFFFFE00) + (1100 - 1024) * 16 * 8)
            entry = int.from_bytes(f.read(8), "big")
            self.assertEqual(entry >> 62, 1)  # compressed; the place is in the low 54 bits where clusters have 64 KiB
            f.seek(entry & ((1 << 54) - 1))
            f.write(b"\xff" * 16)
        found = self.vbd_json("image", "digest", "--blocks", "--filetype", "qcow", path, rc=None)
        self.assertIsNone(found["digest"])
        self.assertTrue(found["error"]["id"].startswith(("qcow.", "image.")), found["error"])
        self.assertEqual(len(found["blocks"]), 1600)
        done = self.vbd("image", "digest", "--blocks", "--filetype", "qcow", path, rc=None)
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn(path, done.stdout)

    def test_a_reader_that_goes_away(self):
        path = self.raw("raw", 64 * MiB, {0: os.urandom(64 * MiB)})
        for output in ("text", "json"):
            vbd = subprocess.Popen(self.argv("image", "digest", "--blocks", "--filetype", "raw", path, "--output", output),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment())
            vbd.stdout.read(10)
            vbd.stdout.close()
            self.assertIn(b"output.failed", vbd.stderr.read() or b"output.failed")
            self.assertEqual(vbd.wait(), 1)
            vbd.stderr.close()

    def test_more_differences_than_can_be_listed(self):
        data = bytearray(40 * MiB)
        for at in range(0, len(data), 1024):
            data[at] = 1
        a, b = self.raw("a", len(data), {0: bytes(data)}), self.raw("b", len(data), {})
        found = self.vbd_json("image", "compare", "--filetype", "raw", a, b, rc=1)
        self.assertEqual((found["identical"], found["first"], found["bytes"]), (False, 0, 20 * MiB))
        self.assertEqual(found["granularity"], 1024)
        self.assertEqual(found["differences"], [{"start": 0, "length": 40 * MiB}])
        shown = self.vbd("image", "compare", "--filetype", "raw", a, b, rc=1).stdout
        self.assertEqual(shown, "first difference at 0\n20971520 bytes differ, in too many ranges to list: these are rounded "
                                "to 1024 bytes\nOFFSET  LENGTH\n0       41943040\n")

    def test_sixteen_tib_of_holes(self):
        """Time and memory follow the data."""
        if support.SANITIZED:
            support.skip(self.id(), "a sanitizer has memory of its own")
        small = self.raw("small", 64 * MiB, {MiB: b"x" * 10 * MiB})
        big = self.raw("big", 16 * TiB - 4096, {MiB: b"x" * 10 * MiB, 9 * TiB: b"far"})
        other = self.path("qcow")
        self.qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", other, "16T")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 120 1M 10M", "-c", f"write -P 120 {9 * TiB} 3", other)
        limit = self.peak("image", "info", "--filetype", "raw", small) + (os.cpu_count() + 1) * 4 * MiB
        for words in (("digest", "--filetype", "raw", big), ("digest", "--filetype", "qcow", other),
                      ("compare", "--filetype", "raw", big, "--filetype-b", "qcow", other)):
            self.assertLess(self.peak("image", *words), limit, words)
        number = 9 * TiB // BLOCK
        blocks = {16 + i: b"x" * BLOCK for i in range(160)} | {number: b"far"}
        self.assertEqual(self.vbd("image", "digest", "--filetype", "raw", big).stdout[:64], digest(16 * TiB - 4096, blocks)[0])

    def test_an_interrupt_ends_it(self):
        path = self.raw("raw", 600 * MiB, {0: os.urandom(300 * MiB), 300 * MiB: os.urandom(300 * MiB)})
        for words in (("digest", "--filetype", "raw", path), ("compare", "--filetype", "raw", path, path)):
            vbd = subprocess.Popen(self.argv("image", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=self.environment())
            while vbd.poll() is None and not has_open(vbd.pid, path):
                pass
            vbd.send_signal(signal.SIGINT)
            out, err = vbd.communicate(timeout=60)
            # While it works: an error. Just before: as the system does it.
            self.assertIn(vbd.returncode, (-signal.SIGINT,), err)
            self.assertEqual(out, b"")

    def test_picture_on_a_terminal(self):
        path = self.raw("raw", 64 * MiB, {0: b"x" * MiB, 4 * MiB - 4096: b"y", 32 * MiB: b"z" * (64 * 1024)})
        rows = {0: "#" * 16 + "." * 47 + "+", 8: "#" + "." * 63}
        grid = "".join(f"{f'{4 * i}.0 MiB' if i else '0 B':>10} {rows.get(i, '.' * 64)}\n" for i in range(16))
        expected = (f"{path}: 64.0 MiB, 1.1 MiB stored; a character is 64.0 KiB\n{grid}"
                    f"           . nothing stored, 62.9 MiB\n           # data (+ in part), 1.1 MiB\n")
        self.assertEqual(self.vbd("image", "map", "--picture", "--filetype", "raw", path).stdout, expected)
        coloured = self.vbd("image", "map", "--picture", "--color=always", "--filetype", "raw", path).stdout
        self.assertIn("\x1b[", coloured)
        self.assertEqual(re.sub(r"\x1b\[[0-9;]*m", "", coloured), expected)
        tiny = self.raw("tiny", 1000, {0: b"x" * 1000})
        self.assertIn("0 B ##\n", self.vbd("image", "map", "--picture", "--filetype", "raw", tiny).stdout)
        self.assertLess(len(self.vbd("image", "map", "--picture", "--filetype", "raw",
                                     self.raw("big", 15 * TiB, {TiB: b"x"})).stdout.splitlines()), 24)

    def test_picture_as_svg(self):
        path = self.raw("a <b> & \x01\"c\".img", 64 * MiB, {0: b"x" * MiB, 32 * MiB: b"z"})
        svg = self.path("map of it.svg")
        self.vbd("image", "map", "--svg", svg, "--filetype", "raw", path)
        top = xml.etree.ElementTree.parse(svg).getroot()
        self.assertEqual(top.tag, "{http://www.w3.org/2000/svg}svg")
        texts = [one.text for one in top.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn(path.replace("\x01", "\\x01"), texts)
        self.assertIn("data: 1.0 MiB", texts)
        colours = [one.get("fill") for one in top.iter("{http://www.w3.org/2000/svg}rect")]
        self.assertGreaterEqual(colours.count("#1f4e9c"), 3)  # two places and the legend
        os.truncate(path, 8 * MiB)
        self.vbd("image", "map", "--svg", svg, "--filetype", "raw", path)  # an older one of ours is replaced
        self.assertIn("8.0 MiB", xml.etree.ElementTree.parse(svg).getroot()[3].text)
        before = self.snapshot(self.storage)
        self.fails(4, "path.exists", "image", "map", "--svg", path, "--filetype", "raw", path)
        self.fails(2, "usage.value", "image", "map", "--svg", self.storage + "/", "--filetype", "raw", path)
        self.assertEqual(self.snapshot(self.storage), before)

    def test_picture_of_what_qcow2_knows(self):
        base = self.raw("base", 64 * MiB, {0: b"x" * 64 * MiB})
        top = self.path("top")
        self.qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top)
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 1M", "-c", "write -z 1M 1M", "-c", "write -c 2M 1M", top)
        self.write_config("references: below-allowed-dirs\n")
        shown = self.vbd("image", "map", "--picture", "--filetype", "qcow", top).stdout.splitlines()
        self.assertEqual(shown[1].split()[-1], "#" * 16 + "0" * 16 + "C" * 16 + "B" * 16)


if __name__ == "__main__":
    support.main()
