// SPDX-License-Identifier: MIT
#include "core/sys/locks.hpp"

#include <optional>

#include "core/sys/run.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using std::chrono::milliseconds;
using test::OtherProcess;
using test::Scratch;

namespace {

Fd open_rw(const std::string &path) {
  return Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
}
Fd open_ro(const std::string &path) {
  return Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

bool have_qemu() {
  return ::access("/usr/bin/qemu-img", X_OK) == 0 && ::access("/usr/bin/qemu-io", X_OK) == 0;
}

/// qemu-io with the image open, waiting for commands on its stdin.
class QemuIo {
 public:
  QemuIo(const std::string &path, const char *format, bool read_only) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    process_.emplace([&] {
      ::dup2(ends[0], 0);
      const int null = ::open("/dev/null", O_WRONLY);
      ::dup2(null, 1);
      ::execl("/usr/bin/qemu-io", "qemu-io", "-f", format, path.c_str(), read_only ? "-r" : nullptr, nullptr);
      return false;
    });
    ::close(ends[0]);
    commands_.reset(ends[1]);
  }
  [[nodiscard]] pid_t pid() const { return process_->pid(); }

 private:
  Fd commands_;
  std::optional<OtherProcess> process_;
};

Result<RunResult> run(std::vector<std::string> argv) {
  RunSpec spec;
  spec.argv = std::move(argv);
  return make_real_runner()->run(spec);
}

}  // namespace

TEST_CASE("the operation lock excludes others and names them") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  std::optional<OperationLock> kept;
  OtherProcess holder([&] {
    auto lock = OperationLock::acquire(directory.get(), scratch.path(), milliseconds(0));
    if (lock) kept.emplace(std::move(*lock));
    return lock.ok();
  });
  REQUIRE(holder.ready);
  const auto start = std::chrono::steady_clock::now();
  const auto lock = OperationLock::acquire(directory.get(), scratch.path(), milliseconds(200));
  CHECK(std::chrono::steady_clock::now() - start >= milliseconds(200));
  REQUIRE_FALSE(lock);
  CHECK(lock.error().is(kLocked));
  CHECK(lock.error().exit() == Exit::busy);
  CHECK(lock.error().message().find("process " + std::to_string(holder.pid())) != std::string::npos);
  holder.kill();
  CHECK(OperationLock::acquire(directory.get(), scratch.path(), milliseconds(0)).ok());
  CHECK((file_info_at(directory.get(), ".vbdkit.lock")->mode & 0777) == 0600);
}

TEST_CASE("the operation lock is taken as soon as it is free") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  std::optional<Result<OperationLock>> first(
      OperationLock::acquire(directory.get(), scratch.path(), milliseconds(0)));
  REQUIRE(first->ok());
  CHECK_FALSE(
      OperationLock::acquire(directory.get(), scratch.path(), milliseconds(0)).ok());  // also within us
  std::thread release([&] {
    std::this_thread::sleep_for(milliseconds(100));
    first.reset();
  });
  CHECK(OperationLock::acquire(directory.get(), scratch.path(), milliseconds(5000)).ok());
  release.join();
}

TEST_CASE("a lock file that is a link or no file is refused") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  scratch.file("victim", "x");
  REQUIRE(::symlink("victim", (scratch / ".vbdkit.lock").c_str()) == 0);
  CHECK(OperationLock::acquire(directory.get(), scratch.path(), milliseconds(0)).error().is(kSymlink));
  REQUIRE(::unlink((scratch / ".vbdkit.lock").c_str()) == 0);
  REQUIRE(::mkfifo((scratch / ".vbdkit.lock").c_str(), 0600) == 0);
  CHECK(OperationLock::acquire(directory.get(), scratch.path(), milliseconds(0)).error().is(kNotRegular));
}

TEST_CASE("image lock modes agree as a matrix") {
  using Mode = ImageLockMode;
  const Scratch scratch;
  const std::string path = scratch.file("sda", "x");
  const auto conflict = [&](Mode held, Mode wanted) {
    const Fd a = open_ro(path), b = open_ro(path);
    REQUIRE(lock_image(a.get(), held, path));
    const auto answer = image_lock_conflicts(b.get(), wanted);
    REQUIRE(answer);
    return *answer;
  };
  CHECK_FALSE(conflict(Mode::inspect, Mode::inspect));
  CHECK_FALSE(conflict(Mode::inspect, Mode::stable));
  CHECK_FALSE(conflict(Mode::stable, Mode::inspect));
  CHECK_FALSE(conflict(Mode::stable, Mode::stable));
  CHECK(conflict(Mode::exclusive, Mode::inspect));
  CHECK(conflict(Mode::exclusive, Mode::stable));
  CHECK(conflict(Mode::exclusive, Mode::exclusive));
  CHECK(conflict(Mode::inspect, Mode::exclusive));
  CHECK(conflict(Mode::stable, Mode::exclusive));
}

TEST_CASE("a refused lock leaves what was held, and names the holder") {
  const Scratch scratch;
  const std::string path = scratch.file("sda", "x");
  std::optional<Fd> kept;
  OtherProcess reader([&] {
    kept.emplace(open_ro(path));
    return lock_image(kept->get(), ImageLockMode::inspect, path).ok();
  });
  REQUIRE(reader.ready);
  const Fd fd = open_rw(path);
  REQUIRE(lock_image(fd.get(), ImageLockMode::stable, path));
  const auto refused = lock_image(fd.get(), ImageLockMode::exclusive, path);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().is(kInUse));
  CHECK(refused.error().message().find("process " + std::to_string(reader.pid())) != std::string::npos);
  CHECK(*image_lock_conflicts(open_ro(path).get(), ImageLockMode::exclusive));  // stable is still held
  reader.kill();
  CHECK(lock_image(fd.get(), ImageLockMode::exclusive, path));
  CHECK(*image_lock_conflicts(open_ro(path).get(), ImageLockMode::inspect));
  CHECK(lock_image(fd.get(), ImageLockMode::inspect, path));  // downwards
  CHECK_FALSE(*image_lock_conflicts(open_ro(path).get(), ImageLockMode::stable));
  CHECK(unlock_image(fd.get()));
  CHECK_FALSE(*image_lock_conflicts(open_ro(path).get(), ImageLockMode::exclusive));
}

TEST_CASE("a lock lives in the open file description") {
  const Scratch scratch;
  const std::string path = scratch.file("sda", "x");
  Fd fd = open_rw(path);
  const Fd copy(::dup(fd.get()));
  REQUIRE(lock_image(fd.get(), ImageLockMode::exclusive, path));
  fd.reset();
  CHECK(*image_lock_conflicts(open_ro(path).get(), ImageLockMode::inspect));
}

TEST_CASE("of many starters at once exactly one gets an exclusive lock") {
  const Scratch scratch;
  const std::string path = scratch.file("sda", "x");
  for (int round = 0; round < 2; ++round) {
    std::vector<Fd> fds(4);
    std::vector<int> won(fds.size(), 0);
    std::vector<std::thread> starters;
    for (std::size_t i = 0; i < fds.size(); ++i) {
      fds[i] = open_rw(path);
      starters.emplace_back(
          [&, i] { won[i] = lock_image(fds[i].get(), ImageLockMode::exclusive, path).ok() ? 1 : 0; });
    }
    for (std::thread &starter : starters) starter.join();
    int winners = 0;
    for (const int each : won) winners += each;
    CHECK(winners == 1);
  }
}

TEST_CASE("QEMU is refused while we hold an image") {
  VBD_REQUIRE_OR_SKIP(have_qemu(), "qemu_respects_us", "needs qemu-img and qemu-io");
  const Scratch scratch;
  const std::string path = scratch.sparse_file("sda", 1 << 20);
  const Fd fd = open_ro(path);
  REQUIRE(lock_image(fd.get(), ImageLockMode::exclusive, path));
  const auto read = run({"qemu-io", "-r", "-f", "raw", "-c", "read 0 512", path});
  REQUIRE(read);
  CHECK(read->exit_status == 1);
  CHECK(read->last_lines.find("lock") != std::string::npos);
  CHECK(run({"qemu-img", "info", "-U", "-f", "raw", path})->exit_status == 0);
  REQUIRE(lock_image(fd.get(), ImageLockMode::stable, path));
  CHECK(run({"qemu-io", "-r", "-f", "raw", "-c", "read 0 512", path})->exit_status == 0);
  CHECK(run({"qemu-io", "-f", "raw", "-c", "write 0 512", path})->exit_status == 1);
  CHECK(run({"qemu-img", "resize", "-f", "raw", path, "2M"})->exit_status == 1);
  REQUIRE(lock_image(fd.get(), ImageLockMode::inspect, path));
  CHECK(run({"qemu-io", "-f", "raw", "-c", "write 0 512", path})->exit_status == 0);
}

TEST_CASE("we are refused while QEMU holds an image") {
  VBD_REQUIRE_OR_SKIP(have_qemu(), "we_respect_qemu", "needs qemu-img and qemu-io");
  const Scratch scratch;
  const std::string path = scratch / "sda";
  REQUIRE(run({"qemu-img", "create", "-q", "-f", "vdi", path, "1M"})->exit_status == 0);
  const Fd fd = open_ro(path);
  const FileId id = file_info(fd.get())->id;
  {
    const QemuIo writer(path, "vdi", false);
    REQUIRE(test::eventually([&] { return *image_lock_conflicts(fd.get(), ImageLockMode::stable); }));
    const auto refused = lock_image(fd.get(), ImageLockMode::exclusive, path);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("(qemu-io)") != std::string::npos);
    CHECK_FALSE(lock_image(fd.get(), ImageLockMode::stable, path).ok());
    CHECK(lock_image(fd.get(), ImageLockMode::inspect, path));  // beside a running guest
    CHECK(*process_locks_image(writer.pid(), id));
    CHECK_FALSE(*process_locks_image(::getpid(), id));
  }
  const QemuIo reader(path, "vdi", true);
  REQUIRE(test::eventually([&] { return *image_lock_conflicts(fd.get(), ImageLockMode::exclusive); }));
  CHECK(lock_image(fd.get(), ImageLockMode::stable, path));
  CHECK_FALSE(lock_image(fd.get(), ImageLockMode::exclusive, path).ok());
  CHECK_FALSE(*process_locks_image(reader.pid(), id));
  CHECK(*process_locks_image(reader.pid(), id, ImageLockMode::stable));
}
