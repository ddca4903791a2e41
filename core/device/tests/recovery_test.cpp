// SPDX-License-Identifier: MIT
// What is found after files moved, records were lost, or a command was killed before any of its system calls.
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <functional>

#include "core/device/record.hpp"
#include "core/device/record_json.hpp"
#include "core/device/tests/device_bench.hpp"

using namespace vbd;
using test::DeviceBench;

namespace {

device::Record only_record(const DeviceBench &bench) {
  const auto records = device::Records(bench.settings.run_dir).all(true);
  REQUIRE(records.ok());
  REQUIRE(records->size() == 1);
  return records->front();
}

/// System calls that change something outside the process, as far as attach and detach make them.
bool changes(const user_regs_struct &regs) {
  switch (regs.orig_rax) {
    case SYS_openat:
      return (regs.rdx & O_CREAT) != 0;
    case SYS_open:
      return (regs.rsi & O_CREAT) != 0;
    case SYS_write:
    case SYS_pwrite64:
    case SYS_rename:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_unlink:
    case SYS_unlinkat:
    case SYS_mkdir:
    case SYS_mkdirat:
    case SYS_rmdir:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_ftruncate:
    case SYS_fallocate:
    case SYS_linkat:
    case SYS_fchmod:
    case SYS_fchown:
    case SYS_mknod:
    case SYS_mknodat:
      return true;
    case SYS_ioctl:
      return regs.rsi != LOOP_GET_STATUS64 && (regs.rsi >> 8) == 0x4c;  // the loop driver's own, linux/loop.h
    case SYS_fcntl:
      return regs.rsi == F_OFD_SETLK || regs.rsi == F_OFD_SETLKW;
    default:
      return false;
  }
}

bool at_entry(pid_t child) {
  __ptrace_syscall_info info{};
  ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info);
  return info.op == PTRACE_SYSCALL_INFO_ENTRY;
}

enum class Ended { killed, completed, untraceable };

/// Runs `body` in a child that is killed before its `nth` changing system call.
Ended run_until(int nth, const std::function<void()> &body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(99);
    ::raise(SIGSTOP);
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFSTOPPED(status)) return Ended::untraceable;
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  int seen = 0;
  while (true) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status) || WIFSIGNALED(status)) return Ended::completed;
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
    if (at_entry(child)) {
      user_regs_struct regs{};
      ::ptrace(PTRACE_GETREGS, child, nullptr, &regs);
      if (changes(regs) && ++seen == nth) {
        ::kill(child, SIGKILL);
        while (::waitpid(child, &status, 0) == child && !WIFSIGNALED(status) && !WIFEXITED(status)) {
        }
        return Ended::killed;
      }
    }
  }
}

/// The file of the one record; a spare lies beside it.
std::string record_file(const DeviceBench &bench) {
  for (const std::string &file : bench.run_files()) {
    if (file.ends_with(".json")) return file;
  }
  FAIL("no record");
  return {};
}

}  // namespace

#if defined(__x86_64__)
TEST_CASE(
    "recovery: attach killed before any changing system call is repaired by the next attach or detach") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach killed");
  bench.make_raw("sda", 8 << 20);
  (void)bench.registry->load(test::constant("FD_LOOP"));
  int n = 1;
  for (; n < 400; ++n) {
    CAPTURE(n);
    const Ended ended = run_until(n, [&] { (void)bench.attach("sda"); });
    if (ended == Ended::untraceable) {
      VBD_REQUIRE_OR_SKIP(false, "attach killed", "no ptrace");
    }
    const auto seen = device::query(bench.context(), bench.id("sda"));
    REQUIRE_MESSAGE(seen.ok(), seen.error().message());
    if (n % 2 == 0) {  // half of them go on with attach, half with detach
      auto attached = bench.attach("sda");
      REQUIRE_MESSAGE(attached.ok(), attached.error().message());
      REQUIRE(bench.status("sda").state == device::Status::State::attached);
    }
    const auto detached = bench.detach("sda");
    REQUIRE_MESSAGE(detached.ok(), detached.error().message());
    REQUIRE(bench.loops_of("sda") == 0);
    const auto swept = device::scan(bench.context(), true);
    REQUIRE(swept.ok());
    REQUIRE(bench.run_files().empty());
    REQUIRE(device::scan(bench.context(), false)->empty());
    if (ended == Ended::completed) break;
  }
  CHECK(n > 10);
  CHECK(n < 400);
}

TEST_CASE("recovery: attach and detach through a helper process killed before changing system calls") {
  DeviceBench bench;
  NEED_DEVICES(bench, "helper killed");
  VBD_REQUIRE_OR_SKIP(
      bench.run({"qemu-storage-daemon", "--version"}) == 0 && ::access("/dev/fuse", R_OK | W_OK) == 0,
      "helper killed", "needs qemu-storage-daemon and /dev/fuse");
  REQUIRE(bench.run({"qemu-img", "create", "-q", "-f", "qcow2", bench.image("sda"), "8M"}) == 0);
  const LogicalId id = bench.id("sda", "FD_BLKTAP", "FT_QCOW");
  const device::AttachSpec spec{id, "cli", false, {{"backend", "qsd"}}, 512, false};
  const auto context = bench.context();
  (void)bench.registry->load(id.driver);
  (void)bench.registry->load(id.filetype);
  const int step = std::getenv("VBD_SOAK") != nullptr ? 1 : 17;  // every call takes minutes
  for (const bool attaching : {true, false}) {
    Ended ended = Ended::killed;
    for (int n = 1; n < 600 && ended == Ended::killed; n += step) {
      CAPTURE(attaching);
      CAPTURE(n);
      if (!attaching) REQUIRE(device::attach(context, spec).ok());
      ended = run_until(n, [&] {
        if (attaching) {
          (void)device::attach(context, spec).ok();
        } else {
          (void)device::detach(context, id, "cli").ok();
        }
      });
      if (ended == Ended::untraceable) {
        VBD_REQUIRE_OR_SKIP(false, "helper killed", "no ptrace");
      }
      const auto seen = device::query(context, id);
      REQUIRE_MESSAGE(seen.ok(), seen.error().message());
      if (n % 2 == 0) {
        const auto attached = device::attach(context, spec);
        REQUIRE_MESSAGE(attached.ok(), attached.error().message());
      }
      const auto detached = device::detach(context, id, "cli");
      REQUIRE_MESSAGE(detached.ok(), detached.error().message());
      REQUIRE(device::scan(context, true).ok());
      REQUIRE(bench.run_files().empty());
      REQUIRE_FALSE(sys::find_usage(DeviceBench::file_id(bench.image("sda")))->any());
    }
    CHECK(ended == Ended::completed);
  }
}

TEST_CASE(
    "recovery: detach killed before any changing system call is finished by the next detach or undone by "
    "attach") {
  DeviceBench bench;
  NEED_DEVICES(bench, "detach killed");
  bench.make_raw("sda", 8 << 20);
  int n = 1;
  for (; n < 400; ++n) {
    CAPTURE(n);
    REQUIRE(bench.attach("sda").ok());
    const Ended ended = run_until(n, [&] { (void)bench.detach("sda"); });
    if (ended == Ended::untraceable) {
      VBD_REQUIRE_OR_SKIP(false, "detach killed", "no ptrace");
    }
    const auto seen = device::query(bench.context(), bench.id("sda"));
    REQUIRE_MESSAGE(seen.ok(), seen.error().message());
    if (n % 2 == 0) {
      auto attached = bench.attach("sda");
      REQUIRE_MESSAGE(attached.ok(), attached.error().message());
    } else if (n % 3 == 0) {  // somebody else may come in when the holder has left
      auto other = bench.attach("sda", "instance:web");
      if (other.ok()) REQUIRE(bench.detach("sda", "instance:web").ok());
    }
    const auto detached = bench.detach("sda");
    REQUIRE_MESSAGE(detached.ok(), detached.error().message());
    REQUIRE(bench.loops_of("sda") == 0);
    REQUIRE(device::scan(bench.context(), true).ok());
    REQUIRE(bench.run_files().empty());
    if (ended == Ended::completed) break;
  }
  CHECK(n > 5);
  CHECK(n < 400);
}
#endif

TEST_CASE("recovery: a lost run directory is rebuilt from the device's tag") {
  DeviceBench bench;
  NEED_DEVICES(bench, "lost records");
  bench.make_raw("sda", 8 << 20);
  const auto attached = bench.attach("sda");
  REQUIRE(attached.ok());
  test::fs::remove_all(bench.settings.run_dir);
  const auto status = bench.status("sda");
  CHECK(status.state == device::Status::State::attached);
  CHECK(status.attachment.node == attached->node);
  CHECK_FALSE(device::holders_of(bench.context(), bench.id("sda"))->empty());
  SUBCASE("attach takes it over") {
    const auto again = bench.attach("sda");
    REQUIRE_MESSAGE(again.ok(), again.error().message());
    CHECK(again->node == attached->node);
  }
  SUBCASE("detach finds it") {}
  REQUIRE(bench.detach("sda").ok());
  CHECK(bench.loops_of("sda") == 0);
  CHECK(bench.run_files().empty());
}

TEST_CASE("recovery: detach works when the image was renamed, deleted or replaced meanwhile") {
  DeviceBench bench;
  NEED_DEVICES(bench, "image moved");
  bench.make_raw("sda", 8 << 20);
  const auto attached = bench.attach("sda");
  REQUIRE(attached.ok());
  SUBCASE("renamed: found under both names") {
    test::fs::rename(bench.image("sda"), bench.image("sdb"));
    CHECK(bench.status("sdb").attachment.node == attached->node);
  }
  SUBCASE("deleted") {
    test::fs::remove(bench.image("sda"));
  }
  SUBCASE("replaced: the new file can't be attached beside the old one") {
    bench.make_raw("new", 8 << 20);
    test::fs::rename(bench.image("new"), bench.image("sda"));
    const auto other = bench.attach("sda");
    REQUIRE_FALSE(other.ok());
    CHECK(other.error().is(device::kHeldByOther));
  }
  const auto detached = bench.detach("sda");
  REQUIRE_MESSAGE(detached.ok(), detached.error().message());
  const auto loops = sys::loop_devices();
  REQUIRE(loops.ok());
  for (const auto &loop : *loops) CHECK(loop.node != attached->node);
  CHECK(bench.run_files().empty());
}

TEST_CASE("recovery: a device that somebody else cleared is reported, and attach makes it anew") {
  DeviceBench bench;
  NEED_DEVICES(bench, "device gone");
  bench.make_raw("sda", 8 << 20);
  const auto attached = bench.attach("sda");
  REQUIRE(attached.ok());
  DeviceBench::clear(attached->node);
  const auto status = bench.status("sda");
  CHECK(status.state == device::Status::State::broken);
  CHECK(status.reason.find(attached->node) != std::string::npos);
  const auto found = device::scan(bench.context(), false);
  REQUIRE(found.ok());
  REQUIRE(found->size() == 1);
  CHECK(found->front().image == bench.image("sda"));
  SUBCASE("attach") {
    const auto again = bench.attach("sda", "instance:web");
    REQUIRE_MESSAGE(again.ok(), again.error().message());
    CHECK(again->holders == std::vector<std::string>{"instance:web"});
    CHECK(bench.detach("sda", "instance:web").ok());
  }
  SUBCASE("scan") {
    const auto repaired = device::scan(bench.context(), true);
    REQUIRE(repaired.ok());
    CHECK(repaired->front().repaired);
  }
  CHECK(bench.run_files().empty());
}

TEST_CASE("recovery: a record of an earlier boot counts as none") {
  DeviceBench bench;
  NEED_DEVICES(bench, "stale record");
  bench.make_raw("sda", 8 << 20);
  REQUIRE(bench.attach("sda", "instance:old").ok());
  const device::Record record = only_record(bench);
  DeviceBench::clear(record.node);
  const std::string file = record_file(bench);
  std::string text = test::slurp(file);
  text.replace(text.find(record.boot_id), record.boot_id.size(), std::string(record.boot_id.size(), '0'));
  test::spill(file, text);
  CHECK(bench.status("sda").state == device::Status::State::detached);
  CHECK(device::scan(bench.context(), false)->size() == 1);
  const auto attached = bench.attach("sda");
  REQUIRE_MESSAGE(attached.ok(), attached.error().message());
  REQUIRE(bench.detach("sda").ok());
  CHECK(bench.run_files().empty());
}

TEST_CASE("recovery: a damaged record is an error that names the file") {
  DeviceBench bench;
  NEED_DEVICES(bench, "damaged record");
  bench.make_raw("sda", 8 << 20);
  REQUIRE(bench.attach("sda").ok());
  const std::string file = record_file(bench);
  test::spill(file, "{\"schema\": \"vbdkit.attachment/1\"}");
  const auto status = device::query(bench.context(), bench.id("sda"));
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().is(device::kBadRecord));
  CHECK(status.error().message().find(file) != std::string::npos);
  test::fs::remove(file);
  CHECK(bench.detach("sda").ok());
}

TEST_CASE("a record with a block size that no device has is refused") {
  device::Record record;
  record.image = "/srv/a";
  for (const std::uint32_t size : {512u, 4096u}) {
    record.block_size = size;
    const auto read = device::parse_record_json(device::write_record_json(record), "1-2.json");
    REQUIRE(read.ok());
    CHECK(read->block_size == size);
  }
  std::string text = device::write_record_json(record);
  const auto at = text.find("4096");
  REQUIRE(at != std::string::npos);
  for (const char *bad : {"0", "511", "768", "131072", "4294967808"}) {
    std::string changed = text;
    const auto read = device::parse_record_json(changed.replace(at, 4, bad), "1-2.json");
    REQUIRE_FALSE(read.ok());
    CHECK(read.error().is(device::kBadRecord));
  }
}
