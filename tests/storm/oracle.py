# SPDX-License-Identifier: MIT
"""What must hold when nobody works: names, images, bytes, devices, mounts and processes are those of the models, and
no others."""

import os
import shutil

import support
from world import Wrong

# What `cluster verify --repair` does not find yet is cleared away here.
LEFT_BY_KILLS = True


class Oracle:
    def __init__(self, world, states, killed):
        self.world, self.states, self.killed = world, states, killed

    def images(self):
        return [image for state in self.states for image in state.images()]

    def check(self):
        self.verify()
        if LEFT_BY_KILLS:
            self.clear()
        self.names()
        self.described()
        self.directories()
        self.devices()
        for image in self.images():
            self.world.check_bytes(image)
            self.image(image)

    def verify(self):
        self.world.ask("cluster", "verify", "--repair", ok=(0, 1))
        left = self.world.ask("cluster", "verify", ok=(0, 1))["problems"]
        if left:
            raise Wrong("cluster verify after --repair: " + "; ".join(f"{p['where']}: {p['what']}" for p in left))

    def clear(self):
        for root in self.world.roots.values():
            for folder in os.listdir(root):
                if folder.startswith("loose-"):
                    for name in os.listdir(f"{root}/{folder}"):
                        if name.startswith(".vbd-") and name.endswith(".tmp"):
                            os.unlink(f"{root}/{folder}/{name}")
        for name in os.listdir(self.world.exports):
            if name.startswith(".") and name.endswith((".new", ".old")):
                shutil.rmtree(f"{self.world.exports}/{name}")

    def same(self, what, seen, wanted):
        seen, wanted = sorted(seen), sorted(wanted)
        if seen != wanted:
            extra, lost = [x for x in seen if x not in wanted], [x for x in wanted if x not in seen]
            raise Wrong(f"{what}: there is {extra} that must not be; missing: {lost}" if extra or lost else
                        f"{what}: {seen} instead of {wanted}")

    def names(self):
        names = [name for state in self.states for name in state.instances]
        self.same("instance list", [i["name"] for i in self.world.ask("instance", "list", ok=(0, 1))["instances"]], names)
        self.same("pointers", os.listdir(os.path.join(self.world.state_dir, "instances")) if names else [],
                  [name + ".yaml" for name in names] + [n for n in self.ours(self.world.state_dir + "/instances") if names])
        exports = [name for state in self.states for name in state.exports]
        self.same("backup list", [b["name"] for b in self.world.ask("backup", "list")["backups"]], exports)
        self.same("exports", [n for n in os.listdir(self.world.exports) if not n.startswith(".vbdkit")], exports)

    @staticmethod
    def ours(folder):
        return [n for n in os.listdir(folder) if n.startswith(".vbdkit")]

    def described(self):
        for state in self.states:
            for key, wanted in state.describe().items():
                hint = state.image(key[1]).logical_id if key[0] == "attached" else wanted
                seen = self.world.observe(key, hint, strict=True)
                if seen != wanted:
                    raise Wrong(f"{key[0]} {key[1]}: {seen} instead of {wanted}")

    def directories(self):
        """Nothing lies around: each directory below the storages is somebody's, and holds what it should."""
        known = {image.directory for image in self.images()}
        held = {image.path for image in self.images()}
        for root in self.world.roots.values():
            for name in os.listdir(root):
                folder = os.path.join(root, name)
                if name == "lost+found" or name.startswith(".vbdkit"):
                    continue
                if not os.path.isdir(folder) or (folder not in known and not name.startswith("loose-")):
                    raise Wrong(f"{folder}: left behind")
                for leaf in os.listdir(folder):
                    if leaf not in ("instance.yaml", "kept") and not leaf.startswith(".vbdkit") and f"{folder}/{leaf}" not in held:
                        raise Wrong(f"{folder}/{leaf}: left behind")

    def devices(self):
        world = self.world
        attached = [image for image in self.images() if image.holder]
        loops = [(node, path) for node, path in world.our_loops() if node not in world.kept_loops]
        if len(loops) != len(attached):
            raise Wrong(f"{len(loops)} loop devices for {len(attached)} attached disks: {loops}, {[i.path for i in attached]}")
        backing = [path for _, path in loops]
        for image in attached:
            if image.driver == "FD_LOOP" and image.path not in backing:
                raise Wrong(f"{image.path}: attached, but no loop device has it: {backing}")
        served = [image for image in attached if image.driver == "FD_BLKTAP"]
        for image in served:
            if len(world.servers(image.path)) != 1:
                raise Wrong(f"{image.path}: servers {world.servers(image.path)}, all: {[world.command(p) for p in world.servers()]}")
        self.same("servers", [str(p) for p in world.servers()], [str(p) for i in served for p in world.servers(i.path)])
        self.same("mounts", [m for m in world.our_mounts() if m not in world.kept_mounts and not m.startswith(world.run_dir)],
                  [image.mount() for image in attached if image.mount()])
        folder = os.path.join(world.run_dir, "attachments")
        records = [n for n in os.listdir(folder) if n.endswith(".json")] if os.path.isdir(folder) else []
        if len(records) != len(attached):
            raise Wrong(f"{len(records)} records of attachments for {len(attached)} attached disks: {records}")
        running = [name for state in self.states for name, i in state.instances.items() if i.running]
        if len(world.guests()) != len(running):
            raise Wrong(f"{len(world.guests())} guests for {running}")

    def image(self, image):
        world = self.world
        if image.holder:
            return
        digest = world.ask("image", "digest", "--filetype", image.short, image.path)["digest"]
        if digest != image.content.digest():
            raise Wrong(f"{image.path}: image digest says {digest}, not {image.content.digest()}")
        if image.filetype != "FT_QCOW":
            return
        for who, rc in (("vbd", world.run_vbd(("image", "check", "--filetype", "qcow", image.path)).rc),
                        ("qemu-img", {3: 1, 2: 6}.get(*[support.run("qemu-img", "check", "-f", "qcow2", image.path).returncode] * 2))):
            if rc not in ((0, 1) if self.killed else (0,)):
                raise Wrong(f"{image.path}: {who} check says {rc}")
