#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""As test_kill.py, for the verbs that change the disks of an instance: killed before every system call that changes
something, and refused at each of them."""

import os
import subprocess
import unittest

from support import MiB
import test_kill


class Base(test_kill.Injected):
    ADD = ("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start", "inst")

    def path(self, file, name="inst"):
        return os.path.join(self.storage, name, file)

    def info(self, name="inst"):
        return self.vbd_json("instance", "info", name)

    def content(self, path):
        with open(path, "rb") as f:
            return f.read()

    def sound(self):
        """The catalog and the images say the same, once what a killed run left is settled."""
        verified = self.vbd_json("cluster", "verify", "--repair", rc=None)
        self.assertEqual(verified["left"], 0, verified)


class KillGrow(Base):
    GROW = ("instance", "grow-disk", "inst", "0", "1M")

    def setUp(self):
        super().setUp()
        self.vbd(*self.ADD)
        with open(self.path("sda"), "r+b") as f:
            f.write(b"guest data")

    def grown_by(self, killed, size):
        """Repeating a killed command brings its goal; never twice the amount."""
        if killed:
            state = self.info()["state"]
            self.assertIn(state, ("stopped", "interrupted"))
            if state == "interrupted" or os.stat(self.path("sda")).st_size == size:
                self.vbd(*self.GROW)
        sizes = (os.stat(self.path("sda")).st_size, self.info()["disks"][0]["size"])
        self.assertEqual(sizes[0], sizes[1])
        self.assertIn(sizes[0], (size, size + MiB))
        self.assertEqual(self.content(self.path("sda"))[:10], b"guest data")
        self.sound()
        return sizes[0]

    def test_attached(self):
        disk = self.logical_id(self.path("sda"))
        node = self.vbd("disk", "attach", disk).stdout.strip()
        self.size = MiB

        def after(killed):
            self.size = self.grown_by(killed, self.size)
            with open(node, "rb") as f:
                self.assertEqual(f.seek(0, os.SEEK_END), self.size)
        self.kill_everywhere(self.GROW, lambda: None, after)
        self.vbd("disk", "detach", disk)

    def test_qcow(self):
        self.vbd("instance", "add", "-t", "file:driver=blktap,filetype=qcow", "--disk", "0:size=1M", "--no-start", "q")
        sizes = [MiB]

        def after(_killed):
            self.sound()
            sizes.append(self.info("q")["disks"][0]["size"])
            self.assertIn(sizes[-1] - sizes[-2], (0, MiB))
        self.kill_everywhere(("instance", "grow-disk", "q", "0", "1M"), lambda: None, after, (test_kill.CHANGES,))


class KillActivate(Base):
    def setUp(self):
        super().setUp()
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--disk", "1:size=1M", "--no-start",
                 "inst")

    def settle(self, _killed):
        self.vbd("instance", "activate-disks", "inst")
        self.assertEqual(len(self.our_loops()), 2)
        self.vbd("instance", "deactivate-disks", "inst")
        self.assert_nothing_left()
        self.sound()

    def test_activate(self):
        self.kill_everywhere(("instance", "activate-disks", "inst"), lambda: None, self.settle)

    def test_deactivate(self):
        self.kill_everywhere(("instance", "deactivate-disks", "inst"), lambda: self.vbd("instance", "activate-disks", "inst"),
                             self.settle)


class NoSpaceDisks(Base):
    """One clear error, no remains, and the next command works."""

    CALLS = (("write", "ENOSPC"), ("pwrite64", "ENOSPC"), ("fsync", "EIO"), ("fdatasync", "EIO"), ("renameat2", "ENOSPC"),
             ("renameat", "ENOSPC"), ("ftruncate", "ENOSPC"), ("fallocate", "ENOSPC"))

    def strace(self, inject, *words):
        # Not the children that look at directories: what they write goes into pipes.
        return subprocess.run(["strace", "-qq", "-o", "/dev/null", "-e", "inject=" + inject, *self.argv(*words)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                              env=self.environment())

    def refuse(self, words, check):
        """check(rc) after each refusal; rc 0: it went well all the same."""
        for calls, error in self.CALLS:
            def once(template):
                done = self.strace(template.format("error=" + error), *words)
                errors = [line for line in done.stderr.splitlines() if line.startswith("vbd: error[")]
                self.assertIn(done.returncode, (0, 1), f"{template}: {done.stderr}")
                if "error[output.failed]" not in done.stderr:
                    self.assertEqual(len(errors), done.returncode, f"{template}: {done.stderr}")
                try:
                    check(done.returncode)
                except AssertionError as e:
                    raise AssertionError(f"refused at {template}: {e}\n{done.stderr}") from e
                return done.returncode != 0 or template.endswith(("when=1", "when=2", "when=3"))
            with self.subTest(calls=calls, error=error):
                self.each_call(calls, once)

    def test_grow(self):
        self.vbd(*self.ADD)
        size = [MiB]

        def check(_rc):
            self.sound()
            now = self.info()["disks"][0]["size"]
            self.assertIn(now - size[0], (0, MiB))
            size[0] = now
        self.refuse(("instance", "grow-disk", "inst", "0", "1M"), check)

    def test_grow_qcow(self):
        self.vbd("instance", "add", "-t", "file:driver=blktap,filetype=qcow", "--disk", "0:size=1M", "--no-start", "inst")
        size = [MiB]

        def check(_rc):
            self.sound()
            self.vbd("image", "check", "--filetype", "qcow", self.path("sda"))
            now = self.info()["disks"][0]["size"]
            self.assertIn(now - size[0], (0, MiB))
            size[0] = now
        self.refuse(("instance", "grow-disk", "inst", "0", "1M"), check)


if __name__ == "__main__":
    unittest.main()
