# SPDX-License-Identifier: MIT
"""What the storm knows of the world: instances, disks, their bytes, what is attached and mounted. One State for each
worker; `describe()` is what an observer must see of it."""

import copy
import hashlib
import random

BLOCK = 65536
ZERO = bytes(BLOCK)


class Content:
    """The guest's bytes of a disk, zeros left out. `maybe` holds what blocks were before writes that no flush followed."""

    def __init__(self, size):
        self.size, self.blocks, self.maybe = size, {}, {}

    def clone(self):
        other = Content(self.size)
        other.blocks, other.maybe = dict(self.blocks), dict(self.maybe)
        return other

    def __deepcopy__(self, _memo):
        return self.clone()

    def block(self, number):
        return self.blocks.get(number, ZERO)

    def write(self, offset, data, synced=True):
        while data:
            number, at = divmod(offset, BLOCK)
            piece, data = data[:BLOCK - at], data[BLOCK - at:]
            old = self.block(number)
            if not synced:
                self.maybe.setdefault(number, old)
            self.put(number, old[:at] + piece + old[at + len(piece):])
            offset += len(piece)

    def put(self, number, block):
        if block == ZERO:
            self.blocks.pop(number, None)
        else:
            self.blocks[number] = block

    def resize(self, size):
        self.size = size
        for number in [n for n in self.blocks if n * BLOCK >= size]:
            del self.blocks[number]
        number, at = divmod(size, BLOCK)
        if at and number in self.blocks:
            self.put(number, self.blocks[number][:at] + bytes(BLOCK - at))

    def digest(self):
        """As docs/digest.md has it."""
        level = [hashlib.sha256(self.block(n)).digest() for n in range(max(1, -(-self.size // BLOCK)))]
        zero = hashlib.sha256(ZERO).digest()
        while len(level) > 1:
            if len(level) % 2:
                level.append(zero)
            level = [hashlib.sha256(level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
            zero = hashlib.sha256(zero + zero).digest()
        return hashlib.sha256(f"vbdkit.digest/1 {self.size} {BLOCK} {level[0].hex()}\n".encode()).hexdigest()

    def read_from(self, file):
        """Takes over what an open file holds."""
        self.blocks, self.maybe = {}, {}
        for number in range(-(-self.size // BLOCK)):
            block = file.read(BLOCK)
            self.put(number, block + bytes(BLOCK - len(block)))

    def difference(self, file, uncertain=False):
        """None, or where an open file holds something else. With `uncertain` a sector of `maybe` may be the older
        one, and what is found is taken over."""
        for number in range(-(-self.size // BLOCK)):
            length = min(BLOCK, self.size - number * BLOCK)
            seen = file.read(length)
            if len(seen) != length:
                return f"ends at {number * BLOCK + len(seen)} of {self.size}"
            seen += bytes(BLOCK - length)
            wanted = self.block(number)
            if seen == wanted:
                continue
            older = self.maybe.get(number) if uncertain else None
            for at in range(0, BLOCK, 512):
                sector = seen[at:at + 512]
                if sector != wanted[at:at + 512] and (older is None or sector != older[at:at + 512]):
                    return (f"at {number * BLOCK + at}: {sector[:8].hex()}.. instead of {wanted[at:at + 8].hex()}.."
                            + (" (zeros)" if not any(sector) else ""))
            self.put(number, seen)
        if uncertain:
            self.maybe = {}
        return None


class Image:
    """One image: of an instance, or loose."""

    def __init__(self, directory, file, driver, filetype, content):
        self.directory, self.file, self.driver, self.filetype, self.content = directory, file, driver, filetype, content
        self.mode = "rw"
        self.holder = None      # who attached it: cli, instance:NAME, mount:DIR
        self.read_only = False  # attached so
        self.files = None       # {name: bytes} once it holds a filesystem
        self.broken = False     # its server was killed

    @property
    def path(self):
        return f"{self.directory}/{self.file}"

    @property
    def size(self):
        return self.content.size

    @property
    def logical_id(self):
        return f'[{self.driver}, {self.filetype}, "{self.path}"]'

    @property
    def short(self):
        return self.filetype[3:].lower()

    def mount(self):
        return self.holder[6:] if self.holder and self.holder.startswith("mount:") else None


class Instance:
    def __init__(self, name, directory, storage, disks):
        self.name, self.directory, self.storage, self.disks = name, directory, storage, disks
        self.running = False

    def active(self):
        return any(d.holder == f"instance:{self.name}" for d in self.disks)

    def idle(self):
        return not self.running and all(d.holder is None for d in self.disks)


class State:
    def __init__(self):
        self.instances = {}  # name: Instance
        self.loose = {}      # path: Image
        self.kept = {}       # directory: (storage, [Image]) that no instance lists
        self.exports = {}    # name: [(file, filetype, driver, content, files)]

    def clone(self):
        return copy.deepcopy(self)

    def images(self):
        for instance in self.instances.values():
            yield from instance.disks
        yield from self.loose.values()
        for _, images in self.kept.values():
            yield from images

    def image(self, path):
        return next(i for i in self.images() if i.path == path)

    def owner(self, path):
        return next((i for i in self.instances.values() if any(d.path == path for d in i.disks)), None)

    def describe(self):
        """{key: what is to be seen}; a key that is missing stands for what isn't there."""
        seen = {}
        for name, one in self.instances.items():
            seen["instance", name] = ("running" if one.running else "stopped", one.directory,
                                      tuple((d.file, d.driver, d.filetype, d.size, d.mode) for d in one.disks))
            seen["directory", one.directory] = tuple(sorted(d.file for d in one.disks))
        for path, image in self.loose.items():
            seen["image", path] = (image.filetype, image.size)
        for directory, (_, images) in self.kept.items():
            seen["directory", directory] = tuple(sorted(i.file for i in images))
        for image in self.images():
            if image.holder:
                seen["attached", image.path] = image.holder
            if image.mount():
                seen["mounted", image.mount()] = image.read_only
        for name, disks in self.exports.items():
            seen["export", name] = tuple(content.size for _, _, _, content, _ in disks)
        return seen


def pattern(rng, length):
    """Bytes that a seed gives, quickly: most of a block repeats, no block is like another."""
    piece = rng.randbytes(min(length, 509))
    return (piece * (length // len(piece) + 1))[:length]


def seeded(*words):
    return random.Random("/".join(str(w) for w in words))
