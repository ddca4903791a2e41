#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instances from add to remove: output, catalog, names, sizes, policies."""

import os
import subprocess
import sys

import support
from support import GiB, MiB, Sandbox


class Add(Sandbox):
    def add(self, *more, name="instance2", rc=0):
        return self.vbd("instance", "add", "-t", "file:driver=loop", *more, name, rc=rc)

    def test_two_disks(self):
        self.add("--disk", "0:size=5G", "--disk", "1:size=10G", "--no-start")
        info = self.vbd_json("instance", "info", "instance2")
        folder = os.path.join(self.storage, "instance2")
        self.assertEqual(info["schema"], "vbdkit.instance/1")
        self.assertEqual((info["name"], info["state"], info["node"], info["directory"]),
                         ("instance2", "stopped", "node1", folder))
        expected = [{"index": 0, "logical_id": ["FD_LOOP", "FT_RAW", folder + "/sda"], "size": 5 * GiB,
                     "allocated": 0, "vdev": "sda", "mode": "rw", "device": None},
                    {"index": 1, "logical_id": ["FD_LOOP", "FT_RAW", folder + "/sdb"], "size": 10 * GiB,
                     "allocated": 0, "vdev": "sdb", "mode": "rw", "device": None}]
        got = [{k: d[k] for k in expected[0]} for d in info["disks"]]
        self.assertEqual(got, expected)
        self.assertEqual(os.stat(folder + "/sda").st_size, 5 * GiB)
        self.assertEqual(os.stat(folder + "/sda").st_blocks, 0)
        self.assertEqual(os.stat(folder + "/sda").st_mode & 0o7777, 0o600)
        text = self.vbd("instance", "info", "instance2").stdout
        for piece in ("instance2", "FD_LOOP", "FT_RAW", folder + "/sda", folder + "/sdb"):
            self.assertIn(piece, text)
        self.vbd("instance", "remove", "--yes", "instance2")
        self.assertFalse(os.path.exists(folder))
        self.assertEqual(self.vbd_json("instance", "list")["instances"], [])

    def test_ganeti_sizes(self):
        # Ganeti's units: none is MiB, any case, powers of 1024 (facts: man gnt-instance, "--disk")
        for words, size in (("1", MiB), ("8m", 8 * MiB), ("1G", GiB), ("1g", GiB), ("1.5g", 3 * GiB // 2), ("2T", 2 << 40)):
            with self.subTest(words):
                self.add("--disk", f"0:size={words}", "--no-start")
                self.assertEqual(self.vbd_json("instance", "info", "instance2")["disks"][0]["size"], size)
                self.vbd("instance", "remove", "-f", "instance2")

    def test_qcow_under_blktap_and_modes(self):
        self.vbd("instance", "add", "-t", "file:driver=blktap,filetype=qcow", "--disk", "0:size=64M", "--disk",
                 "1:size=1G,mode=ro,filetype=raw", "--no-start", "inst")
        disks = self.vbd_json("instance", "info", "inst")["disks"]
        self.assertEqual([d["logical_id"][:2] for d in disks], [["FD_BLKTAP", "FT_QCOW"], ["FD_BLKTAP", "FT_RAW"]])
        self.assertEqual([d["mode"] for d in disks], ["rw", "ro"])
        self.assertEqual([d["size"] for d in disks], [64 * MiB, GiB])
        if support.have("qemu-img"):
            check = support.run("qemu-img", "check", "-f", "qcow2", disks[0]["logical_id"][2])
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        config = self.vbd("instance", "config", "inst").stdout
        self.assertIn(f"format=qcow2,vdev=sda,access=rw,backendtype=qdisk,target={disks[0]['logical_id'][2]}", config)

    def test_dry_run_changes_nothing(self):
        before = self.snapshot()
        plan = self.add("--disk", "0:size=5G", "--no-start", "--dry-run").stdout
        self.assertIn(os.path.join(self.storage, "instance2", "sda"), plan)
        self.assertEqual(self.snapshot(), before)
        self.add("--disk", "0:size=1G", "--no-start")
        before = self.snapshot()
        self.assertIn("sda", self.vbd("instance", "remove", "--dry-run", "--yes", "instance2").stdout)
        self.assertEqual(self.snapshot(), before)

    def test_network_cards(self):
        self.add("--disk", "0:size=1M", "--net", "0:mac=aa:00:00:01:02:03,link=br1,ip=192.0.2.7", "--net", "1", "--no-start")
        nics = self.vbd_json("instance", "info", "instance2")["nics"]
        unset = {"ip": None, "link": None, "network": None, "name": None, "vlan": None}
        self.assertEqual(nics[0], {**unset, "index": 0, "mac": "aa:00:00:01:02:03", "mode": "bridged", "link": "br1",
                                   "ip": "192.0.2.7"})
        self.assertRegex(nics[1].pop("mac"), "^aa:00:00(:[0-9a-f]{2}){3}$")
        self.assertEqual(nics[1], {**unset, "index": 1, "mode": "bridged"})
        self.assertIn("network cards:\n  0: aa:00:00:01:02:03, bridged, ip 192.0.2.7, link br1\n",
                      self.vbd("instance", "info", "instance2").stdout)
        self.assertIn("vif = [ 'mac=aa:00:00:01:02:03,bridge=br1,ip=192.0.2.7',\n        'mac=aa:00:00:",
                      self.vbd("instance", "config", "instance2").stdout)
        before = self.snapshot(self.storage)
        add = ("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start")
        self.assertIn("instance2", self.fails(4, "instance.mac_in_use", *add, "--net", "0:mac=aa:00:00:01:02:03", "other"))
        self.fails(2, "hypervisor.parameter", *add, "--net", "0:mode=user", "other")
        self.fails(2, "usage.disk_template", *add, "--net", "1", "other")
        self.fails(2, "usage.value", *add, "--net", "0", "--no-nics", "other")
        self.assertEqual(self.snapshot(self.storage), before)
        self.add("--disk", "0:size=1M", "--no-nics", "--no-start", name="none")
        self.assertEqual(self.vbd_json("instance", "info", "none")["nics"], [])
        self.assertNotIn("vif", self.vbd("instance", "config", "none").stdout)

    def test_same_name_twice(self):
        self.add("--disk", "0:size=1G", "--no-start")
        before = self.snapshot(self.storage)
        self.assertIn("instance2", self.fails(4, "instance.exists", "instance", "add", "-t", "file:driver=loop",
                                              "--disk", "0:size=2G", "--no-start", "instance2"))
        self.assertEqual(self.snapshot(self.storage), before)

    def test_concurrent_adds_of_one_name(self):
        for _ in range(8):
            pair = [subprocess.Popen(self.argv("instance", "add", "-t", f"file:driver=loop,path={self.storage}/{d}",
                                               "--disk", "0:size=1G", "--no-start", "twin"),
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environment(),
                                     text=True) for d in ("a", "b")]
            codes = sorted((p.communicate()[1], p.returncode)[1] for p in pair)
            self.assertEqual(codes, [0, 4])
            self.assertEqual(len(self.vbd_json("instance", "list")["instances"]), 1)
            self.vbd("instance", "remove", "--yes", "twin")
            self.assertEqual([n for n in os.listdir(self.storage) if not n.startswith(".")], [])

    def test_remove_wants_a_word(self):
        self.add("--disk", "0:size=1G", "--no-start")
        self.fails(2, "usage.confirm", "instance", "remove", "instance2")
        self.assertTrue(os.path.exists(os.path.join(self.storage, "instance2", "sda")))
        self.vbd("instance", "remove", "--yes", "--keep-files", "instance2")
        self.assertTrue(os.path.exists(os.path.join(self.storage, "instance2", "sda")))
        self.fails(3, "instance.not_found", "instance", "info", "instance2")

    def test_remove_leaves_what_it_did_not_create(self):
        self.add("--disk", "0:size=1G", "--no-start")
        stranger = os.path.join(self.storage, "instance2", "notes.txt")
        with open(stranger, "w") as f:
            f.write("keep me")
        done = self.vbd("instance", "remove", "--yes", "instance2")
        self.assertEqual(done.stderr, f"vbd: warning: {self.storage}/instance2: stays, for it also has notes.txt\n")
        self.assertTrue(os.path.exists(stranger))
        self.assertFalse(os.path.exists(os.path.join(self.storage, "instance2", "sda")))
        self.fails(3, "instance.not_found", "instance", "info", "instance2")

    def test_image_of_an_instance_is_not_removed_behind_its_back(self):
        self.add("--disk", "0:size=1G", "--no-start")
        path = os.path.join(self.storage, "instance2", "sda")
        done = self.vbd("image", "remove", "--filetype", "raw", path, rc=None)
        self.assertIn(done.returncode, (4, 5))
        self.assertIn("instance2", done.stderr)
        self.assertTrue(os.path.exists(path))

    def test_os_without_reuse(self):
        error = self.fails(3, "os.not_found", "instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1G",
                           "-o", "debian-etch", "instance2")
        self.assertIn("debian-etch", error)
        self.assertEqual(os.listdir(self.storage), [])
        self.add("--disk", "0:size=1G", "-o", "debian-etch", "--no-install", "--no-start")
        self.assertEqual(self.vbd_json("instance", "info", "instance2")["os"], "debian-etch")

    def test_refused_names_and_words(self):
        for rc, words in (
            (2, ["--disk", "0:size=1G", "../evil"]), (2, ["--disk", "0:size=1G", "a/b"]), (2, ["--disk", "0:size=1G", ""]),
            (2, ["--disk", "0:size=0", "x"]), (2, ["--disk", "0:size=9223372036854775808b", "x"]),
            (2, ["--disk", "0:size=16E", "x"]), (2, ["--disk", "0:size=-1", "x"]), (2, ["--disk", "1:size=1G", "x"]),
            (2, ["--disk", "0:size=8388608t", "x"]), (2, ["--disk", "0:size=1G", "--disk", "0:size=1G", "x"]),
            (2, ["--disk", "0:size=1G,mode=rx", "x"]), (2, ["--disk", "0", "x"]), (2, ["x"]),
            (2, ["--disk", "0:size=1G,nosuch=1", "x"]), (2, ["--disk", "0:size=1G", "x\ny"]),
        ):
            with self.subTest(words):
                before = self.snapshot()
                done = self.vbd("instance", "add", "-t", "file:driver=loop", *words, rc=None)
                self.assertEqual(done.returncode, rc, done.stderr)
                self.assertEqual(sum(line.startswith("vbd: error[") for line in done.stderr.splitlines()), 1, done.stderr)
                self.assertEqual(self.snapshot(), before)

    def test_no_check_runs_after_one_has_failed(self):
        if not support.have("strace") or support.run("strace", "-o", "/dev/null", "true").returncode != 0:
            support.skip(self.id(), "needs a working strace")
        definitions = os.path.join(self.dir, "definitions")
        self.write_config(f"os_search_path: [{definitions}]\n")
        trace = os.path.join(self.dir, "trace")
        for node, looked in (("node1", True), ("node9", False)):
            support.run("strace", "-f", "-qq", "-o", trace, "-e", "trace=file",
                        *self.argv("instance", "add", "-t", "file:", "--disk", "0:size=1M", "-n", node, "-o", "debian", "inst"))
            with open(trace, encoding="utf-8", errors="replace") as f:
                self.assertEqual(definitions in f.read(), looked, node)

    def test_refused_templates(self):
        for rc, template in ((5, "file:driver=loop,filetype=qcow"), (3, "file:driver=nosuch"), (3, "file:filetype=nosuch"),
                             (5, "file:path=/etc/vbd-never"), (2, "plain:driver=loop"), (2, "file:direct_io=perhaps"),
                             (2, "file:nosuch=1"), (5, f"file:path={self.dir}/elsewhere")):
            with self.subTest(template):
                before = self.snapshot()
                done = self.vbd("instance", "add", "-t", template, "--disk", "0:size=1G", "x", rc=None)
                self.assertEqual(done.returncode, rc, done.stderr)
                self.assertEqual(self.snapshot(), before)


class Reuse(Sandbox):
    settings = ""

    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.storage, "instance2")
        os.mkdir(self.folder, 0o755)

    def raw(self, name, size, content=b""):
        with open(os.path.join(self.folder, name), "wb") as f:
            f.write(content)
            f.truncate(size)

    def reuse(self, *more, rc=0):
        return self.vbd("instance", "add", "-t", f"file:path={self.folder},driver=loop,reuse", *more, "-n", "node1",
                        "-o", "debian-etch", "instance2", rc=rc)

    def test_words_of_the_design(self):
        self.raw("sda", 5 * MiB, b"guest data")
        self.raw("sdb", 7 * MiB)
        self.raw(".hidden", 1)
        os.mkdir(os.path.join(self.folder, "lost+found"))
        self.reuse()
        info = self.vbd_json("instance", "info", "instance2")
        self.assertEqual([(d["size"], d["vdev"]) for d in info["disks"]], [(5 * MiB, "sda"), (7 * MiB, "sdb")])
        self.assertEqual(info["os"], "debian-etch")
        with open(os.path.join(self.folder, "sda"), "rb") as f:
            self.assertEqual(f.read(10), b"guest data")

    def test_partition_names(self):
        self.raw("sda1", MiB)
        self.raw("sda2", MiB)
        self.reuse()
        self.assertEqual([d["vdev"] for d in self.vbd_json("instance", "info", "instance2")["disks"]], ["sda1", "sda2"])

    def aborted(self, *reasons, more=(), rc=5):
        before = self.snapshot()
        done = self.reuse(*more, rc=rc)
        for reason in reasons:
            self.assertIn(reason, done.stderr)
        self.assertEqual(self.snapshot(), before)
        self.assertEqual(self.vbd_json("instance", "list")["instances"], [])

    def test_gap(self):
        self.raw("sda", MiB)
        self.raw("sdc", MiB)
        self.aborted("sdc", "sdb")

    def test_nothing_there(self):
        self.aborted(self.folder)

    def test_sda_beside_sda1(self):
        self.raw("sda", MiB)
        self.raw("sda1", MiB)
        self.aborted("sda1")

    def test_every_file_and_its_reason(self):
        self.raw("sda", MiB)
        os.mkdir(os.path.join(self.folder, "sdb"))
        os.symlink("sda", os.path.join(self.folder, "sdc"))
        os.mkfifo(os.path.join(self.folder, "sdd"))
        self.raw("sde", 1000)
        self.raw("disk.img", MiB)
        self.aborted("sdb", "directory", "sdc", "link", "sdd", "sde", "512", "disk.img")

    def test_qcow2_declared_raw(self):
        self.vbd("image", "create", "--filetype", "qcow", os.path.join(self.folder, "sda"), "1G")
        self.aborted("sda", "FT_QCOW")

    def test_raw_declared_qcow(self):
        self.raw("sda", MiB)
        done = self.vbd("instance", "add", "-t", f"file:path={self.folder},driver=blktap,filetype=qcow,reuse", "instance2", rc=None)
        self.assertIn(done.returncode, (5, 6), done.stderr)
        self.assertIn("sda", done.stderr)

    def test_size_or_count_differs(self):
        self.raw("sda", 4 * MiB)
        self.aborted("sda", more=("--disk", "0:size=8"), rc=5)
        self.aborted("1", more=("--disk", "0:size=4", "--disk", "1:size=4"), rc=5)
        self.reuse("--disk", "0:size=4")

    def test_hard_link(self):
        self.raw("sda", MiB)
        os.link(os.path.join(self.folder, "sda"), os.path.join(self.dir, "other-name"))
        self.aborted("sda")

    def test_in_use_by_a_loop_device(self):
        if not support.can_make_loops():
            support.skip(self.id(), "needs root and loop devices")
        self.raw("sda", MiB)
        made = support.run("losetup", "-f", "--show", os.path.join(self.folder, "sda"))
        self.assertEqual(made.returncode, 0, made.stderr)
        try:
            self.aborted("sda", made.stdout.strip(), rc=5)
        finally:
            support.run("losetup", "-d", made.stdout.strip())

    def test_in_use_by_qemu(self):
        if not support.have("qemu-io"):
            support.skip(self.id(), "needs qemu-io")
        self.raw("sda", MiB)
        holder = subprocess.Popen(["qemu-io", "-f", "raw", os.path.join(self.folder, "sda")], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        try:
            holder.stdout.read(1)  # its prompt: the image is open and locked
            self.aborted("sda", rc=5)
        finally:
            holder.communicate(b"quit\n")

    def test_a_vbd_that_looks_is_waited_for(self):
        """As `cluster verify` of another terminal does, for a moment. Who is no vbd is not waited for."""
        self.raw("sda", MiB)
        look = ("import sys, time; f = open(sys.argv[1]); open('/proc/self/comm', 'w').write(sys.argv[2]); print(flush=True); "
                "time.sleep(float(sys.argv[3]))")
        for name, seconds, rc in (("cat", 60, 5), ("vbd", 1, 0)):
            looker = subprocess.Popen([sys.executable, "-c", look, os.path.join(self.folder, "sda"), name, str(seconds)],
                                      stdout=subprocess.PIPE)
            try:
                looker.stdout.readline()
                self.reuse(rc=rc)
            finally:
                looker.kill()
                looker.communicate()

    def test_a_file_that_can_not_be_looked_at_is_no_reason_against_it(self):
        """The storage fails: a failure (1), not a refusal (5)."""
        if not support.have("strace"):
            support.skip(self.id(), "needs strace")
        self.raw("sda", MiB)
        before = self.snapshot(self.folder)
        done = support.run("strace", "-f", "-qq", "-o", "/dev/null", "-P", "sda", "-e", "inject=openat2:error=EIO",
                           *self.argv("instance", "add", "-t", f"file:path={self.folder},reuse", "--no-start", "inst"),
                           env={**self.environment(), "ASAN_OPTIONS": "detect_leaks=0"})
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("reuse: sda: ", done.stderr)
        self.assertIn("try again when its storage answers", done.stderr)
        self.assertEqual({n: v for n, v in self.snapshot(self.folder).items() if n != ".vbdkit.lock"}, before)

    def test_remove_takes_reused_files_too(self):
        self.raw("sda", MiB)
        self.reuse()
        self.vbd("instance", "remove", "--yes", "instance2")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "sda")))


class Foreign(Sandbox):
    def test_copied_directory_never_touches_the_original(self):
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start", "orig")
        orig, copy = (os.path.join(self.storage, n) for n in ("orig", "copy"))
        done = support.run("cp", "-a", orig, copy)
        self.assertEqual(done.returncode, 0)
        before = self.snapshot(orig)
        self.vbd("cluster", "verify", "--rebuild", rc=None)
        states = {i["name"]: i["state"] for i in self.vbd_json("instance", "list")["instances"]}
        self.assertEqual(states["orig"], "stopped")
        # The original gone astray: what stands in its place says another directory.
        os.rename(orig, os.path.join(self.storage, "moved"))
        self.vbd("cluster", "verify", "--rebuild", rc=None)
        done = self.vbd("instance", "remove", "--yes", "orig", rc=None)
        self.assertNotEqual(done.returncode, 0, "a foreign instance was removed")
        self.assertEqual(self.snapshot(os.path.join(self.storage, "moved")), before)
        self.assertTrue(os.path.exists(os.path.join(copy, "sda")))
        if support.can_make_loops():
            done = self.vbd("disk", "attach", self.logical_id(os.path.join(copy, "sda")), rc=None)
            self.assertEqual(done.returncode, 5, done.stderr)


if __name__ == "__main__":
    support.main()
