#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The disks of an instance that is there: grown, activated, changed, adopted."""

import os
import subprocess

import support
from support import GiB, MiB, Sandbox


class Disks(Sandbox):
    def add(self, *disks, template="file:driver=loop", name="inst"):
        words = [word for disk in disks for word in ("--disk", disk)]
        self.vbd("instance", "add", "-t", template, *words, "--no-start", name)

    def path(self, file, name="inst"):
        return os.path.join(self.storage, name, file)

    def disks(self, name="inst"):
        return self.vbd_json("instance", "info", name)["disks"]

    def sizes(self):
        return [d["size"] for d in self.disks()]


class Grow(Disks):
    def test_raw_by_number_and_name(self):
        self.add("0:size=1M", "1:size=2M")
        self.assertEqual(self.vbd("instance", "grow-disk", "inst", "0", "1M").stdout, "instance inst: disk 0 grown\n")
        self.assertEqual(self.vbd("instance", "grow-disk", "inst", "sdb", "1.5g").stdout, "instance inst: disk sdb grown\n")
        self.vbd("instance", "grow-disk", "inst", "disk/0", "4", "--absolute")
        self.assertEqual(self.sizes(), [4 * MiB, 2 * MiB + 3 * GiB // 2])
        self.assertEqual([os.stat(self.path(f)).st_size for f in ("sda", "sdb")], self.sizes())
        self.assertEqual(self.vbd("cluster", "verify").stdout, "no problems found\n")
        self.assertEqual(self.vbd("instance", "grow-disk", "inst", "0", "4M", "--absolute").stdout,
                         "instance inst: disk 0 has that size\n")

    def test_plan(self):
        self.add("0:size=1M")
        before = self.snapshot()
        self.assertEqual(self.vbd("instance", "grow-disk", "inst", "0", "1G", "--dry-run").stdout,
                         f"grow {self.path('sda')} (FT_RAW) from 1048576 to 1074790400 bytes\n")
        self.assertEqual(self.snapshot(), before)
        done = self.vbd_json("instance", "grow-disk", "inst", "0", "1G")
        self.assertEqual(done, {"schema": "vbdkit.plan/1", "dry_run": False,
                                "steps": [f"grow {self.path('sda')} (FT_RAW) from 1048576 to 1074790400 bytes"]})

    def test_qcow_keeps_its_data(self):
        if not support.have("qemu-io"):
            support.skip(self.id(), "needs qemu-io")
        self.add("0:size=64M", template="file:driver=blktap,filetype=qcow")
        image = self.path("sda")
        wrote = support.run("qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 1M 128k", image)
        self.assertEqual(wrote.returncode, 0, wrote.stderr)
        self.vbd("instance", "grow-disk", "inst", "0", "10G")
        self.assertEqual(self.sizes(), [10 * GiB + 64 * MiB])
        check = support.run("qemu-img", "check", "-f", "qcow2", image)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        read = support.run("qemu-io", "-f", "qcow2", "-c", "read -P 0x5a 1M 128k", "-c", "read -P 0 10G 64M", image)
        self.assertEqual(read.returncode, 0, read.stdout + read.stderr)
        self.assertNotIn("failed", read.stdout)

    def test_attached_loop_device_shows_it(self):
        if not support.can_make_loops():
            support.skip(self.id(), "needs root and loop devices")
        self.add("0:size=1M")
        node = self.vbd("disk", "attach", self.logical_id(self.path("sda"))).stdout.strip()
        plan = self.vbd("instance", "grow-disk", "inst", "0", "7M", "--dry-run").stdout
        self.assertEqual(plan, f"grow {self.path('sda')} (FT_RAW) from 1048576 to 8388608 bytes\n"
                               f"let the device of {self.path('sda')} show it\n")
        with open(node, "rb") as device:  # also while somebody has it open
            self.vbd("instance", "grow-disk", "inst", "0", "7M")
            self.assertEqual(device.seek(0, os.SEEK_END), 8 * MiB)
        self.assertEqual(self.sizes(), [8 * MiB])
        self.vbd("disk", "detach", self.logical_id(self.path("sda")))

    def test_attached_qcow_is_refused(self):
        if not support.can_make_loops() or not support.have("qemu-storage-daemon") or not os.path.exists("/dev/fuse"):
            support.skip(self.id(), "needs root, loop devices, qemu-storage-daemon and /dev/fuse")
        self.add("0:size=4M", template="file:driver=blktap,filetype=qcow")
        disk = self.logical_id(self.path("sda"), "FT_QCOW", "FD_BLKTAP")
        self.vbd("disk", "attach", disk)
        before = self.snapshot(self.storage)
        error = self.fails(4, "instance.grow_attached", "instance", "grow-disk", "inst", "0", "1M")
        self.assertIn("FD_BLKTAP can't let its device grow", error)
        self.assertEqual(self.snapshot(self.storage), before)
        self.vbd("disk", "detach", disk)
        self.vbd("instance", "grow-disk", "inst", "0", "1M")

    def test_in_use_by_another_program(self):
        if not support.have("qemu-io"):
            support.skip(self.id(), "needs qemu-io")
        self.add("0:size=1M")
        holder = subprocess.Popen(["qemu-io", "-f", "raw", self.path("sda")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            holder.stdout.read(1)  # its prompt: the image is open and locked
            before = self.snapshot(self.storage)
            self.fails(4, "image.in_use", "instance", "grow-disk", "inst", "0", "1M")
            self.assertEqual(self.snapshot(self.storage), before)
        finally:
            holder.communicate(b"quit\n")

    def test_refused(self):
        self.add("0:size=2M")
        before = self.snapshot(self.storage)
        for rc, error, words in (
            (2, "usage.size", ("0", "0")), (2, "usage.size", ("0", "x")), (2, "usage.size", ("0", "100b")),
            (2, "usage.size", ("0", "8388608t")), (2, "usage.size", ("0", "-1")),
            (2, "instance.would_shrink", ("0", "1M", "--absolute")), (2, "usage.size", ("0", "0", "--absolute")),
            (3, "instance.no_disk", ("1", "1M")), (3, "instance.no_disk", ("sdb", "1M")), (3, "instance.no_disk", ("", "1M")),
            (3, "instance.no_disk", ("99999999999999999999", "1M")),
        ):
            with self.subTest(words):
                self.fails(rc, error, "instance", "grow-disk", "inst", *words)
                self.assertEqual(self.snapshot(self.storage), before)
        self.fails(3, "instance.not_found", "instance", "grow-disk", "nosuch", "0", "1M")

    def test_warns_below_min_free(self):
        self.add("0:size=1M")
        self.write_config("min_free: 8388607T\n")
        done = self.vbd("instance", "grow-disk", "inst", "0", "1M")
        self.assertIn("free on its filesystem, below min_free", done.stderr)
        self.assertEqual(self.sizes(), [2 * MiB])


class Activate(Disks):
    needs_loops = True

    def test_there_and_back(self):
        self.add("0:size=1M", "1:size=2M,mode=ro")
        out = self.vbd("instance", "activate-disks", "inst").stdout
        nodes = [line.split(":")[2] for line in out.splitlines()]
        self.assertEqual(out, "".join(f"node1:disk/{i}:{node}\n" for i, node in enumerate(nodes)))
        self.assertEqual(sorted(nodes), sorted(node for node, _ in self.our_loops()))
        self.assertEqual([d["device"] for d in self.disks()], nodes)
        self.assertEqual([support.run("blockdev", "--getro", node).stdout for node in nodes], ["0\n", "1\n"])
        self.assertEqual(self.vbd("instance", "activate-disks", "inst").stdout, out)  # again: the same
        active = self.vbd_json("instance", "activate-disks", "inst")
        self.assertEqual(active, {"schema": "vbdkit.activated/1", "name": "inst", "node": "node1", "disks": [
            {"index": i, "logical_id": ["FD_LOOP", "FT_RAW", self.path(f)], "device": nodes[i]}
            for i, f in enumerate(("sda", "sdb"))]})
        self.fails(4, "disk.held", "instance", "remove", "--yes", "inst")
        self.assertEqual(self.vbd("instance", "deactivate-disks", "inst", "--dry-run").stdout,
                         "".join(f"detach {self.path(f)} for instance:inst\n" for f in ("sdb", "sda")))
        self.assertEqual(len(self.our_loops()), 2)
        self.vbd("instance", "deactivate-disks", "inst")
        self.assert_nothing_left()
        self.vbd("instance", "deactivate-disks", "inst")  # nothing attached: fine

    def test_nobody_waits_for_attached_disks(self):
        """Their locks stay for as long as they are attached: a second of retries for each would be wasted."""
        if not support.have("strace") or support.run("strace", "-o", "/dev/null", "true").returncode != 0:
            support.skip(self.id(), "needs a working strace")
        self.add("0:size=1M", "1:size=1M,mode=ro")
        self.vbd("instance", "activate-disks", "inst")
        trace = os.path.join(self.dir, "trace")
        for words in (("cluster", "verify"), ("instance", "activate-disks", "inst"), ("image", "info", "--filetype", "raw", self.path("sda"))):
            done = support.run("strace", "-qq", "-e", "trace=nanosleep,clock_nanosleep", "-e", "signal=none", "-o", trace,
                               *self.argv(*words), env={**self.environment(), "ASAN_OPTIONS": "detect_leaks=0"})
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(trace) as f:
                self.assertEqual(f.read(), "", words)
        self.vbd("instance", "deactivate-disks", "inst")

    def test_all_or_none(self):
        self.add("0:size=1M", "1:size=1M")
        taken = self.logical_id(self.path("sdb"))
        self.vbd("disk", "attach", taken)
        self.assertIn("cli", self.fails(4, "disk.held", "instance", "activate-disks", "inst"))
        self.assertEqual([path for _, path in self.our_loops()], [self.path("sdb")])
        warned = self.vbd("instance", "deactivate-disks", "inst")  # not its own: stays
        self.assertIn("stays attached for cli", warned.stderr)
        self.assertEqual(len(self.our_loops()), 1)
        self.vbd("disk", "detach", taken)

    def test_dry_run(self):
        self.add("0:size=1M")
        self.assertEqual(self.vbd("instance", "activate-disks", "inst", "--dry-run").stdout,
                         f"attach {self.path('sda')} for instance:inst\n")
        self.assert_nothing_left()

    def test_busy_is_refused(self):
        self.add("0:size=1M")
        node = self.vbd("instance", "activate-disks", "inst").stdout.strip().split(":")[2]
        with open(node, "rb"):
            self.fails(4, "disk.busy", "instance", "deactivate-disks", "inst")
        self.vbd("instance", "deactivate-disks", "inst")
        self.assert_nothing_left()


class Modify(Disks):
    def modify(self, *changes, rc=0, more=()):
        words = [word for change in changes for word in ("--disk", change)]
        return self.vbd("instance", "modify", *words, *more, "inst", rc=rc)

    def files(self):
        return sorted(n for n in os.listdir(os.path.join(self.storage, "inst")) if n.startswith("sd"))

    def test_add_and_remove(self):
        self.add("0:size=1M", "1:size=2M")
        self.assertEqual(self.modify("add:size=3M", "0:add:size=4M,mode=ro").stdout, "instance inst: changed\n")
        self.assertEqual([(d["vdev"], d["size"], d["mode"]) for d in self.disks()],
                         [("sdd", 4 * MiB, "ro"), ("sda", MiB, "rw"), ("sdb", 2 * MiB, "rw"), ("sdc", 3 * MiB, "rw")])
        self.fails(2, "usage.confirm", "instance", "modify", "--disk", "remove:1", "inst")
        plan = self.modify("remove:1", "1:remove", "add:size=1M", more=("--dry-run",)).stdout
        self.assertEqual(plan, f"delete {self.path('sda')}\ndelete {self.path('sdb')}\n"
                               f"create {self.path('sde')} (FD_LOOP, FT_RAW, 1.0 MiB)\n")
        self.modify("remove:1", "1:remove", more=("--yes",))
        self.assertEqual(self.files(), ["sdc", "sdd"])
        self.modify("remove", more=("-f",))
        self.modify("add:size=1M")  # the first free name
        self.assertEqual([d["vdev"] for d in self.disks()], ["sdd", "sda"])
        self.modify("0:mode=rw")
        self.assertEqual(self.disks()[0]["mode"], "rw")
        self.assertEqual(self.vbd_json("cluster", "verify")["problems"], [])

    def test_refused(self):
        self.add("0:size=1M")
        before = self.snapshot(self.storage)
        for rc, change in ((2, "add"), (2, "add:size=0"), (2, "add:mode=ro"), (2, "0:size=2M"), (2, "nonsense"), (2, "remove:x"),
                           (3, "remove:1"), (3, "5:add:size=1M"), (2, "add:size=1M,nosuch=1"), (3, "add:size=1M,driver=nosuch"),
                           (5, "add:size=1M,filetype=qcow"), (2, ""), (5, "add:adopt=/etc/passwd"), (3, f"add:adopt={self.storage}/no")):
            with self.subTest(change):
                done = self.modify(change, rc=rc, more=("--yes",))
                self.assertEqual(sum(line.startswith("vbd: error[") for line in done.stderr.splitlines()), 1, done.stderr)
                self.assertEqual(self.snapshot(self.storage), before)
        self.fails(2, "usage.disk_template", "instance", "modify", "inst")

    def test_all_or_nothing(self):
        self.add("0:size=1M")
        before = self.snapshot(self.storage)
        self.modify("add:size=1M", "add:size=8388607t", rc=1, more=("--yes",))  # more than a filesystem can hold
        self.assertEqual(self.snapshot(self.storage), before)

    def test_disk_in_use_is_not_removed(self):
        if not support.can_make_loops():
            support.skip(self.id(), "needs root and loop devices")
        self.add("0:size=1M", "1:size=1M")
        self.vbd("disk", "attach", self.logical_id(self.path("sdb")))
        self.fails(4, "disk.held", "instance", "modify", "--yes", "--disk", "remove", "inst")
        self.modify("remove:0", more=("--yes",))
        self.vbd("disk", "detach", self.logical_id(self.path("sdb")))
        self.assertEqual(self.files(), ["sdb"])


class Adopt(Disks):
    DATA = b"guest data" * 1000

    def image(self, name="other.img", size=MiB, folder=None):
        path = os.path.join(folder or self.storage, name)
        with open(path, "wb") as f:
            f.write(self.DATA)
            f.truncate(size)
        return path

    def holds_data(self, path):
        with open(path, "rb") as f:
            return f.read(len(self.DATA)) == self.DATA

    def adopt(self, path, *more, rc=0):
        return self.vbd("instance", "add", "-t", "file:", "--disk", f"0:adopt={path}", *more, "--no-start", "inst", rc=rc)

    def test_moved_or_cloned(self):
        path = self.image()
        inode = os.stat(path).st_ino
        self.adopt(path)
        disk = self.disks()[0]
        self.assertEqual((disk["size"], disk["created"], disk["vdev"]), (MiB, False, "sda"))
        self.assertTrue(self.holds_data(self.path("sda")))
        if os.path.exists(path):
            self.assertNotEqual(os.stat(self.path("sda")).st_ino, inode)
            self.assertTrue(self.holds_data(path))
        else:
            self.assertEqual(os.stat(self.path("sda")).st_ino, inode)

    def test_in_place(self):
        folder = os.path.join(self.storage, "inst")
        os.mkdir(folder, 0o755)
        path = self.image("sda", folder=folder)
        os.chmod(path, 0o640)
        inode = os.stat(path).st_ino
        plan = self.adopt(path, "--dry-run").stdout
        self.assertIn(f"adopt {path} (FD_LOOP, FT_RAW, 1.0 MiB)\n", plan)
        self.adopt(path)
        self.assertEqual((os.stat(path).st_ino, os.stat(path).st_mode & 0o777), (inode, 0o640))
        self.assertTrue(self.holds_data(path))

    def test_clone_keeps_the_original(self):
        if os.geteuid() != 0 or not support.have("mkfs.xfs"):
            support.skip(self.id(), "needs root and mkfs.xfs")
        backing = os.path.join(self.dir, "xfs.img")
        with open(backing, "wb") as f:
            f.truncate(320 * MiB)
        self.assertEqual(support.run("mkfs.xfs", "-q", "-m", "reflink=1", backing).returncode, 0)
        if support.run("mount", "-o", "loop", backing, self.storage).returncode != 0:
            support.skip(self.id(), "xfs can't be mounted here")
        path = self.image()
        self.adopt(path)
        self.assertTrue(self.holds_data(path) and self.holds_data(self.path("sda")))
        self.assertEqual(os.stat(self.path("sda")).st_mode & 0o777, 0o600)

    def test_modify_adopts(self):
        self.add("0:size=1M")
        path = self.image("data.img", 3 * MiB)
        self.vbd("instance", "modify", "--disk", f"add:adopt={path}", "inst")
        self.assertEqual([(d["vdev"], d["size"]) for d in self.disks()], [("sda", MiB), ("sdb", 3 * MiB)])
        self.assertTrue(self.holds_data(self.path("sdb")))
        path = self.image("sdc", 2 * MiB, os.path.join(self.storage, "inst"))  # lies right already
        self.vbd("instance", "modify", "--disk", f"add:adopt={path}", "inst")
        self.assertEqual([d["vdev"] for d in self.disks()], ["sda", "sdb", "sdc"])

    def refused(self, rc, piece, *words):
        before = self.snapshot(self.storage)
        done = self.vbd("instance", "add", *words, "inst", rc=rc)
        self.assertIn(piece, done.stderr)
        self.assertEqual(self.snapshot(self.storage), before)

    def test_refused(self):
        path = self.image()
        os.mkdir(os.path.join(self.storage, "inst"), 0o755)
        for rc, piece, words in (
            (5, "its size is 1048576 bytes", ("-t", "file:", "--disk", f"0:adopt={path},size=2M")),
            (2, "exclude each other", ("-t", "file:reuse", "--disk", f"0:adopt={path}")),
            (2, "adopted twice", ("-t", "file:", "--disk", f"0:adopt={path}", "--disk", f"1:adopt={path}")),
            (5, "/etc/passwd", ("-t", "file:", "--disk", "0:adopt=/etc/passwd")),
            (3, "no-such", ("-t", "file:", "--disk", f"0:adopt={self.storage}/no-such")),
            (2, "preallocation", ("-t", "file:", "--disk", f"0:adopt={path},preallocation=full")),
        ):
            with self.subTest(words):
                self.refused(rc, piece, *words)
        qcow = os.path.join(self.storage, "q")
        self.vbd("image", "create", "--filetype", "qcow", qcow, "1M")
        self.refused(5, "FT_QCOW", "-t", "file:", "--disk", f"0:adopt={qcow}")
        os.symlink(path, os.path.join(self.storage, "link"))
        self.refused(5, "link", "-t", "file:", "--disk", f"0:adopt={self.storage}/link")
        os.link(path, os.path.join(self.storage, "second"))
        self.refused(5, "2 names", "-t", "file:", "--disk", f"0:adopt={path}")

    def test_another_instances_disk(self):
        self.add("0:size=1M", name="first")
        self.refused(5, "is a disk of the instance first", "-t", "file:", "--disk", f"0:adopt={self.path('sda', 'first')}")

    def test_in_use(self):
        if not support.can_make_loops():
            support.skip(self.id(), "needs root and loop devices")
        path = self.image()
        node = support.run("losetup", "-f", "--show", path).stdout.strip()
        try:
            self.refused(4, node, "-t", "file:", "--disk", f"0:adopt={path}")
        finally:
            support.run("losetup", "-d", node)


class Register(Disks):
    def copy(self):
        to = os.path.join(self.storage, "copy")
        self.assertEqual(support.run("cp", "-a", os.path.join(self.storage, "inst"), to).returncode, 0)
        return to

    def test_copy(self):
        self.add("0:size=1M")
        copy = self.copy()
        before = self.snapshot(os.path.join(self.storage, "inst"))
        self.assertIn("give it another name with --as", self.vbd("instance", "register", copy, rc=4).stderr)
        plan = self.vbd("instance", "register", "--as", "second", copy, "--dry-run").stdout
        self.assertEqual(plan, f"write {copy}/instance.yaml: name second, a new UUID\ntake the name second\n")
        self.vbd("instance", "register", "--as", "second", copy)
        self.vbd("instance", "register", "--as", "second", copy)  # known already
        first, second = (self.vbd_json("instance", "info", n) for n in ("inst", "second"))
        self.assertEqual((second["state"], second["directory"]), ("stopped", copy))
        self.assertNotEqual(first["uuid"], second["uuid"])
        self.assertEqual(self.vbd_json("cluster", "verify")["problems"], [])
        self.vbd("instance", "remove", "--yes", "second")
        self.assertEqual(self.snapshot(os.path.join(self.storage, "inst")), before)

    def test_moved(self):
        self.add("0:size=1M")
        uuid = self.vbd_json("instance", "info", "inst")["uuid"]
        moved = os.path.join(self.storage, "moved")
        os.rename(os.path.join(self.storage, "inst"), moved)
        self.assertEqual(self.vbd_json("instance", "info", "inst")["state"], "unreachable")
        self.vbd("instance", "register", moved)
        info = self.vbd_json("instance", "info", "inst")
        self.assertEqual((info["state"], info["directory"], info["uuid"]), ("stopped", moved, uuid))

    def test_not_known(self):
        self.add("0:size=1M")
        os.unlink(os.path.join(self.state, "instances", "inst.yaml"))
        before = self.snapshot(self.storage)
        self.vbd("instance", "register", os.path.join(self.storage, "inst"))
        self.assertEqual(self.vbd_json("instance", "info", "inst")["state"], "stopped")
        self.assertEqual(self.snapshot(self.storage), before)

    def test_only_info_works_on_a_foreign_one(self):
        self.add("0:size=1M")
        with open(self.path("instance.yaml")) as f:
            text = f.read()
        with open(self.path("instance.yaml"), "w") as f:
            f.write(text.replace("storage/inst", "storage/elsewhere"))
        self.assertEqual(self.vbd_json("instance", "info", "inst")["state"], "foreign")
        before = self.snapshot(self.storage)
        for words in (("remove", "--yes", "inst"), ("grow-disk", "inst", "0", "1M"), ("activate-disks", "inst"),
                      ("deactivate-disks", "inst"), ("modify", "--disk", "add:size=1M", "inst"), ("config", "inst")):
            with self.subTest(words):
                self.fails(5, "instance.foreign", "instance", *words)
        self.assertEqual(self.snapshot(self.storage), before)
        self.vbd("instance", "register", os.path.join(self.storage, "inst"))
        self.assertEqual(self.vbd_json("instance", "info", "inst")["state"], "stopped")

    def test_refused(self):
        os.mkdir(os.path.join(self.storage, "empty"), 0o755)
        self.fails(3, "instance.not_found", "instance", "register", os.path.join(self.storage, "empty"))
        self.fails(5, "path.outside_allowed_dirs", "instance", "register", "/etc")
        self.fails(2, "usage.name", "instance", "register", "--as", "a/b", os.path.join(self.storage, "empty"))


class Refused(Disks):
    def test_replace_disks(self):
        self.add("0:size=1M")
        error = self.fails(5, "instance.no_mirror", "instance", "replace-disks", "-p", "inst")
        self.assertEqual(error, "vbd: error[instance.no_mirror]: instance inst: there is nothing to replace its disks from: "
                                "each is one file, and no other copy is kept")
        self.fails(3, "instance.not_found", "instance", "replace-disks", "nosuch")

    def test_node(self):
        self.write_config("nodes:\n  node2: {ssh: root@node2}\n")
        self.add("0:size=1M")
        self.assertEqual(self.vbd("node", "list").stdout, "NODE   SSH         PRIMARY  SECONDARY\n"
                         "node1  this host   1        0\nnode2  root@node2  0        0\n")
        self.assertEqual(self.vbd_json("node", "info", "node2"), {"schema": "vbdkit.node/1", "name": "node2", "local": False,
                                                                  "ssh": "root@node2", "primary": 0, "secondary": 0})
        self.assertIn("keeps no second copy", self.fails(5, "node.no_copy", "node", "evacuate", "-f", "node1"))
        self.fails(3, "node.not_found", "node", "evacuate", "node9")


class List(Disks):
    def test_filters_and_fields(self):
        self.add("0:size=1M", "1:size=2M", name="web1")
        self.add("0:size=3M", name="db1")
        listed = lambda *words: self.vbd("instance", "list", "--no-headers", "--separator=:", *words).stdout
        self.assertEqual(listed("-o", "name,disk.size/1,disk.count,be/memory,pnode"), "db1::1::node1\nweb1:2:2::node1\n")
        self.assertEqual(listed("-o", "name", "--name", "w*"), "web1\n")
        self.assertEqual(listed("-o", "name", "--name", "w?b1", "--name", "db1"), "db1\nweb1\n")
        self.assertEqual(listed("-o", "name", "--state", "error,running"), "")
        self.assertEqual([i["name"] for i in self.vbd_json("instance", "list", "--state", "stopped", "--name", "db*")["instances"]],
                         ["db1"])
        self.assertIn("did you mean 'stopped'?", self.fails(2, "usage.value", "instance", "list", "--state", "stoped"))
        self.fails(2, "usage.value", "instance", "list", "-o", "disk.size/x")
        self.fails(2, "usage.value", "instance", "list", "-o", "nosuch/1")


class Room(Disks):
    def test_overcommit_and_min_free(self):
        self.add("0:size=1M")
        one = self.vbd_json("cluster", "verify")["filesystems"]
        self.assertEqual(len(one), 1)
        self.assertEqual((one[0]["promised"], one[0]["overcommitted"], one[0]["below_min_free"]), (MiB, False, False))
        free = one[0]["free"]
        self.add(f"0:size={free // MiB * 2}M", name="big")
        self.assertTrue(self.vbd_json("cluster", "verify")["filesystems"][0]["overcommitted"])
        self.assertIn("note: ", self.vbd("cluster", "verify").stdout)
        self.write_config("min_free: 8388607T\n")
        self.assertIn("below min_free", self.vbd("cluster", "verify", rc=1).stdout)


if __name__ == "__main__":
    support.main()
