#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's guest OS definitions as they are packaged: ganeti-instance-debootstrap and ganeti-os-noop. Installs through
the mirror that this host's apt uses, in minutes: only with VBD_SLOW set (./dev slow)."""

import os
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

    def test_debootstrap(self):
        site = mirror()
        if site is None:
            support.skip(self.id(), "no mirror of apt's sources answers")
        self.configure(site)
        self.install("loop-raw", "file:driver=loop")
        self.write_config(f"log_dir: {self.dir}/log\nplugins: {{FD_BLKTAP: {{backend: qsd}}}}\n")
        self.install("blktap-qcow", "file:driver=blktap,filetype=qcow")
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
