#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Exports and imports: Ganeti's format both ways, sparse and compressed dumps, digests, and what is refused."""

import configparser
import hashlib
import os
import random
import re

import support
from support import GiB, MiB, Sandbox

# In the form that Ganeti 3.0.2 writes for an instance without an OS: its sections, keys and literals. The dump holds 2 MiB.
GANETI = """[export]
version = 0
timestamp = 1795381193
source = 3bf629dd-67ec-4ac3-ab86-937b47d1a7e3
os =
compression = none

[instance]
name = inst1.example.com
maxmem = 256
minmem = 256
memory = 256
vcpus = 2
disk_template = ext
hypervisor = xen-pvm
tags =
nic0_mac = aa:00:00:9e:4a:38
nic0_ip = None
nic0_network = None
nic0_name = None
nic0_link = br0
nic0_mode = bridged
nic0_vlan =
nic_count = 1
disk0_ivname = disk/0
disk0_dump = 3a7b5117-95a7-4f2d-a963-eef8f7d3379a
disk0_size = 2
disk0_name = None
disk_count = 1

[hypervisor]
kernel_args = ro 100%%

[backend]
always_failover = False
auto_balance = True
maxmem = 256
minmem = 256
spindle_use = 1
vcpus = 2

[os]
dhcp = yes

[os_private]

"""
GANETI_DUMP = "3a7b5117-95a7-4f2d-a963-eef8f7d3379a"


class Backup(Sandbox):
    def setUp(self):
        super().setUp()
        self.exports = os.path.join(self.dir, "export")
        self.write_config(f"export_dir: {self.exports}\n")

    def add(self, name, *disks, template="file:driver=loop", more=()):
        words = [w for i, d in enumerate(disks) for w in ("--disk", f"{i}:{d}")]
        self.vbd("instance", "add", "-t", template, *words, *more, "--no-start", name)

    def image(self, name, disk="sda"):
        return os.path.join(self.storage, name, disk)

    def scribble(self, path, size, seed=1, spots=8):
        """Data here and there, odd places included; what the file must then read as."""
        rng = random.Random(seed)
        with open(path, "r+b") as f:
            for _ in range(spots):
                f.seek(rng.randrange(0, size - 200000))
                f.write(rng.randbytes(rng.randrange(1, 200000)))
            f.seek(size - 3)
            f.write(b"end")
        return self.sha(path)

    @staticmethod
    def sha(path):
        digest = hashlib.sha256()
        with open(path, "rb") as f:
            while piece := f.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    def foreign(self, name="inst1.example.com", text=GANETI, dump=bytes(2 * MiB)):
        folder = os.path.join(self.exports, name)
        os.makedirs(folder)
        with open(os.path.join(folder, "config.ini"), "w") as f:
            f.write(text)
        if dump is not None:
            with open(os.path.join(folder, GANETI_DUMP), "wb") as f:
                f.write(dump)
        return folder

    def edit(self, name, old, new):
        path = os.path.join(self.exports, name, "config.ini")
        with open(path) as f:
            text = f.read()
        self.assertIn(old, text)
        with open(path, "w") as f:
            f.write(text.replace(old, new, 1))


class RoundTrip(Backup):
    def test_two_disks_there_and_back(self):
        self.add("web1", "size=21M", "size=3G,mode=ro",
                 more=("--net", "0:mac=aa:00:00:01:02:03,link=br1", "-B", "memory=256", "-H", "kernel_args=50% a\\,b=c"))
        size = 21 * MiB
        first = self.scribble(self.image("web1"), size)
        second = self.scribble(self.image("web1", "sdb"), 3 * GiB, seed=2)
        info = self.vbd_json("instance", "info", "web1")
        done = self.vbd_json("backup", "export", "web1")
        folder = os.path.join(self.exports, "web1")
        self.assertEqual((done["schema"], done["name"], done["path"]), ("vbdkit.backup/1", "web1", folder))
        self.assertEqual([(d["index"], d["dump"], d["size"], d["content"], d["length"]) for d in done["disks"]],
                         [(0, "sda.raw", size, "raw", size), (1, "sdb.raw", 3 * GiB, "raw", 3 * GiB)])
        self.assertEqual(sorted(os.listdir(folder)), ["config.ini", "sda.raw", "sdb.raw"])
        self.assertEqual(os.stat(folder).st_mode & 0o7777, 0o700)
        self.assertEqual(self.sha(os.path.join(folder, "sda.raw")), first)
        # Holes stay holes.
        stat = os.stat(os.path.join(folder, "sdb.raw"))
        self.assertEqual(stat.st_size, 3 * GiB)
        self.assertLess(stat.st_blocks * 512, 3 * MiB)
        # The digest is that of `image digest`, so that a dump can be checked without an import.
        line = self.vbd("image", "digest", "--filetype", "raw", os.path.join(folder, "sda.raw")).stdout
        self.assertEqual(line.split()[0], done["disks"][0]["digest"])
        self.vbd("instance", "remove", "--yes", "web1")
        self.vbd("backup", "import", "--trust-parameters", "web1")
        again = self.vbd_json("instance", "info", "web1")
        for key in ("name", "nics", "backend", "hypervisor", "os", "node"):
            self.assertEqual(again[key], info[key], key)
        for before, after in zip(info["disks"], again["disks"]):
            for key in ("logical_id", "size", "vdev", "mode"):
                self.assertEqual(after[key], before[key], key)
        self.assertEqual(self.sha(self.image("web1")), first)
        self.assertEqual(self.sha(self.image("web1", "sdb")), second)
        self.assertLess(os.stat(self.image("web1", "sdb")).st_blocks * 512, 3 * MiB)

    def test_ganeti_reads_ours(self):
        """With the same parser, and all keys that its import asks for (cmdlib/instance_create.py)."""
        self.add("web1", "size=1.5M", more=("-H", "kernel_args=100%", "--net", "0"))
        self.vbd("backup", "export", "web1")
        config = configparser.ConfigParser()
        config.read(os.path.join(self.exports, "web1", "config.ini"))
        self.assertEqual(config.getint("export", "version"), 0)
        self.assertEqual(config.get("export", "compression"), "none")
        self.assertEqual(config.get("export", "os"), "noop")  # or Ganeti would leave the disks empty
        self.assertEqual(config.getint("instance", "disk0_size"), 2)  # rounded up
        self.assertEqual(config.get("instance", "disk0_dump"), "sda.raw")
        self.assertEqual(config.get("instance", "disk0_name"), "None")
        for key in ("mac", "ip", "network", "name", "link", "mode", "vlan"):
            self.assertTrue(config.has_option("instance", "nic0_" + key), key)
        self.assertEqual(config.get("instance", "nic0_link"), "br0")
        self.assertEqual(dict(config.items("hypervisor")), {"kernel_args": "100%"})
        self.assertEqual(config.get("backend", "maxmem"), "128")
        for section in ("os", "os_private"):
            self.assertTrue(config.has_section(section))

    def test_zstd(self):
        self.add("web1", "size=200M")
        sha = self.scribble(self.image("web1"), 200 * MiB)
        self.vbd("backup", "export", "--zstd", "web1")
        dump = os.path.join(self.exports, "web1", "sda.raw.zst")
        if support.have("zstd"):
            done = support.subprocess.run(["zstd", "-dcq", dump], stdout=support.subprocess.PIPE, check=True)
            self.assertEqual(hashlib.sha256(done.stdout).hexdigest(), sha)
        self.vbd("backup", "import", "--src-dir", "web1", "web2")
        self.assertEqual(self.sha(self.image("web2")), sha)
        with open(dump, "r+b") as f:
            f.truncate(os.path.getsize(dump) - 100)
        self.fails(6, "backup.damaged", "backup", "import", "--src-dir", "web1", "web3")
        self.assertFalse(os.path.exists(os.path.join(self.storage, "web3")))

    def test_filetypes(self):
        """A dump is the guest's bytes, so that it comes back as any filetype."""
        self.add("web1", "size=70M", template="file:driver=loop")
        sha = self.scribble(self.image("web1"), 70 * MiB)
        self.vbd("backup", "export", "web1")
        self.vbd("backup", "import", "--src-dir", "web1", "-t", "file:driver=blktap,filetype=qcow", "web2")
        self.assertEqual(self.vbd_json("instance", "info", "web2")["disks"][0]["logical_id"][:2], ["FD_BLKTAP", "FT_QCOW"])
        if support.have("qemu-img"):
            check = support.run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", self.image("web1"), self.image("web2"))
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
            check = support.run("qemu-img", "check", "-f", "qcow2", self.image("web2"))
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        self.vbd("backup", "export", "--zstd", "web2")
        self.vbd("instance", "remove", "--yes", "web2")
        self.vbd("backup", "import", "web2")
        self.assertEqual(self.vbd_json("instance", "info", "web2")["disks"][0]["logical_id"][:2], ["FD_BLKTAP", "FT_QCOW"])
        self.vbd("backup", "import", "--src-dir", "web2", "-t", "file:driver=loop,filetype=raw", "web3")
        self.assertEqual(self.sha(self.image("web3")), sha)

    def test_images(self):
        self.add("web1", "size=70M", "size=1M,filetype=raw", template="file:driver=blktap,filetype=qcow,cluster_size=4K")
        sha = self.scribble(self.image("web1", "sdb"), MiB, spots=1)
        before = self.sha(self.image("web1"))
        done = self.vbd_json("backup", "export", "--mode", "image", "web1")
        self.assertEqual([(d["dump"], d["content"], d["size"]) for d in done["disks"]],
                         [("sda.qcow", "image", 70 * MiB), ("sdb.raw", "image", MiB)])
        self.vbd("backup", "import", "--src-dir", "web1", "web2")
        disks = self.vbd_json("instance", "info", "web2")["disks"]
        self.assertEqual([(d["logical_id"][1], d["size"], d["created"]) for d in disks],
                         [("FT_QCOW", 70 * MiB, True), ("FT_RAW", MiB, True)])
        self.assertEqual(self.sha(self.image("web2")), before)
        self.assertEqual(self.sha(self.image("web2", "sdb")), sha)
        # As another filetype, or larger, its bytes go over.
        self.vbd("backup", "import", "--src-dir", "web1", "-t", "file:driver=loop,filetype=raw", "--disk", "1:size=2M", "web3")
        disks = self.vbd_json("instance", "info", "web3")["disks"]
        self.assertEqual([(d["logical_id"][1], d["size"]) for d in disks], [("FT_RAW", 70 * MiB), ("FT_RAW", 2 * MiB)])
        self.assertEqual(self.same_bytes("web3", "raw", "web1", "qcow"), 0)
        self.fails(2, "usage.backup", "backup", "import", "--src-dir", "web1", "--disk", "1:size=0.5M", "web4")
        with open(os.path.join(self.exports, "web1", "sda.qcow"), "r+b") as f:
            f.write(b"QFI\xfc")
        self.fails(6, "backup.damaged", "backup", "import", "--src-dir", "web1", "web4")
        self.assertFalse(os.path.exists(os.path.join(self.storage, "web4")))

    def same_bytes(self, a, a_filetype, b, b_filetype):
        return self.vbd("image", "compare", "--filetype", a_filetype, self.image(a), "--filetype-b", b_filetype, self.image(b), rc=None).returncode

    def test_images_of_another_filetype(self):
        self.add("web1", "size=70M", "size=1M")
        sha = self.scribble(self.image("web1"), 70 * MiB)
        words = ("backup", "export", "--mode", "image", "--filetype", "qcow", "web1")
        self.assertIn("sda.qcow: FT_QCOW image of", self.vbd(*words, "--dry-run").stdout)
        done = self.vbd_json(*words)
        self.assertEqual([(d["dump"], d["content"], d["size"]) for d in done["disks"]],
                         [("sda.qcow", "image", 70 * MiB), ("sdb.qcow", "image", MiB)])
        folder = os.path.join(self.exports, "web1")
        if support.have("qemu-img"):
            check = support.run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", self.image("web1"), folder + "/sda.qcow")
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        # The instance's own filetype comes back; as the dump's it is taken as it is.
        self.vbd("backup", "import", "--src-dir", "web1", "web2")
        self.assertEqual(self.vbd_json("instance", "info", "web2")["disks"][0]["logical_id"][1], "FT_RAW")
        self.assertEqual(self.sha(self.image("web2")), sha)
        self.vbd("backup", "import", "--src-dir", "web1", "-t", "file:driver=blktap,filetype=qcow", "web3")
        self.assertEqual(self.sha(self.image("web3")), self.sha(folder + "/sda.qcow"))
        with open(folder + "/sda.qcow", "r+b") as f:
            f.seek(-5, os.SEEK_END)
            f.write(b"x")
        self.fails(6, "backup.damaged", "backup", "import", "--src-dir", "web1", "web4")
        self.assertFalse(os.path.exists(os.path.join(self.storage, "web4")))
        self.fails(2, "usage.value", "backup", "export", "--filetype", "qcow", "web1")
        before = self.snapshot(self.exports)
        self.fails(3, "plugin.not_found", "backup", "export", "--mode", "image", "--filetype", "nothing", "web1")
        self.assertEqual(self.snapshot(self.exports), before)

    def test_new_name_and_addresses(self):
        self.add("web1", "size=1M", more=("--net", "0:mac=aa:00:00:01:02:03"))
        self.vbd("backup", "export", "web1")
        self.assertIn("web1", self.fails(4, "instance.mac_in_use", "backup", "import", "--src-dir", "web1", "web2"))
        self.vbd("backup", "import", "--src-dir", "web1", "--mac", "generate", "web2")
        mac = self.vbd_json("instance", "info", "web2")["nics"][0]["mac"]
        self.assertRegex(mac, "^aa:00:00:")
        self.assertNotEqual(mac, "aa:00:00:01:02:03")
        self.vbd("backup", "import", "--src-dir", os.path.join(self.exports, "web1"), "--no-nics", "web3")
        self.assertEqual(self.vbd_json("instance", "info", "web3")["nics"], [])
        self.fails(4, "instance.exists", "backup", "import", "web1")

    def test_larger_disk(self):
        self.add("web1", "size=1M")
        self.scribble(self.image("web1"), MiB, spots=1)
        self.vbd("backup", "export", "web1")
        self.vbd("backup", "import", "--src-dir", "web1", "--disk", "0:size=5M", "web2")
        self.assertEqual(os.path.getsize(self.image("web2")), 5 * MiB)
        self.fails(2, "usage.backup", "backup", "import", "--src-dir", "web1", "--disk", "1:size=5M", "web3")
        self.fails(2, "usage.backup", "backup", "import", "--src-dir", "web1", "--disk", "0:size=0.5M", "web3")

    def test_dry_run_list_and_remove(self):
        self.add("web1", "size=1M")
        before = self.snapshot()
        plan = self.vbd("backup", "export", "--dry-run", "web1").stdout
        self.assertEqual(plan, f"write {self.exports}/web1/sda.raw: the bytes of {self.image('web1')} (FT_RAW, 1.0 MiB)\n"
                               f"write {self.exports}/web1/config.ini\n")
        self.assertEqual(self.snapshot(), before)
        self.assertEqual(self.vbd_json("backup", "list"), {"schema": "vbdkit.backups/1", "backups": []})
        self.assertEqual(self.vbd("backup", "export", "web1").stdout, f"instance web1: exported to {self.exports}/web1\n")
        listed = self.vbd_json("backup", "list")["backups"]
        self.assertEqual([(b["name"], b["instance"], b["by_vbd"], b["compression"], b["size"], b["problem"]) for b in listed],
                         [("web1", "web1", True, "none", MiB, None)])
        self.assertRegex(self.vbd("backup", "list", "--no-headers", "--separator=|").stdout,
                         r"^web1\|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\|\|1\|1.0 MiB\|[^|]*\|\n$")
        before = self.snapshot()
        self.vbd("backup", "import", "--dry-run", "--src-dir", "web1", "web2")
        self.assertIn("sda.raw", self.vbd("backup", "remove", "--dry-run", "web1").stdout)
        self.fails(2, "usage.confirm", "backup", "remove", "web1")
        self.assertEqual(self.snapshot(), before)
        self.vbd("backup", "remove", "--yes", "web1")
        self.assertEqual([n for n in os.listdir(self.exports) if n != ".vbdkit.lock"], [])
        self.fails(3, "backup.not_found", "backup", "remove", "--yes", "web1")

    def test_completion(self):
        def words(*words):
            return support.run(support.VBD, "__complete", "backup", words[0], "--config", self.config, *words[1:]).stdout.split()
        self.assertEqual(words("import", "w"), [])
        self.add("web1", "size=1M")
        self.vbd("backup", "export", "web1")
        os.mkdir(os.path.join(self.exports, "not a name"))
        for given in (("import", ""), ("import", "--src-dir", "w"), ("remove", "we")):
            self.assertEqual(words(*given), ["web1"], given)
        self.assertEqual(words("import", "--src-dir", "/"), [])  # then the shell has paths

    def test_odd_instances(self):
        """Odd values, a size that is no whole MiB, many disks; no disk at all."""
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1.5M", "--net", "0:mac=aa:00:00:01:02:05,name=wan",
                 "-H", "kernel_args=root=/dev/sda1 l\u00f6we%20\\,x", "--no-start", "web1")
        self.vbd("backup", "export", "web1")
        self.vbd("backup", "import", "--src-dir", "web1", "--mac", "generate", "web2")
        one, two = (self.vbd_json("instance", "info", name) for name in ("web1", "web2"))
        self.assertEqual(one["hypervisor"], two["hypervisor"])
        self.assertEqual(two["disks"][0]["size"], 1536 * 1024)
        self.add("web3", *["size=0.5M"] * 18)  # more than Ganeti takes
        self.vbd("backup", "export", "web3")
        self.vbd("backup", "import", "--src-dir", "web3", "web4")
        self.assertEqual([d["vdev"] for d in self.vbd_json("instance", "info", "web4")["disks"]],
                         [d["vdev"] for d in self.vbd_json("instance", "info", "web3")["disks"]])
        for name in ("w\u00e9b", "a,b", "../web1", "", "x" * 300):
            self.fails(2, "usage.name", "backup", "export", name)
            self.fails(2, "usage.name", "backup", "import", "--src-dir", "web1", name)
        self.fails(2, "usage.name", "backup", "import", "--src-dir", "a,b", "web5")
        self.vbd("instance", "modify", "--disk", "remove", "--yes", "web2")
        self.assertEqual(self.vbd_json("instance", "info", "web2")["disks"], [])
        self.fails(5, "backup.no_disks", "backup", "export", "web2")

    def test_again(self):
        self.add("web1", "size=1M")
        self.vbd("backup", "export", "web1")
        sha = self.scribble(self.image("web1"), MiB, spots=1)
        self.vbd("backup", "export", "web1")
        self.assertEqual(self.sha(os.path.join(self.exports, "web1", "sda.raw")), sha)
        self.assertEqual(sorted(os.listdir(self.exports)), [".vbdkit.lock", "web1"])


class Foreign(Backup):
    """What a stranger's description says reaches none of root's programs."""

    def test_host_resources_are_left_out_unless_given(self):
        self.add("web1", "size=1M", more=("-H", "kernel_path=/boot/k,bootloader_path=/opt/pygrub,kernel_args=ro\\,x", "-B", "memory=256",
                                          "--net", "0:mac=aa:00:00:01:02:03,link=br1"))
        self.vbd("backup", "export", "web1")
        self.vbd("instance", "remove", "--yes", "web1")
        words = ("backup", "import", "-H", "kernel_path=/boot/mine", "web1")
        dry = self.vbd(*words, "--dry-run").stdout
        parameters = self.vbd_json(*words, "--dry-run")["parameters"]
        done = self.vbd(*words).stdout
        for text in (dry, done):
            self.assertIn("parameters taken: -B memory=256 -H 'kernel_args=ro\\,x' --net 0:mac=aa:00:00:01:02:03,mode=bridged\n", text)
            self.assertIn("-H bootloader_path=/opt/pygrub --net 0:link=br1 (give", text)
        self.assertEqual([(w["option"], w["name"], w["value"], w["reason"]) for w in parameters["left_out"]],
                         [("-H", "bootloader_path", "/opt/pygrub", "host"), ("--net 0", "link", "br1", "host")])
        info = self.vbd_json("instance", "info", "web1")
        self.assertEqual(info["hypervisor"], {"kernel_args": "ro,x", "kernel_path": "/boot/mine"})
        self.assertIsNone(info["nics"][0]["link"])
        config = self.vbd("instance", "config", "web1").stdout
        self.assertNotIn("pygrub", config)
        self.assertNotIn("br1", config)
        self.vbd("instance", "remove", "--yes", "web1")
        self.vbd("backup", "import", "--trust-parameters", "web1")
        info = self.vbd_json("instance", "info", "web1")
        self.assertEqual((info["hypervisor"]["bootloader_path"], info["nics"][0]["link"]), ("/opt/pygrub", "br1"))

    def test_ganetis_sections_likewise(self):
        self.foreign(text=GANETI.replace("kernel_args = ro 100%%", "kernel_path = /etc/shadow\nbootloader_path = /tmp/evil\nacpi = True")
                    .replace("nic0_mode = bridged", "nic0_mode = routed"))
        done = self.vbd_json("backup", "import", "inst1.example.com")
        self.assertEqual({w["name"]: w["reason"] for w in done["parameters"]["left_out"]},
                         {"acpi": "unknown", "bootloader_path": "host", "kernel_path": "host", "link": "host", "mode": "host"})
        info = self.vbd_json("instance", "info", "inst1.example.com")
        self.assertEqual((info["hypervisor"], info["nics"][0]["mode"]), ({}, "bridged"))

    def test_register_likewise(self):
        self.add("web1", "size=1M", more=("-H", "bootloader_path=/tmp/evil,root_path=/dev/sda1", "--net", "0:link=br1"))
        copy = os.path.join(self.storage, "copy")
        for name, words in (("plain", ()), ("copied", ("--as", "copied")), ("given", ("--as", "given", "-H", "firmware=/fw", "--no-nics")),
                            ("trusted", ("--as", "trusted", "--trust-parameters"))):
            with self.subTest(name):
                folder = copy + name
                self.assertEqual(support.run("cp", "-a", os.path.join(self.storage, "web1"), folder).returncode, 0)
                if name == "plain":
                    with open(os.path.join(folder, "instance.yaml")) as f:
                        text = f.read().replace("name: web1\n", "name: plain\n").replace("storage/web1", "storage/copyplain")
                    with open(os.path.join(folder, "instance.yaml"), "w") as f:
                        f.write(re.sub("^uuid: .*", "uuid: 0a0b0c0d-1111-4222-8333-444455556666", text, flags=re.M))
                dry = self.vbd("instance", "register", *words, folder, "--dry-run").stdout
                self.assertEqual("bootloader_path=/tmp/evil" in dry, True)
                done = self.vbd_json("instance", "register", *words, folder)["parameters"]
                info = self.vbd_json("instance", "info", name)
                left = [] if name == "trusted" else ["bootloader_path"] + ["link"] * (name != "given")
                self.assertEqual([w["name"] for w in done["left_out"]], left)
                wanted = {"root_path": "/dev/sda1"}
                if name == "given":
                    wanted["firmware"] = "/fw"
                if name == "trusted":
                    wanted["bootloader_path"] = "/tmp/evil"
                self.assertEqual(info["hypervisor"], wanted)
                self.assertEqual([n["link"] for n in info["nics"]], [] if name == "given" else ["br1" if name == "trusted" else None])


class Rebuild(Backup):
    def test_a_foreign_directory_brings_no_bootloader(self):
        self.add("web1", "size=1M", more=("-H", "bootloader_path=/tmp/evil", "--net", "0"))
        self.add("web2", "size=1M", more=("-B", "memory=256"))
        for name in ("web1", "web2"):
            os.unlink(os.path.join(self.state, "instances", name + ".yaml"))
        out = self.vbd("cluster", "verify", "--rebuild", rc=1).stdout
        self.assertIn("its parameters may name things of this host: -H bootloader_path=/tmp/evil; ", out)
        self.assertEqual([i["name"] for i in self.vbd_json("instance", "list")["instances"]], ["web2"])
        self.vbd("cluster", "verify", "--rebuild", "--trust-parameters", rc=None)
        self.assertEqual(self.vbd_json("instance", "info", "web1")["hypervisor"], {"bootloader_path": "/tmp/evil"})


class Room(Backup):
    def test_a_small_dump_of_a_large_disk(self):
        """200 KB may unpack to gigabytes: room is looked at before anything is written."""
        if os.geteuid() != 0 or not support.have("mkfs.ext4"):
            return support.skip(self.id(), "needs root and mkfs.ext4")
        self.add("web1", "size=256M")
        with open(self.image("web1"), "r+b") as f:
            for _ in range(256):
                f.write(b"\1" * MiB)
        self.vbd("backup", "export", "--zstd", "web1")
        self.vbd("instance", "remove", "--yes", "web1")
        self.assertLess(os.path.getsize(os.path.join(self.exports, "web1", "sda.raw.zst")), MiB)
        disk = self.mount_storage(128 * MiB, "mkfs.ext4", "-q", "-F", "-m", "0")
        before = os.stat(disk).st_blocks
        self.assertIn("nothing was written", self.fails(1, "io.no_space", "backup", "import", "web1"))
        self.assertLess((os.stat(disk).st_blocks - before) * 512, 8 * MiB)
        self.assertEqual([n for n in os.listdir(self.storage) if n != "lost+found"], [])
        # What holds little fits, however large its disk is.
        self.add("web2", "size=4G")
        self.scribble(self.image("web2"), 4 * GiB, spots=2)
        self.vbd("backup", "export", "--zstd", "web2")
        self.vbd("backup", "import", "--src-dir", "web2", "web3")


class FromGaneti(Backup):
    def test_import(self):
        data = random.Random(3).randbytes(MiB) + bytes(MiB)
        self.foreign(dump=data)
        self.vbd("backup", "import", "inst1.example.com")
        info = self.vbd_json("instance", "info", "inst1.example.com")
        self.assertEqual(info["backend"], {"memory": "256", "vcpus": "2"})
        self.assertEqual(info["hypervisor"], {"kernel_args": "ro 100%"})
        self.assertEqual((info["os"], info["os_parameters"]), (None, {}))  # of no definition
        self.assertEqual([(n["mac"], n["mode"], n["link"]) for n in info["nics"]],
                         [("aa:00:00:9e:4a:38", "bridged", None)])
        self.assertEqual([(d["logical_id"][1], d["size"]) for d in info["disks"]], [("FT_RAW", 2 * MiB)])
        with open(self.image("inst1.example.com"), "rb") as f:
            self.assertEqual(f.read(), data)
        self.assertLess(os.stat(self.image("inst1.example.com")).st_blocks * 512, 2 * MiB)

    def test_noop(self):
        """Debian's definition whose dumps are the disk's bytes; it need not be here."""
        self.write_config(f"export_dir: {self.exports}\nos_search_path: [{self.dir}/nothing]\n")
        self.foreign(text=GANETI.replace("os =\n", "os = noop\n"))
        self.vbd("backup", "import", "inst1.example.com")
        info = self.vbd_json("instance", "info", "inst1.example.com")
        self.assertEqual((info["os"], info["os_parameters"]), ("noop", {"dhcp": "yes"}))
        self.foreign("other", text=GANETI.replace("os =\n", "os = debootstrap+default\n"))
        self.fails(5, "backup.needs_os", "backup", "import", "--src-dir", "other", "--mac", "generate", "web1")
        self.vbd("backup", "import", "--src-dir", "other", "--raw", "--mac", "generate", "web1")

    def test_refused(self):
        for number, (old, new, expected) in enumerate((
            ("disk0_dump = " + GANETI_DUMP, "disk0_dump = ../../../etc/shadow", "disk0_dump"),
            ("disk0_dump = " + GANETI_DUMP, "disk0_dump = /etc/shadow", "disk0_dump"),
            ("disk0_dump = " + GANETI_DUMP, "disk0_dump = nothing", "missing"),
            ("disk0_size = 2", "disk0_size = -2", "disk0_size"),
            ("disk0_size = 2", "disk0_size = nan", "disk0_size"),
            ("disk0_size = 2", "disk0_size = 99999999999999999999", "disk0_size"),
            ("disk0_size = 2", "disk0_size = 3", "cut short"),
            ("disk0_size = 2", "x = 2", "no disk"),
            ("version = 0", "version = 1", "version"),
            ("[export]", "[exprt]", "export"),
            ("ro 100%%", "ro 100%", "kernel_args"),
            ("nic0_mac = aa:00:00:9e:4a:38", "nic0_mac = x", "nic0_mac"),
            ("vcpus = 2\ndisk_t", "vcpus = 2\nvcpus = 3\ndisk_t", "stands twice"),
        )):
            with self.subTest(new):
                self.foreign(f"e{number}")
                self.edit(f"e{number}", old, new)
                before = self.snapshot()
                self.assertIn(expected, self.fails(6, "backup.damaged", "backup", "import", "--src-dir", f"e{number}", "web1"))
                self.assertEqual(self.snapshot(), before)

    def test_links_and_others(self):
        folder = self.foreign("link", dump=None)
        os.symlink("/etc/shadow", os.path.join(folder, GANETI_DUMP))
        self.fails(6, "backup.damaged", "backup", "import", "--src-dir", "link", "web1")
        with open(os.path.join(folder, "notes"), "w"):
            pass
        self.assertIn("notes", self.fails(5, "backup.foreign_files", "backup", "remove", "--yes", "link"))
        self.fails(3, "backup.not_found", "backup", "import", "--src-dir", "lnk", "web1")
        self.fails(3, "backup.not_found", "backup", "import", "--src-dir", self.dir, "web1")

    def test_changed_dump(self):
        self.add("web1", "size=1M")
        self.scribble(self.image("web1"), MiB, spots=1)
        self.vbd("backup", "export", "web1")
        with open(os.path.join(self.exports, "web1", "sda.raw"), "r+b") as f:
            f.seek(500000)
            f.write(b"changed")
        before = self.snapshot(self.storage)
        self.assertIn("digest", self.fails(6, "backup.damaged", "backup", "import", "--src-dir", "web1", "web2"))
        self.assertEqual(self.snapshot(self.storage), before)
        self.assertEqual([i["name"] for i in self.vbd_json("instance", "list")["instances"]], ["web1"])


class Attached(Backup):
    needs_loops = True

    def test_an_attached_disk_is_not_exported(self):
        self.add("web1", "size=1M")
        self.vbd("disk", "attach", self.logical_id(self.image("web1")))
        self.fails(4, "disk.held", "backup", "export", "web1")
        probe = os.path.join(self.dir, "probe")
        if support.run("cp", "--reflink=always", self.image("web1"), probe).returncode != 0:
            self.assertIn("snapshot", self.fails(5, "backup.snapshot", "backup", "export", "--live", "web1"))
        self.assertFalse(os.path.exists(os.path.join(self.exports, "web1")))
        self.vbd("disk", "detach", self.logical_id(self.image("web1")))
        self.vbd("backup", "export", "web1")


    def test_what_another_node_uses_is_not_exported(self):
        """On a shared filesystem: only the lease tells."""
        self.add("web1", "size=1M")
        self.vbd("disk", "attach", self.logical_id(self.image("web1")))
        with open(self.config) as f:
            here = f.read()
        with open(self.config, "w") as f:
            f.write(here.replace("node: node1", "node: node2").replace(self.run_dir, self.run_dir + "2"))
        for more in ((), ("--live",), ("--mode", "image")):
            self.assertIn("node1", self.fails(4, "lease.other_node", "backup", "export", *more, "web1"))
        with open(self.config, "w") as f:
            f.write(here)
        self.vbd("disk", "detach", self.logical_id(self.image("web1")))
        self.vbd("backup", "export", "web1")


class Live(Backup):
    needs_loops = True

    def test_snapshot_where_blocks_are_shared(self):
        if not support.have("mkfs.xfs"):
            support.skip(self.id(), "needs mkfs.xfs")
        self.mount_storage(400 * MiB, "mkfs.xfs", "-q", "-m", "reflink=1")
        self.add("web1", "size=20M")
        sha = self.scribble(self.image("web1"), 20 * MiB)
        node = self.vbd("disk", "attach", self.logical_id(self.image("web1"))).stdout.strip()
        self.fails(4, "disk.held", "backup", "export", "web1")
        self.vbd("backup", "export", "--live", "web1")
        with open(node, "r+b") as f:
            f.write(b"later")
        self.vbd("disk", "detach", self.logical_id(self.image("web1")))
        self.assertEqual(self.sha(os.path.join(self.exports, "web1", "sda.raw")), sha)
        self.assertNotEqual(self.sha(self.image("web1")), sha)
        self.assertEqual(sorted(n for n in os.listdir(os.path.join(self.storage, "web1")) if not n.startswith(".vbdkit")),
                         ["instance.yaml", "sda"])


if __name__ == "__main__":
    support.main()
