#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's guest OS definitions as they are packaged: ganeti-instance-debootstrap and ganeti-os-noop. Installs through
the mirror that this host's apt uses, in minutes: only with VBD_SLOW set (./dev slow)."""

import hashlib
import os
import stat
import subprocess
import urllib.request

import support
from support import Sandbox

OS_DIR = "/usr/share/ganeti/os"
CONF = "/etc/ganeti/instance-debootstrap"
CACHE = "/var/cache/ganeti-instance-debootstrap"


def mirror():
    """The first Debian mirror of apt's sources that answers."""
    done = support.run("apt-get", "indextargets", "--format", "$(SITE)")
    for site in dict.fromkeys(done.stdout.split()):
        try:
            with urllib.request.urlopen(f"{site}/dists/bookworm/Release", timeout=20):
                return site
        except OSError:
            continue
    return None


class Debian(Sandbox):
    needs_loops = True
    settings = f"os_search_path: [{OS_DIR}]\n"

    def setUp(self):
        super().setUp()
        if not os.environ.get("VBD_SLOW"):
            support.skip(self.id(), "takes minutes: ./dev slow")
        for name in ("debootstrap", "noop"):
            if not os.path.exists(f"{OS_DIR}/{name}/create"):
                support.skip(self.id(), "needs Debian's ganeti-instance-debootstrap and ganeti-os-noop")
        self.write_config(f"log_dir: {self.dir}/log\n")

    def in_own_mounts(self, *words):
        """vbd with the definition's configuration and cache bound over the host's, which stay as they are."""
        script = f'mount --bind {self.dir}/conf {CONF} && mount --bind {self.dir}/cache {CACHE} && exec "$@"'
        return subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *self.argv(*words)], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, env=self.environment(), timeout=3000)

    def configure(self, site):
        for leaf in ("conf/variants", "conf/hooks", "cache"):
            os.makedirs(os.path.join(self.dir, leaf), 0o755)
        with open(f"{self.dir}/conf/variants.list", "w") as f:
            f.write("default\n")
        with open(f"{self.dir}/conf/variants/default.conf", "w") as f:
            f.write(f"SUITE=bookworm\nMIRROR={site}\nPARTITION_STYLE=none\n")

    def install(self, name, template):
        done = self.in_own_mounts("instance", "add", "-t", template, "--disk", "0:size=2G", "-o", "debootstrap+default",
                                  "-O", "filesystem=ext4", "--no-start", name)
        self.assertEqual(done.returncode, 0, done.stderr)
        info = self.vbd_json("instance", "info", name)
        disk = '[%s, %s, "%s"]' % tuple(info["disks"][0]["logical_id"])
        place = os.path.join(self.dir, "mnt")
        os.makedirs(place, exist_ok=True)
        self.vbd("disk", "mount", "--read-only", disk, place)
        with open(f"{place}/etc/hostname") as f:
            self.assertEqual(f.read(), name + "\n")
        with open(f"{place}/etc/debian_version") as f:
            self.assertRegex(f.read(), r"^12\.")
        for path in ("sbin/init", "bin/bash", "etc/fstab", "usr/bin/apt-get"):
            self.assertTrue(os.path.lexists(f"{place}/{path}"), path)
        self.vbd("disk", "umount", disk, place)
        self.assert_nothing_left()

    def tree(self, name):
        """{path: (mode, owner, link or content)} of the filesystem on disk 0."""
        info = self.vbd_json("instance", "info", name)
        disk = '[%s, %s, "%s"]' % tuple(info["disks"][0]["logical_id"])
        place = os.path.join(self.dir, "mnt")
        self.vbd("disk", "mount", "--read-only", disk, place)
        seen = {}
        for folder, names, leaves in os.walk(place):
            for leaf in names + leaves:
                path = os.path.join(folder, leaf)
                st = os.lstat(path)
                what = os.readlink(path) if stat.S_ISLNK(st.st_mode) else st.st_rdev
                if stat.S_ISREG(st.st_mode):
                    with open(path, "rb") as f:
                        what = hashlib.sha256(f.read()).hexdigest()
                seen[os.path.relpath(path, place)] = (st.st_mode, st.st_uid, st.st_gid, what)
        self.vbd("disk", "umount", disk, place)
        return seen

    def export_and_import(self, name):
        """Through the definition's own scripts, which use dump and restore."""
        if not support.have("dump"):
            support.skip(self.id(), "needs Debian's dump")
        before = self.tree(name)
        self.assertGreater(len(before), 5000)
        done = self.in_own_mounts("backup", "export", name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.vbd("instance", "remove", "--yes", name)
        for copy in (name, name + "-copy"):
            done = self.in_own_mounts("backup", "import", "--src-dir", name, "--no-start", copy)
            self.assertEqual(done.returncode, 0, done.stderr)
            after = self.tree(copy)
            changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
            # The import script makes a filesystem, and writes its new UUID there; restore(8) leaves its table.
            self.assertEqual(changed, {"etc/fstab", "restoresymtable"})
        self.vbd("instance", "remove", "--yes", name + "-copy")
        self.assert_nothing_left()

    def test_debootstrap(self):
        site = mirror()
        if site is None:
            support.skip(self.id(), "no mirror of apt's sources answers")
        self.configure(site)
        self.install("loop-raw", "file:driver=loop")
        self.write_config(f"log_dir: {self.dir}/log\nexport_dir: {self.dir}/export\nplugins: {{FD_BLKTAP: {{backend: qsd}}}}\n")
        self.install("blktap-qcow", "file:driver=blktap,filetype=qcow")
        for name in ("loop-raw", "blktap-qcow"):
            with self.subTest(name):
                self.export_and_import(name)
        # The definition's rename script writes the new name into the guest.
        done = self.in_own_mounts("instance", "rename", "loop-raw", "renamed")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.in_own_mounts("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=2G", "-o",
                                  "debootstrap+default", "-O", "filesystem=xfs", "bad")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("Invalid value 'xfs' for the filesystem parameter", done.stderr)

    def test_noop(self):
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=8M", "-o", "noop", "inst")
        self.vbd("instance", "rename", "inst", "other")
        self.assertEqual(self.vbd_json("instance", "info", "other")["os"], "noop")
        self.assert_nothing_left()


if __name__ == "__main__":
    support.main()
