#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vbd image copy killed before every system call that changes something, and refused at each of them and at each
read: the target is whole or absent, the source as it was."""

import os
import subprocess

import support
from support import MiB
from test_copy import spill
from test_kill import CHANGES, OPENS, Injected

TARGETS = {"raw": "raw", "qcow": "qcow2", "qcow,compression=zlib": "qcow2"}


class Copying(Injected):
    needs_loops = False

    def setUp(self):
        super().setUp()
        if not support.have("qemu-img"):
            support.skip(self.id(), "needs qemu-img")
        self.source, self.target = os.path.join(self.storage, "source"), os.path.join(self.storage, "target")
        spill(self.source, 2 * MiB, seed=1, extents=4)
        with open(self.source, "rb") as f:
            self.before = f.read()

    def words(self, to):
        return ("image", "copy", "--filetype", "raw", self.source, "--to", "filetype=" + to, self.target)

    def assert_whole(self, form):
        done = support.run("qemu-img", "compare", "-q", "-f", "raw", "-F", form, self.source, self.target)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def assert_source(self):
        with open(self.source, "rb") as f:
            self.assertEqual(f.read(), self.before)


class KillCopy(Copying):
    def test_copy(self):
        for to, form in TARGETS.items():
            def after(_killed):
                self.assert_source()
                if not os.path.exists(self.target):
                    self.vbd(*self.words(to))
                self.assert_whole(form)
                os.unlink(self.target)
                # What the killed one left went with the copy that followed, or goes with the next one.
                self.vbd(*self.words(to))
                os.unlink(self.target)
                self.assertEqual(self.names(), ["source"])
            with self.subTest(to=to):
                self.kill_everywhere(self.words(to), lambda: None, after, (CHANGES + "," + OPENS,))


class RefusedCopy(Copying):
    def refuse_everywhere(self, calls, error, to, form):
        def once(template):
            done = self.strace(template.format("error=" + error), *self.words(to))
            self.assert_source()
            if done.returncode == 0:  # the call was one that may fail: it has another way
                self.assert_whole(form)
                os.unlink(self.target)
                return int(template.rsplit("=", 1)[1]) < 40
            if done.returncode == 127:
                return True  # the loader of programs was refused
            self.assertIn(done.returncode, (1, 3), f"{template}: {done.stderr}")
            self.assertEqual(done.stderr.count("vbd: error["), 1, f"{template}: {done.stderr}")
            if os.path.exists(self.target):  # only its name could not be made durable
                self.assertIn("error[io.failed]", done.stderr)
                self.assert_whole(form)
                os.unlink(self.target)
            self.assertEqual(self.names(), ["source"], f"{template}: {done.stderr}")
            return True
        self.each_call(calls, once)

    def test_copy(self):
        packed = "qcow,compression=zlib"
        for calls, error, targets in (("pread64", "EIO", ("raw", packed)), ("pwrite64", "ENOSPC", TARGETS),
                                      ("fallocate", "ENOSPC", ("raw",)), ("ftruncate", "ENOSPC", ("qcow",)),
                                      ("fsync", "EIO", ("raw",)), ("renameat2", "ENOSPC", ("raw",))):
            for to in targets:
                with self.subTest(calls=calls, error=error, to=to):
                    try:
                        self.refuse_everywhere(calls, error, to, TARGETS[to])
                    except AssertionError as e:
                        if "nothing was cut" not in str(e):
                            raise


if __name__ == "__main__":
    support.main()
