#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""stop --all and start --all: several instances at a time, under one time-out."""

import json
import os
import signal
import subprocess
import time

import support
from test_live import GUEST_PROFILE, Live

# It says when it was asked to end and when it did: a second later, or never when its name begins with "never".
GUEST = """\
#!/usr/bin/python3 -IS
import os, signal, sys, time
here = os.path.dirname(os.path.abspath(__file__))
[name] = [word[5:] for word in sys.argv if word.startswith("name=")]
def say(what):
    fd = os.open(here + "/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, ("%s %s %f\\n" % (name, what, time.monotonic())).encode())
    os.close(fd)
def end(*_):
    say("asked")
    if not name.startswith("never"):
        time.sleep(1)
        say("ended")
        os._exit(0)
signal.signal(signal.SIGUSR1, end)
say("up")
while True:
    signal.pause()
"""
PROFILE = GUEST_PROFILE + '  stop: [kill, -USR1, "{pid}"]\n'


class All(Live):
    profile, guest_script = PROFILE, GUEST

    def instances(self, *names):
        for name in names:
            self.add(name)
            self.vbd("instance", "start", name)

    def log(self, what):
        """{name: first time}"""
        times = {}
        with open(os.path.join(self.dir, "log")) as f:
            for name, said, at in map(str.split, f):
                if said == what:
                    times.setdefault(name, float(at))
        return times

    def begin(self, *words):
        process = subprocess.Popen(self.argv("instance", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=self.environment(), stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def wait_for(self, what, *names):
        for _ in range(1200):
            if os.path.exists(os.path.join(self.dir, "log")) and set(names) <= set(self.log(what)):
                return
            time.sleep(0.05)
        self.fail(f"{names}: not {what}")

    def assert_overlap(self, spans, least):
        """At some moment so many of the spans [(begin, end)] were open."""
        most = max(sum(a <= at < b for a, b in spans) for at, _ in spans)
        self.assertGreaterEqual(most, least)

    def test_twenty_stop_and_start_at_the_same_time(self):
        names = [f"web{i:02}" for i in range(20)]
        for name in names:  # as if they had run before the host went down
            self.add(name)
            with open(os.path.join(self.storage, name, "instance.yaml"), "a") as f:
                f.write("wanted: up\n")
        started = self.vbd("instance", "start", "--all", "--parallel", "6").stdout.splitlines()
        self.assertEqual(started, [f"instance {name}: running" for name in names])
        self.assertEqual(len(self.guests()), 20)
        done = self.vbd("instance", "stop", "--all", "--progress", "json")
        self.assertEqual(done.stdout.splitlines(), [f"instance {name}: stopped" for name in names])
        asked, ended = self.log("asked"), self.log("ended")
        self.assert_overlap([(asked[name], ended[name]) for name in names], 4)
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        self.assertGreaterEqual(len(lines), 1)
        for line in lines:
            self.assertEqual((line["operation"], line["total"]), ("stop", 20))
            self.assertLessEqual(set(line["waiting"]), set(names))
        self.assertLess(lines[0]["done"], 20)
        self.assert_nothing_left()

    def test_one_that_never_stops_does_not_hold_up_the_others(self):
        self.instances("a", "b", "never1", "z")
        done = self.vbd_json("instance", "stop", "--all", "--parallel", "1", "--timeout", "8", rc=1)["instances"]
        self.assertEqual([(i["name"], i["error"] and i["error"]["id"]) for i in done],
                         [("a", None), ("b", None), ("never1", "instance.still_running"), ("z", None)])
        self.assertEqual({n: s for n, (s, _) in self.states().items()},
                         {"a": "stopped", "b": "stopped", "never1": "running", "z": "stopped"})
        self.assertEqual(self.vbd("instance", "stop", "--all", "--force").stdout, "instance never1: stopped\n")
        self.assert_nothing_left()

    def test_interrupted_it_says_what_is_left(self):
        self.instances("a", "never1", "z")
        stop = self.begin("stop", "--all", "--parallel", "1", "--timeout", "600")
        self.wait_for("asked", "never1")
        stop.send_signal(signal.SIGINT)
        out, err = stop.communicate(timeout=60)
        self.assertEqual(stop.returncode, -signal.SIGINT)
        self.assertEqual(out, "instance a: stopped\n")
        self.assertIn("instance never1: it was asked to shut down and has not yet, when vbd was told to end", err)
        self.assertIn("instance z: not asked to shut down, for vbd was told to end before", err)
        self.assertEqual({n: s for n, (s, _) in self.states().items()}, {"a": "stopped", "never1": "running", "z": "running"})
        one = self.begin("stop", "never1")
        time.sleep(0.5)
        one.send_signal(signal.SIGTERM)
        self.assertIn("never1", one.communicate(timeout=60)[1])
        self.assertEqual(one.returncode, -signal.SIGTERM)
        self.assertEqual(self.states()["never1"][0], "running")
        self.vbd("instance", "stop", "--all", "--force")
        self.assert_nothing_left()

    def test_killed_in_the_middle_it_is_settled_by_the_next(self):
        self.instances("a", "b", "never1")
        stop = self.begin("stop", "--all", "--timeout", "600")
        self.wait_for("asked", "a", "b", "never1")
        stop.kill()
        stop.wait()
        for _ in range(200):  # its children go with it
            if len(self.our_processes()) == len(self.guests()):
                break
            time.sleep(0.05)
        self.assertEqual(len(self.our_processes()), len(self.guests()))
        self.wait_for("ended", "a", "b")
        self.vbd("instance", "stop", "--all", "--force")
        self.assertEqual({n: s for n, (s, _) in self.states().items()}, {"a": "stopped", "b": "stopped", "never1": "stopped"})
        self.assert_nothing_left()

    def test_words(self):
        self.instances("a", "b")
        for words in (("stop", "--parallel", "2", "a"), ("stop", "--all", "--parallel", "0"), ("start", "--timeout", "5", "a"),
                      ("stop", "--all", "--parallel", "257"), ("start", "--all", "--timeout", "0")):
            self.fails(2, "usage.value", "instance", *words)
        self.assertEqual(self.vbd("instance", "stop", "--all", "--dry-run").stdout, "stop a\nstop b\n")
        self.assertEqual(len(self.guests()), 2)
        self.vbd("instance", "stop", "--all", "--force", "--no-remember")
        with open(os.path.join(self.storage, "a", "sda"), "r+b") as f:
            f.truncate(4096)
        os.rename(os.path.join(self.storage, "b", "sda"), os.path.join(self.dir, "away"))
        done = self.vbd("instance", "start", "--all", rc=6)  # the worst of the two
        errors = [line for line in done.stderr.splitlines() if line.startswith("vbd: error")]
        self.assertEqual([e.split("[")[1].split("]")[0] for e in errors], ["image.truncated", "path.not_found"])
        self.assert_nothing_left()


if __name__ == "__main__":
    support.main()
