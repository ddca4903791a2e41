#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A storm of verbs against one configuration; see README.md beside it."""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import world as world_file
import support
from oracle import Oracle
from worker import Statistics, Worker

OPTIONS = None


class Storm(world_file.World):
    def test_storm(self):
        seed, started = OPTIONS.seed, time.monotonic()
        deadline = started + OPTIONS.seconds
        handle, self.journal_path = tempfile.mkstemp(prefix=f"vbdkit-storm-{seed}-", suffix=".journal")
        self.journal_file, self.journal_lock = os.fdopen(handle, "w"), threading.Lock()
        statistics = Statistics()
        workers = [Worker(n, seed, self, statistics, self.journal) for n in range(OPTIONS.workers)]
        rounds, wrong = 0, []
        while not wrong and rounds < OPTIONS.rounds and time.monotonic() < deadline:
            rounds += 1
            self.round(workers, deadline)
            wrong = [w.wrong for w in workers if w.wrong]
            if wrong:
                self.evidence()
            else:
                wrong = self.judge(workers, rounds)
        print(f"storm: seed {seed}, {len(workers)} workers, {rounds} rounds, {time.monotonic() - started:.0f} s")
        print(statistics.table())
        print("\n".join(f"busy: {text}" for text in statistics.busy[:20]), flush=True)
        self.journal_file.close()
        if wrong:
            self.keep()
            self.fail("\n".join([*wrong, f"seed {seed}, round {rounds}; what was done: {self.journal_path}", self.tail()]))
        if rare := statistics.too_rare():
            self.fail("verbs that fail too often: " + ", ".join(rare))
        os.unlink(self.journal_path)

    def journal(self, text):
        with self.journal_lock:
            self.journal_file.write(f"{time.strftime('%H:%M:%S')} {text.replace(self.dir, 'DIR')}\n")
            self.journal_file.flush()

    def round(self, workers, deadline):
        threads = [threading.Thread(target=w.work, args=(OPTIONS.steps, deadline), daemon=True) for w in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(900)
            if thread.is_alive():
                self.fail("a worker does not come to an end")

    def judge(self, workers, rounds):
        """A quiet point."""
        begin = time.monotonic()
        try:
            Oracle(self, [w.state for w in workers], any(w.disturbed for w in workers)).check()
        except world_file.Wrong as e:
            self.journal(f"WRONG {e}")
            self.evidence()
            return [f"at a quiet point: {e}"]
        self.journal(f"quiet point {rounds}: all right, {time.monotonic() - begin:.1f} s")
        return []

    def evidence(self):
        """The world as it was, for whoever reads the journal."""
        self.journal(f"loop devices: {self.our_loops()}")
        for pid in self.our_processes():
            self.journal(f"process {pid}: {' '.join(self.command(pid))}")
        for folder, _, names in os.walk(self.run_dir):
            for name in names:
                text = ""
                if name.endswith((".json", ".log")):
                    with open(os.path.join(folder, name), errors="replace") as f:
                        text = " ".join(f.read().split())
                self.journal(f"{folder}/{name} {text}")

    def tail(self):
        with open(self.journal_path) as f:
            lines = f.readlines()
        last = next((n for n, line in enumerate(lines) if " WRONG " in line), len(lines))
        return "".join(lines[max(0, last - 30):last + 1])

    def keep(self):
        """The files for whoever looks; never its devices."""
        if OPTIONS.keep:
            saved = self.journal_path.replace(".journal", ".files")
            for part in ("storage", "xfs", "below", "state", "run", "export"):
                if os.path.isdir(os.path.join(self.dir, part)):
                    support.run("cp", "-a", "--sparse=always", os.path.join(self.dir, part), os.path.join(saved, part)) \
                        if os.path.isdir(saved) or not os.mkdir(saved) else None
            print(f"storm: files kept in {saved}", flush=True)


def main():
    global OPTIONS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("VBD_STORM_SEED", "0")), help="0: another one each time")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1000000)
    parser.add_argument("--steps", type=int, default=25, help="of each worker between two quiet points")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--keep", action="store_true", help="keep a copy of the files after a failure")
    OPTIONS = parser.parse_args()
    if support.SANITIZED:
        OPTIONS.rounds = min(OPTIONS.rounds, 2)
    OPTIONS.seed = OPTIONS.seed or random.SystemRandom().randrange(1, 1000000)

    def end(number, _frame):
        raise KeyboardInterrupt(f"signal {number}")  # so that everything is cleaned up
    signal.signal(signal.SIGTERM, end)
    unittest.main(argv=[sys.argv[0]], defaultTest="Storm", verbosity=1)


if __name__ == "__main__":
    main()
