#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A host that is switched off, under a real systemd: in a container of the host's own files, with a state of its own."""

import json
import os
import signal
import subprocess

import support
from support import Sandbox

# It notes how it was asked to end, takes two seconds, and says whether its disk was still there then.
GUEST = """\
#!/usr/bin/python3 -IS
import os, signal, sys, time
disk = os.open(sys.argv[1], os.O_RDWR)
def end(number, _):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    asked, written = time.monotonic(), "written"
    time.sleep(2)
    try:
        os.pwrite(disk, b"last words".ljust(512), 0)
        os.fsync(disk)
    except OSError as error:
        written = str(error)
    with open("/test/log", "a") as log:
        log.write("%s %s %s\\n" % (sys.argv[2], signal.Signals(number).name, written))
        log.flush()
        os.fsync(log.fileno())
    os._exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, end)
while True:
    signal.pause()
"""
PROFILE = """\
summary: a script that stands for a hypervisor
dialect: none
quote: shell-args
device_disk: "{node}"
config: "{disks} {name}"
commands:
  guest: process
  start: [/test/guest.py, "{arguments}"]
  stop: [kill, -USR1, "{pid}"]
"""
SETTINGS = """\
file_storage_dir: /srv/%s
state_dir: /var/lib/%s
run_dir: /run/%s
node: node1
hypervisor: /test/profile.yaml
default_driver: FD_BLKTAP
default_filetype: FT_QCOW
"""
# vbdkit-instances.service knows of `known`; of `stray`, which has a configuration of its own, only the scopes' order does.
DRIVE = """\
#!/bin/sh
exec >/test/drive.log 2>&1
set -ex
vbd instance add -t file: --disk 0:size=1M known
vbd --config /test/stray.yaml instance add -t file: --disk 0:size=1M stray
vbd instance info --output json known >/test/known
vbd --config /test/stray.yaml instance info --output json stray >/test/stray
systemctl is-active vbdkit-instances.service
exec systemctl --no-block poweroff
"""
DRIVE_UNIT = """\
[Unit]
After=vbdkit-instances.service
[Service]
Type=oneshot
ExecStart=/test/drive.sh
"""
MAKE = ("etc/systemd/system/multi-user.target.wants", "etc/vbdkit", "var/lib", "var/log/journal", "run", "tmp", "proc",
        "sys", "dev", "root", "usr", "srv/vbdkit", "srv/stray", "test")


def reason_against():
    """Why no container can be booted here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if not support.have("systemd-nspawn"):
        return "needs systemd-nspawn (Debian: systemd-container)"
    if not os.path.exists("/usr/lib/systemd/systemd"):
        return "needs systemd"
    for program in ("qemu-storage-daemon", "python3"):
        if not support.have(program):
            return f"needs {program}"
    if not os.path.exists("/dev/fuse"):
        return "needs /dev/fuse"
    with open("/proc/self/mounts") as f:
        if not any(line.split()[2] == "cgroup2" for line in f):
            return "needs cgroup2"
    return None


def booted():
    return os.path.exists("/run/systemd/system")


def own_cgroups(name):
    """A cgroup of that name below ours, in each hierarchy that systemd manages itself."""
    with open("/proc/self/cgroup") as f:
        ours = dict(line.rstrip("\n").split(":", 2)[1:] for line in f)
    found = []
    with open("/proc/self/mounts") as f:
        for _, target, kind, options, *_ in map(str.split, f):
            key = {"cgroup2": "", "cgroup": "name=systemd"}.get(kind)
            if key is not None and key in ours and (not key or key in options.split(",")):
                found.append(os.path.join(target, ours[key].lstrip("/"), name))
    return found


class Poweroff(Sandbox):
    needs_loops = True

    def setUp(self):
        super().setUp()
        reason = reason_against()
        if reason:
            support.skip(self.id(), reason)
        self.root = os.path.join(self.dir, "root")
        for folder in MAKE:
            os.makedirs(os.path.join(self.root, folder), 0o755, exist_ok=True)
        for name in ("bin", "sbin", "lib", "lib32", "lib64"):
            if os.path.islink("/" + name):
                os.symlink(os.readlink("/" + name), os.path.join(self.root, name))
        self.fill()

    def put(self, path, text, mode=0o644):
        path = os.path.join(self.root, path)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)

    def fill(self):
        for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache"):
            with open("/etc/" + name, "rb") as f, open(os.path.join(self.root, "etc", name), "wb") as out:
                out.write(f.read())
        self.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n")  # else it is a first boot, which enables all units
        self.put("etc/os-release", "ID=test\n")
        self.put("etc/fuse.conf", "")
        self.put("etc/vbdkit/vbdkit.yaml", SETTINGS.replace("%s", "vbdkit"))
        self.put("test/stray.yaml", SETTINGS.replace("%s", "stray"))
        self.put("test/profile.yaml", PROFILE)
        self.put("test/guest.py", GUEST, 0o755)
        self.put("test/drive.sh", DRIVE, 0o755)
        units = "etc/systemd/system/"
        self.put(units + "drive.service", DRIVE_UNIT)
        os.symlink("/usr/lib/systemd/system/multi-user.target", os.path.join(self.root, units, "default.target"))
        for unit in ("/usr/lib/systemd/system/vbdkit-instances.service", "/etc/systemd/system/drive.service"):
            os.symlink(unit, os.path.join(self.root, units, "multi-user.target.wants", os.path.basename(unit)))

    def boot(self):
        """Until it has powered off. Returns what its console said."""
        devices = ["/dev/fuse", "/dev/loop-control"]
        devices += ["/dev/" + name for name in os.listdir("/dev") if name.startswith("loop") and name[4:].isdigit()]
        name = f"vbdkit-test-{os.getpid()}"
        words = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--private-network", "--link-journal=no",
                 "--resolv-conf=off", "--timezone=off", "--machine=" + name, "--console=pipe", "-D", self.root,
                 f"--overlay-ro=/usr:{support.PREFIX}:/usr", *["--bind=" + device for device in devices]]
        if booted():  # in a scope of its own, which must let it use them
            words += ["--property=DeviceAllow=" + allowed for allowed in
                      ("/dev/fuse rw", "/dev/loop-control rw", "block-loop rwm")]
        else:
            words.append("--keep-unit")
        container = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     text=True, errors="replace", start_new_session=True,
                                     preexec_fn=None if booted() else lambda: self.enter(own_cgroups(name)))
        self.addCleanup(self.leave, own_cgroups(name))
        self.addCleanup(self.drop_devices)
        try:
            return container.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            container.send_signal(signal.SIGKILL)
            return container.communicate()[0] + "\n(did not power off)"

    @staticmethod
    def enter(cgroups):
        for path in cgroups:
            os.mkdir(path)
            with open(os.path.join(path, "cgroup.procs"), "w") as f:
                f.write("0")

    @staticmethod
    def leave(cgroups):
        for top in cgroups:
            for folder, _, _ in os.walk(top, topdown=False):
                os.rmdir(folder)

    def drop_devices(self):
        """A host that goes down takes them with it; this one stays. Their servers are gone, and so their files' names."""
        nodes = dict(support.loop_list())
        for name in ("known", "stray"):
            text = self.read("test/" + name)
            node = json.loads(text)["disks"][0]["device"] if text.startswith("{") else None
            if node and nodes.get(node) == "/":
                support.run("losetup", "-d", node)

    def read(self, path):
        try:
            with open(os.path.join(self.root, path)) as f:
                return f.read()
        except OSError as error:
            return str(error)

    def test_guests_are_shut_down_before_anything_of_theirs_ends(self):
        console = self.boot()
        said = f"{self.read('test/drive.log')}\n{console[-6000:]}"
        if not os.path.exists(os.path.join(self.root, "test/drive.log")):
            support.skip(self.id(), "no systemd boots in a container here: " + console[-300:])
        log = [line.split(" ", 2) for line in self.read("test/log").splitlines()]
        self.assertEqual(sorted(log), [["known", "SIGUSR1", "written"], ["stray", "SIGTERM", "written"]], said)
        # The service has stopped before the others are touched.
        self.assertEqual([line[0] for line in log], ["known", "stray"], said)
        self.assertEqual(self.our_processes(), [])


if __name__ == "__main__":
    support.main()
