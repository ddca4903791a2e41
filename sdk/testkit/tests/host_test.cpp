// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include <vbdkit/plugin.hpp>

#include "sdk/testkit/host.hpp"
#include "sdk/testkit/plugin.hpp"

using namespace vbdkit::testkit;

namespace {

std::int32_t run(const vbd_host *host, std::vector<const char *> argv, ErrorBox &error, std::string &out,
                 int &exit) {
  argv.push_back(nullptr);
  char text[64] = "";
  vbd_run_args args = {};
  args.size = sizeof args;
  args.argv = argv.data();
  args.out = text;
  args.out_cap = sizeof text;
  const auto *ext = vbdkit::extension<vbd_ext_run>(host, VBD_EXT_RUN);
  const std::int32_t status = ext->run(host->ctx, &args, error.get());
  out = text;
  exit = args.exit_status;
  return status;
}

}  // namespace

TEST_CASE("runs are played back in order and noted") {
  ScriptedHost host;
  host.expect_run({{"losetup", "-f"}, "/dev/loop7\n", 0, VBD_OK, {}});
  host.expect_run({{"losetup", "*", "/img"}, "", 1, VBD_OK, {}});
  ErrorBox error;
  std::string out;
  int exit = -1;
  CHECK(run(host.host(), {"losetup", "-f"}, error, out, exit) == VBD_OK);
  CHECK(out == "/dev/loop7\n");
  CHECK(host.problems() == "not used: run losetup * /img\n");
  CHECK(run(host.host(), {"losetup", "/dev/loop7", "/img"}, error, out, exit) == VBD_OK);
  CHECK(exit == 1);
  CHECK(host.problems().empty());
  CHECK(run(host.host(), {"rm", "-rf"}, error, out, exit) == VBD_E_MISSING);
  CHECK(error.text() == "not scripted: rm -rf");
  CHECK(host.problems() == "not scripted: run rm -rf\n");
  CHECK(host.journal() ==
        std::vector<std::string>{"run losetup -f", "run losetup /dev/loop7 /img", "run rm -rf"});
}

TEST_CASE("a spawned process lives until it is stopped, and only under its start time") {
  ScriptedHost host;
  bool socket_made = false;
  host.expect_spawn({"qemu-storage-daemon", "*"}, 42, VBD_OK, [&] { socket_made = true; });
  const char *argv[] = {"qemu-storage-daemon", "--x", nullptr};
  vbd_spawn_args args = {};
  args.size = sizeof args;
  args.argv = argv;
  ErrorBox error;
  const auto *ext = vbdkit::extension<vbd_ext_spawn>(host.host(), VBD_EXT_SPAWN);
  void *ctx = host.host()->ctx;
  REQUIRE(ext->spawn(ctx, &args, error.get()) == VBD_OK);
  CHECK(socket_made);
  CHECK(args.pid == 42);
  CHECK(ext->alive(ctx, 42, args.start_time) == VBD_OK);
  CHECK(ext->alive(ctx, 42, args.start_time + 1) == VBD_E_NOENT);
  CHECK(ext->stop(ctx, 42, args.start_time, 0, error.get()) == VBD_OK);
  CHECK(ext->alive(ctx, 42, args.start_time) == VBD_E_NOENT);
}

TEST_CASE("state is kept, and a cut leaves what was put before it") {
  ScriptedHost host;
  const auto *ext = vbdkit::extension<vbd_ext_state>(host.host(), VBD_EXT_STATE);
  void *ctx = host.host()->ctx;
  ErrorBox error;
  CHECK(ext->get(ctx, "node") == nullptr);
  host.cut_after(1);
  CHECK(ext->put(ctx, "node", "/dev/loop7", error.get()) == VBD_OK);
  CHECK(ext->put(ctx, "pid", "1", error.get()) == VBD_E_INTERNAL);
  host.no_cut();
  CHECK(std::string(ext->get(ctx, "node")) == "/dev/loop7");
  CHECK(host.state.size() == 1);
  CHECK(ext->put(ctx, "node", nullptr, error.get()) == VBD_OK);
  CHECK(host.state.empty());
}

TEST_CASE("the lock is handed over and back") {
  ScriptedHost host;
  const auto *ext = vbdkit::extension<vbd_ext_lock>(host.host(), VBD_EXT_LOCK);
  void *ctx = host.host()->ctx;
  ErrorBox error;
  REQUIRE(ext->release(ctx, error.get()) == VBD_OK);
  CHECK(ext->held_by(ctx, 42, error.get()) == VBD_E_NOENT);
  host.lock_holder = 42;
  CHECK(ext->held_by(ctx, 42, error.get()) == VBD_OK);
  CHECK(ext->held_by(ctx, 43, error.get()) == VBD_E_BUSY);
  CHECK(ext->restore(ctx, error.get()) == VBD_E_BUSY);
  host.lock_holder = 0;
  CHECK(ext->restore(ctx, error.get()) == VBD_OK);
  CHECK(host.lock_held);
}

TEST_CASE("extensions can be missing, progress can be cancelled, logs are kept") {
  ScriptedHost host;
  host.without(VBD_EXT_RUN);
  const vbd_host *raw = host.host();
  CHECK(vbdkit::extension<vbd_ext_run>(raw, VBD_EXT_RUN) == nullptr);
  CHECK(vbdkit::extension<vbd_ext_run>(raw, "com.example.unknown/1") == nullptr);
  host.cancel_at(2);
  CHECK(raw->progress(raw->ctx, 1, 10) == 0);
  CHECK(raw->progress(raw->ctx, 2, 10) == 1);
  raw->log(raw->ctx, VBD_LOG_WARN, "look here");
  CHECK(host.log() == std::vector<std::string>{"warn: look here"});
}

TEST_CASE("results replace repeated keys and can refuse") {
  Results results;
  vbd_sink *sink = results.sink();
  CHECK(sink->put_u64(sink->ctx, "a", 1) == VBD_OK);
  CHECK(sink->put_u64(sink->ctx, "a", 2) == VBD_OK);
  CHECK(sink->put_str(sink->ctx, "b", "x") == VBD_OK);
  CHECK(sink->put_bool(sink->ctx, "c", 7) == VBD_OK);
  CHECK(results.number("a") == 2);
  CHECK(results.text("b") == "x");
  CHECK(results.flag("c"));
  CHECK(results.all().size() == 3);
  CHECK_FALSE(results.has("d"));
  results.refuse(VBD_E_CANCELLED);
  CHECK(sink->put_bool(sink->ctx, "d", 1) == VBD_E_CANCELLED);
}
