# SPDX-License-Identifier: MIT
"""A sandbox for tests of the built vbd: directories of its own, the installed binary of VBD_PREFIX, and a clean-up
that leaves no loop device, mount, process or file behind, also after a failure."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PREFIX = os.environ.get("VBD_PREFIX", "")
VBD = os.path.join(PREFIX, "bin", "vbd")
SANITIZED = bool(os.environ.get("VBD_SANITIZED"))
MiB = 1 << 20
GiB = 1 << 30


def skip(name, reason):
    """Skips with its reason where the runner of the suite collects it."""
    print(f"SKIP {name}: {reason}", file=sys.stderr, flush=True)
    raise unittest.SkipTest(reason)


def can_make_loops():
    return os.geteuid() == 0 and os.path.exists("/dev/loop-control")


def have(program):
    return shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin") is not None


def run(*argv, **kw):
    return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, **kw)


def loop_list():
    """[(node, backing file)] of all bound loop devices."""
    found = []
    for name in os.listdir("/sys/block"):
        try:
            with open(f"/sys/block/{name}/loop/backing_file") as f:
                found.append((f"/dev/{name}", f.read().rstrip("\n")))
        except OSError:
            pass
    return found


class Leftovers:
    """What a test program leaves of its sandboxes: each knows its loop devices, mounts and processes by the sandbox's
    path. Those that a clean-up had to end are no leaks of the tests; those that outlive it are."""

    sandboxes = []
    nodes = set()  # loop devices that were seen on files of ours: one whose file has died is bound to "/"

    @classmethod
    def seen(cls):
        ours = tuple(cls.sandboxes)
        if not ours:
            return []
        found = [f"directory {path}" for path in ours if os.path.exists(path)]
        found += [f"loop device {node} on {path}" for node, path in loop_list()
                  if path.startswith(ours) or (path == "/" and node in cls.nodes)]
        with open("/proc/self/mounts") as f:
            found += [f"mount {line.split()[1]}" for line in f if line.split()[1].startswith(ours)]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().decode(errors="replace")
            except OSError:
                continue
            if int(pid) != os.getpid() and any(path in words for path in ours):
                found.append(f"process {pid}: {words.replace(chr(0), ' ')[:200]}")
        return found


class Sandbox(unittest.TestCase):
    """self.dir with storage/, state/, run/ and a configuration file that names them."""

    settings = ""  # more lines of YAML
    needs_loops = False

    def setUp(self):
        if not PREFIX or not os.access(VBD, os.X_OK):
            skip(self.id(), "VBD_PREFIX does not name an installed vbd: run ./dev quick")
        if self.needs_loops and not can_make_loops():
            skip(self.id(), "needs root and loop devices")
        base = "/var/lib" if os.geteuid() == 0 else os.path.expanduser("~")
        self.dir = tempfile.mkdtemp(prefix="vbdkit-test.", dir=base)
        os.chmod(self.dir, 0o755)
        Leftovers.sandboxes.append(self.dir)
        self.addCleanup(self._clean)
        self.storage = os.path.join(self.dir, "storage")
        self.state = os.path.join(self.dir, "state")
        self.run_dir = os.path.join(self.dir, "run")
        os.mkdir(self.storage, 0o755)
        self.config = os.path.join(self.dir, "vbdkit.yaml")
        self.write_config()

    def write_config(self, more=""):
        with open(self.config, "w") as f:
            f.write(f"file_storage_dir: {self.storage}\nstate_dir: {self.state}\nrun_dir: {self.run_dir}\n"
                    f"node: node1\n{self.settings}{more}")

    def environment(self):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                env[name] = os.environ[name]
        return env

    def argv(self, *words):
        return [VBD, "--config", self.config, *[str(w) for w in words]]

    def vbd(self, *words, rc=0, **kw):
        """Runs vbd; its exit code must be rc. Returns the completed process."""
        done = subprocess.run(self.argv(*words), capture_output=True, text=True, errors="surrogateescape",
                              env=self.environment(), **{"stdin": subprocess.DEVNULL, "timeout": 120, **kw})
        if rc is not None:
            self.assertEqual(done.returncode, rc, f"vbd {words}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        for report in ("AddressSanitizer", "LeakSanitizer", "runtime error:"):
            self.assertNotIn(report, done.stderr)
        return done

    def fails(self, rc, error_id, *words, **kw):
        """vbd must fail with exactly one error line of that id; a hint line may follow. Returns the error line."""
        done = self.vbd(*words, rc=rc, **kw)
        lines = [line for line in done.stderr.splitlines() if line.startswith("vbd: error")]
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith(f"vbd: error[{error_id}]: "), lines[0])
        return lines[0]

    def vbd_json(self, *words, rc=0):
        return json.loads(self.vbd(*words, "--output", "json", rc=rc).stdout)

    def logical_id(self, path, filetype="FT_RAW", driver="FD_LOOP"):
        return f'[{driver}, {filetype}, "{path}"]'

    def snapshot(self, top=None):
        """{path: (mode, size, content hash)} of everything below: to show that nothing changed. Files of 64 MiB and
        more are not read."""
        import hashlib
        seen = {}
        for folder, names, leaves in os.walk(top or self.dir):
            for leaf in names + leaves:
                path = os.path.join(folder, leaf)
                st = os.lstat(path)
                content = ""
                if os.path.isfile(path) and not os.path.islink(path) and st.st_size < 64 * MiB:
                    with open(path, "rb") as f:
                        content = hashlib.sha256(f.read()).hexdigest()
                seen[os.path.relpath(path, top or self.dir)] = (st.st_mode, st.st_size, content)
        return seen

    def mount_storage(self, size, *mkfs):
        """A filesystem of its own, of so many bytes, over self.storage; unmounted with the sandbox. Returns
        the file that it lies in."""
        disk = os.path.join(self.dir, "storage.img")
        with open(disk, "wb") as f:
            f.truncate(size)
        self.assertEqual(run(*mkfs, disk).returncode, 0)
        self.assertEqual(run("mount", "-o", "loop", disk, self.storage).returncode, 0)
        os.chmod(self.storage, 0o755)
        return disk

    def our_loops(self):
        return [(node, path) for node, path in loop_list() if path.startswith(self.dir)]

    def our_processes(self):
        """Processes that have the sandbox's path in their command line."""
        found = []
        for pid in os.listdir("/proc"):
            if pid.isdigit() and int(pid) != os.getpid():
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as f:
                        if self.dir.encode() in f.read():
                            found.append(int(pid))
                except OSError:
                    pass
        return found

    def clear_loop(self, node, backing=None):
        """Clears the loop device if it is still ours, which is: of that file, or of one below our directory. While we
        have it open nobody else can clear it and take its number for another file, which a `losetup -d` a moment later
        would hit."""
        try:
            fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return
        try:
            if (node, backing) in loop_list() if backing else node in (found for found, _ in self.our_loops()):
                fcntl.ioctl(fd, 0x4C01)  # LOOP_CLR_FD, linux/loop.h
        except OSError:
            pass
        finally:
            os.close(fd)

    def our_mounts(self):
        nodes = tuple(node for node, _ in self.our_loops())
        with open("/proc/self/mounts") as f:
            rows = [line.split() for line in f]
        return [row[1] for row in rows if row[1].startswith(self.dir) or row[0] in nodes]

    def assert_nothing_left(self):
        self.assertEqual(self.our_mounts(), [])
        self.assertEqual(self.our_loops(), [])
        self.assertEqual(self.our_processes(), [])

    def _clean(self):
        Leftovers.nodes.update(node for node, _ in self.our_loops())
        for target in reversed(self.our_mounts()):
            run("umount", target)
        for node, _ in self.our_loops():
            self.clear_loop(node)
        for pid in self.our_processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for target in reversed(self.our_mounts()):
            run("umount", "-l", target)
        for node, _ in self.our_loops():
            self.clear_loop(node)
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    """Runs the tests, and fails when they left something behind."""
    program = unittest.main(verbosity=1, exit=False)
    left = Leftovers.seen()
    for _ in range(20):  # a process that was killed ends, a lazy unmount comes through
        if not left:
            break
        time.sleep(0.1)
        left = Leftovers.seen()
    for line in left:
        print(f"LEFT BEHIND: {line}", file=sys.stderr)
    sys.exit(0 if program.result.wasSuccessful() and not left else 1)
