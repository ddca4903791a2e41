#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""As test_kill.py, for the verbs that change the disks of an instance: killed before every system call that changes
something, and refused at each of them."""

import os
import subprocess

import support
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


class KillModify(Base):
    """All of the changes or none, and an adopted image is never lost."""

    def setUp(self):
        super().setUp()
        self.other = os.path.join(self.storage, "other.img")
        self.data = os.urandom(65536)

    def image(self):
        if not os.path.exists(self.other):
            with open(self.other, "wb") as f:
                f.write(self.data)

    def holds_data(self, path):
        return os.path.exists(path) and self.content(path) == self.data

    def test_modify(self):
        words = ("instance", "modify", "--yes", "--disk", "0:remove", "--disk", "add:size=2M", "--disk",
                 f"add:adopt={self.other}", "inst")

        def prepare():
            self.vbd(*self.ADD)
            self.image()

        def after(_killed):
            self.sound()
            disks = [(d["vdev"], d["size"]) for d in self.info()["disks"]]
            files = sorted(n for n in os.listdir(os.path.join(self.storage, "inst")) if not n.startswith(".vbdkit"))
            if disks == [("sda", MiB)]:
                self.assertTrue(self.holds_data(self.other))
                self.assertEqual(files, ["instance.yaml", "sda"])
            else:
                self.assertEqual(disks, [("sdb", 2 * MiB), ("sdc", 65536)])
                self.assertTrue(self.holds_data(self.path("sdc")))
                self.assertEqual(files, ["instance.yaml", "sdb", "sdc"])
            self.vbd("instance", "remove", "--yes", "inst")
        self.kill_everywhere(words, prepare, after, (test_kill.CHANGES,))

    def test_remove_finishes_what_a_killed_modify_left(self):
        words = ("instance", "modify", "--disk", "add:size=2M", "inst")

        def after(_killed):
            self.vbd("instance", "remove", "--yes", "inst")
            self.assertEqual(self.names(), [])
        self.kill_everywhere(words, lambda: self.vbd(*self.ADD), after, (test_kill.CHANGES,))

    def test_add_with_adopt(self):
        words = ("instance", "add", "-t", "file:", "--disk", f"0:adopt={self.other}", "--no-start", "inst")

        def after(_killed):
            done = self.vbd("instance", "remove", "--yes", "--keep-files", "inst", rc=None)
            self.assertIn(done.returncode, (0, 3), done.stderr)
            self.vbd("cluster", "verify", "--repair", rc=None)
            self.assertEqual(self.vbd_json("instance", "list")["instances"], [])
            taken = self.path("sda")
            self.assertTrue(self.holds_data(self.other) or self.holds_data(taken))
            if os.path.exists(taken):  # it was complete: an instance that is forgotten leaves its files
                os.unlink(taken)
            if os.path.isdir(os.path.dirname(taken)):
                os.rmdir(os.path.dirname(taken))
        self.kill_everywhere(words, self.image, after, (test_kill.CHANGES,))

    def test_register(self):
        copy = os.path.join(self.storage, "copy")
        self.vbd(*self.ADD)
        self.assertEqual(subprocess.run(["cp", "-a", os.path.dirname(self.path("sda")), copy]).returncode, 0)
        original = self.snapshot(os.path.join(self.storage, "inst"))
        with open(os.path.join(copy, "instance.yaml")) as f:
            text = f.read()

        def prepare():
            with open(os.path.join(copy, "instance.yaml"), "w") as f:
                f.write(text)

        def after(_killed):
            self.vbd("instance", "register", "--as", "second", copy)
            self.assertEqual(self.info("second")["directory"], copy)
            self.assertEqual(self.snapshot(os.path.join(self.storage, "inst")), original)
            os.unlink(os.path.join(self.state, "instances", "second.yaml"))
        self.kill_everywhere(("instance", "register", "--as", "second", copy), prepare, after, (test_kill.CHANGES,))


class NoSpaceDisks(Base):
    """One clear error, no remains, and the next command works."""

    CALLS = (("write", "ENOSPC"), ("pwrite64", "ENOSPC"), ("fsync", "EIO"), ("fdatasync", "EIO"), ("renameat2", "ENOSPC"),
             ("renameat", "ENOSPC"), ("ftruncate", "ENOSPC"), ("fallocate", "ENOSPC"))

    def traced(self, trace, inject, *words):
        # Not the children that look at directories: what they write goes into pipes.
        return subprocess.run(["strace", "-qq", "-o", trace, "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject,
                               *self.argv(*words)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                              env=self.environment())

    def refuse(self, words, check, all_calls=CALLS):
        """check(rc) after each refusal; rc 0: it went well all the same."""
        cut = 0
        for calls, error in all_calls:
            if support.SANITIZED and calls == "write":
                continue  # the sanitizers ask the kernel about memory with it

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
                return self.refused
            with self.subTest(calls=calls, error=error):
                cut += self.each_call(calls, once, least=0)  # not every verb makes all of them
        self.assertGreater(cut, len(all_calls) if self.stride == 1 else 0, f"{words}: hardly anything was cut")

    def test_grow(self):
        self.vbd(*self.ADD)
        size = [MiB]

        def check(_rc):
            self.sound()
            now = self.info()["disks"][0]["size"]
            self.assertIn(now - size[0], (0, MiB))
            size[0] = now
        self.refuse(("instance", "grow-disk", "inst", "0", "1M"), check)

    def test_a_removal_whose_end_fails_says_not_to_say_it_again(self):
        """The list has changed by then: the same number would be another disk."""
        said = 0
        for number in range(1, 20):
            self.vbd("instance", "add", "-t", "file:", "--disk", "0:size=1M", "--disk", "1:size=1M", "--no-start", "inst")
            done = self.strace(f"renameat2,renameat:error=EIO:when={number}", "instance", "modify", "--yes", "--disk",
                               "0:remove", "inst")
            left = len(self.info()["disks"])
            if self.refused and done.returncode == 1 and left == 1:
                said += 1
                self.assertIn("don't say this again", done.stderr)
            self.vbd("instance", "remove", "--yes", "inst")
            if not self.refused:
                break
        self.assertGreater(said, 0)

    def test_modify(self):
        self.vbd(*self.ADD)
        count = [1]

        def check(_rc):
            self.sound()
            disks = self.info()["disks"]
            self.assertIn(len(disks) - count[0], (0, 1))
            count[0] = len(disks)
            self.assertEqual(len([n for n in os.listdir(os.path.dirname(self.path("sda"))) if n.startswith("sd")]), count[0])
        self.refuse(("instance", "modify", "--disk", "add:size=1M", "inst"), check)

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

    def test_add_with_adopt(self):
        """Whatever is refused, the image is where it was, and nothing else is there."""
        other, data = os.path.join(self.storage, "other.img"), os.urandom(65536)
        with open(other, "wb") as f:
            f.write(data)
        before = self.snapshot(self.storage)

        def check(rc):
            # 1 and yet done: what could not be written was the answer.
            done = rc == 0 or self.vbd_json("instance", "list")["instances"]
            if done:
                self.assertEqual(self.content(self.path("sda")), data)
                self.vbd("instance", "remove", "--yes", "--keep-files", "inst")
                if not os.path.exists(other):
                    os.rename(self.path("sda"), other)
                else:
                    os.unlink(self.path("sda"))
                os.rmdir(os.path.join(self.storage, "inst"))
            left = {p: s for p, s in self.snapshot(self.storage).items() if ".vbdkit" not in p}
            self.assertEqual(left, before)
            self.assertEqual(self.vbd_json("instance", "list")["instances"], [])
        self.refuse(("instance", "add", "-t", "file:", "--disk", f"0:adopt={other}", "--no-start", "inst"), check,
                    (("write", "ENOSPC"), ("renameat2", "ENOSPC"), ("fdatasync", "EIO")))


if __name__ == "__main__":
    support.main()
