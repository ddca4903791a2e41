#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Exports and imports through the scripts of guest OS definitions: small ones made by the test, and Debian's noop and
debootstrap as they are packaged, where they are installed."""

import configparser
import os
import random
import signal
import subprocess
import time

import support
from support import MiB
from test_os import OsBox
from test_backup import GANETI, GANETI_DUMP

# A dump that is not the disk's bytes: a header with what the script was told, then the disk through gzip.
EXPORT = """set -e
env > {records}/env-export-$EXPORT_INDEX
blockdev --getsize64 "$EXPORT_DEVICE" >&"$EXP_SIZE_FD"
echo "dump of $EXPORT_INDEX"
gzip -1c "$EXPORT_DEVICE"
echo exported >&2
"""
IMPORT = """set -e
env > {records}/env-import-$IMPORT_INDEX
read -r header
[ "$header" = "dump of $IMPORT_INDEX" ] || {{ echo "not a dump of mine: $header" >&2; exit 4; }}
gzip -dc > "$IMPORT_DEVICE"
"""


class ScriptBox(OsBox):
    def setUp(self):
        super().setUp()
        self.exports = os.path.join(self.dir, "export")
        self.write_config(f"export_dir: {self.exports}\nos_search_path: [{self.os_dir}]\nlog_dir: {self.logs}\n")

    def gzipped(self, name="gz", **scripts):
        return self.define(name, **{"export": EXPORT.format(records=self.records),
                                    "import": IMPORT.format(records=self.records), **scripts})

    def add(self, name="web1", *more, os_name="gz", disks=("size=3M", "size=1M")):
        words = [w for i, d in enumerate(disks) for w in ("--disk", f"{i}:{d}")]
        self.vbd("instance", "add", "-t", "file:driver=loop", *words, "-o", os_name, "--no-start", *more, name)
        rng = random.Random(5)
        for disk in self.vbd_json("instance", "info", name)["disks"]:
            with open(disk["logical_id"][2], "r+b") as f:
                f.seek(rng.randrange(0, 500000))
                f.write(rng.randbytes(200000))

    def content(self, name, disk="sda"):
        with open(os.path.join(self.storage, name, disk), "rb") as f:
            return f.read()

    def environment_of(self, leaf):
        return dict(line.split("=", 1) for line in self.record(leaf).splitlines() if "=" in line)

    def dumps(self, name="web1"):
        return sorted(n for n in os.listdir(os.path.join(self.exports, name)))

    def no_export(self):
        if os.path.exists(self.exports):
            self.assertEqual([n for n in os.listdir(self.exports) if n != ".vbdkit.lock"], [])


class Scripts(ScriptBox):
    def test_there_and_back(self):
        self.gzipped(variants="small\n", parameters="size Its size\n")
        self.add("web1", "-O", "size=2", "-B", "memory=256", os_name="gz+small")
        before = [self.content("web1"), self.content("web1", "sdb")]
        plan = self.vbd("backup", "export", "--dry-run", "web1").stdout
        self.assertIn(f"write {self.exports}/web1/sda.dump: what the export script of gz+small writes of", plan)
        self.no_export()
        done = self.vbd_json("backup", "export", "web1")
        self.assertEqual([(d["dump"], d["content"]) for d in done["disks"]], [("sda.dump", "script"), ("sdb.dump", "script")])
        self.assertEqual(self.dumps(), ["config.ini", "sda.dump", "sdb.dump"])
        with open(os.path.join(self.exports, "web1", "sda.dump"), "rb") as f:
            self.assertTrue(f.read().startswith(b"dump of 0\n\x1f\x8b"))
        seen = self.environment_of("env-export-1")
        self.assertEqual((seen["EXPORT_INDEX"], seen["EXP_SIZE_FD"], seen["OS_VARIANT"], seen["OSP_SIZE"], seen["INSTANCE_NAME"]),
                         ("1", "9", "small", "2", "web1"))
        self.assertEqual(seen["EXPORT_DEVICE"], seen["DISK_1_PATH"])
        self.assertEqual(seen["EXPORT_DEVICE"], seen["EXPORT_DISK_PATH"])
        self.assertEqual(sorted(n.split("-")[0] + n.split("-")[1] for n in os.listdir(self.logs) if n.startswith("export")),
                         ["exportdisk0", "exportdisk1"])
        self.settled("web1")
        # What Ganeti's import reads (lib/cmdlib/instance_create.py): the definition that reads these dumps.
        config = configparser.ConfigParser()
        config.read(os.path.join(self.exports, "web1", "config.ini"))
        self.assertEqual((config.get("export", "os"), config.get("os", "size")), ("gz+small", "2"))
        self.assertEqual((config.get("instance", "disk0_dump"), config.get("instance", "disk0_size")), ("sda.dump", "3"))
        # Under the same name and under a new one.
        self.vbd("backup", "import", "--src-dir", "web1", "--mac", "generate", "web2")
        self.assertEqual([self.content("web2"), self.content("web2", "sdb")], before)
        seen = self.environment_of("env-import-1")
        self.assertEqual((seen["IMPORT_INDEX"], seen["INSTANCE_NAME"], seen["DISK_COUNT"]), ("1", "web2", "2"))
        self.assertEqual(seen["IMPORT_DEVICE"], seen["DISK_1_PATH"])
        self.vbd("instance", "remove", "--yes", "web1")
        self.vbd("backup", "import", "web1")
        self.assertEqual([self.content("web1"), self.content("web1", "sdb")], before)
        info = self.vbd_json("instance", "info", "web1")
        self.assertEqual((info["os"], info["os_parameters"], info["backend"]), ("gz+small", {"size": "2"}, {"memory": "256"}))
        self.settled("web1")
        self.settled("web2")
        # Into a larger disk of another filetype, where its device can be had here.
        if support.have("qemu-storage-daemon") and os.path.exists("/dev/fuse"):
            self.vbd("backup", "import", "--src-dir", "web1", "-t", "file:driver=blktap,filetype=qcow", "--disk", "0:size=5M", "web3")
            path = os.path.join(self.dir, "raw")
            self.vbd("image", "copy", "--filetype", "qcow", os.path.join(self.storage, "web3", "sda"), "--to", "filetype=raw", path)
            with open(path, "rb") as f:
                self.assertEqual(f.read(3 * MiB), before[0])

    def test_zstd_and_raw(self):
        self.gzipped()
        self.add()
        before = self.content("web1")
        self.vbd("backup", "export", "--zstd", "web1")
        self.assertEqual(self.dumps(), ["config.ini", "sda.dump.zst", "sdb.dump.zst"])
        self.vbd("backup", "import", "--src-dir", "web1", "--mac", "generate", "web2")
        self.assertEqual(self.content("web2"), before)
        self.vbd("backup", "export", "--raw", "web1")
        self.assertEqual(self.dumps(), ["config.ini", "sda.raw", "sdb.raw"])
        config = configparser.ConfigParser()
        config.read(os.path.join(self.exports, "web1", "config.ini"))
        self.assertEqual((config.get("export", "os"), config.get("vbdkit", "os")), ("noop", "gz"))
        # No script is needed for these, then.
        support.run("rm", "-rf", os.path.join(self.os_dir, "gz"))
        self.vbd("backup", "import", "--src-dir", "web1", "web3")
        self.assertEqual(self.content("web3"), before)
        self.assertEqual(self.vbd_json("instance", "info", "web3")["os"], "gz")
        done = self.vbd("backup", "export", "web3", rc=3)
        self.assertIn("error[os.not_found]", done.stderr)
        self.assertIn("--raw exports the disks themselves", done.stderr)
        self.fails(2, "usage.value", "backup", "export", "--raw", "--mode", "image", "web1")

    def test_failing_export(self):
        self.gzipped()
        self.add()
        self.gzipped(export='echo "some bytes"; echo "disk $EXPORT_INDEX is bad" >&2; [ $EXPORT_INDEX = 0 ] && sleep 1000; exit 3')
        begun = time.time()
        done = self.vbd("backup", "export", "web1", rc=1)
        # The other disk's script does not keep it waiting.
        self.assertLess(time.time() - begun, 100)
        errors = [line for line in done.stderr.splitlines() if line.startswith("vbd: error")]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertIn("error[os.script]", errors[0])
        self.assertIn("guest OS definition gz: export failed with exit status 3: disk 1 is bad", errors[0])
        self.assertIn(f"is in {self.logs}/export-disk1-gz-web1-", done.stderr)
        self.no_export()
        self.settled("web1")
        # An older export stays.
        self.gzipped()
        self.vbd("backup", "export", "web1")
        kept = self.snapshot(self.exports)
        self.gzipped(export="cat $EXPORT_DEVICE; kill -9 $$")
        self.assertIn("was ended by signal 9", self.fails(1, "os.script", "backup", "export", "web1"))
        self.assertEqual(self.snapshot(self.exports), kept)
        self.settled("web1")

    def test_failing_import(self):
        self.gzipped()
        self.add()
        self.vbd("backup", "export", "web1")
        before = self.snapshot(self.storage)
        words = ("backup", "import", "--src-dir", "web1", "--mac", "generate", "web2")
        self.gzipped(**{"import": 'head -c 10 > /dev/null; echo "no room for $IMPORT_INDEX" >&2; exit 5'})
        done = self.vbd(*words, rc=1)
        self.assertIn("import failed with exit status 5: no room for", done.stderr)
        self.assertIn(f"is in {self.logs}/import-disk", done.stderr)
        self.assertEqual(self.snapshot(self.storage), before)
        # One that is content with less than all of the dump is fine, and so is one that is damaged to be told of.
        self.gzipped(**{"import": "head -c 10 > /dev/null"})
        self.vbd(*words)
        self.vbd("instance", "remove", "--yes", "web2")
        with open(os.path.join(self.exports, "web1", "sda.dump"), "r+b") as f:
            f.seek(20)
            f.write(b"changed")
        for script in (IMPORT.format(records=self.records), "cat > $IMPORT_DEVICE; true"):
            self.gzipped(**{"import": script})
            self.assertIn("digest", self.fails(6, "backup.damaged", *words))
            self.assertEqual(self.snapshot(self.storage), before)
        support.run("rm", "-rf", os.path.join(self.os_dir, "gz"))
        self.assertIn("gz", self.fails(5, "backup.needs_os", *words))
        self.assert_nothing_left()

    def test_empty_and_odd_dumps(self):
        """Nothing at all, and a size that is none."""
        self.gzipped(export='echo "many bytes" >&$EXP_SIZE_FD; head -c 300000 /dev/zero >&$EXP_SIZE_FD; true', **{"import": "cat > $IMPORT_DEVICE"})
        self.add(disks=("size=1M",))
        done = self.vbd_json("backup", "export", "web1")
        self.assertEqual([d["length"] for d in done["disks"]], [0])
        for more in ((), ("--zstd",)):
            self.vbd("backup", "export", *more, "web1")
            self.vbd("backup", "import", "--src-dir", "web1", "--mac", "generate", "web2")
            self.vbd("instance", "remove", "--yes", "web2")

    def test_export_of_ganeti(self):
        """Ganeti always dumps through scripts: what one of them wrote comes back through the other."""
        self.gzipped()
        self.add(disks=("size=2M",))
        before = self.content("web1")
        self.vbd("backup", "export", "web1")
        folder = os.path.join(self.exports, "inst1.example.com")
        os.makedirs(folder)
        os.rename(os.path.join(self.exports, "web1", "sda.dump"), os.path.join(folder, GANETI_DUMP))
        with open(os.path.join(folder, "config.ini"), "w") as f:
            f.write(GANETI.replace("os =\n", "os = gz\n").replace("dhcp = yes\n", ""))
        self.vbd("backup", "import", "inst1.example.com")
        self.assertEqual(self.content("inst1.example.com"), before)
        self.settled("inst1.example.com")

    def test_interrupted_by_a_signal(self):
        hanging = f"trap 'echo cleaned > {self.records}/cleaned; exit 1' TERM INT\necho $$ > {self.records}/pid\n" \
                  "while :; do echo more; sleep 0.1; done"
        self.gzipped(export=hanging, **{"import": hanging})
        self.add(disks=("size=1M",))
        for number, verb in ((signal.SIGINT, "export"), (signal.SIGKILL, "export"), (signal.SIGTERM, "import"), (signal.SIGKILL, "import")):
            with self.subTest(verb=verb, number=number):
                if verb == "import":
                    self.gzipped(**{"import": hanging})
                    self.vbd("backup", "export", "web1")
                words = ("export", "web1") if verb == "export" else ("import", "--src-dir", "web1", "--mac", "generate", "web2")
                child = subprocess.Popen(self.argv("backup", *words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.PIPE, text=True, env=self.environment())
                deadline = time.time() + 60
                while not os.path.exists(os.path.join(self.records, "pid")) and time.time() < deadline:
                    time.sleep(0.02)
                child.send_signal(number)
                error = child.communicate(timeout=120)[1]
                if number != signal.SIGKILL:
                    self.assertEqual(child.returncode, -number, error)
                    self.assertIn("vbd: error[helper.cancelled]: ", error)
                    self.settled("web1")
                # The next command waits for what is left of it, and goes on.
                self.gzipped()
                self.vbd("backup", "export", "web1")
                self.vbd("backup", "import", "--src-dir", "web1", "--mac", "generate", "web2")
                self.vbd("instance", "remove", "--yes", "web2")
                self.assertTrue(os.path.exists(os.path.join(self.records, "cleaned")))
                self.settled("web1")
                os.unlink(os.path.join(self.records, "cleaned"))
                os.unlink(os.path.join(self.records, "pid"))
                self.gzipped(export=hanging, **{"import": hanging})


class Debian(ScriptBox):
    """As they are packaged."""

    def setUp(self):
        super().setUp()
        if not os.path.exists("/usr/share/ganeti/os/noop/create"):
            support.skip(self.id(), "needs Debian's ganeti-os-noop")
        self.write_config(f"export_dir: {self.exports}\nos_search_path: [/usr/share/ganeti/os]\nlog_dir: {self.logs}\n")

    def test_noop(self):
        self.add(os_name="noop")
        before = self.content("web1")
        self.vbd("backup", "export", "web1")
        self.assertEqual(self.dumps(), ["config.ini", "sda.raw", "sdb.raw"])  # as its script would, with holes
        # Its own scripts write and read the very same.
        script = support.subprocess.run(["/usr/share/ganeti/os/noop/export"], capture_output=True, check=True,
                                        env={"PATH": os.environ["PATH"], "EXPORT_DEVICE": os.path.join(self.storage, "web1", "sda")})
        with open(os.path.join(self.exports, "web1", "sda.raw"), "rb") as f:
            self.assertEqual(f.read(), script.stdout)
        self.vbd("backup", "import", "--src-dir", "web1", "--mac", "generate", "web2")
        self.assertEqual(self.content("web2"), before)

    def test_debootstrap(self):
        """Without its create script, which needs a mirror: the filesystem is made here."""
        for program in ("dump", "restore", "mkfs.ext4"):
            if not support.have(program):
                support.skip(self.id(), f"needs {program}")
        if not os.path.exists("/usr/share/ganeti/os/debootstrap/create"):
            support.skip(self.id(), "needs Debian's ganeti-instance-debootstrap")
        conf = os.path.join(self.dir, "conf")
        os.makedirs(conf + "/variants")
        with open(conf + "/variants.list", "w") as f:
            f.write("default\n")
        with open(conf + "/variants/default.conf", "w") as f:
            f.write("PARTITION_STYLE=none\n")
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=32M", "-o", "debootstrap+default", "-O", "filesystem=ext4",
                 "--no-install", "--no-start", "web1")
        place = os.path.join(self.dir, "mnt")
        os.mkdir(place)
        image = os.path.join(self.storage, "web1", "sda")
        self.assertEqual(support.run("mkfs.ext4", "-q", image).returncode, 0)

        def mounted(name, work):
            path = os.path.join(self.storage, name, "sda")
            self.assertEqual(support.run("mount", "-o", "loop", path, place).returncode, 0)
            try:
                return work()
            finally:
                support.run("umount", place)

        def fill():
            os.mkdir(place + "/etc")
            for leaf in ("etc/hostname", "etc/fstab", "data"):
                with open(os.path.join(place, leaf), "w") as f:
                    f.write(leaf * 1000)
            os.symlink("data", place + "/link")
            os.chown(place + "/data", 1234, 56)

        def everything():  # but what the import script writes for itself, and the fstab that it edits
            files = {k: v for k, v in self.snapshot(place).items() if k not in ("etc/fstab", "lost+found", "restoresymtable")}
            return files, os.stat(place + "/data").st_uid, os.readlink(place + "/link")
        mounted("web1", fill)
        before = mounted("web1", everything)

        def in_own_mounts(*words):
            script = f'mount --bind {conf} /etc/ganeti/instance-debootstrap && exec "$@"'
            done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *self.argv(*words)], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, env=self.environment(), timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
        in_own_mounts("backup", "export", "web1")
        self.assertEqual(self.dumps(), ["config.ini", "sda.dump"])
        in_own_mounts("backup", "import", "--src-dir", "web1", "--mac", "generate", "web2")
        self.assertEqual(mounted("web2", everything), before)
        self.vbd("instance", "remove", "--yes", "web1")
        in_own_mounts("backup", "import", "web1")
        self.assertEqual(mounted("web1", everything), before)


if __name__ == "__main__":
    support.main()
