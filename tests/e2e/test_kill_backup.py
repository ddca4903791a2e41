#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Export, import and removal of an export, killed before every system call that changes something, and refused at each
of them: one whole export stays, a killed import is undone, nothing is left."""

import hashlib
import os
import re
import time
import unittest

import support
from test_kill import CHANGES, Injected
from test_os import OsBox

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
        left = {p: s for p, s in self.snapshot().items() if ".vbdkit" not in p}
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


class ScriptInjected(OsBox, BackupInjected):
    """Through the scripts of a guest OS definition. Attaching and detaching in between, each run is long: every fifth
    call; those of the scripts' supervisors, processes of their own, are cut as well."""

    stride = 5

    def setUp(self):
        super().setUp()
        if support.SANITIZED:
            support.skip(self.id(), "the same steps as in the plain build, too slow under sanitizers")
        self.exports = os.path.join(self.dir, "export")
        self.write_config(f"export_dir: {self.exports}\nos_search_path: [{self.os_dir}]\nlog_dir: {self.logs}\n")
        self.vbd("instance", "remove", "--yes", "web1")
        self.define(export="gzip -1c $EXPORT_DEVICE", **{"import": "gzip -dc > $IMPORT_DEVICE"})
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "-o", "tiny", "--no-start", "web1")
        self.write("older")


class KillBackupScripts(ScriptInjected):
    def test_export(self):
        turn = [0]

        def after(_killed):
            turn[0] += 1
            with open(os.path.join(self.storage, "web1", "sda"), "rb") as f:
                f.seek(300000)
                self.assertEqual(f.read(5), b"older")
            if os.path.exists(self.exports):
                self.assertIn(self.shown(), ([], ["web1"], [".web1.new"], [".web1.new", "web1"]))
            # Whichever verb comes next settles it.
            if turn[0] % 2:
                self.vbd("instance", "reinstall", "--yes", "web1")
                self.settled("web1")
            self.vbd(*self.EXPORT)
            self.assertEqual(self.shown(), ["web1"])
            self.settled("web1")
        self.kill_everywhere(self.EXPORT, lambda: None, after, SETS)

    def test_import(self):
        self.vbd(*self.EXPORT)

        def after(_killed):
            done = self.vbd(*self.IMPORT, rc=None)
            self.assertIn(done.returncode, (0, 4), done.stderr)
            self.assertEqual(self.read(os.path.join(self.storage, "web2", "sda")), "older")
            self.settled("web2")
            self.vbd("instance", "remove", "--yes", "web2")
            self.assertEqual(self.names(), ["web1"])
        self.kill_everywhere(self.IMPORT, lambda: None, after, SETS)


class NoSpaceBackupScripts(ScriptInjected):
    def small(self, place, size):
        """A full filesystem is near at `place`."""
        image = os.path.join(self.dir, "small.img")
        with open(image, "wb") as f:
            f.truncate(size)
        self.assertEqual(support.run("mkfs.ext4", "-q", "-O", "^has_journal", image).returncode, 0)
        self.assertEqual(support.run("mount", "-o", "loop", image, place).returncode, 0)
        os.chmod(place, 0o700 if place == self.exports else 0o755)
        support.run("rmdir", place + "/lost+found")

    def test_export(self):
        self.define(export="cat /dev/urandom")  # until nobody wants any more
        os.mkdir(self.exports, 0o700)
        self.small(self.exports, 8 << 20)
        self.assertIn("sda.dump", self.fails(1, "io.no_space", *self.EXPORT))
        self.assertEqual(self.shown(), [])
        self.assertEqual(support.run("umount", self.exports).returncode, 0)
        deadline = time.time() + 10
        while self.our_loops() and time.time() < deadline:
            time.sleep(0.05)  # the kernel clears it by and by
        self.settled("web1")

    def test_import(self):
        self.vbd("instance", "remove", "--yes", "web1")
        self.small(self.storage, 12 << 20)
        self.vbd("cluster", "init")
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=64M", "-o", "tiny", "--no-start", "web1")
        self.vbd(*self.EXPORT)
        before = self.snapshot(self.storage)
        # Its dump is small, what is in it is not.
        self.define(**{"import": "cat > /dev/null; dd if=/dev/urandom of=$IMPORT_DEVICE bs=1M oflag=direct status=none"})
        self.assertIn("import failed", self.fails(1, "os.script", *self.IMPORT))
        self.assertEqual(self.snapshot(self.storage), before)
        # A script that does not look whether its bytes arrived: then it is seen when its device goes.
        self.define(**{"import": "cat > /dev/null; dd if=/dev/urandom of=$IMPORT_DEVICE bs=1M status=none; exit 0"})
        self.fails(1, "disk.lost_writes", *self.IMPORT)
        self.assertEqual(self.snapshot(self.storage), before)
        self.assertEqual(self.imported(), False)

    def test_each_write(self):
        self.stride = 1
        os.mkdir(self.exports, 0o700)
        self.assertEqual(self.refused(self.EXPORT), [])

    def refused(self, words):
        """Every write to the catalog and the export refused once: one error, no remains. Returns what was wrong."""
        wrong = []
        before = self.everything()
        for calls, error in (("renameat2", "ENOSPC"), ("renameat", "ENOSPC"), ("pwrite64", "ENOSPC"), ("ftruncate", "ENOSPC"), ("mkdirat", "ENOSPC")):
            for number in range(1, 100):
                done = self.strace(f"{calls}:error={error}:when={number}", *words)
                if done.returncode == 0:
                    self.vbd("backup", "remove", "--yes", "web1")
                    break
                errors = [line for line in done.stderr.splitlines() if line.startswith("vbd: error[")]
                if (done.returncode, len(errors)) != (1, 1) or self.everything() != before:
                    wrong.append((calls, number, done.stderr))
        return wrong

    def everything(self):
        """All that lies there, but for what only grows: the generation of a lease, notes of images that were checked."""
        left = {p: s for p, s in self.snapshot().items() if ".vbdkit" not in p
                and not p.startswith(("log", "run", "state/checked"))}
        for path in left:
            if path.endswith("/instance.yaml"):
                with open(os.path.join(self.dir, path)) as f:
                    left[path] = (left[path][0], re.sub(r"(?m)^(  generation: )[0-9]+$", r"\1N", f.read()))
        return repr(sorted(left.items()))


if __name__ == "__main__":
    unittest.main()
