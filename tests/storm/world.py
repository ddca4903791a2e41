# SPDX-License-Identifier: MIT
"""The real world of a storm: its filesystems, the vbd that is driven, and what can be seen of it without asking
vbd alone."""

import configparser
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import support
from support import MiB

KINDS = ("ext4", "xfs", "fault")
PROFILE = """\
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
GUEST = """\
#!/usr/bin/python3 -ISs
import os, signal, sys
for word in sys.argv[3:]:
    if word.startswith("disk="):
        node, mode = word[5:].split(",mode=")
        os.open(node, os.O_RDWR if mode in ("rw", "w") else os.O_RDONLY)
while True:
    signal.pause()
"""


class Wrong(Exception):
    """What must not be: the storm ends with it."""


class Done:
    def __init__(self, words, rc, out, err, killed, seconds):
        self.words, self.rc, self.out, self.err, self.killed, self.seconds = words, rc, out, err, killed, seconds

    def error(self):
        return next((line for line in self.err.splitlines() if line.startswith("vbd: error[")), self.err.strip()[:300])

    def json(self):
        return json.loads(self.out)


class World(support.Sandbox):
    """Three filesystems, one configuration."""

    needs_loops = True

    def setUp(self):
        super().setUp()
        for program in ("mkfs.ext4", "mkfs.xfs", "qemu-img", "qemu-storage-daemon"):
            if not support.have(program):
                support.skip("storm", f"needs {program}")
        faultfs = os.environ.get("VBD_FAULTFS", "")
        if not os.access(faultfs, os.X_OK):
            support.skip("storm", "VBD_FAULTFS does not name faultfs, which libfuse3-dev is needed for")
        self.state_dir = self.state
        self.exports, self.scratch = os.path.join(self.dir, "export"), os.path.join(self.dir, "scratch")
        self.roots = {"ext4": self.storage, "xfs": os.path.join(self.dir, "xfs"), "fault": os.path.join(self.dir, "fault")}
        for folder in (self.exports, self.scratch, self.roots["xfs"], self.roots["fault"], self.dir + "/below",
                       self.dir + "/mnt"):
            os.mkdir(folder, 0o755)
        self.kept_mounts = {}
        self.mount_kind("ext4", 1024 * MiB, "mkfs.ext4", "-q")
        self.mount_kind("xfs", 512 * MiB, "mkfs.xfs", "-q", "-m", "reflink=1")
        self.start_faultfs(faultfs)
        self.guest = os.path.join(self.dir, "guest.py")
        with open(self.guest, "w") as f:
            f.write(GUEST)
        os.chmod(self.guest, 0o755)
        profile = os.path.join(self.dir, "mine.yaml")
        with open(profile, "w") as f:
            f.write(PROFILE % self.guest)
        self.write_config(f"hypervisor: {profile}\nexport_dir: {self.exports}\n"
                          f"allowed_dirs: [{', '.join(self.roots.values())}]\n")
        self.kept_loops = {node for node, _ in self.our_loops()}
        self.kept_mounts = set(self.our_mounts())

    def mount_kind(self, kind, size, *mkfs):
        disk = os.path.join(self.dir, kind + ".img")
        with open(disk, "wb") as f:
            f.truncate(size)
        self.assertEqual(support.run(*mkfs, disk).returncode, 0)
        self.assertEqual(support.run("mount", "-o", "loop", disk, self.roots[kind]).returncode, 0)
        os.chmod(self.roots[kind], 0o755)

    def start_faultfs(self, program):
        self.control = os.path.join(self.dir, "faults")
        self.faultfs = subprocess.Popen([program, self.dir + "/below", self.control, self.roots["fault"]],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            if os.path.ismount(self.roots["fault"]):
                return
            time.sleep(0.02)
        support.skip("storm", "faultfs can't be mounted here")

    def tell_faultfs(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(self.control)
            s.send(line.encode())
            return s.recv(100).decode().split()

    def kind_of(self, path):
        return next(kind for kind, root in self.roots.items() if path.startswith(root + "/"))

    # --- vbd

    def run_vbd(self, words, kill_after=None, timeout=150):
        """Output goes to files: a killed vbd's children may hold its pipes."""
        begin = time.monotonic()
        with tempfile.TemporaryFile(dir=self.scratch) as out, tempfile.TemporaryFile(dir=self.scratch) as err:
            process = subprocess.Popen(self.argv(*words), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                       env=self.environment())
            killed = False
            if kill_after is not None:
                try:
                    process.wait(kill_after)
                except subprocess.TimeoutExpired:
                    process.kill()
                    killed = True
            try:
                rc = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
                raise Wrong(f"no answer within {timeout} s: vbd {self.show(words)}")
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        done = Done(words, rc, *texts, killed and rc == -signal.SIGKILL, time.monotonic() - begin)
        if any(report in done.err for report in ("AddressSanitizer", "LeakSanitizer", "runtime error:")) or \
                (rc < 0 and not done.killed):
            raise Wrong(f"vbd {self.show(words)} ended with {rc}: {done.err[-2000:]}")
        return done

    def show(self, words):
        return " ".join(str(w) for w in words).replace(self.dir, "DIR")

    def ask(self, *words, ok=(0,)):
        done = self.run_vbd((*words, "--output", "json"))
        if done.rc not in ok:
            raise Wrong(f"vbd {self.show(words)}: exit {done.rc}: {done.error()}")
        return done.json() if done.out.startswith("{") else {}

    def device(self, image):
        seen = self.ask("disk", "query", image.logical_id)
        if not seen["device"]:
            raise Wrong(f"{image.path} is attached for {image.holder}, and disk query says {seen}")
        return seen["device"]

    # --- what is to be seen

    def observe(self, key, wanted, strict=False):
        """The value of a key of State.describe(); None: not there. `wanted`: one that it may have."""
        what, name = key
        return getattr(self, "see_" + what)(name, wanted, strict)

    def see_instance(self, name, _wanted, _strict):
        info = self.ask("instance", "info", name, ok=(0, 3, 5))
        if "disks" not in info:
            return None
        return (info["state"], info["directory"],
                tuple((os.path.basename(d["logical_id"][2]), *d["logical_id"][:2], d["size"], d["mode"]) for d in info["disks"]))

    def see_directory(self, path, _wanted, strict):
        try:
            names = os.listdir(path)
        except FileNotFoundError:
            return None
        names = [n for n in names if not n.startswith(".vbdkit") and n != "instance.yaml" and
                 (strict or not n.startswith(".vbd-"))]
        return tuple(sorted(names)) or None

    def see_image(self, path, wanted, _strict):
        if not os.path.exists(path):
            return None
        return (wanted[0], self.virtual_size(path, wanted[0]))

    @staticmethod
    def virtual_size(path, filetype):
        if filetype == "FT_RAW":
            return os.path.getsize(path)
        with open(path, "rb") as f:
            f.seek(24)
            return struct.unpack(">Q", f.read(8))[0]

    def see_attached(self, path, wanted, _strict):
        if not os.path.exists(path):
            return None
        seen = self.ask("disk", "query", wanted, ok=(0, 3))
        if not seen or seen["state"] == "detached":
            return None
        return "+".join(seen["holders"]) if seen["state"] == "attached" else f"broken ({seen['reason']}) " + "+".join(seen["holders"])

    def see_mounted(self, target, _wanted, _strict):
        with open("/proc/self/mounts") as f:
            rows = [line.split() for line in f if line.split()[1] == target]
        return "ro" in rows[-1][3].split(",") if rows else None

    def see_export(self, name, _wanted, _strict):
        config = configparser.RawConfigParser()
        if not config.read(os.path.join(self.exports, name, "config.ini")):
            return None
        return tuple(config.getint("vbdkit", f"disk{n}_bytes") for n in range(config.getint("instance", "disk_count")))

    # --- bytes

    def open_bytes(self, image):
        """A file object with the guest's bytes of an image, got without vbd."""
        if image.holder:
            return open(self.device(image), "rb", buffering=0)
        if image.filetype == "FT_RAW":
            return open(image.path, "rb")
        out = tempfile.NamedTemporaryFile(dir=self.scratch)
        done = support.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image.path, out.name, timeout=120)
        if done.returncode != 0:
            raise Wrong(f"{image.path}: qemu-img convert: {done.stderr.strip()}")
        return open(out.name, "rb")

    def check_bytes(self, image, uncertain=False):
        if image.mount():
            return self.check_files(image)
        with self.open_bytes(image) as f:
            wrong = image.content.difference(f, uncertain)
        if wrong:
            raise Wrong(f"{image.path} ({image.filetype}, {image.holder or 'detached'}): its data is not what was written: {wrong}")

    def check_files(self, image):
        target = image.mount()
        seen = sorted(n for n in os.listdir(target) if n != "lost+found")
        if seen != sorted(image.files):
            raise Wrong(f"{target} ({image.path}): holds {seen}, not {sorted(image.files)}")
        for name, data in image.files.items():
            with open(os.path.join(target, name), "rb") as f:
                if f.read() != data:
                    raise Wrong(f"{target}/{name} ({image.path}): its data is not what was written")

    # --- processes

    def servers(self, path=None):
        """Pids of the servers that have an image open, or of all of ours."""
        found = [pid for pid in self.our_processes()
                 if os.path.basename(self.command(pid)[0]).startswith(("qemu-storage-daemon", "vbd-serve"))]
        return [pid for pid in found if path is None or path in self.open_files(pid)]

    @staticmethod
    def open_files(pid):
        try:
            return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        except OSError:
            return set()

    def guests(self):
        return [pid for pid in self.our_processes() if self.guest in self.command(pid)[:3]]

    @staticmethod
    def command(pid):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                return f.read().split("\0")
        except OSError:
            return [""]

    # --- the end

    def _clean(self):
        for target in sorted((t for t in self.our_mounts() if t not in self.kept_mounts), reverse=True):
            support.run("umount", target, timeout=30)
        for pid in self.guests() + self.servers():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        super()._clean()
        try:
            self.faultfs.wait(20)
        except (AttributeError, subprocess.TimeoutExpired):
            pass
        super()._clean()
