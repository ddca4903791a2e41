#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The recorded exchange with a real Ganeti: an export that its gnt-backup wrote is imported, and one of ours is read as
its gnt-backup import reads it. tests/e2e/data/README.md says how it was recorded."""

import configparser
import gzip
import os
import shutil

import support
from support import MiB
from test_backup_scripts import ScriptBox

RECORDED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "ganeti-export")
# As it was on that cluster: the first MiB, which is all that these disks hold.
EXPORT = """set -e
if [ -b "$EXPORT_DEVICE" ]; then blockdev --getsize64 "$EXPORT_DEVICE"; else stat -c %s "$EXPORT_DEVICE"; fi >&"$EXP_SIZE_FD"
head -c 1048576 "$EXPORT_DEVICE" | gzip -9nc
"""
IMPORT = """set -e
gzip -dc | dd of="$IMPORT_DEVICE" bs=1M conv=nocreat,notrunc oflag=dsync status=none iflag=fullblock
"""
RENAME = """echo "$OLD_INSTANCE_NAME -> $INSTANCE_NAME" >> {records}/renamed
"""


def ganeti_reads(folder):
    """What cmdlib/instance_create.py of Ganeti 3.0.2 takes from an export (_ReadExportInfo, _ReadExportParams), by its
    ways of asking; an exception where it would fail."""
    ini = configparser.ConfigParser()
    assert ini.read(os.path.join(folder, "config.ini"))
    assert ini.has_section("export") and ini.has_section("instance")
    assert ini.getint("export", "version") == 0
    found = {"definition": ini.get("export", "os"), "name": ini.get("instance", "name"), "kind": ini.get("instance", "hypervisor"),
             "disks": [], "nics": [], "tags": ini.get("instance", "tags").split()}
    for i in range(16):
        if not ini.has_option("instance", f"disk{i}_size"):
            break
        dump = ini.get("instance", f"disk{i}_dump")
        found["disks"].append((ini.getint("instance", f"disk{i}_size"), os.path.getsize(os.path.join(folder, dump)) > 0))
    for i in range(8):
        if not ini.has_option("instance", f"nic{i}_mac"):
            break
        found["nics"].append({key: ini.get("instance", f"nic{i}_{key}") for key in ("mac", "ip", "network", "name", "link", "mode", "vlan")})
    for section in ("hypervisor", "backend", "os", "os_private"):
        found[section] = dict(ini.items(section))
    for key in ("maxmem", "minmem", "vcpus", "spindle_use"):
        int(found["backend"][key])
    for key in ("auto_balance", "always_failover"):
        assert found["backend"][key] in ("True", "False")
    return found


class Exchange(ScriptBox):
    def setUp(self):
        super().setUp()
        self.define("minidump", variants="small\nlarge\n", parameters="greeting What it says\n", rename=RENAME.format(records=self.records),
                    **{"export": EXPORT, "import": IMPORT})
        os.mkdir(self.exports, 0o700)
        shutil.copytree(RECORDED, os.path.join(self.exports, "inst1.lab.example"))

    def disk(self, size, texts):
        content = bytearray(size)
        for offset, text in texts.items():
            content[offset:offset + len(text)] = text
        return bytes(content)

    def test_theirs_here(self):
        self.vbd("backup", "import", "inst1.lab.example")
        info = self.vbd_json("instance", "info", "inst1.lab.example")
        self.assertEqual((info["os"], info["os_parameters"], info["backend"]),
                         ("minidump+small", {"greeting": "hello=you"}, {"memory": "256", "vcpus": "2"}))
        self.assertEqual([n["mac"] for n in info["nics"]], ["aa:00:00:9e:4a:38"])
        written = b"written by the guest, inst1.lab.example"
        self.assertEqual(self.content("inst1.lab.example"), self.disk(16 * MiB, {0: b"made for inst1.lab.example", 300000: written}))
        self.assertEqual(self.content("inst1.lab.example", "sdb"), self.disk(20 * MiB, {300000: written}))
        self.settled("inst1.lab.example")
        self.assertFalse(os.path.exists(os.path.join(self.records, "renamed")))
        # Under another name the rename script is run, as Ganeti does it.
        self.vbd("backup", "import", "--src-dir", "inst1.lab.example", "--mac", "generate", "web2")
        self.assertEqual(self.record("renamed"), "inst1.lab.example -> web2\n")
        # One that fails is a warning there and here: the guest is whole.
        self.define("minidump", variants="small\n", parameters="greeting What it says\n", rename="echo unknown host >&2; exit 2",
                    **{"export": EXPORT, "import": IMPORT})
        done = self.vbd("backup", "import", "--src-dir", "inst1.lab.example", "--mac", "generate", "web3")
        self.assertIn("unknown host", done.stderr)
        self.settled("web3")

    def test_ours_there(self):
        theirs = ganeti_reads(RECORDED)
        self.vbd("backup", "import", "inst1.lab.example")
        self.vbd("backup", "export", "inst1.lab.example")
        ours = ganeti_reads(os.path.join(self.exports, "inst1.lab.example"))
        # All that it reads is the same but the hypervisor and the disk's name, which vbd has none of.
        self.assertEqual((theirs.pop("kind"), ours.pop("kind")), ("fake", "xen-pvm"))
        self.assertEqual(ours, theirs)
        # The dumps too: the same script wrote them.
        for disk, dump in (("disk0", "sda.dump"), ("disk1", "sdb.dump")):
            ini = configparser.ConfigParser()
            ini.read(os.path.join(RECORDED, "config.ini"))
            with gzip.open(os.path.join(RECORDED, ini.get("instance", disk + "_dump"))) as a, \
                    gzip.open(os.path.join(self.exports, "inst1.lab.example", dump)) as b:
                self.assertEqual(a.read(), b.read())

    def test_a_percent_sign(self):
        """Ganeti itself can't export this one; it reads ours."""
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "-o", "minidump+large", "-O", "greeting=50% of it",
                 "--no-start", "web1")
        self.vbd("backup", "export", "web1")
        self.assertEqual(ganeti_reads(os.path.join(self.exports, "web1"))["os"], {"greeting": "50% of it"})


if __name__ == "__main__":
    support.main()
