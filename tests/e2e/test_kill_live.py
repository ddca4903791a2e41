#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""As test_kill.py, for start, stop and reboot: killed before every system call that changes something. The guest is a
small process (test_live.py), so that hundreds of runs stay short."""

import json
import os
import socket

import support
import test_kill
import test_live


# A monitor that speaks as much of QMP as vbd does; a process without one would have to be waited for.
PROFILE = """\
dialect: none
quote: shell-args
device_disk: "{node}"
config: "{disks}"
commands:
  guest: process
  control: qmp
  start: [%s, "{control}", "{arguments}"]
  stop: [powerdown]
"""
SCRIPT = """\
#!/usr/bin/python3 -IS
import os, socket, sys
disk = os.open(sys.argv[2], os.O_RDWR)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    monitor = listener.accept()[0]
    monitor.sendall(b'{"QMP": {}}\\n')
    for line in monitor.makefile():
        if line == "powerdown\\n":
            sys.exit()
        status = ', "status": "running"' if "query-status" in line else ""
        try:
            monitor.sendall(('{"return": {"x": 0%s}}\\n' % status).encode())
        except OSError:
            break
"""


# Guests of the toolstack are files beside it.
TOOLSTACK = """\
dialect: none
quote: shell-args
device_disk: "{node}"
config: "{disks}"
commands:
  guest: toolstack
  start: [%s, create, "{name}"]
  stop: [%s, destroy, "{name}"]
  destroy: [%s, destroy, "{name}"]
  status: [%s, list]
"""
TOOL = """\
#!/usr/bin/python3 -IS
import os, sys, time
guests = os.path.abspath(__file__) + ".guests"
if sys.argv[1] == "create":
    time.sleep(0.1)
    if os.path.exists(os.path.join(guests, sys.argv[2])):
        sys.exit("it exists")
    open(os.path.join(guests, sys.argv[2]), "x").close()
elif sys.argv[1] == "destroy":
    os.unlink(os.path.join(guests, sys.argv[2]))
else:
    for name in os.listdir(guests):
        print(name, "running")
"""


class Base(test_kill.Injected, test_live.Live):
    profile, guest_script = PROFILE, SCRIPT

    def setUp(self):
        super().setUp()
        self.add()
        self.guests_directory = os.path.join(self.run_dir, "instances")
        self.turn = 0

    def seen(self):
        return self.states()["web1"][0]

    def record(self):
        with open(os.path.join(self.storage, "web1", "instance.yaml")) as f:
            return f.read()

    def runs(self):
        """One guest, with its disk, its note and its lease; nothing is in progress."""
        self.assertEqual(self.seen(), "running")
        self.assertEqual((len(self.guests()), len(self.our_loops())), (1, 1))
        self.assertEqual(len(os.listdir(self.guests_directory)), 1)
        self.assertIn("holder:", self.record())
        self.assertNotIn("operation:", self.record())

    def is_down(self):
        self.assertEqual(self.seen(), "stopped")
        self.assert_nothing_left()
        self.assertEqual(os.listdir(self.guests_directory) if os.path.isdir(self.guests_directory) else [], [])
        for word in ("holder:", "operation:"):
            self.assertNotIn(word, self.record())
        with open(os.path.join(self.storage, "web1", "sda"), "rb") as f:
            self.assertEqual(len(f.read()), support.MiB)

    def stop_now(self):
        self.vbd("instance", "stop", "--force", "web1")
        self.is_down()


class KillStart(Base):
    def test_start(self):
        def after(_killed):
            self.assertLessEqual(len(self.guests()), 1)
            self.turn += 1
            if self.turn % 3 == 0:
                self.vbd("instance", "start", "web1")
                self.runs()
            elif self.turn % 3 == 1:  # the settling that every verb begins with
                self.vbd("cluster", "verify", "--repair", rc=None)
                self.assertIn(self.seen(), ("running", "stopped"))
                if self.seen() == "running":
                    self.runs()
                else:
                    self.is_down()
            self.stop_now()
        self.kill_everywhere(("instance", "start", "web1"), lambda: None, after)


class KillToolstack(Base):
    """What creates the guest goes on when vbd is killed: no guest comes up behind the next command's back."""

    profile, guest_script = TOOLSTACK, TOOL

    def setUp(self):
        super().setUp()
        os.mkdir(self.script + ".guests")

    def guests(self):
        return os.listdir(self.script + ".guests")

    def test_start(self):
        def after(_killed):
            self.turn += 1
            if self.turn % 2:
                self.vbd("instance", "start", "web1")
                self.runs()
            self.stop_now()
            self.assertEqual(self.guests(), [])
        self.kill_everywhere(("instance", "start", "web1"), lambda: None, after, (test_kill.CHANGES,))

    def test_a_guest_of_that_name_that_is_not_ours(self):
        open(os.path.join(self.script + ".guests", "web1"), "x").close()
        self.fails(4, "instance.running", "instance", "start", "web1")
        self.assertEqual((self.guests(), self.seen()), (["web1"], "stopped"))
        self.vbd("instance", "remove", "--yes", "web1")
        self.assertEqual(self.guests(), ["web1"])


class KillStop(Base):
    def start(self):
        self.vbd("instance", "start", "web1")
        self.runs()

    def goes_on(self, _killed):
        """Stopped by the same words, or brought back."""
        self.turn += 1
        if self.turn % 2:
            self.vbd("instance", "stop", "web1")
            self.is_down()
        else:
            self.start()

    def test_stop(self):
        self.kill_everywhere(("instance", "stop", "web1"), self.start, self.goes_on)

    def test_force(self):
        self.kill_everywhere(("instance", "stop", "--force", "web1"), self.start, self.goes_on, (test_kill.CHANGES,))

    def test_after_the_guest_was_killed(self):
        def prepare():
            self.start()
            self.kill(self.guests()[0])
        self.kill_everywhere(("instance", "stop", "web1"), prepare, self.goes_on, (test_kill.CHANGES,))

    def test_what_shall_run_again_does(self):
        def after(_killed):
            self.vbd("cluster", "verify", "--repair", rc=None)
            self.vbd("instance", "start", "--all")
            self.runs()
        self.kill_everywhere(("instance", "stop", "--no-remember", "web1"), self.start, after, (test_kill.CHANGES,))


class KillReboot(Base):
    def test_reboot(self):
        """Stopped and started, for this profile has no better way: it is brought back."""
        def after(_killed):
            self.assertLessEqual(len(self.guests()), 1)
            self.turn += 1
            if self.turn % 2:
                self.vbd("cluster", "verify", "--repair", rc=None)
            self.vbd("instance", "start", "--all")
            self.runs()
        self.vbd("instance", "start", "web1")
        self.kill_everywhere(("instance", "reboot", "web1"), lambda: None, after, (test_kill.CHANGES,))


class KillGrowRunning(test_kill.Injected):
    """grow-disk beneath a real QEMU, which has no guest to boot: a loop device, and an image that it opened itself."""

    settings = "hypervisor: qemu\n"

    def setUp(self):
        super().setUp()
        if not support.have("qemu-system-x86_64"):
            support.skip(self.id(), "needs qemu-system-x86_64")
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--disk",
                 "1:size=1M,driver=blktap,filetype=qcow", "-B", "memory=32", "-H", "accel=tcg", "inst")
        self.addCleanup(self.vbd, "instance", "stop", "--force", "inst")

    def qemu_sees(self):
        [directory] = os.listdir(os.path.join(self.run_dir, "instances"))
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(os.path.join(self.run_dir, "instances", directory, "control"))
            lines = monitor.makefile("rw")
            lines.readline()
            lines.write('{"execute": "qmp_capabilities"}{"execute": "query-block"}')
            lines.flush()
            lines.readline()
            return {disk["device"]: disk["inserted"]["image"]["virtual-size"] for disk in json.loads(lines.readline())["return"]}

    def test_grow(self):
        size = {"sda": support.MiB, "sdb": support.MiB}
        for disk in size:
            words = ("instance", "grow-disk", "inst", disk, "1M")

            def after(killed):
                before = size[disk]
                if killed and self.vbd_json("instance", "info", "inst")["state"] == "interrupted":
                    self.vbd(*words)
                    self.assertEqual(self.sizes()[disk], before + support.MiB)
                size[disk] = self.sizes()[disk]
                self.assertIn(size[disk], (before, before + support.MiB))
                self.assertEqual(self.qemu_sees(), size)
            self.kill_everywhere(words, lambda: None, after, (test_kill.CHANGES,))
        self.assertEqual(self.vbd_json("cluster", "verify", "--repair")["left"], 0)

    def sizes(self):
        return {disk["vdev"]: disk["size"] for disk in self.vbd_json("instance", "info", "inst")["disks"]}


if __name__ == "__main__":
    support.main()
