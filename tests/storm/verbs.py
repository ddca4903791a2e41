# SPDX-License-Identifier: MIT
"""What a worker can do. Each method looks at the model, and either returns a Plan that applies now, or None."""

import os
import shutil

import support
from model import Content, Image, Instance, pattern
from support import MiB
from world import Wrong

PAIRS = (("FD_LOOP", "FT_RAW"), ("FD_LOOP", "FT_RAW"), ("FD_BLKTAP", "FT_QCOW"), ("FD_BLKTAP", "FT_QCOW"), ("FD_BLKTAP", "FT_RAW"))
MOST_INSTANCES, MOST_LOOSE, MOST_EXPORTS, LARGEST = 5, 5, 2, 8 * MiB


class Plan:
    """One try of a verb: its words, and what it makes of the model."""

    def __init__(self, verb, words, apply=None, **more):
        self.verb, self.words = verb, [str(w) for w in words]
        self.apply = apply or (lambda state: None)
        self.ok = more.get("ok", (0,))
        self.prepare = more.get("prepare")    # before it, by us
        self.undo = more.get("undo")          # of prepare, when the verb did nothing
        self.forward = more.get("forward")    # the name of an instance: after prepare there is only forward
        self.check = more.get("check")        # of the answer
        self.after = more.get("after")        # (state): what is to be read from the world
        self.text = more.get("text")          # of paths on faultfs that it works on
        self.killable = more.get("killable", True)
        self.repeats = more.get("repeats", True)  # said again, the words mean the same
        self.loses = more.get("loses", False)  # an I/O error in it may cost data: no errors are injected


def disk_names(count):
    return ["sd" + chr(ord("a") + n) for n in range(count)]


def short(constant):
    return constant[3:].lower()


class Verbs:
    """A mixin: self.rng, self.state, self.world, self.number."""

    # --- choosing

    def pick(self, items):
        items = sorted(items, key=lambda i: getattr(i, "path", None) or getattr(i, "name", None) or str(i))
        return self.rng.choice(items) if items else None

    def idle_instance(self, more=lambda i: True):
        return self.pick([i for i in self.state.instances.values() if i.idle() and more(i)])

    def idle_image(self, more=lambda i: True):
        """An image that nobody has attached, and whose instance could let it go."""
        found = []
        for image in self.state.images():
            owner = self.state.owner(image.path)
            if image.holder is None and (owner is None or owner.idle()) and more(image):
                found.append(image)
        return self.pick(found)

    def loose_idle(self, more=lambda i: True):
        return self.pick([i for i in self.state.loose.values() if i.holder is None and more(i)])

    def new_name(self):
        self.counter += 1
        return f"w{self.number}i{self.counter:04}"

    def new_kind(self):
        return self.rng.choice(("ext4", "ext4", "xfs", "fault"))

    def new_size(self):
        return self.rng.choice((1, 1, 2, 3, 4)) * MiB + self.rng.choice((0, 0, 0, 512, 64 * 1024))

    def new_loose(self, kind=None):
        kind = kind or self.new_kind()
        self.counter += 1
        return f"{self.world.roots[kind]}/loose-{self.number}/img{self.counter:04}"

    @staticmethod
    def blank(path, driver, filetype, size):
        return Image(os.path.dirname(path), os.path.basename(path), driver, filetype, Content(size))

    @staticmethod
    def amount(size):
        """In the words of an instance's verb: MiB, and what is left of it."""
        return f"{size // MiB}M" if size % MiB == 0 else f"{size / MiB:.12f}".rstrip("0")

    def place(self, name, kind):
        """The directory, and the word that says so."""
        directory = f"{self.world.roots[kind]}/{name}"
        return directory, [] if kind == "ext4" else [f"path={directory}"]

    @staticmethod
    def driver_of(filetype):
        return "FD_BLKTAP" if filetype == "FT_QCOW" else "FD_LOOP"

    # --- instances

    def do_add(self):
        if len(self.state.instances) >= MOST_INSTANCES:
            return None
        name, kind = self.new_name(), self.new_kind()
        driver, filetype = self.rng.choice(PAIRS)
        directory, words = self.place(name, kind)
        sizes = [self.new_size() for _ in range(self.rng.choice((1, 1, 2, 3)))]
        disks = [word for n, size in enumerate(sizes) for word in ("--disk", f"{n}:size={self.amount(size)}")]

        def apply(state):
            state.instances[name] = Instance(name, directory, kind, [
                self.blank(f"{directory}/{file}", driver, filetype, size) for file, size in zip(disk_names(len(sizes)), sizes)])
        template = "file:" + ",".join([f"driver={short(driver)}", f"filetype={short(filetype)}", *words])
        return Plan("instance add", ["instance", "add", "-t", template, *disks, "--no-start", name], apply, text=name)

    def do_remove(self):
        instance = self.idle_instance()
        if not instance or len(self.state.instances) < 2:
            return None
        return Plan("instance remove", ["instance", "remove", "--yes", instance.name],
                    lambda state: state.instances.pop(instance.name), text=os.path.basename(instance.directory))

    def do_remove_keep_files(self):
        instance = self.idle_instance(lambda i: i.disks)
        if not instance or len(self.state.instances) < 2 or len(self.state.kept) > 1:
            return None

        def apply(state):
            gone = state.instances.pop(instance.name)
            for image in gone.disks:
                image.mode = "rw"
            state.kept[gone.directory] = (gone.storage, gone.disks)
        return Plan("instance remove --keep-files", ["instance", "remove", "--yes", "--keep-files", instance.name], apply,
                    text=os.path.basename(instance.directory))

    def do_reuse(self):
        directory = self.pick(self.state.kept)
        if not directory or len(self.state.instances) >= MOST_INSTANCES + 1:
            return None
        kind, images = self.state.kept[directory]
        filetypes = {image.filetype for image in images}
        if len(filetypes) > 1:
            return None
        filetype, name = filetypes.pop(), self.new_name()
        driver = self.driver_of(filetype)
        ordered = sorted(images, key=lambda i: i.file)
        names = disk_names(len(ordered))

        def prepare():
            for image, file in zip(ordered, names):  # no gap
                os.rename(image.path, f"{directory}/{file}")
                image.file = file

        def apply(state):
            _, disks = state.kept.pop(directory)
            for image in disks:
                image.driver = driver
            state.instances[name] = Instance(name, directory, kind, sorted(disks, key=lambda i: i.file))
        template = f"file:path={directory},driver={short(driver)},filetype={short(filetype)},reuse"
        return Plan("instance add reuse", ["instance", "add", "-t", template, "--no-start", name], apply, prepare=prepare,
                    text=os.path.basename(directory))

    def do_add_adopt(self):
        image = self.loose_idle()
        if not image or len(self.state.instances) >= MOST_INSTANCES:
            return None
        kind, name = self.world.kind_of(image.path), self.new_name()
        directory, words = self.place(name, kind)

        def apply(state):
            taken = self.take(state, image.path, kind)
            taken.directory, taken.file = directory, "sda"
            state.instances[name] = Instance(name, directory, kind, [taken])
        template = "file:" + ",".join([f"driver={short(image.driver)}", f"filetype={image.short}", *words])
        return Plan("instance add adopt", ["instance", "add", "-t", template, "--disk", f"0:adopt={image.path}", "--no-start",
                                           name], apply, text=name)

    @staticmethod
    def take(state, path, kind):
        """Blocks are shared where the filesystem can: then the original stays."""
        if kind == "xfs":
            import copy
            return copy.deepcopy(state.loose[path])
        return state.loose.pop(path)

    def do_rename(self):
        instance = self.idle_instance()
        if not instance:
            return None
        name, old = self.new_name(), instance.name
        moves = instance.directory == f"{self.world.storage}/{old}"

        def apply(state):
            one = state.instances.pop(old)
            one.name = name
            if moves:
                one.directory = f"{self.world.storage}/{name}"
                for image in one.disks:
                    image.directory = one.directory
            state.instances[name] = one
        return Plan("instance rename", ["instance", "rename", old, name], apply, text=os.path.basename(instance.directory))

    def do_register(self):
        instance = self.idle_instance()
        if not instance:
            return None
        return self.rng.choice((self.register_copy, self.register_moved, self.register_forgotten))(instance)

    def register_copy(self, instance):
        if len(self.state.instances) >= MOST_INSTANCES + 1:
            return None
        name = self.new_name()
        directory = f"{self.world.roots[instance.storage]}/{name}"

        def prepare():
            if support.run("cp", "-a", "--sparse=always", instance.directory, directory).returncode != 0:
                raise Wrong(f"cp to {directory} failed")

        def apply(state):
            copied = state.clone().instances[instance.name]
            copied.name, copied.directory = name, directory
            for image in copied.disks:
                image.directory = directory
            state.instances[name] = copied
        return Plan("instance register", ["instance", "register", "--as", name, directory], apply, prepare=prepare,
                    undo=lambda: shutil.rmtree(directory), text=name)

    def register_moved(self, instance):
        self.counter += 1
        directory = f"{self.world.roots[instance.storage]}/w{self.number}m{self.counter:04}"

        def apply(state):
            one = state.instances[instance.name]
            one.directory = directory
            for image in one.disks:
                image.directory = directory
        return Plan("instance register", ["instance", "register", directory], apply, forward=instance.name,
                    prepare=lambda: os.rename(instance.directory, directory), text=os.path.basename(directory))

    def register_forgotten(self, instance):
        return Plan("instance register", ["instance", "register", instance.directory], forward=instance.name,
                    prepare=lambda: self.forget(instance.name), text=os.path.basename(instance.directory))

    def do_rebuild(self):
        instance = self.idle_instance()
        if not instance:
            return None
        return Plan("cluster verify --rebuild", ["cluster", "verify", "--rebuild"], ok=(0, 1), forward=instance.name,
                    prepare=lambda: self.forget(instance.name))

    def forget(self, name):
        os.unlink(os.path.join(self.world.state_dir, "instances", name + ".yaml"))

    # --- disks of an instance

    def do_modify_add(self):
        instance = self.pick([i for i in self.state.instances.values() if not i.running and len(i.disks) < 4])
        if not instance:
            return None
        (driver, filetype), size = self.rng.choice(PAIRS), self.new_size()

        def apply(state):
            one = state.instances[instance.name]
            one.disks.append(self.blank(f"{one.directory}/{self.free_name(one)}", driver, filetype, size))
        change = f"add:size={self.amount(size)},driver={short(driver)},filetype={short(filetype)}"
        return Plan("instance modify add", ["instance", "modify", "--disk", change, instance.name], apply,
                    text=os.path.basename(instance.directory))

    @staticmethod
    def free_name(instance):
        taken = {d.file for d in instance.disks}
        return next(name for name in disk_names(26) if name not in taken)

    def do_modify_adopt(self):
        image = self.loose_idle()
        if not image:
            return None
        kind = self.world.kind_of(image.path)
        instance = self.idle_instance(lambda i: i.storage == kind and len(i.disks) < 4)
        if not instance:
            return None

        def apply(state):
            one = state.instances[instance.name]
            taken = self.take(state, image.path, kind)
            taken.directory, taken.file = one.directory, self.free_name(one)
            one.disks.append(taken)
        change = f"add:adopt={image.path},driver={short(image.driver)},filetype={image.short}"
        return Plan("instance modify adopt", ["instance", "modify", "--disk", change, instance.name], apply,
                    text=os.path.basename(instance.directory))

    def do_modify_remove(self):
        instance = self.idle_instance(lambda i: len(i.disks) > 1)
        if not instance:
            return None
        index = self.rng.randrange(len(instance.disks))
        return Plan("instance modify remove", ["instance", "modify", "--yes", "--disk", f"{index}:remove", instance.name],
                    lambda state: state.instances[instance.name].disks.pop(index), text=os.path.basename(instance.directory),
                    repeats=False)

    def do_modify_mode(self):
        instance = self.idle_instance(lambda i: i.disks)
        if not instance:
            return None
        index = self.rng.randrange(len(instance.disks))
        mode = "rw" if instance.disks[index].mode == "ro" else self.rng.choice(("ro", "rw"))

        def apply(state):
            state.instances[instance.name].disks[index].mode = mode
        return Plan("instance modify mode", ["instance", "modify", "--disk", f"{index}:mode={mode}", instance.name], apply,
                    text=os.path.basename(instance.directory))

    def do_grow(self):
        found = [(i, n) for i in self.state.instances.values() for n, d in enumerate(i.disks) if d.size < LARGEST and
                 (d.holder is None or (d.driver == "FD_LOOP" and not d.mount() and not d.read_only))]
        if not found:
            return None
        instance, index = self.rng.choice(sorted(found, key=lambda f: (f[0].name, f[1])))
        disk = instance.disks[index]
        size = (disk.size // MiB + self.rng.choice((1, 2))) * MiB

        def apply(state):
            state.instances[instance.name].disks[index].content.resize(size)
        name = self.rng.choice((str(index), disk.file))
        return Plan("instance grow-disk", ["instance", "grow-disk", "--absolute", instance.name, name, f"{size // MiB}M"], apply,
                    text=os.path.basename(instance.directory))

    def do_activate(self):
        instance = self.pick([i for i in self.state.instances.values() if not i.running and i.disks and
                              all(d.holder in (None, f"instance:{i.name}") for d in i.disks)])
        if not instance:
            return None
        return Plan("instance activate-disks", ["instance", "activate-disks", instance.name],
                    lambda state: self.hold_all(state, instance.name), text=os.path.basename(instance.directory))

    @staticmethod
    def hold_all(state, name):
        for image in state.instances[name].disks:
            if image.holder is None:
                image.holder, image.read_only = f"instance:{name}", image.mode == "ro"

    @staticmethod
    def drop_all(state, name):
        for image in state.instances[name].disks:
            if image.holder == f"instance:{name}":
                image.holder, image.read_only, image.content.maybe = None, False, {}

    def do_deactivate(self):
        instance = self.pick([i for i in self.state.instances.values() if i.active() and not i.running])
        if not instance:
            return None
        return Plan("instance deactivate-disks", ["instance", "deactivate-disks", instance.name],
                    lambda state: self.drop_all(state, instance.name), text=os.path.basename(instance.directory), loses=True)

    def do_start(self):
        instance = self.pick([i for i in self.state.instances.values() if not i.running and i.disks and
                              all(d.holder in (None, f"instance:{i.name}") for d in i.disks)])
        if not instance:
            return None

        def apply(state):
            self.hold_all(state, instance.name)
            state.instances[instance.name].running = True
        return Plan("instance start", ["instance", "start", instance.name], apply, text=os.path.basename(instance.directory))

    def do_stop(self):
        instance = self.pick([i for i in self.state.instances.values() if i.running])
        if not instance:
            return None

        def apply(state):
            self.drop_all(state, instance.name)
            state.instances[instance.name].running = False
        return Plan("instance stop", ["instance", "stop", "--timeout", "20", "--force", instance.name], apply,
                    text=os.path.basename(instance.directory), loses=True)

    def do_reboot(self):
        instance = self.pick([i for i in self.state.instances.values() if i.running])
        if not instance:
            return None
        def apply(state):
            self.hold_all(state, instance.name)  # a disk that came since gets its device
        return Plan("instance reboot", ["instance", "reboot", "--timeout", "20", instance.name], apply,
                    text=os.path.basename(instance.directory), loses=True, killable=False)

    # --- disks by themselves

    def do_attach(self):
        image = self.idle_image(lambda i: i.directory not in self.state.kept)
        if not image:
            return None
        read_only = self.rng.random() < 0.2

        def apply(state):
            one = state.image(image.path)
            one.holder, one.read_only = "cli", read_only
        return Plan("disk attach", ["disk", "attach", image.logical_id, *["--read-only"] * read_only], apply, text=image.path)

    def do_detach(self):
        image = self.pick([i for i in self.state.images() if i.holder == "cli"])
        if not image:
            return None

        def apply(state):
            one = state.image(image.path)
            one.holder, one.read_only, one.content.maybe = None, False, {}
        return Plan("disk detach", ["disk", "detach", image.logical_id], apply, text=image.path, loses=True)

    def do_query(self):
        image = self.pick(self.state.images())
        if not image:
            return None
        wanted = ("attached", [image.holder]) if image.holder else ("detached", [])

        def check(done):
            seen = done.json()
            return (seen["state"], seen["holders"]) == wanted or f"{seen} instead of {wanted}"
        return Plan("disk query", ["disk", "query", image.logical_id, "--output", "json"], check=check)

    def do_mount(self):
        image = self.idle_image(lambda i: i.files is not None and i.directory not in self.state.kept)
        if not image:
            return None
        self.counter += 1
        target, read_only = f"{self.world.dir}/mnt/w{self.number}m{self.counter:04}", self.rng.random() < 0.3

        def apply(state):
            one = state.image(image.path)
            one.holder, one.read_only = "mount:" + target, read_only
        return Plan("disk mount", ["disk", "mount", image.logical_id, target, *["--read-only"] * read_only], apply,
                    prepare=lambda: os.makedirs(target, exist_ok=True), text=image.path, loses=True,
                    after=lambda state: read_only or self.read_again(state.image(image.path)))

    def do_umount(self):
        image = self.pick([i for i in self.state.images() if i.mount()])
        if not image:
            return None
        rewrite = not image.read_only

        def apply(state):
            one = state.image(image.path)
            one.holder, one.read_only = None, False

        return Plan("disk umount", ["disk", "umount", image.logical_id, image.mount()], apply, text=image.path, loses=True,
                    after=lambda state: rewrite and self.read_again(state.image(image.path)))

    def read_again(self, image):
        """What a mounted filesystem made of its image is the truth now."""
        if image.holder is None:
            with self.world.open_bytes(image) as f:
                image.content.read_from(f)

    # --- images

    def do_image_create(self):
        if len(self.state.loose) >= MOST_LOOSE:
            return None
        path, size = self.new_loose(), self.new_size()
        driver, filetype = self.rng.choice(PAIRS)
        options = ["-O", "cluster_size=4K"] if filetype == "FT_QCOW" and self.rng.random() < 0.3 else []

        def apply(state):
            state.loose[path] = self.blank(path, driver, filetype, size)
        return Plan("image create", ["image", "create", "--filetype", short(filetype), *options, path, size], apply, text=path)

    def do_image_copy(self):
        image = self.idle_image()
        if not image or len(self.state.loose) >= MOST_LOOSE:
            return None
        path, (driver, filetype) = self.new_loose(), self.rng.choice(PAIRS)

        def apply(state):
            copied = self.blank(path, driver, filetype, image.size)
            copied.content = image.content.clone()
            copied.files = None if image.files is None else dict(image.files)
            state.loose[path] = copied
        return Plan("image copy", ["image", "copy", "--filetype", image.short, image.path, "--to", f"filetype={short(filetype)}",
                                   path], apply, text=self.rng.choice((path, image.path)))

    def do_image_compare(self):
        one = self.idle_image()
        other = self.idle_image(lambda i: one and i.size == one.size and (i is one) == (self.rng.random() < 0.1))
        if not one or not other:
            return None
        same = one.content.digest() == other.content.digest()
        return Plan("image compare", ["image", "compare", "--filetype", one.short, one.path, "--filetype-b", other.short, other.path],
                    ok=(0,) if same else (1,), text=one.path)

    def do_image_digest(self):
        image = self.idle_image()
        if not image:
            return None
        wanted = image.content.digest()
        return Plan("image digest", ["image", "digest", "--filetype", image.short, image.path], text=image.path,
                    check=lambda done: done.out.split("  ")[0] == wanted or f"digest {done.out} instead of {wanted}")

    def do_image_resize(self):
        image = self.loose_idle(lambda i: i.size < LARGEST)
        if not image:
            return None
        shrink = image.files is None and image.size >= 2 * MiB and self.rng.random() < 0.3
        size = image.size - MiB if shrink else image.size + MiB
        return Plan("image resize", ["image", "resize", *["--shrink"] * shrink, "--filetype", image.short, image.path, size],
                    lambda state: state.image(image.path).content.resize(size), text=image.path)

    def do_image_check(self):
        image = self.idle_image(lambda i: i.filetype == "FT_QCOW")
        if not image:
            return None
        return Plan("image check", ["image", "check", "--filetype", "qcow", image.path], ok=(0, 1) if self.disturbed else (0,),
                    text=image.path)

    def do_image_repair(self):
        image = self.idle_image(lambda i: i.filetype == "FT_QCOW")
        if not image or not self.disturbed:
            return None
        return Plan("image check --repair", ["image", "check", "--repair=leaks", "--filetype", "qcow", image.path], text=image.path)

    def do_image_info(self):
        image = self.pick(self.state.images())
        if not image:
            return None

        def check(done):
            seen = done.json()
            return seen["virtual_size"] == image.size or f"{seen} instead of {image.size}"
        if image.holder:
            return None
        return Plan("image info", ["image", "info", "--filetype", image.short, image.path, "--output", "json"], check=check,
                    text=image.path)

    def do_image_remove(self):
        image = self.loose_idle()
        if not image or len(self.state.loose) < 2:
            return None
        return Plan("image remove", ["image", "remove", "--filetype", image.short, image.path],
                    lambda state: state.loose.pop(image.path), text=image.path)

    # --- exports

    def do_export(self):
        instance = self.idle_instance(lambda i: i.disks)
        if not instance or (len(self.state.exports) >= MOST_EXPORTS and instance.name not in self.state.exports):
            return None
        mode = self.rng.choice(([], [], ["--zstd"], ["--mode", "image"], ["--mode", "image", "--filetype", "qcow"]))

        def apply(state):
            state.exports[instance.name] = [(d.file, d.filetype, d.driver, d.content.clone(), d.files)
                                            for d in state.instances[instance.name].disks]
            state.export_modes = {**getattr(state, "export_modes", {}), instance.name: [d.mode for d in instance.disks]}
        return Plan("backup export", ["backup", "export", *mode, instance.name], apply, text=os.path.basename(instance.directory))

    def do_import(self):
        source = self.pick(self.state.exports)
        if not source or len(self.state.instances) >= MOST_INSTANCES + 1:
            return None
        name, kind = self.new_name(), self.new_kind()
        directory, words = self.place(name, kind)
        pair = self.rng.choice((None, *PAIRS))
        if pair:
            words += [f"driver={short(pair[0])}", f"filetype={short(pair[1])}"]

        def apply(state):
            disks = []
            for (file, filetype, driver, content, files), mode in zip(state.exports[source], state.export_modes[source]):
                one = Image(directory, file, pair[0] if pair else driver, pair[1] if pair else filetype, content.clone())
                one.mode, one.files = mode, None if files is None else dict(files)
                disks.append(one)
            state.instances[name] = Instance(name, directory, kind, disks)
        return Plan("backup import", ["backup", "import", "--src-dir", source, *(["-t", "file:" + ",".join(words)] if words else []),
                                      name], apply, text=name)

    def do_export_remove(self):
        name = self.pick(self.state.exports)
        if not name or len(self.state.exports) < 2:
            return None
        return Plan("backup remove", ["backup", "remove", "--yes", name], lambda state: state.exports.pop(name))

    # --- looking

    def do_list(self):
        mine = {name: "running" if i.running else "stopped" for name, i in self.state.instances.items()}

        def check(done):
            seen = {i["name"]: i["state"] for i in done.json()["instances"]}
            return all(seen.get(n) == s for n, s in mine.items()) or f"{ {n: seen.get(n) for n in mine} } instead of {mine}"
        return Plan("instance list", ["instance", "list", "--output", "json"], check=check)

    def do_info(self):
        name = self.pick(self.state.instances)
        if not name:
            return None
        wanted = self.state.describe()["instance", name]

        def check(_done):
            seen = self.world.see_instance(name, None, False)
            return seen == wanted or f"{seen} instead of {wanted}"
        return Plan("instance info", ["instance", "info", name], check=check)

    def do_verify(self):
        return Plan("cluster verify", ["cluster", "verify"], ok=(0, 1))

    def do_repair(self):
        return Plan("cluster verify --repair", ["cluster", "verify", "--repair"], ok=(0, 1))

    def do_backup_list(self):
        mine = set(self.state.exports)
        return Plan("backup list", ["backup", "list", "--output", "json"],
                    check=lambda done: mine <= {b["name"] for b in done.json()["backups"]} or "an export is not listed")

    # --- what others do to the disks: no verbs of vbd

    def write_data(self):
        image = self.pick([i for i in self.state.images() if not i.read_only and not i.mount() and i.files is None and
                           (i.holder or i.filetype == "FT_RAW")])
        if not image:
            return None
        length = self.rng.choice((512, 4096, 70000 // 512 * 512, 300032))
        length = min(length, image.size // 2 // 512 * 512)
        offset = self.rng.randrange(0, (image.size - length) // 512 + 1) * 512
        data = bytes(length) if self.rng.random() < 0.1 else pattern(self.rng, length)
        synced = self.rng.random() < 0.7
        fd = os.open(self.world.device(image) if image.holder else image.path, os.O_WRONLY)
        try:
            view, at = memoryview(data), offset
            while view:
                put = os.pwrite(fd, view, at)
                view, at = view[put:], at + put
            if synced:
                os.fsync(fd)
        finally:
            os.close(fd)
        image.content.write(offset, data, synced or image.driver != "FD_BLKTAP" or not image.holder)
        if synced:
            image.content.maybe = {}
        return f"write {length} at {offset} of {image.path}" + (" and fsync" if synced else "")

    def write_file(self):
        image = self.pick([i for i in self.state.images() if i.mount() and not i.read_only])
        if not image:
            return None
        name, data = f"f{self.rng.randrange(6)}", pattern(self.rng, self.rng.randrange(1, 60000))
        with open(f"{image.mount()}/{name}", "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        image.files[name] = data
        return f"write {image.mount()}/{name}"

    def make_filesystem(self):
        image = self.loose_idle(lambda i: i.filetype == "FT_RAW" and i.files is None and i.size >= 2 * MiB)
        if not image:
            return None
        done = support.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard", image.path)
        if done.returncode != 0:
            raise Wrong(f"mkfs.ext4 {image.path}: {done.stderr}")
        with open(image.path, "rb") as f:
            image.content.read_from(f)
        image.files = {}
        return f"mkfs.ext4 {image.path}"
