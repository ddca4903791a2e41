#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is believed or run with root's rights: nobody else may be able to write there, by the mode, by an access list, by
the directories above."""

import json
import os
import shutil
import subprocess

import support
from support import MiB, PREFIX, Sandbox
from test_live import GUEST_PROFILE, GUEST_SCRIPT

ACCESS_LIST = "is writable by user 65534 through its access list"


class TrustBox(Sandbox):
    needs_loops = True

    def setUp(self):
        super().setUp()
        if not support.have("setfacl"):
            support.skip(self.id(), "needs setfacl (package acl)")
        if self.setfacl("-m", "u:65534:rwx", self.dir, check=False):
            support.skip(self.id(), "the filesystem of /var/lib has no access lists")
        self.setfacl("-b", self.dir)
        self.sda = os.path.join(self.storage, "sda")
        self.vbd("image", "create", "--filetype", "raw", self.sda, "1M")

    def setfacl(self, *words, check=True):
        done = support.run("setfacl", *words)
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done.returncode

    def refused_while_listed(self, path, error_id, *words, rights="rwx", rc=5):
        """With an entry for somebody else on `path`, the command is refused and names it; without, it is not."""
        self.setfacl("-m", f"u:65534:{rights}", path)
        error = self.fails(rc, error_id, *words)
        self.assertIn(ACCESS_LIST, error)
        self.assertIn(path, error)
        self.setfacl("-b", path)
        return error


class AccessLists(TrustBox):
    """A1: the mask of an access list shows as group bits, and group 0 was exempt: so root ran others' code."""

    def test_plugin(self):
        plugins = os.path.join(self.dir, "plugins")
        os.mkdir(plugins, 0o755)
        target = os.path.join(plugins, "fd-loop.so")
        shutil.copy(os.path.join(PREFIX, "lib/vbdkit/plugins-1/fd-loop.so"), target)
        os.chmod(target, 0o755)
        words = ("--plugin-dir", plugins, "disk", "query", self.logical_id(self.sda))
        for path in (target, plugins):
            self.refused_while_listed(path, "plugin.untrusted", *words)
        self.vbd(*words)

    def test_guest_os(self):
        folder = os.path.join(self.dir, "os", "tiny")
        os.makedirs(folder)
        for name, content in (("ganeti_api_version", "10\n"), ("common.sh", "")):
            with open(os.path.join(folder, name), "w") as f:
                f.write(content)
        for name in ("create", "export", "import", "rename"):
            with open(os.path.join(folder, name), "w") as f:
                f.write(f'#!/bin/bash\n. {folder}/common.sh\ntouch "{self.dir}/ran"\n')
            os.chmod(os.path.join(folder, name), 0o755)
        self.write_config(f"os_search_path: [{self.dir}/os]\nlog_dir: {self.dir}/log\n")
        words = ("instance", "add", "-t", "file", "--disk", "0:size=1M", "--no-start", "-o", "tiny", "web1")
        for path in (folder + "/create", folder + "/common.sh", folder, self.dir + "/os"):
            self.refused_while_listed(path, "os.untrusted", *words)
        self.assertFalse(os.path.exists(self.dir + "/ran"))
        os.mkdir(self.dir + "/log", 0o750)
        self.refused_while_listed(self.dir + "/log", "place.untrusted", *words)
        self.assertFalse(os.path.exists(self.dir + "/ran"))
        self.assertEqual(os.listdir(self.dir + "/log"), [])
        self.vbd(*words)
        self.assertTrue(os.path.exists(self.dir + "/ran"))

    def test_image_directory(self):
        for path in (self.storage,):
            self.refused_while_listed(path, "path.unsafe_parent", "disk", "attach", self.logical_id(self.sda))
        folder = os.path.join(self.storage, "web1")
        os.mkdir(folder, 0o755)
        shutil.copy(self.sda, folder)
        self.refused_while_listed(folder, "path.unsafe_parent", "disk", "attach", self.logical_id(folder + "/sda"))
        self.setfacl("-d", "-m", "u:65534:rwx", folder)  # of what is made there: our files' mode masks it
        self.vbd("disk", "attach", self.logical_id(folder + "/sda"))
        self.vbd("disk", "detach", self.logical_id(folder + "/sda"))

    def test_profile(self):
        """A7: a profile ran commands as root unchecked."""
        script, profile = os.path.join(self.dir, "guest.py"), os.path.join(self.dir, "mine.yaml")
        with open(script, "w") as f:
            f.write(GUEST_SCRIPT)
        os.chmod(script, 0o755)
        with open(profile, "w") as f:
            f.write(GUEST_PROFILE.replace("%s", script))
        self.write_config(f"hypervisor: {profile}\n")
        self.vbd("instance", "add", "-t", "file", "--disk", "0:size=1M", "--no-start", "web1")
        self.refused_while_listed(profile, "hypervisor.untrusted", "instance", "start", "web1", rights="rw")
        os.chmod(profile, 0o666)
        self.assertIn("writable by others", self.fails(5, "hypervisor.untrusted", "instance", "start", "web1"))
        os.chmod(profile, 0o644)
        os.chown(profile, 65534, 0)
        self.assertIn("belongs to user 65534", self.fails(5, "hypervisor.untrusted", "config", "check"))
        os.chown(profile, 0, 0)
        self.vbd("instance", "start", "web1")
        self.vbd("instance", "stop", "--force", "web1")

    def test_configuration(self):
        """A7: a configuration file names profiles, plugins and scripts, and was read from anywhere."""
        words = ("config", "show")
        self.refused_while_listed(self.config, "config.untrusted", *words, rights="rw")
        self.refused_while_listed(self.dir, "config.untrusted", *words)
        os.chown(self.config, 65534, 0)
        self.assertIn("belongs to user 65534", self.fails(5, "config.untrusted", *words))
        os.chown(self.config, 0, 0)
        sticky = os.path.join(self.dir, "tmp")
        os.mkdir(sticky)
        os.chmod(sticky, 0o1777)
        self.config = shutil.copy(self.config, os.path.join(sticky, "mine.yaml"))
        self.vbd(*words)
        link = os.path.join(sticky, "link.yaml")
        os.symlink(self.config, link)
        self.config = link
        self.vbd(*words)
        os.lchown(link, 65534, 0)
        self.assertIn("is a link of user 65534", self.fails(5, "config.untrusted", *words))

    def test_state_directory(self):
        """A6: a pointer tells which directory is which instance."""
        self.vbd("instance", "add", "-t", "file", "--disk", "0:size=1M", "--no-start", "web1")
        names = os.path.join(self.state, "instances")
        for path in (self.state, names):
            for words in (("list",), ("info", "web1"), ("remove", "--force", "web1")):
                self.refused_while_listed(path, "place.untrusted", "instance", *words)
        pointer = os.path.join(names, "web1.yaml")
        self.refused_while_listed(pointer, "place.untrusted", "instance", "info", "web1", rights="rw")
        [entry] = self.vbd_json("instance", "list")["instances"]
        self.assertEqual(entry["state"], "stopped")
        self.setfacl("-m", "u:65534:rw", pointer)
        [entry] = self.vbd_json("instance", "list")["instances"]
        self.assertEqual(entry["state"], "error")
        self.assertIn(ACCESS_LIST, entry["reason"])

    def test_run_directory(self):
        """A6: nothing is believed of a RUN of others, and nothing written there."""
        self.vbd("instance", "add", "-t", "file", "--disk", "0:size=1M", "--no-start", "web1")
        self.vbd("disk", "attach", self.logical_id(self.sda))
        for path in (self.run_dir, self.run_dir + "/attachments"):
            for verb in ("attach", "detach", "query"):
                self.refused_while_listed(path, "place.untrusted", "disk", verb, self.logical_id(self.sda))
        [record] = [name for name in os.listdir(self.run_dir + "/attachments") if name.endswith(".json")]
        for path in (f"{self.run_dir}/attachments/{record}", f"{self.run_dir}/state/{record[:-len('.json')]}"):
            self.refused_while_listed(path, "place.untrusted", "disk", "detach", self.logical_id(self.sda))
        self.vbd("disk", "detach", self.logical_id(self.sda))
        self.assert_nothing_left()
        os.makedirs(self.run_dir + "/instances", exist_ok=True)
        self.setfacl("-m", "u:65534:rwx", self.run_dir)
        [entry] = self.vbd_json("instance", "list")["instances"]
        self.assertEqual(entry["state"], "error")
        self.assertIn(ACCESS_LIST, entry["reason"])
        before = self.snapshot(self.run_dir)
        self.fails(5, "place.untrusted", "instance", "start", "web1")
        self.assertEqual(self.snapshot(self.run_dir), before)

    def test_export_directory(self):
        exports = os.path.join(self.dir, "exports")
        self.write_config(f"export_dir: {exports}\n")
        self.vbd("instance", "add", "-t", "file", "--disk", "0:size=1M", "--no-start", "web1")
        self.vbd("backup", "export", "web1")
        for words in (("export", "web1"), ("list",), ("remove", "--yes", "web1")):
            self.refused_while_listed(exports, "place.untrusted", "backup", *words)
        self.refused_while_listed(exports + "/web1", "place.untrusted", "backup", "remove", "--yes", "web1")

    def test_node_verify_tells(self):
        os.makedirs(self.run_dir, exist_ok=True)
        self.setfacl("-m", "u:65534:rwx", self.run_dir)
        checks = {c["what"]: c["problem"] for c in self.vbd_json("node", "verify", rc=1)["checks"]}
        self.assertIn(ACCESS_LIST, checks[f"run_dir {self.run_dir}"])


class Planted(TrustBox):
    """A6: a record that somebody else put there killed a process of root, unmounted and unlinked."""

    def setUp(self):
        super().setUp()
        self.victim = subprocess.Popen(["/bin/sleep", "600"])
        self.addCleanup(self.victim.wait)
        self.addCleanup(self.victim.kill)
        self.precious = os.path.join(self.dir, "precious")
        with open(self.precious, "w") as f:
            f.write("x")
        self.place = os.path.join(self.dir, "mounted")
        os.mkdir(self.place)
        self.assertEqual(support.run("mount", "-t", "tmpfs", "none", self.place).returncode, 0)

    def start_time(self, pid):
        with open(f"/proc/{pid}/stat") as f:
            return int(f.read().rpartition(")")[2].split()[19])

    def boot(self):
        with open("/proc/sys/kernel/random/boot_id") as f:
            return f.read().strip()

    def plant(self, fuse, owner):
        st = os.stat(self.sda)
        record = {"schema": "vbdkit.attachment/1", "image": self.sda, "device": st.st_dev, "inode": st.st_ino,
                  "driver": "FD_BLKTAP", "filetype": "FT_RAW", "read_only": False, "phase": "attached",
                  "node": "/dev/loop7", "holders": ["cli"], "block_size": 512, "options": {"backend": "qsd"},
                  "properties": {"flat": "1", "qemu": "raw"}, "claimed": False, "boot_id": self.boot(),
                  "state": {"blktap.backend": "qsd", "blktap.mode": "rw", "qsd.fuse": fuse,
                            "qsd.pid": str(self.victim.pid), "qsd.start": str(self.start_time(self.victim.pid))}}
        key = f"{st.st_dev}-{st.st_ino}"
        for folder in ("attachments", "state/" + key):
            os.makedirs(os.path.join(self.run_dir, folder), exist_ok=True)
        with open(os.path.join(self.run_dir, "attachments", key + ".json"), "w") as f:
            json.dump(record, f)
        for top, folders, files in os.walk(self.run_dir):
            for leaf in [top, *[os.path.join(top, f) for f in files]]:
                os.chown(leaf, owner, owner)
        return os.path.join(self.run_dir, "state", key)

    def assert_unharmed(self):
        self.assertIsNone(self.victim.poll())
        self.assertTrue(os.path.exists(self.precious))
        self.assertTrue(os.path.ismount(self.place))

    def commands(self):
        disk = self.logical_id(self.sda, driver="FD_BLKTAP")
        return [("disk", "query", disk), ("disk", "detach", disk), ("disk", "attach", disk),
                ("cluster", "verify", "--repair")]

    def test_attachment_in_a_run_dir_of_others(self):
        for fuse in (self.precious, self.place):
            self.plant(fuse, 65534)
            for words in self.commands():
                with self.subTest(fuse=fuse, words=words):
                    self.assertIn("belongs to user 65534", self.fails(5, "place.untrusted", *words))
                    self.assert_unharmed()

    def test_attachment_that_names_a_file_or_a_process_elsewhere(self):
        """Also where the record is root's: its file lies in its own directory, its process has its lock."""
        for fuse in (self.precious, self.place):
            self.plant(fuse, 0)
            for words in self.commands():
                with self.subTest(fuse=fuse, words=words):
                    self.vbd(*words, rc=None)
                    self.assert_unharmed()
        own = self.plant("", 0)
        self.plant(own + "/disk.img", 0)
        self.vbd("disk", "detach", self.logical_id(self.sda, driver="FD_BLKTAP"))
        self.assert_unharmed()

    def test_guest(self):
        self.vbd("instance", "add", "-t", "file", "--disk", "0:size=1M", "--no-start", "web1")
        uuid = self.vbd_json("instance", "info", "web1")["uuid"]
        folder = os.path.join(self.run_dir, "instances", uuid)
        os.makedirs(folder)
        note = {"schema": "vbdkit.guest/1", "uuid": uuid, "name": "web1", "hypervisor": "qemu", "phase": "up",
                "pid": self.victim.pid, "start_time": self.start_time(self.victim.pid),
                "started": "2026-01-01T00:00:00Z", "boot_id": self.boot()}
        with open(folder + "/guest.json", "w") as f:
            json.dump(note, f)
        error = self.fails(1, "instance.bad_note", "instance", "stop", "--force", "web1")
        self.assertIn(f"process {self.victim.pid} is not the guest", error)
        self.assert_unharmed()
        os.chown(folder, 65534, 65534)
        self.fails(5, "place.untrusted", "instance", "stop", "--force", "web1")
        self.assert_unharmed()


class MountPoint(Sandbox):
    """A8: `disk mount` followed a link at its target, and umount could not undo it."""

    needs_loops = True

    def setUp(self):
        super().setUp()
        self.sda = os.path.join(self.storage, "sda")
        self.vbd("image", "create", "--filetype", "raw", self.sda, "16M")
        self.assertEqual(support.run("mkfs.ext4", "-q", "-F", self.sda).returncode, 0)
        self.disk = self.logical_id(self.sda)
        self.real = os.path.join(self.dir, "real")
        os.makedirs(self.real + "/mnt")

    def test_link_at_the_end(self):
        link = os.path.join(self.dir, "link")
        os.symlink(self.real + "/mnt", link)
        for words in ((), ("--dry-run",)):
            done = self.vbd("disk", "mount", *words, self.disk, link, rc=5)
            self.assertIn("error[mount.link]", done.stderr)
            self.assertIn(f"name the directory that it leads to: {self.real}/mnt", done.stderr)
        self.assert_nothing_left()
        os.unlink(link)
        os.symlink("/nonexistent", link)
        self.fails(5, "mount.link", "disk", "mount", self.disk, link)
        self.fails(3, "path.not_found", "disk", "mount", self.disk, self.dir + "/none")

    def test_link_on_the_way(self):
        os.symlink(self.real, os.path.join(self.dir, "way"))
        way = os.path.join(self.dir, "way/mnt")
        self.vbd("disk", "mount", self.disk, way)
        holders = self.vbd_json("disk", "query", self.disk)["holders"]
        self.assertEqual(holders, [f"mount:{self.real}/mnt"])
        self.vbd("disk", "mount", self.disk, self.real + "/mnt")  # the same
        self.assertEqual([m for m in self.our_mounts() if m.startswith(self.real)], [self.real + "/mnt"])
        self.vbd("disk", "umount", self.disk, way)
        self.assert_nothing_left()
        # As an earlier vbd recorded it: by the path that was given, through a link at the end.
        link = os.path.join(self.dir, "link")
        os.symlink(self.real + "/mnt", link)
        self.vbd("disk", "attach", "--holder", f"mount:{link}", self.disk)
        node = self.vbd_json("disk", "query", self.disk)["device"]
        self.assertEqual(support.run("mount", node, self.real + "/mnt").returncode, 0)
        self.assertEqual(self.vbd("cluster", "verify").returncode, 0)
        self.vbd("disk", "umount", self.disk, link)
        self.assert_nothing_left()


DRIVER = r"""
#include <stdio.h>
#include <string.h>
#include <vbdkit/plugin.h>
VBD_PLUGIN_NOTE("abi=1.0\0min_host_minor=0\0kind=driver\0constant=FD_ODD\0name=odd\0version=1.0\0"
                "summary=names what it is told to\0ops=attach,detach,query\0");
static int32_t node_of(const char *name, struct vbd_sink *sink, int *there) {
  char path[300], node[300] = "";
  snprintf(path, sizeof path, "%s/%s", ODD_DIRECTORY, name);
  FILE *file = fopen(path, "r");
  *there = file != NULL && fgets(node, sizeof node, file) != NULL;
  if (file != NULL) fclose(file);
  return *there ? sink->put_str(sink->ctx, "node", node) : VBD_OK;
}
static int32_t attach(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                      struct vbd_error *err) VBD_NOEXCEPT {
  int there;
  (void)self, (void)request, (void)err;
  return node_of("attach", sink, &there);
}
static int32_t detach(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                      struct vbd_error *err) VBD_NOEXCEPT {
  (void)self, (void)request, (void)sink, (void)err;
  return VBD_OK;
}
static int32_t query(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                     struct vbd_error *err) VBD_NOEXCEPT {
  int there;
  (void)self, (void)request, (void)err;
  int32_t status = node_of("query", sink, &there);
  return status != VBD_OK ? status : sink->put_bool(sink->ctx, "attached", there);
}
static int32_t init(const struct vbd_host *host, const struct vbd_kv *config, uint32_t n_config, void **self,
                    struct vbd_error *err) VBD_NOEXCEPT {
  (void)host, (void)config, (void)n_config, (void)err;
  *self = NULL;
  return VBD_OK;
}
static void fini(void *self) VBD_NOEXCEPT { (void)self; }
static const struct vbd_driver_ops ops = {.size = sizeof ops, .attach = attach, .detach = detach, .query = query};
static const struct vbd_plugin plugin = {
    .size = sizeof plugin, .abi_major = VBD_ABI_MAJOR, .abi_minor = VBD_ABI_MINOR, .kind = VBD_KIND_DRIVER,
    .constant = "FD_ODD", .name = "odd", .version = "1.0", .license = "MIT",
    .summary = "names what it is told to", .url = "", .init = init, .fini = fini, .driver = &ops};
const struct vbd_plugin *vbd_plugin_v1(void) VBD_NOEXCEPT { return &plugin; }
"""


class DriverNode(Sandbox):
    """B12: a regular file's path was taken for the device that a driver had made, and overwritten."""

    needs_loops = True

    def setUp(self):
        super().setUp()
        if not support.have("cc"):
            support.skip(self.id(), "needs cc")
        self.plugins = os.path.join(self.dir, "plugins")
        os.mkdir(self.plugins, 0o755)
        source = os.path.join(self.dir, "odd.c")
        with open(source, "w") as f:
            f.write(DRIVER)
        built = support.run("cc", "-std=c99", "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,now",
                            f'-DODD_DIRECTORY="{self.dir}"', "-I" + os.path.join(PREFIX, "include"), "-o",
                            os.path.join(self.plugins, "fd-odd.so"), source)
        self.assertEqual(built.returncode, 0, built.stderr)
        os.chmod(os.path.join(self.plugins, "fd-odd.so"), 0o755)
        self.write_config(f"plugin_dirs: [{self.plugins}]\n")
        self.sda = os.path.join(self.storage, "sda")
        self.vbd("image", "create", "--filetype", "raw", self.sda, "16M")
        self.disk = self.logical_id(self.sda, driver="FD_ODD")
        self.file = os.path.join(self.dir, "precious")
        with open(self.file, "w") as f:
            f.write("x" * 4096)

    def answer(self, operation, node):
        with open(os.path.join(self.dir, operation), "w") as f:
            f.write(node)

    def loop(self, path):
        done = support.run("losetup", "-f", "--show", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_attach_that_names_no_device_of_the_image(self):
        other = os.path.join(self.dir, "other.img")
        with open(other, "wb") as f:
            f.truncate(16 * MiB)
        link = os.path.join(self.dir, "linked")
        os.symlink("/dev/null", link)
        for node, why in ((self.file, "outside /dev"), ("/dev/null", "is not a block device"), (link, "outside /dev"),
                          (f"/dev/..{self.file}", "outside /dev"), ("/dev/none", "/dev/none"),
                          (self.loop(other), f"is a loop device on {other}")):
            self.answer("attach", node)
            for words in (("attach", self.disk), ("mount", self.disk, self.make_dir())):
                with self.subTest(node=node, words=words[0]):
                    error = self.fails(5, "disk.bad_node", "disk", *words)
                    for piece in ("FD_ODD", os.path.join(self.plugins, "fd-odd.so"), "attach", node, why):
                        self.assertIn(piece, error)
            self.assertEqual(os.path.getsize(self.file), 4096)
        self.assertEqual(os.listdir(self.run_dir + "/attachments"), [])

    def make_dir(self):
        os.makedirs(self.dir + "/mnt", exist_ok=True)
        return self.dir + "/mnt"

    def test_nothing_is_installed_onto_a_file(self):
        folder = os.path.join(self.dir, "os", "tiny")
        os.makedirs(folder)
        with open(folder + "/ganeti_api_version", "w") as f:
            f.write("10\n")
        for name in ("create", "export", "import", "rename"):
            with open(os.path.join(folder, name), "w") as f:
                f.write('#!/bin/bash\nwhile getopts i:b:s: o; do [ $o != b ] || echo zap > "$OPTARG"; done\n'
                        'echo zap > "$BLOCKDEV"; echo zap > "$DISK_0_PATH"\n')
            os.chmod(os.path.join(folder, name), 0o755)
        self.write_config(f"plugin_dirs: [{self.plugins}]\nos_search_path: [{self.dir}/os]\nlog_dir: {self.dir}/log\n")
        self.answer("attach", self.file)
        self.fails(5, "disk.bad_node", "instance", "add", "-t", "file:driver=odd", "--disk", "0:size=1M", "--no-start",
                   "-o", "tiny", "web1")
        with open(self.file) as f:
            self.assertEqual(f.read(), "x" * 4096)

    def test_answer_of_query_and_of_a_record(self):
        good = self.loop(self.sda)
        support.run("losetup", "-d", good)
        self.answer("query", self.file)
        status = self.vbd_json("disk", "query", self.disk)
        self.assertEqual(status["state"], "broken")
        self.assertIn("outside /dev", status["reason"])
        self.assertNotIn(self.file, str(status.get("device")))
        self.answer("attach", self.file)
        self.fails(5, "disk.bad_node", "disk", "attach", self.disk)
        self.fails(5, "disk.dialect", "disk", "render", self.disk, "--dialect", "xl", "--vdev", "sda")
        self.assertEqual(os.path.getsize(self.file), 4096)
        os.unlink(os.path.join(self.dir, "query"))


if __name__ == "__main__":
    support.main()
