#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""instance list as scripts use it: fields, names, units; with storage that hangs, and plugins that are gone."""

import ctypes
import json
import os
import shutil
import uuid

import support
from support import PREFIX, MiB, Sandbox

libc = ctypes.CDLL(None, use_errno=True)


class List(Sandbox):
    def setUp(self):
        super().setUp()
        add = ("instance", "add", "--no-start")
        self.vbd(*add, "-t", "file:driver=loop", "--disk", "0:size=1G", "--disk", "1:size=1536M", "--net",
                 "0:mac=aa:00:00:00:00:01", "-B", "memory=256", "web1")
        self.vbd(*add, "-t", "file:driver=loop", "--disk", "0:size=1M", "web10")
        self.vbd(*add, "-t", "file:driver=blktap,filetype=qcow", "--disk", "0:size=1T", "db.example.com")

    def rows(self, *words, rc=0):
        return self.vbd("instance", "list", "--no-headers", "--separator=|", *words, rc=rc).stdout.splitlines()

    def test_fields(self):
        self.assertEqual(self.rows("-o", "name,status,pnode,disk.count,disk.sizes,memory,nic.macs,nic.count", "web1"),
                         ["web1|stopped|node1|2|1024,1536|256|aa:00:00:00:00:01|1"])
        folder = os.path.join(self.storage, "web1")
        self.assertEqual(self.rows("-o", "disk.path/1,disk.driver/0,disk.filetype/0,disk.vdev/1,disk.size/1,disk.size/2,"
                                         "nic.mac/0,nic.link/0,nic.mac/7,be/memory,hv/none", "web1"),
                         [f"{folder}/sdb|FD_LOOP|FT_RAW|sdb|1536||aa:00:00:00:00:01|||256|"])
        self.assertEqual(self.vbd("instance", "list", "-o", "+allocated", "web10").stdout.splitlines(), [
            "NAME   STATE    NODE   DISKS  SIZE     " + "DIRECTORY".ljust(len(self.storage) + 6) + "  ALLOCATED",
            f"web10  stopped  node1  1      1.0 MiB  {self.storage}/web10  0 B"])
        for field in ("nosuch", "", "disk.size", "disk.size/", "disk.size/x", "disk.nosuch/0", "nic.nosuch/0", "name,", "+", "be/"):
            with self.subTest(field):
                self.fails(2, "usage.value", "instance", "list", "-o", field)
        self.assertIn("did you mean 'allocated'?", self.fails(2, "usage.value", "instance", "list", "-o", "alocated"))

    def test_allocated_is_what_the_files_take(self):
        path = os.path.join(self.storage, "web1", "sda")
        with open(path, "r+b") as f:
            f.write(b"x" * 3 * MiB)
            os.fsync(f.fileno())
        blocks = os.stat(path).st_blocks * 512
        self.assertGreaterEqual(blocks, 3 * MiB)
        self.assertEqual(self.rows("--units", "b", "-o", "allocated,disk.allocated/0,disk.allocated/1", "web1"),
                         [f"{blocks}|{blocks}|0"])
        os.unlink(path)
        self.assertEqual(self.rows("-o", "allocated,disk.allocated/0,disk.allocated/1", "web1"), ["||0"])
        listed = self.vbd_json("instance", "list", "web1")["instances"][0]
        self.assertEqual((listed["allocated"], [d["allocated"] for d in listed["disks"]]), (None, [None, 0]))

    def test_units(self):
        for unit, sizes in (("h", "1.0 TiB 2.5 GiB 1.0 MiB"), ("b", f"{1 << 40} {2560 * MiB} {MiB}"), ("m", "1048576 2560 1"),
                            ("g", "1024.0 2.5 0.1"), ("t", "1.0 0.1 0.1")):
            with self.subTest(unit):
                self.assertEqual(" ".join(self.rows("--units", unit, "-o", "size")), sizes)
        # As gnt-instance: MiB where a separator is given.
        self.assertEqual(self.rows("-o", "size"), ["1048576", "2560", "1"])
        self.assertEqual(self.vbd("instance", "list", "--no-headers", "-o", "size", "web10").stdout, "1.0 MiB\n")
        self.assertIn("not one of h, b, m, g, t", self.fails(2, "usage.value", "instance", "list", "--units", "k"))

    def test_names(self):
        self.assertEqual(self.rows("-o", "name"), ["db.example.com", "web1", "web10"])
        self.assertEqual(self.rows("-o", "name", "web10", "web1", "web10"), ["web1", "web10"])
        self.assertEqual(self.rows("-o", "name", "--name", "web?"), ["web1"])
        self.assertEqual(self.rows("-o", "name", "--name", "web*", "--name", "d*", "--state", "stopped"),
                         ["db.example.com", "web1", "web10"])
        self.assertEqual(self.rows("-o", "name", "--name", "[!w]*"), ["db.example.com"])
        self.assertEqual(self.rows("--name", "none*"), [])
        self.assertEqual(self.rows("--state", "running,error"), [])
        done = self.vbd("instance", "list", "web", "web1", rc=3)
        self.assertEqual(done.stdout, "")
        self.assertIn("instance web: not known on this host\nhint: did you mean web1?", done.stderr)
        for name in ("", "a/b", "[web1,web10]", "we b", "über", "x" * 5000, "-", "../web1"):
            with self.subTest(name):
                self.assertEqual(self.fails(3, "instance.not_found", "instance", "list", "--", name).count("\n"), 0)
        self.assertEqual(self.rows("-o", "name", "--", "web1"), ["web1"])
        done = support.run(support.VBD, "__complete", "instance", "list", "--config", self.config, "web1", "w")
        self.assertEqual(sorted(done.stdout.split()), ["web1", "web10"])
        self.assertIn("vbd instance list [options] [NAME...]", self.vbd("instance", "list", "--help").stdout)


class Many(Sandbox):
    """More than are read at a time: copies of one instance, under names and UUIDs of their own."""

    count = 600

    def setUp(self):
        super().setUp()
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start", "vm000")
        own = self.vbd_json("instance", "info", "vm000")["uuid"]
        pointers = os.path.join(self.state, "instances")
        for number in range(1, self.count):
            name, new = f"vm{number:03}", str(uuid.uuid4())
            os.mkdir(os.path.join(self.storage, name), 0o755)
            for path in (os.path.join(self.storage, "vm000", "instance.yaml"), os.path.join(pointers, "vm000.yaml")):
                with open(path) as f:
                    text = f.read().replace("vm000", name).replace(own, new)
                with open(path.replace("vm000", name), "w") as f:
                    f.write(text)
            with open(os.path.join(self.storage, name, "sda"), "w") as f:
                f.truncate(MiB)
            os.chmod(os.path.join(self.storage, name, "sda"), 0o600)

    def test_all_of_many(self):
        names = [f"vm{number:03}" for number in range(self.count)]
        listed = self.vbd_json("instance", "list")["instances"]
        self.assertEqual([i["name"] for i in listed], names)
        self.assertEqual({(i["state"], i["size"], i["allocated"]) for i in listed}, {("stopped", MiB, 0)})
        self.assertEqual(self.vbd("instance", "list", "--no-headers", "-o", "name").stdout.split(), names)
        self.assertEqual(self.vbd("instance", "list", "--no-headers", "-o", "name", "--name", "vm5?9").stdout.split(), names[509:600:10])
        self.assertEqual(self.vbd("cluster", "verify").stdout, "no problems found\n")
        os.unlink(os.path.join(self.storage, "vm300", "instance.yaml"))
        self.assertEqual(self.vbd("instance", "list", "--no-headers", "-o", "name", "--state", "unreachable").stdout, "vm300\n")


class PluginGone(Sandbox):
    """A copy of the installation, from which plugins are taken away after an instance was made with them."""

    def setUp(self):
        super().setUp()
        self.copy = os.path.join(self.dir, "prefix")
        for part in ("bin", "lib/vbdkit", "share/vbdkit"):
            shutil.copytree(os.path.join(PREFIX, part), os.path.join(self.copy, part))

    def argv(self, *words):
        return [os.path.join(self.copy, "bin", "vbd"), "--config", self.config, *[str(w) for w in words]]

    def test_plugin_gone(self):
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--disk", "1:size=1M,filetype=qcow,driver=blktap",
                 "--no-start", "web1")
        before = self.vbd_json("instance", "list")
        text = self.vbd("instance", "list").stdout
        for gone in ("ft-qcow.so", "fd-loop.so"):
            os.unlink(os.path.join(self.copy, "lib", "vbdkit", "plugins-1", gone))
        self.assertEqual(self.vbd_json("instance", "list"), before)
        self.assertEqual(self.vbd("instance", "list").stdout, text)
        info = self.vbd_json("instance", "info", "web1")
        self.assertEqual((info["state"], [d["size"] for d in info["disks"]], [d["device"] for d in info["disks"]]),
                         ("stopped", [MiB, MiB], [None, None]))
        self.assertIn("fd-loop.so", info["disks"][0]["problem"])
        self.assertIn("fd-loop.so", self.vbd("instance", "info", "web1").stdout)
        verified = self.vbd_json("cluster", "verify", rc=1)
        self.assertTrue(any("ft-qcow.so" in problem["what"] for problem in verified["problems"]), verified)
        self.fails(3, "plugin.not_found", "instance", "activate-disks", "web1")


class Hanging(Sandbox):
    """A filesystem of whose server nothing is heard: a FUSE connection that nobody reads. Whoever looks into it waits."""

    needs_loops = True

    def setUp(self):
        super().setUp()
        self.dead = os.path.join(self.dir, "dead")
        os.mkdir(self.dead, 0o755)
        self.write_config(f"allowed_dirs: [{self.dead}, {self.storage}]\n")
        add = ("instance", "add", "-t")
        self.vbd(*add, "file:driver=loop", "--disk", "0:size=1M", "--no-start", "alive")
        self.vbd(*add, f"file:driver=loop,path={self.dead}/one", "--disk", "0:size=1M", "--no-start", "one")
        self.vbd(*add, f"file:driver=loop,path={self.dead}/two", "--disk", "0:size=1M", "--no-start", "two")
        try:
            self.fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as e:
            support.skip(self.id(), f"/dev/fuse: {e.strerror}")
        options = f"fd={self.fuse},rootmode=40000,user_id=0,group_id=0"
        if libc.mount(b"vbdkit-test", self.dead.encode(), b"fuse", 0, options.encode()) != 0:
            os.close(self.fuse)
            support.skip(self.id(), f"mount of a FUSE filesystem: {os.strerror(ctypes.get_errno())}")
        self.addCleanup(self.let_go)

    def let_go(self):
        """Without a server the connection ends, and with it all who wait."""
        os.close(self.fuse)
        support.run("umount", "-l", self.dead)

    def quick(self, *words, rc=0, **kw):
        """Hanging takes for ever; a look into each storage may take 2 s, and some verbs look more than once."""
        return self.vbd(*words, rc=rc, timeout=30, **kw)

    def test_storage_that_hangs(self):
        listed = self.quick("instance", "list", "-o", "name,state,reason,allocated", "--no-headers", "--separator=|")
        self.assertEqual(listed.stdout.splitlines(), [
            "alive|stopped||0", f"one|unreachable|{self.dead}/one: no answer within 2 s|",
            f"two|unreachable|{self.dead}/two: no answer within 2 s|"])
        self.assertEqual(listed.stderr, "")
        listed = json.loads(self.quick("instance", "list", "--output", "json").stdout)["instances"]
        self.assertEqual([(i["state"], i["size"]) for i in listed],
                         [("stopped", MiB), ("unreachable", None), ("unreachable", None)])
        self.assertEqual(self.quick("instance", "list", "--state", "unreachable", "-o", "name", "--no-headers").stdout, "one\ntwo\n")
        self.assertEqual(self.quick("instance", "list", "-o", "state", "--no-headers", "alive").stdout, "stopped\n")

    def test_verbs_about_the_others_go_on(self):
        self.assertIn("state:     stopped", self.quick("instance", "info", "alive").stdout)
        path = os.path.join(self.storage, "alive", "sda")
        self.quick("instance", "activate-disks", "alive")
        self.assertIn("attached", self.quick("disk", "query", self.logical_id(path)).stdout)
        self.quick("instance", "deactivate-disks", "alive")
        self.quick("instance", "grow-disk", "alive", "0", "1M")
        self.quick("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start", "other")
        self.quick("node", "list")

    def test_verbs_about_it_say_so(self):
        self.assertIn("unreachable", self.quick("instance", "info", "one").stdout)
        self.assertIn(f"{self.dead}: its storage does not answer", self.quick("cluster", "verify", rc=1).stdout)
        self.fails(3, "instance.not_found", "instance", "remove", "--yes", "never", timeout=30)
        self.assertRegex(self.quick("cluster", "info").stdout, f"{self.dead}: +does not answer")


if __name__ == "__main__":
    support.main()
