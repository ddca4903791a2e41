# SPDX-License-Identifier: MIT
"""The core is closed for change: plugins of a third party, with constants that nobody knew, are built against what is
installed, dropped into a directory and used by a vbd that stays as it is, bit by bit. The prefix of the installation:
VBD_PREFIX, or the first argument."""

import glob
import hashlib
import json
import os
import random
import shutil
import string
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]):
    os.environ["VBD_PREFIX"] = os.path.abspath(sys.argv.pop(1))

import support  # noqa: E402  (the prefix comes first)
from support import MiB  # noqa: E402


def word():
    return "".join(random.choices(string.ascii_uppercase, k=8))


def digest_of_installation():
    """Of vbd and of everything else that the installation has."""
    total = hashlib.sha256()
    for folder, folders, files in os.walk(support.PREFIX):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)
            total.update(path.encode())
            if not os.path.islink(path):
                with open(path, "rb") as f:
                    total.update(hashlib.sha256(f.read()).digest())
    return total.hexdigest()


class ThirdParty(support.Sandbox):
    def setUp(self):
        super().setUp()
        for tool in ("meson", "ninja", "pkg-config"):
            if shutil.which(tool) is None:
                support.skip(self.id(), f"{tool} is not installed")
        self.driver, self.filetype = f"FD_{word()}", f"FT_{word()}_{word()}"
        self.plugins = os.path.join(self.dir, "plugins")
        os.mkdir(self.plugins, 0o755)

    def build(self):
        """As a third party would: a copy of the project alone, the installed pkg-config file, nothing else."""
        project, build = os.path.join(self.dir, "project"), os.path.join(self.dir, "build")
        shutil.copytree(os.path.join(HERE, "project"), project)
        found = glob.glob(os.path.join(support.PREFIX, "**", "vbdkit-plugin.pc"), recursive=True)
        self.assertEqual(len(found), 1, "vbdkit-plugin.pc is installed once")
        env = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(found[0])}
        env.pop("CFLAGS", None)
        for argv in (["meson", "setup", build, project, f"-Ddriver={self.driver}", f"-Dfiletype={self.filetype}"],
                     ["meson", "compile", "-C", build]):
            done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        variables = {}
        for name in ("plugindir", "abi_major", "flags", "ldflags"):
            variables[name] = subprocess.run(["pkg-config", f"--variable={name}", "vbdkit-plugin"], env=env, capture_output=True,
                                             text=True, check=True).stdout.strip()
        self.assertEqual(variables["abi_major"], "1")
        self.assertTrue(os.path.exists(os.path.join(variables["plugindir"], "ft-raw.so")), variables)
        return build

    def drop_in(self, build):
        for constant in (self.driver, self.filetype):
            name = constant.lower().replace("_", "-") + ".so"
            shutil.copy(os.path.join(build, name), self.plugins)
            os.chmod(os.path.join(self.plugins, name), 0o755)

    def test_third_party(self):
        before = digest_of_installation()
        self.write_config(f"plugin_dirs: [{self.plugins}]\n")
        short = {c: c[3:].lower() for c in (self.driver, self.filetype)}
        add = ("instance", "add", "-t", f"file:driver={short[self.driver]},filetype={short[self.filetype]}", "--disk",
               "0:size=64M", "--no-start", "alien")
        self.fails(3, "plugin.not_found", *add)
        self.drop_in(self.build())
        self.listing()
        self.vbd(*add)
        path = os.path.join(self.storage, "alien", "sda")
        disk = self.vbd_json("instance", "info", "alien")["disks"][0]
        self.assertEqual((disk["logical_id"], disk["size"], disk["allocated"]), ([self.driver, self.filetype, path], 64 * MiB, 0))
        self.strings(path)
        self.device(path)
        self.vbd("instance", "remove", "--yes", "alien")
        self.assertFalse(os.path.exists(path))
        self.assert_nothing_left()
        self.assertEqual(digest_of_installation(), before)

    def listing(self):
        text = json.dumps(self.vbd_json("plugin", "list"))
        for word_ in (self.driver, self.filetype, "thirdparty-losetup", "thirdparty-flat"):
            self.assertIn(word_, text)
        self.assertIn(self.filetype, self.vbd("plugin", "matrix").stdout)

    def strings(self, path):
        def render(driver, filetype, dialect, access="w", rc=0):
            return self.vbd("disk", "render", self.logical_id(path, filetype, driver), "--dialect", dialect, "--vdev", "sda1",
                            "--access", access, rc=rc).stdout.rstrip("\n")

        self.assertEqual(render(self.driver, self.filetype, "thirdparty"), f"3p:{path},sda1,w")
        self.assertEqual(render(self.driver, self.filetype, "thirdparty", "r"), f"3p:{path},sda1,r")
        # Ours with theirs, and theirs with ours, by property alone.
        self.assertEqual(render("FD_LOOP", self.filetype, "xm"), f"file:{path},sda1,w")
        self.assertEqual(render(self.driver, "FT_RAW", "thirdparty"), f"3p:{path},sda1,w")
        message = self.fails(5, "plugin.not_paired", "disk", "render", self.logical_id(path, "FT_QCOW", self.driver), "--dialect",
                             "thirdparty", "--vdev", "sda1", "--access", "w")
        self.assertIn(f"{self.driver} can't use FT_QCOW: needs flat=1, FT_QCOW has none", message)

    def device(self, path):
        if not support.can_make_loops():
            print("SKIP thirdparty-attach: needs root and loop devices", file=sys.stderr, flush=True)
            return
        disk = self.logical_id(path, self.filetype, self.driver)
        node = self.vbd("disk", "attach", disk).stdout.strip()
        self.assertRegex(node, r"^/dev/loop[0-9]+$")
        self.assertEqual(self.vbd("disk", "attach", disk).stdout.strip(), node)
        with open(node, "r+b") as f:
            f.seek(MiB)
            f.write(b"third party".ljust(4096, b"."))
            f.flush()
            os.fsync(f.fileno())
        user = os.open(node, os.O_RDONLY | os.O_EXCL)  # as a mount has it
        try:
            self.fails(4, "disk.busy", "disk", "detach", disk)
        finally:
            os.close(user)
        self.vbd("disk", "detach", disk)
        self.vbd("disk", "detach", disk)
        with open(path, "rb") as f:
            f.seek(MiB)
            self.assertEqual(f.read(11), b"third party")
        # The same file through our driver: it is flat, and that is all that matters.
        ours = self.logical_id(path, self.filetype, "FD_LOOP")
        node = self.vbd("disk", "attach", ours).stdout.strip()
        with open(node, "rb") as f:
            f.seek(MiB)
            self.assertEqual(f.read(11), b"third party")
        self.vbd("disk", "detach", ours)


if __name__ == "__main__":
    support.main()
