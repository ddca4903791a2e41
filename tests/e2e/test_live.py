#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instances that run: under a profile that is a small script, and a real guest under QEMU."""

import os
import shutil
import signal
import subprocess
import time
import unittest

import support
from support import MiB, Sandbox

GUEST_PROFILE = """\
summary: a script that stands for a hypervisor
dialect: none
quote: shell-args
device_disk: "disk={node},mode={access}"
disk_separator: "\\n"
defaults: {memory: "64"}
config: |
  name={name}
  memory={memory}
  {disks}
commands:
  guest: process
  start: [%s, "{config}", "{run_dir}", "{arguments}"]
"""
# It lives until a SIGTERM; with a file `refuse` beside it, it ends at once.
GUEST_SCRIPT = """\
#!/usr/bin/python3
import os, signal, sys
here = os.path.dirname(os.path.abspath(__file__))
if os.path.exists(here + "/refuse"):
    print("no memory for a guest", file=sys.stderr)
    sys.exit(1)
if os.path.exists(here + "/stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for word in sys.argv[3:]:
    if word.startswith("disk="):
        os.open(word[5:].split(",")[0], os.O_RDWR)
while True:
    signal.pause()
"""


class Live(Sandbox):
    needs_loops = True
    profile, guest_script = GUEST_PROFILE, GUEST_SCRIPT

    def setUp(self):
        super().setUp()
        self.script = os.path.join(self.dir, "guest.py")
        with open(self.script, "w") as f:
            f.write(self.guest_script)
        os.chmod(self.script, 0o755)
        profile = os.path.join(self.dir, "mine.yaml")
        with open(profile, "w") as f:
            f.write(self.profile.replace("%s", self.script))
        self.write_config(f"hypervisor: {profile}\n")

    def add(self, name="web1", *more):
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start", *more, name)

    def states(self):
        return {i["name"]: (i["state"], i["reason"]) for i in self.vbd_json("instance", "list")["instances"]}

    def guests(self):
        return [pid for pid in self.our_processes() if self.script in self.command(pid)[1:3]]

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)
        while self.command(pid) != [""] and self.command(pid):
            time.sleep(0.01)

    def command(self, pid):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                return f.read().split("\0")
        except OSError:
            return []


class Deaf(Live):
    """A guest that still boots: it does not hear the first request to shut down."""

    profile = GUEST_PROFILE + '  stop: [kill, -USR1, "{pid}"]\n'
    guest_script = """\
#!/usr/bin/python3
import signal, sys
asked = []
def hear(*_):
    asked.append(1)
    if len(asked) == 2:
        sys.exit()
signal.signal(signal.SIGUSR1, hear)
while True:
    signal.pause()
"""

    def test_a_stop_that_the_guest_did_not_hear_is_asked_again(self):
        self.add()
        self.vbd("instance", "start", "web1")
        self.vbd("instance", "stop", "--timeout", "20", "web1")
        self.assertEqual(self.states(), {"web1": ("stopped", None)})
        self.assert_nothing_left()


class Lockless(Live):
    """A hypervisor that opens the images itself, and is not as good as the word of its profile."""

    profile = """\
summary: a script that promises to lock its images
dialect: qemu
quote: shell-args
device_disk: "file={node},format=raw"
disk: "{disk}"
disk_separator: "\\n"
defaults: {memory: "64"}
config: |
  memory={memory}
  {disks}
commands:
  guest: process
  opens_files: true
  locks_images: true
  start: [%s, "{arguments}"]
"""
    guest_script = """\
#!/usr/bin/python3
import os, signal, sys
for word in sys.argv[1:]:
    if word.startswith("file="):
        os.open(word[5:].split(",")[0], os.O_RDWR)
while True:
    signal.pause()
"""

    def add(self):
        self.vbd("instance", "add", "-t", "file:driver=blktap", "--disk", "0:size=1M", "--no-start", "web1")

    def test_a_guest_that_has_opened_an_image_without_a_lock_is_ended(self):
        self.add()
        line = self.fails(4, "image.in_use", "instance", "start", "web1")
        self.assertIn("has opened it without a lock", line)
        self.assertEqual(self.states(), {"web1": ("stopped", None)})
        self.assertEqual(self.guests(), [])
        self.assert_nothing_left()


class Script(Live):
    """An operator's own profile."""

    def test_start_and_stop(self):
        self.add()
        done = self.vbd("instance", "start", "web1")
        self.assertEqual((done.stdout, done.stderr), ("instance web1: running\n", ""))
        self.assertEqual(self.states(), {"web1": ("running", None)})
        info = self.vbd_json("instance", "info", "web1")
        node = info["disks"][0]["device"]
        self.assertTrue(node.startswith("/dev/loop"))
        words = self.command(*self.guests())
        self.assertEqual(words[4:], ["name=web1", "memory=64", f"disk={node},mode=rw", ""])
        config = words[2]
        self.assertEqual(os.stat(config).st_mode & 0o777, 0o600)
        self.assertEqual(self.vbd("instance", "startup", "web1").stdout, "instance web1: running already\n")
        self.fails(4, "instance.running", "instance", "remove", "--yes", "web1")
        self.fails(4, "disk.held", "disk", "attach", self.logical_id(os.path.join(self.storage, "web1", "sda")))
        self.assertEqual(self.vbd("instance", "stop", "web1").stdout, "instance web1: stopped\n")
        self.assertEqual(self.vbd("instance", "shutdown", "web1").stdout, "instance web1: stopped already\n")
        self.assertEqual(self.states(), {"web1": ("stopped", None)})
        self.assertFalse(os.path.exists(os.path.dirname(config)))
        self.assert_nothing_left()
        self.vbd("instance", "remove", "--yes", "web1")

    def test_a_killed_guest_is_an_error_until_it_is_started_or_stopped(self):
        self.add()
        self.vbd("instance", "start", "web1")
        self.kill(self.guests()[0])
        self.assertEqual(self.states(), {"web1": ("error", "should run, but has ended")})
        self.assertEqual(self.vbd("instance", "start", "--all").stdout, "instance web1: running\n")
        self.assertEqual(self.states(), {"web1": ("running", None)})
        self.kill(self.guests()[0])
        self.vbd("instance", "stop", "web1")
        self.assertEqual(self.states(), {"web1": ("stopped", None)})
        self.assert_nothing_left()

    def test_after_a_restart_of_the_host(self):
        self.add("web1")
        self.add("web2")
        self.vbd("instance", "start", "web1")
        self.vbd("instance", "stop", "--all", "--no-remember")
        shutil.rmtree(self.run_dir)
        self.assertEqual(self.states(), {"web1": ("error", "should run, but was not started since the host was"),
                                         "web2": ("stopped", None)})
        self.vbd("instance", "start", "--all")
        self.assertEqual(self.states(), {"web1": ("running", None), "web2": ("stopped", None)})
        self.vbd("instance", "stop", "--all")
        self.assert_nothing_left()

    def test_a_start_that_fails_is_undone(self):
        self.add()
        open(os.path.join(self.dir, "refuse"), "w").close()
        error = self.fails(1, "hypervisor.start_failed", "instance", "start", "web1")
        self.assertIn("no memory for a guest", error)
        self.assertEqual(self.states(), {"web1": ("stopped", None)})
        self.assert_nothing_left()
        with open(os.path.join(self.storage, "web1", "instance.yaml")) as f:
            self.assertNotIn("holder:", f.read())

    def test_second_name_for_the_same_image(self):
        self.add("first")
        self.add("second")
        images = [os.path.join(self.storage, name, "sda") for name in ("first", "second")]
        os.unlink(images[1])
        os.link(images[0], images[1])
        self.vbd("instance", "start", "first")
        self.assertIn("instance:first", self.fails(4, "disk.held", "instance", "start", "second"))
        self.assertEqual(self.states(), {"first": ("running", None), "second": ("stopped", None)})
        self.vbd("instance", "stop", "first")
        self.assert_nothing_left()

    def test_two_starts_at_once(self):
        self.add()
        both = [subprocess.Popen(self.argv("instance", "start", "web1"), env=self.environment(), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL) for _ in range(2)]
        codes = sorted(p.wait(60) for p in both)
        self.assertEqual(codes[0], 0)
        self.assertIn(codes[1], (0, 4))
        self.assertEqual(len(self.guests()), 1)
        self.vbd("instance", "stop", "web1")

    def test_without_a_hypervisor(self):
        self.write_config(f"hypervisor: {self.dir}/none.yaml\n")
        with open(os.path.join(self.dir, "none.yaml"), "w") as f:
            f.write(GUEST_PROFILE % (self.dir + "/no-such-program"))
        done = self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "web1")
        self.assertIn("not started", done.stderr)
        self.fails(1, "hypervisor.absent", "instance", "start", "web1")
        self.assertEqual(self.states(), {"web1": ("stopped", None)})

    def test_words(self):
        self.add()
        self.fails(2, "usage.value", "instance", "start")
        self.fails(2, "usage.value", "instance", "start", "--all", "web1")
        self.fails(2, "usage.value", "instance", "stop", "--timeout", "-1", "web1")
        self.fails(3, "instance.not_found", "instance", "start", "web2")
        self.fails(1, "instance.not_running", "instance", "reboot", "web1")

    def test_disks_while_it_runs(self):
        self.add()
        self.vbd("instance", "start", "web1")
        [(node, _)] = self.our_loops()
        self.assertEqual(self.vbd("instance", "activate-disks", "web1").stdout, f"node1:disk/0:{node}\n")
        self.assertIn("it runs", self.fails(4, "instance.running", "instance", "deactivate-disks", "web1"))
        self.fails(4, "disk.busy", "instance", "deactivate-disks", "--force", "web1")
        self.assertEqual(len(self.our_loops()), 1)
        added = self.vbd("instance", "modify", "--disk", "add:size=2M", "web1")
        self.assertEqual(added.stderr, "vbd: warning: instance web1: it runs, and gets a new disk at its next start\n")
        self.vbd("instance", "grow-disk", "web1", "1", "1M")
        self.fails(4, "disk.held", "instance", "modify", "--yes", "--disk", "remove:0", "web1")
        self.vbd("instance", "reboot", "web1")
        self.assertEqual(len(self.our_loops()), 2)
        self.vbd("instance", "stop", "web1")
        self.vbd("instance", "deactivate-disks", "web1")
        self.assert_nothing_left()

    def test_all_go_on_when_one_fails(self):
        for name in ("a", "b", "c"):
            self.add(name)
            self.vbd("instance", "start", name)
        self.vbd("instance", "stop", "--all", "--no-remember")
        saved = os.path.join(self.storage, "saved")
        os.rename(os.path.join(self.storage, "b", "sda"), saved)
        done = self.vbd("instance", "start", "--all", rc=3)
        self.assertEqual(done.stdout, "instance a: running\ninstance c: running\n")
        self.assertEqual(len([line for line in done.stderr.splitlines() if line.startswith("vbd: error[path.not_found]: ")]), 1)
        self.assertEqual({n: s for n, (s, _) in self.states().items()}, {"a": "running", "b": "error", "c": "running"})
        os.rename(saved, os.path.join(self.storage, "b", "sda"))
        self.assertEqual(self.vbd("instance", "start", "--all").stdout, "instance b: running\n")
        self.kill([pid for pid in self.guests() if "name=b" in self.command(pid)][0])
        self.assertEqual(self.vbd("instance", "reboot", "--all").stdout, "instance a: rebooted\ninstance c: rebooted\n")
        self.assertEqual(self.vbd("instance", "stop", "--all", "--force").stdout,
                         "instance a: stopped\ninstance b: stopped\ninstance c: stopped\n")
        self.assert_nothing_left()

    def test_storage_that_is_gone_does_not_keep_a_guest(self):
        self.add()
        self.vbd("instance", "start", "web1")
        home, away = os.path.join(self.storage, "web1"), os.path.join(self.dir, "away")
        os.rename(home, away)
        problems = self.vbd_json("cluster", "verify", "--repair", rc=1)["problems"]
        self.assertIn({"where": "instance web1", "repaired": False,
                       "what": "its guest runs, and its instance can't be read: 'vbd instance stop web1' ends it"}, problems)
        self.assertEqual(self.states()["web1"][0], "unreachable")  # its pointer stays
        self.assertIn("instance web1: its guest is ended, but ", self.fails(1, "instance.unreachable", "instance", "stop", "web1"))
        self.assertEqual(self.guests(), [])
        os.rename(away, home)
        self.assertEqual(self.states()["web1"][0], "error")
        self.vbd("instance", "stop", "web1")
        self.assertEqual(self.states(), {"web1": ("stopped", None)})
        self.assert_nothing_left()

    def test_what_is_left_of_a_guest_that_nobody_knows(self):
        self.add()
        self.vbd("instance", "start", "web1")
        shutil.rmtree(os.path.join(self.storage, "web1"))
        self.kill(self.guests()[0])
        for _ in range(2):
            self.vbd("cluster", "verify", "--repair", rc=None)
        self.vbd("cluster", "verify", "--forget", "web1")
        self.assertEqual(self.vbd("cluster", "verify").stdout, "no problems found\n")
        self.assertEqual(os.listdir(os.path.join(self.run_dir, "instances")), [])
        self.assert_nothing_left()

    def test_info_and_config_of_all(self):
        self.add("a")
        self.add("b")
        info = self.vbd("instance", "info", "--all").stdout
        self.assertEqual([line.split()[1] for line in info.splitlines() if line.startswith("name:")], ["a", "b"])
        self.vbd("instance", "activate-disks", "b")
        [(node, _)] = self.our_loops()
        done = self.vbd("instance", "config", "--all")
        self.assertEqual(done.stdout, "# a\nname=a\nmemory=64\ndisk=/dev/NODE-OF-sda,mode=rw\n\n"
                                      f"# b\nname=b\nmemory=64\ndisk={node},mode=rw\n")
        self.assertEqual(done.stderr, "vbd: warning: instance a: /dev/NODE-OF-sda stands for a device that the disk gets "
                                      "when it is attached\n")
        self.vbd("instance", "deactivate-disks", "b")
        for verb in ("info", "config"):
            self.fails(2, "usage.value", "instance", verb)
            self.fails(2, "usage.value", "instance", verb, "--all", "a")

    def test_parameters_with_the_name_of_a_profile(self):
        self.add("web1", "-H", "mine:memory=128")
        self.assertIn("memory=128", self.vbd("instance", "config", "web1").stdout)
        error = self.fails(2, "usage.value", "instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "-H",
                           "qemu:memory=1", "web2")
        self.assertIn("the configured hypervisor is mine", error)


class Qemu(Sandbox):
    """QEMU without anything to boot."""

    needs_loops = True
    settings = "hypervisor: qemu\n"

    def setUp(self):
        super().setUp()
        if not support.have("qemu-system-x86_64"):
            support.skip(self.id(), "needs qemu-system-x86_64")

    def add(self, *words):
        self.vbd("instance", "add", "-t", "file:driver=blktap", "-B", "memory=32", "-H", "accel=tcg", *words, "web1")

    def test_an_image_that_it_opened_itself_stays_with_it(self):
        self.add("--disk", "0:size=1M,driver=loop", "--disk", "1:size=1M,filetype=qcow")
        image = os.path.join(self.storage, "web1", "sdb")
        self.assertIn(image, self.fails(4, "instance.running", "instance", "activate-disks", "web1"))
        error = self.vbd("instance", "deactivate-disks", "--force", "web1", rc=4).stderr
        self.assertIn(f"{image}: the guest of web1 has it open", error)
        self.fails(4, "disk.held", "disk", "detach", self.logical_id(image, "FT_QCOW", "FD_BLKTAP"))
        self.assertEqual(self.vbd_json("instance", "info", "web1")["state"], "running")
        self.vbd("instance", "grow-disk", "web1", "sdb", "1M")
        self.vbd("instance", "stop", "--force", "web1")
        self.assert_nothing_left()


if __name__ == "__main__":
    support.main()
