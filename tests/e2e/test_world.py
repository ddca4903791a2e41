#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What others do on the same host: their loop devices, their broken storage, their processes."""

import errno
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import support
import test_live
from support import MiB, Sandbox

LOOP_CTL_GET_FREE, LOOP_SET_FD, LOOP_CLR_FD = 0x4C82, 0x4C00, 0x4C01


class World(Sandbox):
    needs_loops = True

    def breakable(self, name="other", device="small"):
        """A FUSE filesystem of its own, below self.dir: (its directory, the pid of its server)."""
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            support.skip(self.id(), "needs /dev/fuse")
        below, target = os.path.join(self.dir, name + ".below"), os.path.join(self.dir, name)
        os.mkdir(below, 0o755)
        os.makedirs(target, 0o755, exist_ok=True)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "small_fuse.py")
        server = subprocess.Popen([sys.executable, script, below, target, device],
                                  stdout=subprocess.PIPE)
        self.assertEqual(server.stdout.readline(), b"mounted\n")
        server.stdout.close()
        self.addCleanup(self.end, server)
        return target, server

    def end(self, server):
        server.send_signal(signal.SIGCONT)
        server.send_signal(signal.SIGUSR2)
        server.poll()
        for node, _ in self.our_loops():
            self.clear_loop(node)
        for target in reversed(self.our_mounts()):
            support.run("umount", target)
        server.kill()
        server.wait()

    def break_it(self, server, how):
        if how == "hangs":
            server.send_signal(signal.SIGSTOP)
        elif how == "eio":
            server.send_signal(signal.SIGUSR1)
        else:
            server.kill()
            server.wait()

    def image(self, path, size=MiB):
        with open(path, "wb") as f:
            f.truncate(size)
        os.chmod(path, 0o600)
        return path

    def loop(self, path):
        done = support.run("losetup", "-f", "--show", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()


class Loops(World):
    """Issue: one dead or slow loop device stalls or refuses everything."""

    def everything(self):
        disk = self.logical_id(self.image(os.path.join(self.storage, "plain")))
        self.vbd("disk", "attach", disk, timeout=20)
        self.assertEqual(self.vbd_json("disk", "query", disk)["state"], "attached")
        self.vbd("disk", "detach", disk, timeout=20)
        add = ("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start")
        self.vbd(*add, "web1", timeout=20)
        self.vbd("instance", "info", "web1", timeout=20)
        self.vbd("instance", "grow-disk", "web1", "0", "1M", timeout=20)
        self.vbd("instance", "activate-disks", "web1", timeout=20)
        self.vbd("instance", "deactivate-disks", "web1", timeout=20)
        self.vbd("cluster", "verify", rc=None, timeout=20)
        self.vbd("instance", "remove", "--yes", "web1", timeout=20)
        self.vbd("image", "remove", "--filetype", "raw", os.path.join(self.storage, "plain"), timeout=20)

    def check(self, how):
        target, server = self.breakable()
        self.loop(self.image(os.path.join(target, "sda")))
        self.break_it(server, how)
        begin = time.monotonic()
        self.everything()
        self.assertLess(time.monotonic() - begin, 15)

    def test_one_on_storage_that_hangs_stalls_nothing(self):
        self.check("hangs")

    def test_one_on_storage_with_io_errors_refuses_nothing(self):
        self.check("eio")

    def test_one_on_storage_that_is_dead_refuses_nothing(self):
        self.check("dead")

    def test_one_in_another_mount_namespace_is_found(self):
        # There its file has a name that leads to nothing here.
        path = self.image(os.path.join(self.storage, "plain"))
        hidden = os.path.join(self.dir, "hidden")
        os.mkdir(hidden)
        done = support.run("unshare", "-m", "--propagation", "private", "sh", "-ec",
                           f"mount --bind {self.storage} {hidden}; losetup -f --show {hidden}/plain")
        self.assertEqual(done.returncode, 0, done.stderr)
        node = done.stdout.strip()
        try:
            self.assertIn(node, self.fails(4, "image.in_use", "image", "remove", "--filetype", "raw",
                                           path))
        finally:
            support.run("losetup", "-d", node)

    def bind(self, control, f):
        while True:
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            try:
                with open(f"/dev/loop{number}", "rb+", buffering=0) as device:
                    fcntl.ioctl(device, LOOP_SET_FD, f.fileno())
                return number
            except OSError as error:
                if error.errno != errno.EBUSY:  # another was faster
                    raise

    def bind_many(self, count):
        made = []
        with open("/dev/loop-control", "rb+", buffering=0) as control:
            for i in range(count):
                path = self.image(os.path.join(self.dir, f"many{i}"), 65536)
                with open(path, "rb+") as f:
                    made.append(self.bind(control, f))
        return made

    def unbind(self, numbers):
        for number in numbers:
            with open(f"/dev/loop{number}", "rb", buffering=0) as device:
                fcntl.ioctl(device, LOOP_CLR_FD)

    def cost(self, disk):
        """Seconds of processor time: the machine may be busy with something else."""
        def used():
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            return usage.ru_utime + usage.ru_stime

        def once():
            before = used()
            self.vbd("disk", "attach", disk)
            took = used() - before
            self.vbd("disk", "detach", disk)
            return took
        return min(once() for _ in range(7))

    def test_attach_reads_no_more_than_names_of_500_others(self):
        disk = self.logical_id(self.image(os.path.join(self.storage, "plain")))
        alone = self.cost(disk)
        made = self.bind_many(500)
        try:
            crowded = self.cost(disk)
        finally:
            self.unbind(made)
        self.assertLess((crowded - alone) / 500, 0.0004, f"alone {alone * 1e3:.1f} ms")


class Broken(World):
    """Issue: giving back needed what broke."""

    ways = ("hangs", "eio", "dead")

    def setUp(self):
        super().setUp()
        self.target, self.server = self.breakable("storage")

    def each_way(self, prepare, check):
        for how in self.ways:
            with self.subTest(how=how):
                if self.server.poll() is not None:
                    support.run("umount", "-l", self.target)
                prepare()
                self.break_it(self.server, how)
                try:
                    check(how)
                    self.assertEqual(self.our_loops(), [])
                finally:
                    self.server.send_signal(signal.SIGCONT)
                    self.server.send_signal(signal.SIGUSR2)

    def gives_back(self, *words):
        """A mount or losetup of somebody else looks at every loop device, and hangs in one whose storage does: such a
        device is in use. Then the storage answers for a moment."""
        for _ in range(20):
            done = self.vbd(*words, rc=None, timeout=60)
            if done.returncode != 4 or " is in use: process " not in done.stderr:
                break
            self.server.send_signal(signal.SIGCONT)
            time.sleep(0.3)
            self.server.send_signal(signal.SIGSTOP)
        self.assertEqual(done.returncode, 0, done.stderr)

    def attach(self):
        self.disk = self.logical_id(self.image(os.path.join(self.storage, f"plain{time.monotonic_ns()}")))
        return self.vbd("disk", "attach", self.disk).stdout.strip()

    def test_detach(self):
        self.each_way(self.attach, lambda how: self.gives_back("disk", "detach", self.disk))

    def test_verify_repair(self):
        def check(how):
            self.vbd("cluster", "verify", "--repair", rc=None, timeout=60)
            if self.our_loops():  # as in gives_back()
                self.gives_back("disk", "detach", self.disk)
        self.each_way(self.attach, check)

    def test_deactivate_disks(self):
        def prepare():
            self.name = f"web{time.monotonic_ns()}"
            self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--disk", "1:size=1M", "--no-start",
                     self.name)
            self.vbd("instance", "activate-disks", self.name)
            self.assertEqual(len(self.our_loops()), 2)
        self.each_way(prepare, lambda how: self.gives_back("instance", "deactivate-disks", self.name))

    def test_umount(self):
        where = os.path.join(self.dir, "mnt")
        os.mkdir(where)

        def prepare():
            path = self.image(os.path.join(self.storage, f"plain{time.monotonic_ns()}"), 4 * MiB)
            self.assertEqual(support.run("mkfs.ext4", "-q", "-F", path).returncode, 0)
            self.disk = self.logical_id(path)
            self.vbd("disk", "mount", "--read-only", self.disk, where)

        def check(how):
            done = self.vbd("disk", "umount", self.disk, where, rc=None, timeout=60)
            self.assertFalse(os.path.ismount(where), done.stderr)
            if done.returncode == 4:
                return self.gives_back("disk", "detach", self.disk, "--holder", f"mount:{where}")
            self.assertEqual(done.returncode, 0, done.stderr)
        self.each_way(prepare, check)

    def test_an_unmount_that_has_to_write_waits_for_its_storage_and_says_so(self):
        where, path = os.path.join(self.dir, "mnt"), self.image(os.path.join(self.storage, "plain"), 4 * MiB)
        os.mkdir(where)
        self.assertEqual(support.run("mkfs.ext4", "-q", "-F", path).returncode, 0)
        disk = self.logical_id(path)
        self.vbd("disk", "mount", disk, where)
        with open(os.path.join(where, "hello"), "w") as f:
            f.write("hello")
        self.break_it(self.server, "hangs")
        error = self.fails(4, "disk.busy", "disk", "umount", disk, where, timeout=30)
        self.assertIn("does not answer", error)
        self.server.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        if os.path.ismount(where):
            self.vbd("disk", "umount", disk, where)
        else:
            self.vbd("disk", "detach", disk, "--holder", f"mount:{where}")
        self.assertEqual(self.our_loops(), [])


class Strings(World):
    """Issue: identity from strings that others choose."""

    def test_a_process_of_nobody_with_the_words_of_our_daemon_changes_nothing(self):
        if not support.have("qemu-storage-daemon") or not os.path.exists("/dev/fuse"):
            support.skip(self.id(), "needs qemu-storage-daemon and /dev/fuse")
        path = os.path.join(self.storage, "sda")
        self.vbd("image", "create", "--filetype", "qcow", path, "4M")
        disk = self.logical_id(path, "FT_QCOW", "FD_BLKTAP")
        node = self.vbd("disk", "attach", disk).stdout
        [daemon] = [pid for pid in self.our_processes() if b"type=fuse" in self.words(pid)]
        mounted = [word for word in self.words(daemon).split(b"\0") if word.startswith(b"type=fuse")]
        impostor = subprocess.Popen([b"sh", b"-c", b"read x", b"qemu-storage-daemon", mounted[0]], stdin=subprocess.PIPE,
                                    user=65534, group=65534)
        self.addCleanup(impostor.wait)
        self.addCleanup(impostor.kill)
        self.addCleanup(impostor.stdin.close)
        self.assertEqual(self.vbd_json("disk", "query", disk)["state"], "attached")
        self.assertEqual(self.vbd("disk", "attach", disk).stdout, node)
        begin = time.monotonic()
        self.vbd("disk", "detach", disk)
        self.assertLess(time.monotonic() - begin, 10)
        self.assertIsNone(impostor.poll())
        self.assertEqual(self.vbd_json("disk", "query", disk)["state"], "detached")
        self.assertEqual(self.our_loops(), [])

    def words(self, pid):
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read()

    def test_a_mount_whose_source_is_called_like_our_device_is_none_of_it(self):
        disk = self.logical_id(self.image(os.path.join(self.storage, "plain")))
        node = self.vbd("disk", "attach", disk).stdout.strip()
        self.breakable(device=node)
        self.vbd("disk", "detach", disk)
        self.assertEqual(self.our_loops(), [])


class Leftovers(World):
    """Issue: temporary files of killed runs are found, and removed when nobody holds them."""

    def test_temporary_files_anywhere_below_the_storage_and_unfinished_exports(self):
        plain, exports = os.path.join(self.storage, "plain"), os.path.join(self.dir, "export")
        os.makedirs(plain)
        self.write_config(f"export_dir: {exports}\n")
        left = [os.path.join(where, ".vbd-disk.qcow2.0123456789abcdef.tmp") for where in (self.storage, plain)]
        for path in left:
            self.image(path)
        os.makedirs(os.path.join(exports, ".web1.new"), 0o700)
        self.image(os.path.join(exports, ".web1.new", "disk0"))
        foreign = self.image(os.path.join(plain, ".vbd-disk.qcow2.0123456789abcde0.tmp"))
        os.chown(foreign, 65534, 65534)
        odd = self.image(os.path.join(plain, ".vbd-mine.tmp"))
        wanted = {*left, os.path.join(exports, ".web1.new")}
        found = self.vbd_json("cluster", "verify", rc=1)["problems"]
        self.assertEqual({p["where"] for p in found}, wanted)
        with open(left[0], "rb"):
            found = self.vbd_json("cluster", "verify", "--repair", rc=1)["problems"]
            self.assertEqual({p["where"] for p in found if not p["repaired"]}, {left[0]})
        self.vbd("cluster", "verify", "--repair")
        self.assertEqual([p for p in wanted if os.path.exists(p)], [])
        self.assertTrue(os.path.exists(foreign) and os.path.exists(odd))
        self.assertEqual(self.vbd("cluster", "verify").stdout, "no problems found\n")


class InUse(World):
    """Issue: torn copies of what somebody without a lock has open for writing."""

    def test_what_a_foreign_writer_has_is_read_only_on_request_and_marked(self):
        path, other = self.image(os.path.join(self.dir, "a")), self.image(os.path.join(self.dir, "b"))
        node = self.loop(path)
        copy = os.path.join(self.dir, "copy")
        verbs = {"copy": ("--filetype", "raw", path, "--to", "filetype=raw", copy), "digest": ("--filetype", "raw", path),
                 "compare": ("--filetype", "raw", other, path), "check": ("--filetype", "raw", path)}
        try:
            for verb, words in verbs.items():
                with self.subTest(verb=verb):
                    self.assertIn(node, self.fails(4, "image.in_use", "image", verb, *words))
                    self.assertFalse(os.path.exists(copy))
                    done = self.vbd("image", verb, "--allow-in-use", *words)
                    self.assertIn("in use meanwhile", done.stdout)
                    if verb == "copy":
                        os.unlink(copy)
                    self.assertIn(node, self.vbd_json("image", verb, "--allow-in-use", *words)["in_use"])
                    if verb == "copy":
                        os.unlink(copy)
            self.vbd("image", "info", "--filetype", "raw", path)
            self.vbd("image", "map", "--filetype", "raw", path)
        finally:
            support.run("losetup", "-d", node)
        with open(path, "rb+"):
            self.assertIn(f"process {os.getpid()}", self.fails(4, "image.in_use", "image", *("digest", *verbs["digest"])))
        for verb, words in verbs.items():
            self.assertIsNone(self.vbd_json("image", verb, *words)["in_use"])


class Lost(test_live.Live):
    """Issue: "stopped", exit 0, while the guest runs, after RUN was emptied or is another one."""

    def lose_run(self):
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def change_run(self):
        self.run_dir += "2"
        self.write_config(f"hypervisor: {self.dir}/mine.yaml\n")

    def check_guest(self, lose):
        self.add()
        self.vbd("instance", "start", "web1")
        [guest] = self.guests()
        lose()
        self.assertEqual(self.states()["web1"][0], "running")
        self.assertEqual(self.vbd_json("instance", "info", "web1")["state"], "running")
        problems = self.vbd_json("cluster", "verify", rc=1)["problems"]
        self.assertTrue([p for p in problems if p["where"].startswith(f"process {guest} (") and "runs a guest" in p["what"]],
                        problems)
        self.fails(4, "instance.running", "instance", "remove", "--yes", "web1")
        self.fails(4, "instance.running", "instance", "deactivate-disks", "web1")
        self.assertEqual(self.vbd("instance", "start", "web1").stdout, "instance web1: running already\n")
        lose()
        self.assertEqual(self.vbd("instance", "stop", "web1").stdout, "instance web1: stopped\n")
        self.assertEqual(self.guests(), [])
        self.assertEqual(self.states()["web1"][0], "stopped")
        self.assert_nothing_left()

    def test_a_guest_is_found_again_when_RUN_was_emptied(self):
        self.check_guest(self.lose_run)

    def test_a_guest_is_found_again_when_run_dir_is_another(self):
        self.check_guest(self.change_run)

    def test_disks_whose_records_were_lost_are_detached(self):
        self.add()
        self.vbd("instance", "activate-disks", "web1")
        [(node, _)] = self.our_loops()
        self.lose_run()
        problems = self.vbd_json("cluster", "verify", rc=1)["problems"]
        self.assertTrue([p for p in problems if node in p["what"] and "no record" in p["what"]], problems)
        done = self.vbd("instance", "deactivate-disks", "web1")
        self.assertNotIn("stays attached", done.stderr)
        self.assertEqual(self.our_loops(), [])
        self.assertEqual(self.vbd("cluster", "verify").stdout, "no problems found\n")

    def test_a_server_that_no_record_knows_is_named(self):
        if not support.have("qemu-storage-daemon") or not os.path.exists("/dev/fuse"):
            support.skip(self.id(), "needs qemu-storage-daemon and /dev/fuse")
        self.vbd("instance", "add", "-t", "file:driver=blktap,filetype=qcow", "--disk", "0:size=1M", "--no-start", "web1")
        self.vbd("instance", "activate-disks", "web1")
        [daemon] = [pid for pid in self.our_processes() if "type=fuse" in " ".join(self.command(pid))]
        disk = self.logical_id(os.path.join(self.storage, "web1", "sda"), "FT_QCOW", "FD_BLKTAP")
        lost = self.run_dir
        self.change_run()
        who = f"process {daemon} (qemu-storage-"
        self.assertIn(who, self.fails(4, "disk.unrecorded", "instance", "deactivate-disks", "web1"))
        self.assertIn(who, self.fails(4, "disk.unrecorded", "disk", "detach", disk))
        self.assertIn(who, self.fails(4, "disk.unrecorded", "instance", "stop", "web1"))
        query = self.vbd_json("disk", "query", disk)
        self.assertEqual(query["state"], "detached")
        self.assertIn(who, query["reason"])
        problems = self.vbd_json("cluster", "verify", rc=1)["problems"]
        self.assertTrue([p for p in problems if who in p["what"]], problems)
        self.run_dir = lost
        self.write_config()
        self.vbd("instance", "deactivate-disks", "web1")
        self.assert_nothing_left()


class LostQemu(test_live.Qemu):
    def test_qemu_is_found_again_and_ended_by_force_alone(self):
        self.add("--disk", "0:size=1M,driver=loop", "--disk", "1:size=1M,filetype=qcow")
        self.vbd("instance", "start", "web1")
        shutil.rmtree(self.run_dir, ignore_errors=True)
        self.assertEqual(self.vbd_json("instance", "info", "web1")["state"], "running")
        error = self.fails(4, "instance.running", "instance", "stop", "web1")
        self.assertRegex(error, r"process [0-9]+ \(qemu-system-x86\) runs its guest, and can't be asked")
        self.assertEqual(self.vbd_json("instance", "info", "web1")["state"], "running")
        self.vbd("instance", "stop", "--force", "web1")
        self.assertEqual(self.vbd_json("instance", "info", "web1")["state"], "stopped")
        self.assert_nothing_left()

    def test_an_image_that_it_opened_itself_stays_with_it(self):
        pass  # of the class above, there


if __name__ == "__main__":
    support.main()
