#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A test program that leaves something behind fails, whatever its tests say."""

import os
import re
import signal
import subprocess
import sys
import textwrap

import support

HERE = os.path.dirname(os.path.abspath(__file__))


class Leftovers(support.Sandbox):
    def program(self, body):
        text = textwrap.dedent("""
            import os, subprocess, sys
            sys.path.insert(0, sys.argv.pop())
            import support
            class Leaky(support.Sandbox):
                def _clean(self):
                    print(self.dir)
                def test(self):
                    {}
            support.main()
            """).format(body)
        done = subprocess.run([sys.executable, "-c", text, HERE], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL)
        sandbox = done.stdout.strip()
        self.assertTrue(os.path.basename(sandbox).startswith("vbdkit-test."), done)
        self.addCleanup(support.run, "rm", "-rf", sandbox)
        return done, sandbox

    def test_a_leaking_test_fails(self):
        done, sandbox = self.program("pass")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"LEFT BEHIND: directory {sandbox}\n", done.stderr)

    def test_a_process_that_is_left_is_named(self):
        done, _ = self.program(
            "subprocess.Popen([self.dir + '/x', '100'], executable='/bin/sleep', stdout=subprocess.DEVNULL, "
            "stderr=subprocess.DEVNULL)")
        self.assertEqual(done.returncode, 1, done.stderr)
        left = re.search(r"LEFT BEHIND: process (\d+): ", done.stderr)
        self.assertTrue(left, done.stderr)
        os.kill(int(left.group(1)), signal.SIGKILL)

    def test_a_loop_device_that_is_left_is_named(self):
        if not support.can_make_loops():
            support.skip(self.id(), "needs root and loop devices")
        done, sandbox = self.program("f = self.dir + '/image'; open(f, 'wb').truncate(1 << 20); "
                                     "subprocess.run(['losetup', '-f', f], check=True)")
        self.assertEqual(done.returncode, 1, done.stderr)
        nodes = [node for node, path in support.loop_list() if path.startswith(sandbox)]
        for node in nodes:
            support.run("losetup", "-d", node)
        self.assertEqual(len(nodes), 1, done.stderr)
        self.assertIn(f"LEFT BEHIND: loop device {nodes[0]} on {sandbox}/image", done.stderr)


if __name__ == "__main__":
    support.main()
