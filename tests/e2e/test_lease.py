#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Leases: two nodes on one machine, each with its own mount of one directory, so that device numbers differ and locks
do not reach across, as on many network filesystems."""

import json
import os
import re
import shutil
import subprocess
import time

import support
from support import MiB, Sandbox
from test_kill import CHANGES, Injected


class Node:
    """A mount namespace with a bindfs of `back` over `storage`, and a configuration of its own."""

    def __init__(self, test, name, back):
        self.test, self.name = test, name
        self.config = os.path.join(test.dir, name + ".yaml")
        with open(self.config, "w") as f:
            f.write(f"file_storage_dir: {test.storage}\nstate_dir: {test.dir}/{name}-state\n"
                    f"run_dir: {test.dir}/{name}-run\nnode: {name}\n")
        self.process = subprocess.Popen(["unshare", "-m", "--propagation", "private", "bindfs", "-f", back, test.storage],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        test.addCleanup(self.end)
        for _ in range(200):
            if support.run(*self.inside("mountpoint", "-q", test.storage)).returncode == 0:
                return
            time.sleep(0.05)
        test.fail("bindfs did not mount")

    def inside(self, *argv):
        return ["nsenter", "-m", "-t", str(self.process.pid), *argv]

    def argv(self, *words):
        return self.inside(support.VBD, "--config", self.config, *[str(w) for w in words])

    def vbd(self, *words, rc=0, error=None):
        done = subprocess.run(self.argv(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                              env=self.test.environment())
        self.test.assertEqual(done.returncode, rc, f"{self.name}: {words}\n{done.stdout}\n{done.stderr}")
        if error:
            self.test.assertIn(f"error[{error}]", done.stderr)
        return done

    def refused(self, *words, error="lease.other_node", other=None):
        """Exit 4, naming the other node."""
        text = self.vbd(*words, rc=4, error=error).stderr
        self.test.assertIn(other or {"node1": "node2", "node2": "node1"}[self.name], text)
        return text

    def lease(self, target):
        return json.loads(self.vbd("lease", "show", target, "--output", "json").stdout)

    def end(self):
        self.process.terminate()
        self.process.wait()


class TwoNodes(Sandbox):
    needs_loops = True

    def setUp(self):
        super().setUp()
        for program in ("bindfs", "unshare", "nsenter"):
            if not support.have(program):
                support.skip(self.id(), f"needs {program}")
        if not os.path.exists("/dev/fuse") or support.run("unshare", "-m", "true").returncode != 0:
            support.skip(self.id(), "needs /dev/fuse and mount namespaces")
        self.back = os.path.join(self.dir, "back")
        os.mkdir(self.back, 0o755)
        self.one, self.two = Node(self, "node1", self.back), Node(self, "node2", self.back)
        self.made = []
        self.addCleanup(self.clear_loops)

    def clear_loops(self):
        for node, backing in self.made:
            self.clear_loop(node, backing)

    def attach(self, node, target, *more):
        return self.note(node.vbd("disk", "attach", self.logical_id(target), *more).stdout.strip())

    def note(self, device):
        """A device to be cleared in the end, if it still has the file that it has now."""
        self.made.append((device, dict(support.loop_list()).get(device, "nothing")))
        return device

    def image(self, name, size=4 * MiB):
        with open(os.path.join(self.back, name), "wb") as f:
            f.truncate(size)
        os.chmod(os.path.join(self.back, name), 0o600)
        return os.path.join(self.storage, name)

    def record(self, name="web"):
        with open(os.path.join(self.back, name, "instance.yaml")) as f:
            return f.read()

    def add(self, node=None, name="web"):
        (node or self.one).vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=4M", "--no-start", name)
        return os.path.join(self.storage, name)


class Attach(TwoNodes):
    def test_locks_do_not_cross_here(self):
        """What makes all this necessary: without it the other tests would show nothing."""
        image = self.image("disk.img")
        self.attach(self.one, image)
        found = support.run(*self.two.inside("stat", "-c", "%d", image)).stdout
        self.assertNotEqual(found, support.run(*self.one.inside("stat", "-c", "%d", image)).stdout)
        self.one.vbd("disk", "detach", self.logical_id(image))

    def test_image_that_no_instance_lists(self):
        image = self.image("disk.img")
        logical_id = self.logical_id(image)
        self.attach(self.one, image)
        for more in ((), ("--read-only",), ("--dry-run",)):
            text = self.two.refused("disk", "attach", logical_id, *more)
            self.assertIn("vbd lease break " + image, text)
        for words in (("resize", "--filetype", "raw", image, "8M"), ("remove", "--filetype", "raw", image),
                      ("check", "--filetype", "raw", image), ("check", "--repair=all", "--filetype", "raw", image),
                      ("digest", "--filetype", "raw", image),
                      ("copy", "--filetype", "raw", image, "--to", "filetype=raw", image + ".copy"),
                      ("compare", "--filetype", "raw", image, image)):
            self.two.refused("image", *words)
        self.two.vbd("image", "info", "--filetype", "raw", image)
        self.assertEqual(os.path.getsize(os.path.join(self.back, "disk.img")), 4 * MiB)
        self.one.vbd("disk", "detach", logical_id)
        self.attach(self.two, image)
        self.one.refused("disk", "attach", logical_id)
        self.two.vbd("disk", "detach", logical_id)
        self.two.vbd("image", "resize", "--filetype", "raw", image, "8M")
        self.assertEqual(sorted(n for n in os.listdir(self.back) if not n.startswith(".vbdkit.spare")),
                         [".vbdkit-lease.yaml", ".vbdkit.lock", "disk.img"])

    def test_disk_of_an_instance(self):
        folder = self.add()
        disk = os.path.join(folder, "sda")
        self.two.vbd("instance", "register", folder)
        self.one.vbd("instance", "activate-disks", "web")
        before = self.record()
        self.two.refused("instance", "activate-disks", "web")
        self.two.refused("disk", "attach", self.logical_id(disk))
        self.two.refused("instance", "grow-disk", "web", "0", "1M")
        self.two.refused("instance", "remove", "--yes", "web")
        self.two.refused("instance", "rename", "web", "other")
        self.assertEqual(self.record(), before)
        self.one.vbd("instance", "activate-disks", "web")
        self.assertEqual(self.record(), before, "a call that changes nothing writes nothing")
        self.one.vbd("instance", "deactivate-disks", "web")
        self.two.vbd("instance", "activate-disks", "web")
        self.assertEqual(self.two.lease("web")["generation"], self.one.lease(disk)["generation"])
        self.two.vbd("instance", "deactivate-disks", "web")
        self.assertEqual(self.one.lease("web")["state"], "free")

    def test_reuse_of_what_another_node_has(self):
        os.mkdir(os.path.join(self.back, "old"), 0o755)
        self.attach(self.one, self.image("old/sda"))
        done = self.two.vbd("instance", "add", "-t", f"file:path={self.storage}/old,reuse", "old", rc=5)
        self.assertIn("node1", done.stderr)
        self.one.vbd("disk", "detach", self.logical_id(f"{self.storage}/old/sda"))

    def exactly_one(self, target):
        """Both attach at once, many times: one has it, the other is told so."""
        words = ("disk", "attach", self.logical_id(target))
        for _ in range(10):
            both = [(n, subprocess.Popen(n.argv(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True, env=self.environment()))
                    for n in (self.one, self.two)]
            results = [(n, p.communicate(), p.returncode) for n, p in both]
            winners = [n for n, _, rc in results if rc == 0]
            for _, (out, _), rc in results:
                if rc == 0:
                    self.note(out.strip())
            self.assertEqual(sorted(rc for _, _, rc in results), [0, 4], results)
            self.assertEqual(winners[0].lease(target)["node"], winners[0].name)
            winners[0].vbd("disk", "detach", self.logical_id(target))

    def test_both_at_once(self):
        self.exactly_one(self.image("disk.img"))

    def test_both_at_once_in_an_instance(self):
        self.exactly_one(os.path.join(self.add(), "sda"))

    def test_two_images_at_once_lose_no_lease(self):
        """Two nodes write one file of leases, for two images."""
        images = [self.image("a.img"), self.image("b.img")]
        for _ in range(5):
            both = [subprocess.Popen(n.argv("disk", "attach", self.logical_id(i)), stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment())
                    for n, i in zip((self.one, self.two), images)]
            for p in both:
                out, err = p.communicate()
                self.assertEqual(p.returncode, 0, err)
                self.note(out.strip())
            self.two.refused("disk", "attach", self.logical_id(images[0]))
            self.one.refused("disk", "attach", self.logical_id(images[1]))
            self.one.vbd("disk", "detach", self.logical_id(images[0]))
            self.two.vbd("disk", "detach", self.logical_id(images[1]))


class Register(TwoNodes):
    def test_as_another_name_while_the_other_node_has_it(self):
        folder = self.add()
        self.one.vbd("instance", "activate-disks", "web")
        before = self.record()
        for words in (("--as", "b", folder), (folder,), ("--dry-run", "--as", "b", folder)):
            self.assertIn("vbd lease break " + folder, self.two.refused("instance", "register", *words))
        self.assertEqual(self.record(), before)
        self.one.vbd("instance", "register", "--as", "b", folder, rc=4)  # attached here
        self.assertEqual(self.record(), before)
        self.one.vbd("instance", "deactivate-disks", "web")
        self.two.vbd("instance", "register", "--as", "b", folder)
        self.two.vbd("instance", "activate-disks", "b")
        self.two.vbd("instance", "deactivate-disks", "b")

    def test_through_another_mount_is_the_original(self):
        """The record's directory is seen elsewhere, with another device number."""
        folder = self.add()
        self.one.vbd("instance", "activate-disks", "web")
        again = os.path.join(self.dir, "again")
        os.mkdir(again, 0o755)
        with open(self.two.config, "a") as f:
            f.write(f"allowed_dirs: [{self.storage}, {again}]\n")
        self.assertEqual(support.run(*self.two.inside("bindfs", self.back, again)).returncode, 0)
        self.two.refused("instance", "register", "--as", "b", os.path.join(again, "web"))
        self.one.vbd("instance", "deactivate-disks", "web")
        self.assertIn("name: web", self.record())
        self.assertEqual(os.path.basename(folder), "web")

    def test_copy_is_free_of_the_originals_lease(self):
        self.add()
        self.one.vbd("instance", "activate-disks", "web")
        shutil.copytree(os.path.join(self.back, "web"), os.path.join(self.back, "copy"), symlinks=True)
        self.two.vbd("instance", "register", "--as", "copy", os.path.join(self.storage, "copy"))
        self.assertNotIn("node1", self.record("copy").split("lease:")[-1])
        self.two.vbd("instance", "activate-disks", "copy")
        self.two.vbd("instance", "deactivate-disks", "copy")
        self.assertEqual(self.one.lease("web")["state"], "here")
        self.one.vbd("instance", "deactivate-disks", "web")

    def test_moved_with_a_lease(self):
        """Its former place is gone: whether it is the original nobody can tell."""
        self.add()
        self.one.vbd("instance", "activate-disks", "web")
        self.one.vbd("instance", "deactivate-disks", "web")
        path = os.path.join(self.back, "web", "instance.yaml")
        with open(path) as f:
            text = re.sub(r"lease:\n.*", 'lease:\n  node: node1\n  boot_id: "b"\n  holder: cli\n  time: "t"\n  generation: 3\n',
                          f.read(), flags=re.S)
        with open(path, "w") as f:
            f.write(text)
        os.rename(os.path.join(self.back, "web"), os.path.join(self.back, "moved"))
        moved = os.path.join(self.storage, "moved")
        self.two.refused("instance", "register", "--as", "b", moved)
        self.two.vbd("lease", "break", "--yes", moved)
        self.two.vbd("instance", "register", "--as", "b", moved)


class Operation(TwoNodes):
    def interrupt(self, node="node1"):
        folder = self.add()
        self.two.vbd("instance", "register", folder)
        by = f"  node: {node}\n  boot_id: 01234567-0000-4000-8000-000000000000\n" if node else ""
        with open(os.path.join(self.back, "web", "instance.yaml"), "a") as f:
            f.write('operation:\n  verb: add\n  started: "2026-01-31T12:00:00Z"\n  files: [sda]\n  made_directory: true\n' + by)
        return folder

    def nothing_is_undone(self, folder):
        before = self.record()
        self.assertIn("node1", self.two.vbd("cluster", "verify", "--repair", rc=1).stdout)
        for words in (("remove", "--yes", "web"), ("activate-disks", "web"), ("grow-disk", "web", "0", "1M")):
            self.two.refused("instance", *words, error="instance.operation_elsewhere")
        self.two.refused("disk", "attach", self.logical_id(folder + "/sda"), error="instance.operation_elsewhere")
        if "node: node1\n  boot_id" in before:
            self.two.refused("instance", "register", "--as", "b", folder, error="instance.interrupted")
        self.assertEqual(self.record(), before)
        self.assertTrue(os.path.exists(os.path.join(self.back, "web", "sda")))

    def undone(self, node):
        subprocess.run(node.argv("cluster", "verify", "--repair"), capture_output=True, env=self.environment())  # where open files that are unlinked keep a name: 1
        self.assertNotIn("web", os.listdir(self.back))
        self.assertEqual(json.loads(node.vbd("instance", "list", "--output", "json").stdout)["instances"], [])

    def test_of_another_node_is_not_undone(self):
        folder = self.interrupt()
        self.nothing_is_undone(folder)
        self.assertEqual(self.two.lease("web")["operation"]["node"], "node1")
        self.two.vbd("lease", "break", "--yes", "web")
        self.undone(self.two)

    def test_of_an_earlier_vbd_is_its_nodes(self):
        self.nothing_is_undone(self.interrupt(node=""))
        self.undone(self.one)

    def test_of_this_node_is_undone(self):
        self.interrupt()
        self.undone(self.one)


class Break(TwoNodes):
    def test_of_a_dead_node(self):
        image = self.image("disk.img")
        logical_id = self.logical_id(image)
        self.attach(self.one, image)
        shown = self.two.lease(image)
        self.assertEqual((shown["state"], shown["node"], shown["holder"]), ("elsewhere", "node1", "cli"))
        self.assertEqual(self.one.lease(logical_id)["state"], "here")
        self.assertIn("node1", self.two.vbd("lease", "show", image).stdout)
        self.one.vbd("lease", "break", "--yes", image, rc=4)  # it lives
        self.two.vbd("lease", "break", image, rc=2, error="usage.confirm")
        self.assertIn("node1", self.two.vbd("lease", "break", "--dry-run", image).stdout)
        self.two.refused("disk", "attach", logical_id)
        self.two.vbd("lease", "break", "--yes", image)
        self.assertEqual(self.two.lease(image)["state"], "free")
        self.two.vbd("lease", "break", "--yes", image)  # nobody has it
        self.attach(self.two, image)
        # The one that was thought dead comes back: it gives up its device, not the other's lease.
        self.one.vbd("disk", "detach", logical_id)
        self.assertEqual(self.one.lease(image)["node"], "node2")
        self.two.vbd("disk", "detach", logical_id)

    def test_killed_while_it_wrote(self):
        image = self.image("disk.img")
        os.symlink("01234567:1:1:node1", os.path.join(self.back, ".vbdkit-lease.lock"))
        self.assertIn("node1", self.two.vbd("disk", "attach", self.logical_id(image), rc=4, error="lock.held").stderr)
        self.assertEqual(self.two.lease(image)["being_written_by"], "node1")
        self.two.vbd("lease", "break", "--yes", image)
        self.attach(self.two, image)
        self.two.vbd("disk", "detach", self.logical_id(image))

    def test_earlier_boot_of_this_node_needs_no_word(self):
        image = self.image("disk.img")
        with open(os.path.join(self.back, ".vbdkit-lease.yaml"), "w") as f:
            f.write('schema: 1\nimages:\n  disk.img:\n    node: node1\n    boot_id: "b"\n    holder: cli\n    time: "t"\n    generation: 4\n')
        self.assertEqual(self.one.lease(image)["state"], "earlier-boot")
        self.attach(self.one, image)
        self.assertEqual(self.one.lease(image)["generation"], 5)
        self.one.vbd("disk", "detach", self.logical_id(image))

    def test_words(self):
        self.two.vbd("lease", "show", "nobody", rc=3)
        self.two.vbd("lease", "show", os.path.join(self.storage, "none.img"), rc=3)
        folder = self.add(self.two)
        for word in ("web", folder, os.path.join(folder, "sda"), self.logical_id(folder + "/sda")):
            self.assertEqual(self.two.lease(word)["instance"], "web")


class KillLease(Injected):
    """Killed before each call of a verb: this node goes on, and no other node is kept away afterwards."""

    def other_node_is_free(self, target):
        other = os.path.join(self.dir, "other.yaml")
        with open(self.config) as f, open(other, "w") as out:
            out.write(f.read().replace("node: node1", "node: node2"))
        done = support.run(support.VBD, "--config", other, "disk", "attach", "--dry-run", self.logical_id(target))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(".vbdkit-lease.lock", os.listdir(os.path.dirname(target)))

    def kill(self, words, target, before):
        def prepare():
            for step in before:
                self.vbd(*step)

        def after(_killed):
            self.vbd("disk", "attach", self.logical_id(target))
            self.assertEqual(self.vbd_json("lease", "show", target)["state"], "here")
            self.vbd("disk", "detach", self.logical_id(target))
            self.assertEqual(self.vbd_json("lease", "show", target)["state"], "free")
            self.assertEqual(self.our_loops(), [])
            self.other_node_is_free(target)
        self.kill_everywhere(words, prepare, after, sets=(CHANGES,))

    def image(self):
        target = os.path.join(self.storage, "disk.img")
        with open(target, "wb") as f:
            f.truncate(4 * MiB)
        os.chmod(target, 0o600)
        return target

    def test_attach(self):
        target = self.image()
        self.kill(("disk", "attach", self.logical_id(target)), target, ())

    def test_detach(self):
        target = self.image()
        self.kill(("disk", "detach", self.logical_id(target)), target, (("disk", "attach", self.logical_id(target)),))

    def test_attach_in_an_instance(self):
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start", "web")
        target = os.path.join(self.storage, "web", "sda")
        self.kill(("disk", "attach", self.logical_id(target)), target, ())

    def test_resize(self):
        """The verbs of images leave nothing but the name that keeps other nodes off meanwhile."""
        target = self.image()
        for call in ("symlinkat", "ftruncate", "unlinkat"):
            done = self.strace(f"{call}:signal=KILL:when=1", "image", "resize", "--filetype", "raw", target, "8M")
            self.assertEqual(done.returncode, -9, f"{call}: {done.stderr}")
            self.vbd("image", "resize", "--filetype", "raw", target, "8M")
            self.vbd("image", "resize", "--shrink", "--filetype", "raw", target, "4M")
            self.assertEqual(os.listdir(self.storage), ["disk.img"], call)
            self.other_node_is_free(target)

    def test_register(self):
        """Never without a name, whatever call it is killed at; the same words finish it, and so does a repair."""
        folder = os.path.join(self.storage, "dir")
        turn = [0]

        def prepare():
            self.vbd("instance", "add", "-t", f"file:path={folder}", "--disk", "0:size=1M", "--no-start", "a")

        def after(_killed):
            turn[0] += 1
            names = [i["name"] for i in self.vbd_json("instance", "list")["instances"]]
            self.assertTrue(names, "nobody knows it any more")
            if turn[0] % 2:
                self.vbd("cluster", "verify", "--repair", rc=None)
            self.vbd("instance", "register", "--as", "b", folder)
            entries = self.vbd_json("instance", "list")["instances"]
            self.assertEqual([(i["name"], i["state"]) for i in entries], [("b", "stopped")])
            self.vbd("cluster", "verify")
            self.vbd("instance", "remove", "--yes", "b")
        self.kill_everywhere(("instance", "register", "--as", "b", folder), prepare, after, sets=(CHANGES,))


class Forget(Sandbox):
    def setUp(self):
        super().setUp()
        self.vbd("instance", "add", "-t", "file:driver=loop", "--disk", "0:size=1M", "--no-start", "web")

    def names(self):
        return [i["name"] for i in self.vbd_json("instance", "list")["instances"]]

    def test_repair_never_forgets(self):
        os.rename(self.storage, self.storage + ".away")
        os.mkdir(self.storage, 0o755)
        self.assertIn("web", self.vbd("cluster", "verify", "--repair", rc=1).stdout)
        self.assertEqual(self.names(), ["web"])
        os.rmdir(self.storage)
        os.rename(self.storage + ".away", self.storage)
        self.vbd("cluster", "verify")

    def test_by_name(self):
        self.fails(4, "instance.still_there", "cluster", "verify", "--forget", "web")
        self.fails(3, "instance.not_found", "cluster", "verify", "--forget", "nobody")
        os.rename(os.path.join(self.storage, "web"), os.path.join(self.dir, "away"))
        self.vbd("cluster", "verify", "--forget", "web", "--dry-run", rc=1)
        self.assertEqual(self.names(), ["web"])
        self.assertIn("web", self.vbd("cluster", "verify", "--forget", "web").stdout)
        self.assertEqual(self.names(), [])

    def test_copy_of_one_that_is_not_mounted(self):
        """A copy gets a name of its own, and the original stays known while its storage is away."""
        shutil.copytree(os.path.join(self.storage, "web"), os.path.join(self.storage, "copy"))
        os.rename(os.path.join(self.storage, "web"), os.path.join(self.dir, "away"))
        self.vbd("instance", "register", "--as", "copy", os.path.join(self.storage, "copy"))
        self.assertEqual(self.names(), ["copy", "web"])


if __name__ == "__main__":
    support.main()
