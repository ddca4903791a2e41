#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every verb's JSON against its schema in docs/schema, strictly: what a schema does not name is an error. The verbs
come from the grammar, so that one without a schema or without a run here fails."""

import copy
import json
import os
import re
import sys

import support
from support import MiB, Sandbox

sys.path.append("/usr/lib/python3/dist-packages")  # where Debian has it, for a python3 of one's own
try:
    import jsonschema
except ImportError:
    jsonschema = None

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCHEMAS = os.path.join(TOP, "docs", "schema")

# What some verbs print with --all.
OF_ALL = ("vbdkit.each/1", "vbdkit.instance-all/1", "vbdkit.instance-configs/1")
# Refused whatever is asked: their JSON is the error.
REFUSED = {"instance replace-disks", "node evacuate"}

GUEST = """\
#!/usr/bin/python3
import signal
while True:
    signal.pause()
"""
PROFILE = """\
summary: a script that stands for a hypervisor
dialect: none
quote: shell-args
device_disk: "{node}"
defaults: {memory: "64"}
nics: {bridged: "{mac}"}
config: |
  name={name} {nics}
commands:
  guest: process
  start: [%s, "{config}"]
"""


def strict(schema):
    """A copy in which objects with named members have no others."""
    schema = copy.deepcopy(schema)

    def close(node):
        if isinstance(node, dict):
            if "properties" in node:
                node.setdefault("additionalProperties", False)
            for value in node.values():
                close(value)
        elif isinstance(node, list):
            for value in node:
                close(value)
    close(schema)
    return schema


def load_schemas():
    found = {}
    for name in os.listdir(SCHEMAS):
        with open(os.path.join(SCHEMAS, name)) as f:
            schema = json.load(f)
        found[schema["properties"]["schema"]["const"]] = strict(schema)
    return found


def documented():
    """{verb: schema} of the table in docs/json.md; "" is what all others have."""
    table = {}
    with open(os.path.join(TOP, "docs", "json.md")) as f:
        for line in f:
            row = re.match(r"\| (.*) \| (?:\[)?`(vbdkit\.[a-z-]+/1)`", line)
            if row:
                verbs = re.findall(r"`([a-z-]+ [a-z-]+)`", row[1])
                table.update({verb: row[2] for verb in verbs} if not row[1].startswith("all others") else {"": row[2]})
    return table


class Json(Sandbox):
    needs_loops = True

    def setUp(self):
        super().setUp()
        if jsonschema is None:
            support.skip(self.id(), "needs python3-jsonschema")
        self.schemas = load_schemas()
        self.table = documented()
        script = os.path.join(self.dir, "guest.py")
        with open(script, "w") as f:
            f.write(GUEST)
        os.chmod(script, 0o755)
        profile = os.path.join(self.dir, "mine.yaml")
        with open(profile, "w") as f:
            f.write(PROFILE % script)
        self.write_config(f"hypervisor: {profile}\nexport_dir: {self.dir}/export\n")
        self.good, self.plans, self.errors = set(), set(), set()

    def valid(self, text, schema, words):
        document = json.loads(text, object_pairs_hook=self.no_doubles)
        self.assertEqual(document.get("schema"), schema, f"vbd {words}: {text}")
        jsonschema.Draft202012Validator(self.schemas[schema]).validate(document)
        return document

    def no_doubles(self, pairs):
        self.assertEqual(len(dict(pairs)), len(pairs), f"a member twice: {pairs}")
        return dict(pairs)

    def run_json(self, verb, *words, rc=0, **kw):
        return self.vbd(*verb.split(), *words, "--output", "json", rc=rc, **kw)

    def ok(self, verb, *words, rc=0, **kw):
        done = self.run_json(verb, *words, rc=rc, **kw)
        self.good.add(verb)
        return self.valid(done.stdout, self.table.get(verb, self.table[""]), (verb, *words))

    def dry(self, verb, *words, **kw):
        before = self.snapshot(self.storage)
        done = self.run_json(verb, *words, "--dry-run", **kw)
        schema = self.table[verb] if verb in ("cluster verify", "image check") else "vbdkit.plan/1"
        document = self.valid(done.stdout, schema, (verb, *words))
        if schema == "vbdkit.plan/1":
            self.assertTrue(document["dry_run"])
        self.assertEqual(self.snapshot(self.storage), before)
        self.plans.add(verb)

    def both(self, verb, *words, **kw):
        self.dry(verb, *words, **kw)
        return self.ok(verb, *words, **kw)

    def error(self, rc, error_id, verb, *words):
        done = self.run_json(verb, *words, rc=rc)
        document = self.valid(done.stdout, "vbdkit.error/1", (verb, *words))
        self.assertEqual(document["error"]["id"], error_id)
        self.errors.add(verb)

    def complete(self, *words):
        return support.run(support.VBD, "__complete", *words).stdout.split()

    def grammar(self):
        return [f"{noun} {verb}" for noun in self.complete("") for verb in self.complete(noun, "")]

    def test_every_verb(self):
        self.assertEqual(self.ok("instance list")["instances"], [])
        self.assertEqual(self.ok("backup list")["backups"], [])
        self.run_cluster_and_config()
        self.run_instances()
        self.run_backups()
        self.run_disks()
        self.run_images()
        self.run_plugins()
        self.run_errors()
        verbs = self.grammar()
        self.assertGreater(len(verbs), 40)
        changing = {verb for verb in verbs if "--dry-run" in self.complete(*verb.split(), "--")}
        self.assertEqual(self.good, set(verbs) - REFUSED)
        self.assertEqual(self.plans, changing)
        self.assertEqual(self.errors, set(verbs))
        self.assertEqual(set(self.table.values()) | {"vbdkit.error/1", "vbdkit.progress/1", *OF_ALL}, set(self.schemas))
        self.assert_nothing_left()

    def run_cluster_and_config(self):
        before, self.config = self.config, os.path.join(self.dir, "fresh.yaml")
        self.both("cluster init", "--file-storage-dir", os.path.join(self.dir, "fresh"))
        self.config = before
        self.write_config(self.more() + f"allowed_dirs: [{self.storage}, {self.dir}/none]\n")
        self.assertEqual([fs["exists"] for fs in self.ok("cluster info")["filesystems"]], [True, False])
        self.write_config(self.more())
        self.both("cluster verify")
        self.ok("config show")
        self.ok("config check")
        self.ok("node list")
        self.ok("node info")
        self.ok("node verify")

    def more(self):
        with open(self.config) as f:
            return "".join(line for line in f if line.startswith(("hypervisor:", "export_dir:")))

    def run_instances(self):
        add = ("-t", "file:driver=loop", "--disk", "0:size=1M", "--net", "0", "-B", "memory=64", "--no-start")
        self.both("instance add", *add, "web1")
        self.ok("instance add", "-t", "file:driver=blktap,filetype=qcow", "--disk", "0:size=1M", "--no-start", "web2")
        self.assertEqual([i["name"] for i in self.ok("instance list", "-o", "name")["instances"]], ["web1", "web2"])
        self.ok("instance info", "web1")
        self.both("instance grow-disk", "web1", "0", "1M")
        self.both("instance modify", "web1", "--disk", "add:size=1M")
        self.both("instance activate-disks", "web1")
        self.assertIsNotNone(self.ok("instance info", "web1")["disks"][0]["device"])
        self.ok("instance config", "web1")
        self.both("instance deactivate-disks", "web1")
        for start, stop in (("start", "stop"), ("startup", "shutdown")):
            self.both("instance " + start, "web1")
            self.assertEqual([i["state"] for i in self.ok("instance list")["instances"]], ["running", "stopped"])
            self.both("instance reboot", "web1", "--timeout", "5")
            self.both("instance " + stop, "web1")
        self.of_all()
        self.both("instance rename", "web2", "web3")
        folder = os.path.join(self.storage, "web3")
        os.rename(folder, folder + "moved")
        self.assertEqual(self.ok("instance info", "web3")["state"], "unreachable")
        self.ok("instance list")
        self.ok("cluster verify", rc=1)
        self.both("instance register", folder + "moved")
        self.assertEqual(self.ok("instance info", "web3")["directory"], folder + "moved")
        self.reinstall()
        self.both("instance remove", "web3", "--yes")

    def of_all(self):
        """--all has forms of its own: one document about each instance, whether it went well or not."""
        def valid(schema, rc, *words):
            return self.valid(self.vbd("instance", *words, "--output", "json", rc=rc).stdout, schema, words)["instances"]
        for info in valid("vbdkit.instance-all/1", 0, "info", "--all"):
            self.valid(json.dumps(info), "vbdkit.instance/1", "info --all")
        self.assertEqual([config["missing"] for config in valid("vbdkit.instance-configs/1", 0, "config", "--all")],
                         [["sda", "sdb"], ["sda"]])
        self.vbd("instance", "start", "web1")
        self.vbd("instance", "start", "web2")
        self.vbd("instance", "stop", "--all", "--no-remember")
        saved = os.path.join(self.storage, "saved")
        os.rename(os.path.join(self.storage, "web1", "sda"), saved)
        for words in (("start", "--all", "--dry-run"), ("start", "--all")):
            each = valid("vbdkit.each/1", 3, *words)
            self.assertEqual([i["name"] for i in each], ["web1", "web2"])
        self.assertEqual(([i["error"] and i["error"]["id"] for i in each], each[0]["steps"]), (["path.not_found", None], []))
        os.rename(saved, os.path.join(self.storage, "web1", "sda"))
        self.assertEqual([i["name"] for i in valid("vbdkit.each/1", 0, "reboot", "--all", "--timeout", "5")], ["web2"])
        self.assertEqual(len(valid("vbdkit.each/1", 0, "stop", "--all")), 2)

    def reinstall(self):
        definition = os.path.join(self.dir, "os", "tiny")
        os.makedirs(definition, mode=0o755)
        for name, text in (("ganeti_api_version", "20\n"), ("create", "#!/bin/sh\nexit 0\n"),
                           ("import", "#!/bin/sh\nexit 0\n"), ("export", "#!/bin/sh\nexit 0\n"),
                           ("rename", "#!/bin/sh\nexit 0\n"), ("verify", "#!/bin/sh\nexit 0\n"),
                           ("variants.list", "default\n"), ("parameters.list", "")):
            with open(os.path.join(definition, name), "w") as f:
                f.write(text)
            os.chmod(os.path.join(definition, name), 0o755)
        self.write_config(self.more() + f"os_search_path: [{self.dir}/os]\n")
        self.both("instance reinstall", "web1", "-o", "tiny+default", "--yes")
        self.assertEqual(self.ok("instance info", "web1")["os"], "tiny+default")
        self.write_config(self.more())

    def run_backups(self):
        os.mkdir(os.path.join(self.dir, "export"), 0o755)
        self.ok("instance modify", "web1", "--disk", "remove:1", "--yes")
        self.both("backup export", "web1", "--mode", "image")
        os.mkdir(os.path.join(self.dir, "export", "broken"))
        with open(os.path.join(self.dir, "export", "broken", "config.ini"), "w") as f:
            f.write("[nothing]\n")
        self.assertEqual(len(self.ok("backup list")["backups"]), 2)
        self.both("backup import", "--src-dir", "web1", "--mac", "generate", "web4")
        self.both("backup remove", "web1", "--yes")

    def run_disks(self):
        path = os.path.join(self.storage, "disk")
        self.vbd("image", "create", "--filetype", "raw", path, "8M")
        support.run("mkfs.ext4", "-q", path)
        disk = self.logical_id(path)
        self.assertEqual(self.ok("disk query", disk)["state"], "detached")
        self.both("disk attach", disk)
        self.assertEqual(self.ok("disk query", disk)["state"], "attached")
        self.assertEqual(self.ok("lease show", path)["state"], "here")
        self.both("disk detach", disk)
        self.assertEqual(self.ok("lease show", disk)["state"], "free")
        self.assertEqual(self.ok("lease show", "web1")["instance"], "web1")
        self.both("lease break", "--yes", path)
        self.ok("disk render", disk, "--dialect", "xm", "--vdev", "sda", "--access", "w")
        folder = os.path.join(self.dir, "mnt")
        os.mkdir(folder)
        self.both("disk mount", disk, folder, "--read-only")
        self.both("disk umount", disk, folder)

    def run_images(self):
        a, b = (os.path.join(self.storage, name) for name in "ab")
        raw, qcow = ("--filetype", "raw"), ("--filetype", "qcow")
        self.both("image create", *raw, a, "1M")
        self.ok("image create", *qcow, b, "1M")
        with open(a, "r+b") as f:
            f.write(b"x" * 4096)
        for words in ((*raw, a), (*qcow, b)):
            self.ok("image info", *words)
            self.ok("image map", *words)
            self.ok("image digest", *words)
        self.valid(self.run_json("image map", *raw, a, "--svg", os.path.join(self.dir, "map.svg")).stdout, "vbdkit.plan/1", "svg")
        self.ok("image check", *qcow, b)
        self.dry("image check", *qcow, b, "--repair=leaks")
        self.assertIsNone(self.ok("image compare", *raw, a, a)["first"])
        self.assertEqual(self.ok("image compare", *raw, a, *("--filetype-b", "qcow"), b, rc=1)["first"], 0)
        self.assertEqual(len(self.ok("image digest", *raw, a, "--blocks")["blocks"]), 1)
        self.both("image copy", *raw, a, "--to", "filetype=qcow", os.path.join(self.storage, "c"))
        self.both("image resize", *raw, a, "2M")
        self.both("image remove", *raw, a)
        with open(b, "r+b") as f:  # a level 1 entry that leads nowhere
            f.seek(40)
            table = int.from_bytes(f.read(8), "big")
            f.seek(table)
            f.write(b"\x80\0\0\0\xff\xff\0\0")
        self.assertGreater(self.ok("image check", *qcow, b, rc=6)["errors"], 0)

    def run_plugins(self):
        folder = os.path.join(self.dir, "plugins")
        os.mkdir(folder, 0o755)
        bad = os.path.join(folder, "fd-bad.so")
        with open(bad, "w") as f:
            f.write("not an ELF file")
        os.chmod(bad, 0o644)
        listed = self.ok("plugin list", "--plugin-dir", folder)["plugins"]
        self.assertIn("plugin.not_elf", [plugin["problem"] and plugin["problem"]["id"] for plugin in listed])
        self.ok("plugin show", "FD_BLKTAP")
        self.ok("plugin matrix")
        self.ok("plugin check", "FD_LOOP")
        self.ok("plugin check", bad, rc=5)
        self.both("plugin new", "FT_ACME", os.path.join(self.dir, "acme"))

    def run_errors(self):
        for verb in self.grammar():
            if verb in REFUSED:
                self.error(5, "node.no_copy" if verb == "node evacuate" else "instance.no_mirror", verb,
                           "node1" if verb == "node evacuate" else "web1")
            self.error(2, "usage.option", verb, "--nosuch")
        self.error(3, "instance.not_found", "instance list", "nosuch")
        self.error(3, "instance.not_found", "instance info", "nosuch")
        self.write_config("nosuch: 1\n")
        self.error(2, "config.unknown_key", "instance list")

    def test_progress(self):
        """A line a second: of more than a second of work, made by a disk that is slow to read."""
        path = os.path.join(self.storage, "big")
        with open(path, "wb") as f:
            f.truncate(64 * MiB)
            for offset in range(0, 64 * MiB, MiB):
                f.seek(offset)
                f.write(os.urandom(4096))
        done = support.run("strace", "-f", "-qq", "-e", "inject=pread64,preadv,preadv2:delay_enter=40000", "-o", "/dev/null",
                           *self.argv("image", "digest", "--filetype", "raw", path, "--progress", "json"),
                           env={**self.environment(), "ASAN_OPTIONS": "detect_leaks=0"})
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stderr.splitlines()
        self.assertGreaterEqual(len(lines), 1)
        for line in lines:
            self.valid(line, "vbdkit.progress/1", "image digest")


class Schemas(support.unittest.TestCase):
    def test_schemas_are_schemas(self):
        if jsonschema is None:
            support.skip(self.id(), "needs python3-jsonschema")
        for name in sorted(os.listdir(SCHEMAS)):
            with open(os.path.join(SCHEMAS, name)) as f:
                schema = json.load(f)
            jsonschema.Draft202012Validator.check_schema(schema)
            self.assertEqual(name, schema["properties"]["schema"]["const"].replace("/", "-") + ".json")
            self.assertEqual(schema["$id"], "urn:" + schema["properties"]["schema"]["const"].replace(".", ":").replace("/", ":"))

    def test_examples_in_the_documentation(self):
        """Each example of docs/json.md follows its schema, with … standing for anything."""
        if jsonschema is None:
            support.skip(self.id(), "needs python3-jsonschema")
        schemas = load_schemas()
        with open(os.path.join(TOP, "docs", "json.md")) as f:
            blocks = re.findall(r"```json\n(.*?)```", f.read(), re.S)
        self.assertGreater(len(blocks), 10)
        for block in blocks:
            document = json.loads(block.replace('"digest": "…"', '"digest": "%s"' % ("0" * 64)).replace('"created": "…"', '"created": null'))
            with self.subTest(document["schema"]):
                jsonschema.Draft202012Validator(schemas[document["schema"]]).validate(document)


if __name__ == "__main__":
    support.main()
