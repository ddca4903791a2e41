#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guest OS definitions: found, run on the disks of an instance, undone when they fail. The definitions are made by the
test; Debian's own are in test_debootstrap.py."""

import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import support
from support import MiB, Sandbox
from test_kill import Injected

# Records what a script sees, as it sees it.
RECORD = """#!/bin/bash
cd_dir=$PWD
env -0 | sort -z > "$RECORD_DIR/env"
""".replace("$RECORD_DIR", "{records}") + """
echo "$cd_dir" > {records}/cwd
cat > {records}/stdin
echo "$0 $*" > {records}/argv
tty 2>/dev/null > {records}/tty
exit 0
"""


class OsBox(Sandbox):
    needs_loops = True

    def setUp(self):
        super().setUp()
        self.os_dir = os.path.join(self.dir, "os")
        self.records = os.path.join(self.dir, "records")
        self.logs = os.path.join(self.dir, "log")
        os.mkdir(self.os_dir, 0o755)
        os.mkdir(self.records, 0o755)
        self.write_config(f"os_search_path: [{self.dir}/nothing, {self.os_dir}]\nlog_dir: {self.logs}\n")

    def script(self, path, body):
        with open(path, "w") as f:
            f.write(body if body.startswith("#!") else "#!/bin/bash\n" + body)
        os.chmod(path, 0o755)

    def define(self, name="tiny", api="20\n15\n10\n", create="", variants=None, parameters="", **scripts):
        folder = os.path.join(self.os_dir, name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "ganeti_api_version"), "w") as f:
            f.write(api)
        scripts = {"export": "", "import": "", "rename": "", "verify": "", **scripts, "create": create}
        for script, body in scripts.items():
            if body is not None:
                self.script(os.path.join(folder, script), body)
        for leaf, content in (("variants.list", variants), ("parameters.list", parameters)):
            if content is not None:
                with open(os.path.join(folder, leaf), "w") as f:
                    f.write(content)
        return folder

    def add_words(self, *more, name="inst", size="1M"):
        return ("instance", "add", "-t", "file:driver=loop", "--disk", f"0:size={size}", *more, name)

    def names(self):
        return sorted(n for n in os.listdir(self.storage) if not n.startswith(".vbdkit"))

    def record(self, leaf):
        with open(os.path.join(self.records, leaf), "rb") as f:
            return f.read().decode()

    def environment_seen(self):
        seen = dict(v.split("=", 1) for v in self.record("env").split("\0") if v)
        for shell_own in ("_", "SHLVL", "PWD", "OLDPWD"):
            seen.pop(shell_own, None)
        return seen

    def untouched(self, rc, error_id, *words):
        """Refused, and nothing is made."""
        before = self.snapshot(self.storage)
        line = self.fails(rc, error_id, *words)
        self.assertEqual(self.snapshot(self.storage), before)
        self.assertEqual(self.vbd_json("instance", "list")["instances"], [])
        self.assert_nothing_left()
        return line

    def settled(self, name):
        """No operation, nobody has the disks."""
        info = self.vbd_json("instance", "info", name)
        self.assertEqual(info["state"], "stopped")
        with open(os.path.join(self.storage, name, "instance.yaml")) as f:
            text = f.read()
        self.assertNotIn("operation", text)
        self.assertNotIn("holder:", text)
        self.assert_nothing_left()


class Definitions(OsBox):
    def test_environment_of_version_20(self):
        folder = self.define(create=RECORD.format(records=self.records), variants="# choice\nsmall\n\nlarge\n",
                             parameters="root-size The size\nfilesystem Its type\n")
        os.environ["VBD_SECRET"] = "x"
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1537k".replace("1537k", "2M"),
                 "--disk", "1:size=1M,mode=ro", "--net", "0:mac=aa:00:00:00:00:02,mode=bridged,link=br0,ip=192.0.2.9",
                 "-B", "memory=256", "-H", "kernel_path=/boot/k", "-o", "tiny+small", "-O", "root-size=5 G", "inst",
                 input="typed\n", stdin=None)
        seen = self.environment_seen()
        info = self.vbd_json("instance", "info", "inst")
        for key in ("DISK_0_PATH", "DISK_1_PATH"):
            self.assertRegex(seen.pop(key), r"^/dev/loop\d+$")
        for key in ("DISK_0_UUID", "DISK_1_UUID", "NIC_0_UUID", "INSTANCE_UUID"):
            self.assertRegex(seen.pop(key), r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        for key in ("INSTANCE_CTIME", "INSTANCE_MTIME"):
            self.assertLess(abs(int(seen.pop(key)) - time.time()), 600)
        # ganeti-os-interface(7), and what Ganeti 3.0's own OSEnvironment sets.
        self.assertEqual(seen, {
            "OS_API_VERSION": "20", "OS_NAME": "tiny", "OS_VARIANT": "small", "DEBUG_LEVEL": "0",
            "PATH": "/sbin:/bin:/usr/sbin:/usr/bin", "OSP_ROOT_SIZE": "5 G", "INSTANCE_NAME": "inst",
            "INSTANCE_OS": "tiny+small", "INSTANCE_PRIMARY_NODE": "node1", "INSTANCE_SECONDARY_NODES": "",
            "INSTANCE_BE_memory": "256", "INSTANCE_BE_vcpus": "1", "INSTANCE_HV_kernel_path": "/boot/k",
            "INSTANCE_HV_type": "pv", "HYPERVISOR": "xen-pvm", "DISK_COUNT": "2", "DISK_0_ACCESS": "rw",
            "DISK_1_ACCESS": "ro", "DISK_0_SIZE": "2", "DISK_1_SIZE": "1", "DISK_0_BACKEND_TYPE": "file:loop",
            "DISK_1_BACKEND_TYPE": "file:loop", "NIC_COUNT": "1", "NIC_0_MAC": "aa:00:00:00:00:02",
            "NIC_0_IP": "192.0.2.9", "NIC_0_MODE": "bridged", "NIC_0_LINK": "br0", "NIC_0_BRIDGE": "br0"})
        self.assertEqual(self.record("cwd"), folder + "\n")
        self.assertEqual(self.record("stdin"), "")
        self.assertEqual(self.record("argv"), f"{folder}/create \n")
        self.assertEqual(self.record("tty"), "not a tty\n")
        self.assertEqual((info["state"], info["os"]), ("stopped", "tiny+small"))
        self.assertRegex(" ".join(os.listdir(self.logs)), r"^add-tiny\+small-inst-\d{4}-\d\d-\d\dT\d\d_\d\d_\d\dZ\.log$")
        self.assert_nothing_left()

    def test_older_versions(self):
        for api, version, variant in (("10\n", "10", ""), ("15\n10\n5\n", "15", ""), ("15\n99\n", "15", "v1")):
            with self.subTest(api):
                self.define("old", api, RECORD.format(records=self.records), variants=variant + "\n", parameters=None,
                            verify=None)
                self.vbd(*self.add_words("-o", "old" + ("+" + variant if variant else "")))
                seen = self.environment_seen()
                self.assertEqual((seen["OS_API_VERSION"], seen["OS_VARIANT"], seen["DISK_COUNT"]), (version, variant, "1"))
                self.vbd("instance", "remove", "--yes", "inst")

    def test_create_writes_the_disk_and_dry_run_does_not(self):
        self.define(create='printf "guest data" | dd of=$DISK_0_PATH conv=notrunc status=none')
        before = self.snapshot(self.storage)
        plan = self.vbd(*self.add_words("-o", "tiny", "--dry-run")).stdout
        self.assertIn(f"run {self.os_dir}/tiny/create on 1 attached disk", plan)
        self.assertEqual(self.snapshot(self.storage), before)
        self.vbd(*self.add_words("-o", "tiny"))
        with open(os.path.join(self.storage, "inst", "sda"), "rb") as f:
            self.assertEqual(f.read(10), b"guest data")
        # From here on the disk belongs to the guest: neither --no-install nor reuse runs anything.
        self.vbd("instance", "remove", "--yes", "--keep-files", "inst")
        self.define(create="exit 7")
        self.vbd("instance", "add", "-t", f"file:path={self.storage}/inst,reuse", "-o", "tiny", "inst")
        self.vbd(*self.add_words("-o", "tiny", "--no-install", name="other"))

    def test_unknown_and_unusable(self):
        self.define("debootstrap")
        error = self.untouched(3, "os.not_found", *self.add_words("-o", "debotstrap"))
        self.assertIn(f"{self.dir}/nothing:{self.os_dir}", error)
        done = self.vbd(*self.add_words("-o", "debotstrap"), rc=3)
        self.assertIn("did you mean debootstrap? there are: debootstrap", done.stderr)
        self.untouched(2, "usage.os", *self.add_words("-o", "../etc"))
        self.untouched(2, "usage.disk_template", *self.add_words("-O", "a=b"))
        for rc, error_id, piece, definition in (
            (5, "os.unusable", "vbd knows 10, 15 and 20", {"api": "5\n"}),
            (5, "os.unusable", "'ten' is no number", {"api": "ten\n"}),
            (5, "os.unusable", "the script rename is missing", {"rename": None}),
            (5, "os.unusable", "the script verify is missing", {"verify": None}),
            (5, "os.unusable", "parameters.list is missing", {"parameters": None}),
        ):
            with self.subTest(piece):
                support.run("rm", "-rf", os.path.join(self.os_dir, "bad"))
                self.define("bad", **definition)
                self.assertIn(piece, self.untouched(rc, error_id, *self.add_words("-o", "bad")))
        support.run("rm", "-rf", os.path.join(self.os_dir, "bad"))
        folder = self.define("bad")
        os.rename(folder + "/create", folder + "/create_untrusted")
        self.assertIn("create_untrusted", self.untouched(5, "os.unusable", *self.add_words("-o", "bad")))
        self.script(folder + "/create", "")
        os.chmod(folder + "/create", 0o644)
        self.assertIn("not executable", self.untouched(5, "os.unusable", *self.add_words("-o", "bad")))

    def test_untrusted(self):
        folder = self.define()
        os.chmod(folder + "/create", 0o757)
        self.assertIn("writable by others", self.untouched(5, "os.untrusted", *self.add_words("-o", "tiny")))
        os.chmod(folder + "/create", 0o755)
        os.chmod(folder, 0o777)
        self.assertIn("writable by others", self.untouched(5, "os.untrusted", *self.add_words("-o", "tiny")))
        os.chmod(folder, 0o755)
        if os.geteuid() == 0:
            os.chown(folder + "/rename", 12345, 0)
            self.assertIn("belongs to user 12345", self.untouched(5, "os.untrusted", *self.add_words("-o", "tiny")))

    def test_variants_and_parameters(self):
        self.define(variants="small\nlarge\n", parameters="size How large\n",
                    verify='[ "$1" = parameters ] || exit 9; [ "$OSP_SIZE" != huge ] || { echo "size: too large" >&2; exit 1; }')
        self.assertIn("needs a variant; its variants are small, large",
                      self.untouched(2, "os.variant", *self.add_words("-o", "tiny")))
        self.assertIn("no variant smal;", self.untouched(3, "os.variant_not_found", *self.add_words("-o", "tiny+smal")))
        self.assertIn("no parameter 'sise'",
                      self.untouched(2, "os.parameter", *self.add_words("-o", "tiny+small", "-O", "sise=1")))
        self.assertIn("size: too large",
                      self.untouched(2, "os.parameter", *self.add_words("-o", "tiny+small", "-O", "size=huge")))
        self.vbd(*self.add_words("-o", "tiny+small", "-O", "size=small"))


class Failures(OsBox):
    def test_failing_create(self):
        self.define(create='for i in $(seq 30); do echo "line $i"; done; echo "no mirror" >&2; exit 3')
        error = self.untouched(1, "os.script", *self.add_words("-o", "tiny"))
        self.assertIn("guest OS definition tiny: create failed with exit status 3: line 12; line 13;", error)
        self.assertTrue(error.endswith("; line 30; no mirror"), error)
        (log,) = os.listdir(self.logs)
        with open(os.path.join(self.logs, log)) as f:
            self.assertEqual(f.read().splitlines(), [f"line {i}" for i in range(1, 31)] + ["no mirror"])
        self.assertEqual(os.stat(os.path.join(self.logs, log)).st_mode & 0o777, 0o600)

    def test_what_a_script_leaves_goes_with_it(self):
        self.define(create='mke2fs -q $DISK_0_PATH && mkdir -p /tmp/vbd.$$ && mount $DISK_0_PATH /tmp/vbd.$$ && '
                           'touch /tmp/vbd.$$/made && rmdir /tmp/vbd.$$ 2>/dev/null; setsid sleep 1000 & exit 0')
        self.vbd(*self.add_words("-o", "tiny", size="4M"))
        self.assert_nothing_left()
        if support.have("debugfs"):
            found = support.run("debugfs", "-R", "ls /", os.path.join(self.storage, "inst", "sda"))
            self.assertIn("made", found.stdout)

    def start_hanging(self):
        self.define(create=f"trap 'echo cleaned > {self.records}/cleaned; exit 1' TERM INT\n"
                           f"echo $$ > {self.records}/pid\nwhile :; do sleep 0.1; done")
        child = subprocess.Popen(self.argv(*self.add_words("-o", "tiny")), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.environment())
        deadline = time.time() + 60
        while not os.path.exists(os.path.join(self.records, "pid")) and time.time() < deadline:
            time.sleep(0.02)
        self.assertTrue(os.path.exists(os.path.join(self.records, "pid")))
        return child

    def test_interrupted_by_a_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            with self.subTest(number):
                child = self.start_hanging()
                child.send_signal(number)
                error = child.communicate(timeout=120)[1]
                self.assertEqual(child.returncode, -number, error)
                self.assertIn("vbd: error[helper.cancelled]: ", error)
                self.assertTrue(os.path.exists(os.path.join(self.records, "cleaned")))
                self.assertEqual(self.names(), [])
                self.assert_nothing_left()
                os.unlink(os.path.join(self.records, "cleaned"))
                os.unlink(os.path.join(self.records, "pid"))

    def test_killed_during_the_script(self):
        """The script ends too, and the next command undoes the add."""
        for word in ("add", "remove", "verify"):
            with self.subTest(word):
                child = self.start_hanging()
                child.kill()
                child.communicate()
                self.define()
                if word == "add":
                    self.vbd(*self.add_words("-o", "tiny"))
                    self.vbd("instance", "remove", "--yes", "inst")
                elif word == "remove":
                    self.vbd("instance", "remove", "--yes", "inst")
                else:
                    deadline = time.time() + 60
                    while self.names() and time.time() < deadline:
                        self.vbd("cluster", "verify", "--repair", rc=None)
                self.assertTrue(os.path.exists(os.path.join(self.records, "cleaned")))
                self.assertEqual(self.names(), [])
                self.assertEqual(self.vbd_json("instance", "list")["instances"], [])
                self.assert_nothing_left()
                os.unlink(os.path.join(self.records, "cleaned"))
                os.unlink(os.path.join(self.records, "pid"))

    def test_full_filesystem(self):
        image = os.path.join(self.dir, "small.img")
        with open(image, "wb") as f:
            f.truncate(8 * MiB)
        self.assertEqual(support.run("mkfs.ext4", "-q", "-O", "^has_journal", image).returncode, 0)
        self.assertEqual(support.run("mount", "-o", "loop", image, self.storage).returncode, 0)
        self.vbd("cluster", "init")
        self.define(create="dd if=/dev/urandom of=$DISK_0_PATH bs=1M oflag=direct conv=fsync status=none")
        before = self.snapshot(self.storage)
        error = self.fails(1, "os.script", *self.add_words("-o", "tiny", size="64M"))
        self.assertIn("create failed", error)
        self.assertEqual(self.snapshot(self.storage), before)
        self.assertEqual(self.vbd_json("instance", "list")["instances"], [])
        self.assertEqual([path for _, path in self.our_loops() if path != image], [])


class Reinstall(OsBox):
    def content(self, name="inst"):
        with open(os.path.join(self.storage, name, "sda"), "rb") as f:
            return f.read(16).rstrip(b"\0").decode()

    def setUp(self):
        super().setUp()
        self.define(create='printf "%s" "$OS_NAME $INSTANCE_REINSTALL" | dd of=$DISK_0_PATH conv=notrunc status=none',
                    rename=RECORD.format(records=self.records))
        self.vbd(*self.add_words("-o", "tiny"))
        self.assertEqual(self.content(), "tiny ")

    def test_reinstall(self):
        self.fails(2, "usage.confirm", "instance", "reinstall", "inst")
        self.assertIn("install tiny over what is on", self.vbd("instance", "reinstall", "--dry-run", "inst").stdout)
        self.assertEqual(self.content(), "tiny ")
        self.assertIn("reinstalled", self.vbd("instance", "reinstall", "--yes", "inst").stdout)
        self.assertEqual(self.content(), "tiny 1")
        self.define("other", create="exit 2", parameters="a b\n")
        self.fails(3, "os.not_found", "instance", "reinstall", "-y", "-o", "nothing", "inst")
        self.assertEqual(self.vbd_json("instance", "info", "inst")["os"], "tiny")
        done = self.vbd("instance", "reinstall", "-y", "-o", "other", "-O", "a=1", "inst", rc=1)
        self.assertIn("its disks hold an unfinished installation", done.stderr)
        info = self.vbd_json("instance", "info", "inst")
        self.assertEqual((info["state"], info["os"]), ("stopped", "other"))
        self.assert_nothing_left()

    def test_not_while_in_use(self):
        disk = self.logical_id(os.path.join(self.storage, "inst", "sda"))
        self.vbd("disk", "attach", disk)
        self.fails(4, "disk.held", "instance", "reinstall", "-y", "inst")
        self.fails(4, "disk.held", "instance", "rename", "inst", "new")
        self.vbd("disk", "detach", disk)
        self.assertEqual(self.content(), "tiny ")

    def test_without_an_os(self):
        self.vbd(*self.add_words(name="plain"))
        self.fails(2, "instance.no_os", "instance", "reinstall", "-y", "plain")
        self.vbd("instance", "reinstall", "-y", "-o", "tiny", "plain")
        self.assertEqual(self.vbd_json("instance", "info", "plain")["os"], "tiny")

    def test_rename(self):
        uuid = self.vbd_json("instance", "info", "inst")["uuid"]
        plan = self.vbd("instance", "rename", "--dry-run", "inst", "new").stdout
        self.assertIn(f"rename the directory {self.storage}/inst to {self.storage}/new", plan)
        self.vbd("instance", "rename", "inst", "new")
        info = self.vbd_json("instance", "info", "new")
        self.assertEqual((info["uuid"], info["directory"], info["state"]), (uuid, self.storage + "/new", "stopped"))
        self.assertEqual(self.names(), ["new"])
        self.assertEqual(self.content("new"), "tiny ")
        seen = self.environment_seen()
        self.assertEqual((seen["OLD_INSTANCE_NAME"], seen["INSTANCE_NAME"]), ("inst", "new"))
        self.fails(3, "instance.not_found", "instance", "info", "inst")
        self.assert_nothing_left()
        self.vbd(*self.add_words("-o", "tiny"))
        self.fails(4, "instance.exists", "instance", "rename", "inst", "new")
        self.fails(2, "usage.name", "instance", "rename", "inst", "../x")
        os.mkdir(os.path.join(self.storage, "taken"))
        self.fails(4, "path.exists", "instance", "rename", "inst", "taken")
        self.assertEqual(self.vbd_json("instance", "info", "inst")["state"], "stopped")

    def test_rename_elsewhere_and_without_script(self):
        folder = os.path.join(self.storage, "kept")
        self.vbd("instance", "add", "-t", f"file:path={folder}", "--disk", "0:size=1M", "-o", "tiny", "far")
        self.vbd("instance", "rename", "--no-script", "far", "near")
        self.assertFalse(os.path.exists(os.path.join(self.records, "env")))
        self.assertEqual(self.vbd_json("instance", "info", "near")["directory"], folder)
        # An OS that is only recorded has no script; one that fails leaves the new name.
        self.vbd("instance", "remove", "--yes", "--keep-files", "near")
        self.vbd("instance", "add", "-t", f"file:path={folder},reuse", "-o", "debian-etch", "far")
        self.assertIn("debian-etch", self.vbd("instance", "rename", "far", "near").stderr)
        self.define(rename="echo broken >&2; exit 1")
        self.assertIn("broken", self.fails(1, "os.script", "instance", "rename", "inst", "new"))
        self.assertEqual(self.vbd_json("instance", "info", "new")["state"], "stopped")
        self.assert_nothing_left()


class KillOs(OsBox, Injected):
    """Killed before system calls that change something, every third: attaching and detaching in between, each run is
    long. Those of the supervisor, a process of its own, are cut as well."""

    stride = 3

    def setUp(self):
        super().setUp()
        if support.SANITIZED:
            support.skip(self.id(), "the same steps as in the plain build, too slow under sanitizers")

    def install(self):
        self.define(create="printf done | dd of=$DISK_0_PATH conv=notrunc status=none", rename="")

    def reinstalled(self, name):
        self.vbd("instance", "reinstall", "-y", name)
        with open(os.path.join(self.storage, name, "sda"), "rb") as f:
            self.assertEqual(f.read(4), b"done")

    def test_add(self):
        self.install()
        words = self.add_words("-o", "tiny")

        def after(_killed):
            self.assertIn(self.vbd(*words, rc=None).returncode, (0, 4))
            self.assertEqual(self.vbd_json("instance", "info", "inst")["state"], "stopped")
            with open(os.path.join(self.storage, "inst", "sda"), "rb") as f:
                self.assertEqual(f.read(4), b"done")
            self.vbd("instance", "remove", "--yes", "inst")
            self.assertEqual(self.names(), [])
            self.assert_nothing_left()
        self.kill_everywhere(words, lambda: None, after)

    def test_reinstall(self):
        self.install()
        self.vbd(*self.add_words("-o", "tiny"))

        def after(_killed):
            self.reinstalled("inst")
            self.assertEqual(self.vbd_json("instance", "info", "inst")["state"], "stopped")
            self.assert_nothing_left()
        self.kill_everywhere(("instance", "reinstall", "-y", "inst"), lambda: None, after)

    def test_rename(self):
        self.install()
        self.vbd(*self.add_words("-o", "tiny"))
        turn = [0]

        def after(_killed):
            turn[0] += 1
            if turn[0] % 3 == 0:
                self.vbd("cluster", "verify", "--repair", rc=None)
            self.assertIn(self.vbd("instance", "rename", "inst", "new", rc=None).returncode, (0, 3))
            self.assertEqual([(i["name"], i["state"]) for i in self.vbd_json("instance", "list")["instances"]],
                             [("new", "stopped")])
            self.assertEqual(self.names(), ["new"])
            with open(os.path.join(self.storage, "new", "sda"), "rb") as f:
                self.assertEqual(f.read(4), b"done")
            self.assert_nothing_left()
            self.vbd("instance", "rename", "--no-script", "new", "inst")
        self.kill_everywhere(("instance", "rename", "inst", "new"), lambda: None, after)


if __name__ == "__main__":
    unittest.main()
