# SPDX-License-Identifier: MIT
"""A worker: it owns its instances, images and exports, chooses verbs that apply to them, and follows in its model what
became of each try, also when vbd was killed in it, when its filesystem went wrong, and when two verbs met."""

import os
import signal
import threading
import time

from model import State, pattern, seeded
from support import MiB
from verbs import Verbs
from world import Wrong

# How often: verbs that make things, verbs that change them, verbs that look.
WEIGHTS = {
    "do_add": 8, "do_remove": 3, "do_remove_keep_files": 3, "do_reuse": 6, "do_add_adopt": 4, "do_rename": 5, "do_register": 5,
    "do_rebuild": 1, "do_modify_add": 4, "do_modify_adopt": 4, "do_modify_remove": 4, "do_modify_mode": 3, "do_grow": 6,
    "do_activate": 5, "do_deactivate": 6, "do_start": 4, "do_stop": 5, "do_reboot": 1, "do_attach": 6, "do_detach": 7,
    "do_query": 3, "do_mount": 6, "do_umount": 6, "do_image_create": 5, "do_image_copy": 6, "do_image_compare": 2,
    "do_image_digest": 3, "do_image_resize": 4, "do_image_check": 2, "do_image_repair": 1, "do_image_info": 2,
    "do_image_remove": 4, "do_export": 4, "do_import": 5, "do_export_remove": 2, "do_list": 2, "do_info": 3, "do_verify": 1,
    "do_repair": 1, "do_backup_list": 1, "write_data": 14, "write_file": 10, "make_filesystem": 6,
}
FAULTS = {  # of faultfs: operation: effects (EIO 5, ENOSPC 28)
    "read": ("5", "short", "short"), "write": ("5", "28", "28"), "fsync": ("5", "slow:300", "slow:300"), "create": ("28", "5"),
    "rename": ("5",), "link": ("28",), "truncate": ("28", "5"), "fallocate": ("28",), "mkdir": ("28",), "unlink": ("5",),
    "open": ("5",),
}
# What a verb that only looks can meet, and what the others meet, the rare ones seldom.
LOOKS = ("image digest", "image compare", "image info", "image check", "backup export", "disk attach", "instance activate-disks")
MET = sorted(FAULTS) + ["fsync", "write", "create", "rename", "open", "read"] * 2


class Statistics:
    """Of all workers: tries, successes, collisions, kills, faults for each verb."""

    COLUMNS = ("tries", "ok", "collided", "killed", "faulted")

    def __init__(self):
        self.lock, self.rows, self.seconds, self.busy = threading.Lock(), {}, {}, []

    def count(self, verb, **columns):
        with self.lock:
            row = self.rows.setdefault(verb, dict.fromkeys(self.COLUMNS, 0))
            for column, by in columns.items():
                row[column] += by

    def took(self, verb, seconds):
        with self.lock:
            self.seconds[verb] = 0.8 * self.seconds.get(verb, seconds) + 0.2 * seconds

    def expected(self, verb):
        with self.lock:
            return self.seconds.get(verb, 0.05)

    def table(self):
        lines = [f"{'verb':32}" + "".join(f"{c:>10}" for c in self.COLUMNS)]
        for verb, row in sorted(self.rows.items()):
            lines.append(f"{verb:32}" + "".join(f"{row[c]:>10}" for c in self.COLUMNS))
        total = {c: sum(r[c] for r in self.rows.values()) for c in self.COLUMNS}
        return "\n".join(lines + [f"{'all':32}" + "".join(f"{total[c]:>10}" for c in self.COLUMNS)])

    def too_rare(self):
        return [f"{verb}: {row['ok']} of {row['tries']}" for verb, row in sorted(self.rows.items()) if row["ok"] * 2 < row["tries"]]


class Worker(Verbs):
    def __init__(self, number, seed, world, statistics, journal):
        self.number, self.world, self.statistics, self.journal = number, world, statistics, journal
        self.rng = seeded(seed, "worker", number)
        self.state, self.counter, self.disturbed, self.wrong = State(), 0, False, None
        self.verbs = [getattr(self, name) for name in WEIGHTS]
        for root in world.roots.values():  # what is loose has a home, which a repair leaves alone
            os.makedirs(f"{root}/loose-{number}", 0o755, exist_ok=True)
            open(f"{root}/loose-{number}/kept", "w").close()

    def say(self, text):
        self.journal(f"w{self.number} {text}")

    def work(self, steps, deadline):
        try:
            for _ in range(steps):
                if time.monotonic() > deadline:
                    break
                self.step()
        except Wrong as e:
            self.wrong = f"worker {self.number}: {e}"
            self.say(f"WRONG {e}")
        except Exception as e:
            import traceback
            self.wrong = f"worker {self.number}: {traceback.format_exc()}"
            self.say(f"WRONG {e!r}")

    def choose(self):
        for _ in range(40):
            made = self.rng.choices(self.verbs, WEIGHTS.values())[0]()
            if made is not None:
                return made
        return self.do_list()

    def step(self):
        plan = self.choose()
        if isinstance(plan, str):
            return self.say(plan)
        luck = self.rng.random()
        if luck < 0.02 and self.kill_server():
            return None
        if luck < 0.12 and plan.killable:
            return self.killed(plan)
        if luck < 0.18 and not plan.prepare and not plan.after:
            return self.collide(plan)
        if luck < 0.60 and self.faulty(plan):  # where it works on faultfs
            return None
        return self.normal(plan)

    # --- each of them

    def normal(self, plan):
        new = self.begin(plan)
        done = self.world.run_vbd(plan.words)
        good = done.rc in plan.ok
        self.statistics.count(plan.verb, tries=1, ok=int(good))
        self.say(f"{self.world.show(plan.words)} -> {done.rc} {done.seconds:.2f}s" + ("" if good else " " + done.error()))
        if not good:
            if done.rc != 4:
                raise Wrong(f"vbd {self.world.show(plan.words)}: exit {done.rc}, not {plan.ok}: {done.error()}")
            self.statistics.busy.append(f"{self.world.show(plan.words)}: {done.error().replace(self.world.dir, 'DIR')}")
            return self.settle(plan, new, done)  # busy: another worker's verify, for instance
        self.statistics.took(plan.verb, done.seconds)
        self.became(plan, new)
        said = plan.check(done) if plan.check else True
        if said is not True:
            raise Wrong(f"vbd {self.world.show(plan.words)}: {said}")

    def begin(self, plan):
        if plan.prepare:
            plan.prepare()
        new = self.state.clone()
        plan.apply(new)
        return new

    def became(self, plan, new):
        self.state = new
        if plan.after:
            plan.after(self.state)

    def killed(self, plan):
        new = self.begin(plan)
        after = self.rng.random() * 1.2 * self.statistics.expected(plan.verb)
        done = self.world.run_vbd(plan.words, kill_after=after)
        self.disturbed = self.disturbed or done.killed
        self.statistics.count(plan.verb, killed=int(done.killed))
        self.say(f"{self.world.show(plan.words)} kill after {after:.3f}s -> {done.rc} {done.error() if done.rc > 0 else ''}")
        if done.rc not in (-signal.SIGKILL, 4, *plan.ok):
            raise Wrong(f"vbd {self.world.show(plan.words)}: exit {done.rc}: {done.error()}")
        self.settle(plan, new, done)

    def faulty(self, plan):
        """One to three operations on faultfs go wrong while the verb runs."""
        if not plan.text or not any(plan.text in i.path and i.path.startswith(self.world.roots["fault"])
                                    for i in [*self.state.images(), *self.planned(plan).images()]):
            return False
        operation = self.rng.choice(("fsync", "read") if plan.loses else ("read", "open") if plan.verb in LOOKS else MET)
        effect = self.rng.choice(("slow:300",) if plan.loses and operation == "fsync" else
                                 ("short",) if plan.loses else FAULTS[operation])
        new = self.begin(plan)
        text = os.path.basename(plan.text)
        skip, count = self.rng.randrange(4), self.rng.choice((1, 1, 2, 3))
        number = self.world.tell_faultfs(f"arm {operation} {effect} {skip} {count} {text}")[1]
        try:
            done = self.world.run_vbd(plan.words)
        finally:
            hits = int(self.world.tell_faultfs(f"disarm {number}")[1])
        self.statistics.count(plan.verb, faulted=int(hits > 0))
        self.disturbed = self.disturbed or hits > 0
        self.say(f"{self.world.show(plan.words)} with {operation} {effect} skip {skip} count {count}, {hits} hits -> "
                 f"{done.rc} {done.error() if done.rc else ''}")
        gentle = hits == 0 or effect.startswith(("slow", "short"))
        if done.rc not in ((*plan.ok, 4) if gentle else (*plan.ok, 1, 4)):
            raise Wrong(f"vbd {self.world.show(plan.words)} with {operation} {effect}: exit {done.rc}: {done.error()}")
        self.settle(plan, new, done)
        return True

    def planned(self, plan):
        new = self.state.clone()
        plan.apply(new)
        return new

    def collide(self, plan):
        """Two verbs at once on what one worker owns: what is there afterwards is what some order gives."""
        other = next((p for p in (self.choose() for _ in range(10)) if not isinstance(p, str) and not p.prepare and not p.after),
                     None)
        if not other:
            return self.normal(plan)
        if self.rng.random() < 0.3 and plan.verb != "instance add":
            other = plan
        old, seen = self.state, [None, None]

        def run(n, words):
            try:
                seen[n] = self.world.run_vbd(words)
            except Wrong as e:
                seen[n] = e
        second = threading.Thread(target=run, args=(1, other.words))
        second.start()
        run(0, plan.words)
        second.join()
        for done in seen:
            if isinstance(done, Wrong):
                raise done
        self.statistics.count(plan.verb, collided=1)
        self.statistics.count(other.verb, collided=1)
        self.say(" | ".join(f"{self.world.show(d.words)} -> {d.rc} {d.error() if d.rc else ''}" for d in seen))
        for done, one in zip(seen, (plan, other)):
            if done.rc not in (0, 3, 4, *one.ok):
                raise Wrong(f"vbd {self.world.show(done.words)} beside {other.verb}: exit {done.rc}: {done.error()}")
        went = [one for one, done in zip((plan, other), seen) if done.rc in one.ok]
        orders = [went, went[::-1], *([[plan]] if len(went) == 2 and plan is other else [])]
        self.choose_state([s for order in orders if (s := self.after_all(old, order))] or [old], "two verbs at once")

    @staticmethod
    def after_all(state, plans):
        new = state.clone()
        for plan in plans:
            try:
                plan.apply(new)
            except (KeyError, IndexError, StopIteration):
                return None
        return new

    # --- what became of it

    def differing(self, states):
        """The keys in which the states differ."""
        described = [s.describe() for s in states]
        return sorted({key for d in described for key in d if any(o.get(key) != d[key] for o in described)}, key=str)

    def matches(self, state, keys, others):
        described, wrong = state.describe(), []
        for key in keys:
            hint = described.get(key) or next((o.describe()[key] for o in others if key in o.describe()), None)
            if key[0] == "attached":
                hint = next(i.logical_id for o in (state, *others) for i in o.images() if i.path == key[1])
            seen = self.world.observe(key, hint)
            if seen != described.get(key):
                wrong.append(f"{key[0]} {key[1]}: {seen}, not {described.get(key)}")
        return wrong

    def choose_state(self, states, what):
        """The one that the world is in; its data must be right too."""
        keys, wrongs = self.differing(states), []
        for state in states:
            wrong = self.matches(state, keys, states)
            if not wrong:
                self.state = state
                self.check_changed(keys)
                return
            wrongs.append("; ".join(wrong))
        raise Wrong(f"after {what}: neither: " + " NOR ".join(wrongs))

    def check_changed(self, keys):
        names = {key[1] for key in keys}
        for image in self.state.images():
            owner = self.state.owner(image.path)
            if names & {image.path, image.directory, owner.name if owner else None}:
                self.world.check_bytes(image)

    def settle(self, plan, new, done):
        """The old state or the new one: perhaps at once, else after the same words again or a repair."""
        old = self.state
        keys = self.differing([old, new])
        if plan.forward:
            keys = sorted({*keys, ("instance", plan.forward)}, key=str)
        repair = ["cluster", "verify", "--repair"]
        ways = [plan.words, repair] if plan.forward or self.rng.random() < 0.5 else [repair, plan.words]
        if not plan.repeats:
            ways = [repair, repair]
        # What a killed run asked of the kernel or of a server may come about later: then it is asked for again at once.
        late = done.killed and any(key[0] in ("attached", "mounted") for key in keys)
        if late:
            ways = [plan.words, repair]
        for turn in range(3):
            wrongs = []
            for state in [] if late and turn == 0 else [new] if plan.forward else [new, old]:
                wrong = self.matches(state, keys, [old, new])
                if not wrong:
                    if state is old and plan.undo:
                        plan.undo()
                    self.became(plan, state)
                    self.check_changed(keys)
                    return
                wrongs.append("; ".join(wrong))
            if turn == 2:
                break
            words = ways[turn]
            again = self.world.run_vbd(words)
            self.say(f"  settled by {self.world.show(words)} -> {again.rc} {again.error() if again.rc else ''}")
            if again.rc not in (0, 1, 3, 4):
                raise Wrong(f"after {done.rc} of vbd {self.world.show(plan.words)}: vbd {self.world.show(words)}: exit {again.rc}: "
                            f"{again.error()}")
        raise Wrong(f"after exit {done.rc} of vbd {self.world.show(plan.words)}: neither new nor old: " + " NOR ".join(wrongs))

    def kill_server(self):
        """The server of an attached image is killed: what was flushed is there, the rest the one or the other."""
        image = self.pick([i for i in self.state.images() if i.driver == "FD_BLKTAP" and i.holder and not i.mount()])
        if not image:
            return False
        if self.rng.random() < 0.5 and not image.read_only and image.files is None:
            data, offset = pattern(self.rng, 65536), self.rng.randrange(image.size // 65536) * 65536
            with open(self.world.device(image), "wb", buffering=0) as f:
                os.pwrite(f.fileno(), data[:max(512, min(len(data), image.size - offset))], offset)
            image.content.write(offset, data[:min(len(data), image.size - offset)], synced=False)
        pids = self.world.servers(image.path)
        if len(pids) != 1:
            raise Wrong(f"{image.path}: its servers are {pids}")
        os.kill(pids[0], signal.SIGKILL)
        self.disturbed = True
        owner = self.state.owner(image.path)
        if owner and owner.running:
            words = ["instance", "stop", "--force", "--timeout", "5", owner.name]
        elif owner and image.holder.startswith("instance:"):
            words = self.rng.choice((["instance", "deactivate-disks", owner.name], ["instance", "activate-disks", owner.name]))
        else:
            words = ["disk", self.rng.choice(("attach", "detach")), image.logical_id]
            words += ["--read-only"] * (words[1] == "attach" and image.read_only)
        done = self.world.run_vbd(words)
        self.statistics.count("server", killed=1)
        self.say(f"server of {image.path} killed; {self.world.show(words)} -> {done.rc} {done.error() if done.rc else ''}")
        if done.rc not in (0, 1):
            raise Wrong(f"after its server was killed: vbd {self.world.show(words)}: exit {done.rc}: {done.error()}")
        if words[1] in ("stop", "deactivate-disks"):
            self.drop_all_but(owner, image)
            owner.running = False
        elif words[1] == "activate-disks":
            self.hold_all(self.state, owner.name)  # one that was added since too
        elif words[1] == "detach":
            image.holder, image.read_only = None, False
        wrong = self.matches(self.state, [k for k in self.state.describe() if image.path in k or (owner and owner.name in k)] +
                             [("attached", image.path)], [self.state])
        if wrong:
            raise Wrong(f"after its server was killed and vbd {self.world.show(words)}: " + "; ".join(wrong))
        self.world.check_bytes(image, uncertain=True)
        return True

    def drop_all_but(self, owner, image):
        kept = image.content.maybe
        self.drop_all(self.state, owner.name)
        image.content.maybe = kept
