#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Export, import and removal of an export, killed before every system call that changes something, and refused at each
of them: one whole export stays, a killed import is undone, nothing is left."""

import hashlib
import os
import unittest

import support
from test_kill import CHANGES, Injected

SETS = (CHANGES,)


class BackupInjected(Injected):
    EXPORT = ("backup", "export", "web1")
    IMPORT = ("backup", "import", "--src-dir", "web1", "web2")

    def setUp(self):
        super().setUp()
        self.exports = os.path.join(self.dir, "export")
        self.write_config(f"export_dir: {self.exports}\n")
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--disk", "1:size=1M", "--no-start", "web1")
        self.write("older")

    def write(self, text, name="web1"):
        with open(os.path.join(self.storage, name, "sda"), "r+b") as f:
            f.seek(300000)
            f.write(text.encode())

    @staticmethod
    def read(path):
        with open(path, "rb") as f:
            f.seek(300000)
            return f.read(5).decode()

    def shown(self):
        return sorted(n for n in os.listdir(self.exports) if n != ".vbdkit.lock")

    def imported(self):
        return "web2" in [i["name"] for i in self.vbd_json("instance", "list")["instances"]]


class KillBackup(BackupInjected):
    def test_export_over_an_older_one(self):
        def prepare():
            self.write("older")
            self.vbd(*self.EXPORT)
            self.write("newer")

        def after(_killed):
            folder = os.path.join(self.exports, "web1")
            listed = self.vbd_json("backup", "list")["backups"]
            self.assertEqual([(b["name"], b["problem"]) for b in listed], [("web1", None)])
            # The old one or the new one, and whole.
            self.assertIn(self.read(os.path.join(folder, "sda.raw")), ("older", "newer"))
            self.vbd(*self.IMPORT)
            self.vbd("instance", "remove", "--yes", "web2")
            self.vbd(*self.EXPORT)
            self.assertEqual(self.read(os.path.join(folder, "sda.raw")), "newer")
            self.assertEqual(self.shown(), ["web1"])
            self.assertEqual(sorted(os.listdir(folder)), ["config.ini", "sda.raw", "sdb.raw"])
        self.kill_everywhere(self.EXPORT, prepare, after, SETS)

    def test_import(self):
        self.vbd(*self.EXPORT)

        def after(_killed):
            done = self.vbd(*self.IMPORT, rc=None)
            self.assertIn(done.returncode, (0, 4), done.stderr)
            self.assertEqual(self.vbd_json("instance", "info", "web2")["state"], "stopped")
            self.assertEqual(self.read(os.path.join(self.storage, "web2", "sda")), "older")
            self.vbd("instance", "remove", "--yes", "web2")
            self.assertEqual(self.names(), ["web1"])
        self.kill_everywhere(self.IMPORT, lambda: None, after, SETS)

    def test_remove(self):
        def after(_killed):
            done = self.vbd("backup", "remove", "--yes", "web1", rc=None)
            self.assertIn(done.returncode, (0, 3), done.stderr)
            self.vbd(*self.EXPORT)
            self.assertEqual(self.shown(), ["web1"])
        self.kill_everywhere(("backup", "remove", "--yes", "web1"), lambda: self.vbd(*self.EXPORT), after, SETS)


class NoSpaceBackup(BackupInjected):
    CALLS = (("write", "ENOSPC"), ("pwrite64", "ENOSPC"), ("fsync", "EIO"), ("renameat2", "ENOSPC"),
             ("renameat", "ENOSPC"), ("ftruncate", "ENOSPC"), ("mkdirat", "ENOSPC"))

    def everything(self):
        left = {p: s for p, s in self.snapshot().items() if not p.endswith(".vbdkit.lock")}
        return hashlib.sha256(repr(sorted(left.items())).encode()).hexdigest()

    def refuse_everywhere(self, words, undo):
        before = self.everything()
        for calls, error in self.CALLS:
            if support.SANITIZED and calls == "write":
                continue  # the sanitizer's own runtime probes memory with it

            def once(template):
                done = self.strace(template.format("error=" + error), *words)
                errors = [line for line in done.stderr.splitlines() if line.startswith("vbd: error[")]
                if done.returncode == 0:
                    undo()
                    return False
                # The error's own write may be the one that fails.
                said = 0 if calls == "write" and not done.stderr else 1
                self.assertEqual((done.returncode, len(errors)), (1, said), f"{template}: {done.stderr}")
                if errors and "error[output.failed]" in errors[0]:
                    undo()
                self.assertEqual(self.everything(), before, f"{template}: {done.stderr}")
                return True
            with self.subTest(calls=calls, error=error):
                number = 1
                while once(f"{calls}:{{}}:when={number}"):
                    number += 1

    def test_export(self):
        os.mkdir(self.exports, 0o700)
        self.refuse_everywhere(self.EXPORT, lambda: self.vbd("backup", "remove", "--yes", "web1"))

    def test_import(self):
        self.vbd(*self.EXPORT)
        self.refuse_everywhere(self.IMPORT, lambda: self.vbd("instance", "remove", "--yes", "web2"))


if __name__ == "__main__":
    unittest.main()
