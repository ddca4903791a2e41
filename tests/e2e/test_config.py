#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Configuration and plugins as their user meets them: strict, with positions, trusted files only."""

import os
import shutil

import support
from support import PREFIX, Sandbox


class Config(Sandbox):
    def refuses(self, more, *pieces, error_id=None):
        self.write_config(more)
        done = self.vbd("config", "check", rc=2)
        first = done.stderr.splitlines()[0]
        for piece in (self.config + ":", *pieces):
            self.assertIn(piece, first)
        if error_id:
            self.assertIn(f"error[{error_id}]", first)
        return first

    def test_positions(self):
        # lines 1 to 4 are the sandbox's own
        self.refuses("run_dir: /x\n", ":5:1", "run_dir", error_id="config.syntax")
        self.refuses("allowed_dir: [/x]\n", ":5:1", "allowed_dirs", error_id="config.unknown_key")
        self.refuses("allowed_dirs: /x\n", ":5:", "list")
        self.refuses("plugins: {FD_LOOP: {direct_io: *a}}\n", ":5:")
        self.refuses("references: always\n", ":5:", "deny")
        self.refuses("state_dir2: &x y\n", ":5:")
        self.refuses("---\nnode: second\n", ":5:")
        self.refuses("export_dir: relative/path\n", ":5:", "absolute")
        self.refuses("image_mode: 0999\n", ":5:")
        self.refuses("os_search_path: {a: [b\n", ":")

    def test_show_says_where_from(self):
        shown = self.vbd("config", "show").stdout
        self.assertIn(f"file_storage_dir: {self.storage}", shown)
        self.assertRegex(shown, r"node: node1 +# from .*vbdkit.yaml:4:")
        self.assertRegex(shown, r"export_dir: /srv/ganeti/export +# default|# from default")

    def test_config_alone_lets_nothing_leak_in(self):
        os.rename(self.config, self.config + ".away")
        self.assertIn(self.config, self.fails(3, "config.not_found", "config", "show"))

    def test_option_of_a_plugin_out_of_range(self):
        path = os.path.join(self.storage, "sda")
        self.vbd("image", "create", "--filetype", "raw", path, "1M")
        self.write_config("plugins:\n  FD_BLKTAP: {backend: nosuch}\n")
        done = self.vbd("disk", "render", self.logical_id(path, driver="FD_BLKTAP"), "--dialect", "xm", "--vdev", "sda",
                        "--access", "w", rc=2)
        self.assertIn(f"{self.config}:6:", done.stderr)
        self.assertIn("auto|tapctl|xl|qsd", done.stderr)


class Plugins(Sandbox):
    def setUp(self):
        super().setUp()
        self.plugins = os.path.join(self.dir, "plugins")
        os.mkdir(self.plugins, 0o755)
        self.shipped = os.path.join(PREFIX, "lib", "vbdkit", "plugins-1")
        self.path = os.path.join(self.storage, "sda")
        self.vbd("image", "create", "--filetype", "raw", self.path, "1M")

    def use(self, rc, error_id, constant="FD_COPY"):
        return self.fails(rc, error_id, "--plugin-dir", self.plugins, "disk", "render",
                          self.logical_id(self.path, driver=constant), "--dialect", "xm", "--vdev", "sda", "--access", "w")

    def put(self, name, source="fd-loop.so"):
        target = os.path.join(self.plugins, name)
        shutil.copy(os.path.join(self.shipped, source), target)
        os.chmod(target, 0o755)
        return target

    def test_list_and_matrix(self):
        listed = {p["constant"]: p for p in self.vbd_json("plugin", "list")["plugins"]}
        self.assertLessEqual({"FD_LOOP", "FD_BLKTAP", "FT_RAW", "FT_QCOW"}, set(listed))
        matrix = self.vbd("plugin", "matrix").stdout
        for word in ("FD_LOOP", "FD_BLKTAP", "FT_RAW", "FT_QCOW"):
            self.assertIn(word, matrix)
        shown = self.vbd("plugin", "show", "blktap", rc=None)
        shown = shown if shown.returncode == 0 else self.vbd("plugin", "show", "FD_BLKTAP")
        self.assertIn("backend", shown.stdout)
        self.assertIn("auto|tapctl|xl|qsd", shown.stdout)

    def test_unknown_constant(self):
        error = self.use(3, "plugin.not_found", "FD_LOOPP")
        for piece in ("fd-loopp.so", self.plugins, self.shipped, "FD_LOOP"):
            self.assertIn(piece, error)

    def test_others_may_write_the_file(self):
        target = self.put("fd-copy.so")
        os.chmod(target, 0o777)
        self.assertIn(target, self.use(5, "plugin.untrusted"))

    def test_others_may_write_the_directory(self):
        self.put("fd-copy.so")
        os.chmod(self.plugins, 0o777)
        self.assertIn(self.plugins, self.use(5, "plugin.untrusted"))

    def test_link(self):
        os.symlink(os.path.join(self.shipped, "fd-loop.so"), os.path.join(self.plugins, "fd-copy.so"))
        self.use(5, "plugin.untrusted")

    def test_other_owner(self):
        if os.geteuid() != 0:
            support.skip(self.id(), "needs root")
        os.chown(self.put("fd-copy.so"), 12345, 12345)
        self.use(5, "plugin.untrusted")

    def test_constant_that_is_not_the_files(self):
        self.put("fd-copy.so")
        self.use(5, "plugin.wrong_constant")

    def test_no_note_and_no_elf(self):
        with open(os.path.join(self.plugins, "fd-copy.so"), "w") as f:
            f.write("not an ELF file")
        self.use(5, "plugin.not_elf")
        target = self.put("fd-copy.so")
        support.run("objcopy", "--remove-section=.note.vbd.plugin", target)
        with open(target, "rb") as f:
            if b"constant=FD_LOOP" not in f.read():
                self.use(5, "plugin.no_note")

    def test_check_of_every_shipped_plugin(self):
        for name in sorted(n for n in os.listdir(self.shipped) if n.endswith(".so")):  # programs lie beside them
            done = self.vbd("plugin", "check", os.path.join(self.shipped, name))
            self.assertEqual(done.stdout, name[:-3].replace("-", "_").upper() + ": usable\n")

    def test_node_verify(self):
        def checks(rc=0):
            return {c["what"]: (c["level"], c["problem"]) for c in self.vbd_json("node", "verify", rc=rc)["checks"]}
        # A script that stands for a hypervisor which is there.
        profile = os.path.join(self.dir, "mine.yaml")
        with open(profile, "w") as f:
            f.write("summary: one\ndialect: none\nquote: shell-args\ndevice_disk: '{node}'\nconfig: |\n  {name}\n"
                    "commands:\n  guest: process\n  start: [/bin/true, '{config}']\n")
        self.write_config(f"hypervisor: {profile}\n")
        good = checks()
        self.assertEqual(set(good.values()), {("good", None)})
        self.assertLessEqual({"plugin FD_LOOP", "plugin FT_QCOW", f"directory {self.storage}"}, set(good))
        self.write_config(f"hypervisor: {profile}\nallowed_dirs: [{self.storage}, {self.dir}/none]\nplugin_dirs: [{self.plugins}]\n"
                          "plugins: {FD_BLKTAP: {backend: nosuch}, FD_GONE: {a: b}}\nnodes: {node2: {ssh: root@node2}}\n")
        self.put("fd-copy.so")
        os.chmod(self.storage, 0o777)
        bad = {what: problem for what, (level, problem) in checks(rc=1).items() if level == "problem"}
        self.assertEqual(set(bad), {"plugin FD_BLKTAP", "plugin FD_GONE", "plugin FD_COPY", f"directory {self.storage}",
                                    f"directory {self.dir}/none"})
        self.assertIn("auto|tapctl|xl|qsd", bad["plugin FD_BLKTAP"])
        self.assertIn("fd-gone.so", bad["plugin FD_GONE"])
        self.assertEqual(bad[f"directory {self.dir}/none"], "does not exist")
        self.assertIn(f"problem: directory {self.dir}/none: does not exist\n", self.vbd("node", "verify", "node1", rc=1).stdout)
        self.assertIn("another host", self.fails(5, "node.other_host", "node", "verify", "node2"))
        self.fails(3, "node.not_found", "node", "verify", "node3")
        os.chmod(self.storage, 0o755)
        with open(profile, "a") as f:
            f.write("  needs: [/nonexistent/hypervisor]\n")
        self.write_config(f"hypervisor: {profile}\n")
        level, problem = checks()[f"hypervisor {profile}"]
        self.assertEqual(level, "note")
        self.assertIn("/nonexistent/hypervisor", problem)

    def test_check_says_why_not(self):
        target = self.put("fd-copy.so")
        checked = self.vbd_json("plugin", "check", target, rc=5)
        self.assertEqual([f["id"] for f in checked["findings"]], ["plugin.wrong_constant"])
        self.assertFalse(checked["usable"])
        os.chmod(target, 0o777)
        self.assertIn("error[plugin.untrusted]: ", self.vbd("plugin", "check", target, rc=5).stdout)
        self.fails(3, "path.not_found", "plugin", "check", os.path.join(self.plugins, "fd-none.so"))
        self.fails(5, "plugin.file_name", "plugin", "check", self.path + ".so")

    def test_new_plugin_is_a_project_of_that_name(self):
        target = os.path.join(self.dir, "my-plugin")
        plan = self.vbd("--dry-run", "plugin", "new", "FT_ACME_DISK", target).stdout
        self.assertIn("write " + os.path.join(target, "ft-acme-disk.cpp"), plan)
        self.assertFalse(os.path.exists(target))
        for language, source in (("cpp", "ft-acme-disk.cpp"), ("c", "ft-acme-disk.c")):
            made = f"{target}-{language}"
            self.vbd("plugin", "new", "--language", language, "FT_ACME_DISK", made)
            self.assertEqual(sorted(os.listdir(made)), sorted([source, "meson.build", "test.cpp"]))
            for name in os.listdir(made):
                with open(os.path.join(made, name)) as f:
                    self.assertNotIn("example", f.read().lower(), name)
            self.fails(4, "path.exists", "plugin", "new", "FT_ACME_DISK", made)
            self.compile_and_check(made, source)
        self.fails(2, "usage.value", "plugin", "new", "ACME", target)

    def compile_and_check(self, directory, source):
        """The copied source with one compiler call, as small as an author's first try."""
        compiler = "c++" if source.endswith(".cpp") else "cc"
        if not support.have(compiler):
            support.skip(self.id(), f"needs {compiler}")
        target = os.path.join(self.plugins, "ft-acme-disk.so")
        standard = "-std=c++20" if compiler == "c++" else "-std=c99"
        built = support.run(compiler, standard, "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,now",
                            "-I" + os.path.join(PREFIX, "include"), "-o", target, os.path.join(directory, source))
        self.assertEqual(built.returncode, 0, built.stderr)
        os.chmod(target, 0o755)
        self.assertEqual(self.vbd("plugin", "check", target).stdout.splitlines()[-1], "FT_ACME_DISK: usable")

    def test_500_plugins_are_listed_without_loading(self):
        for number in range(500):
            self.put(f"fd-copy{number}.so")
        listed = self.vbd_json("--plugin-dir", self.plugins, "plugin", "list")["plugins"]
        self.assertEqual(sum(p["path"].startswith(self.plugins) for p in listed), 500)


class CommandLine(Sandbox):
    def test_help_everywhere(self):
        top = self.vbd("--help").stdout
        for noun in ("instance", "disk", "image", "plugin", "cluster", "config"):
            self.assertIn(noun, top)
            self.assertIn("usage", self.vbd(noun, "--help").stdout.lower())
        for words in (("instance", "add"), ("instance", "remove"), ("instance", "list"), ("instance", "info"),
                      ("instance", "config"), ("disk", "attach"), ("disk", "detach"), ("disk", "query"), ("disk", "render"),
                      ("disk", "mount"), ("disk", "umount"), ("image", "create"), ("image", "info"), ("image", "remove"),
                      ("plugin", "list"), ("plugin", "show"), ("plugin", "matrix"), ("cluster", "init"), ("cluster", "info"),
                      ("cluster", "verify"), ("config", "show"), ("config", "check")):
            with self.subTest(words):
                shown = self.vbd(*words, "--help").stdout
                self.assertIn("xample", shown)

    def test_did_you_mean(self):
        self.assertIn("instance", self.vbd("instanse", "list", rc=2).stderr)
        self.assertIn("list", self.vbd("instance", "lst", rc=2).stderr)
        self.assertIn("--output", self.vbd("instance", "list", "--outptu", "json", rc=2).stderr)
        self.vbd(rc=2)

    def test_options_anywhere_and_errors_in_json(self):
        import json
        for words in (("--output", "json", "instance", "info", "nosuch"), ("instance", "--output=json", "info", "nosuch"),
                      ("instance", "info", "nosuch", "--output", "json")):
            done = self.vbd(*words, rc=3)
            error = json.loads(done.stdout)
            self.assertEqual(error["schema"], "vbdkit.error/1")
            self.assertEqual(error["error"]["id"], "instance.not_found")
            self.assertEqual(sorted(error["error"]), ["hint", "id", "message"])

    def test_version(self):
        done = support.run(support.VBD, "--version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^vbd \d+\.\d+\.\d+")

    def test_full_stdout_is_an_error(self):
        with open("/dev/full", "w") as full:
            import subprocess
            done = subprocess.run(self.argv("plugin", "list"), stdout=full, stderr=subprocess.PIPE, text=True,
                                  stdin=subprocess.DEVNULL, env=self.environment())
        self.assertEqual(done.returncode, 1, done.stderr)

    def test_no_privilege(self):
        if os.geteuid() != 0:
            support.skip(self.id(), "needs root to give it away")
        path = os.path.join(self.storage, "sda")
        self.vbd("image", "create", "--filetype", "raw", path, "1M")
        done = support.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *self.argv(
            "disk", "attach", self.logical_id(path)))
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(len([x for x in done.stderr.splitlines() if x.startswith("vbd: error[")]), 1, done.stderr)


if __name__ == "__main__":
    support.main()
