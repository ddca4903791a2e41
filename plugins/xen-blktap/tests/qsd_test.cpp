// SPDX-License-Identifier: MIT
// Back end qsd against the real qemu-storage-daemon, FUSE and loop devices.
#include <atomic>
#include <thread>

#include "live_bench.hpp"

using namespace blktap_test;

TEST_CASE("qsd: what the guest writes is in the image, for each format") {
  NEED_QSD("fd-blktap qsd formats");
  for (const char *format : {"qcow2", "qcow", "raw"}) {
    CAPTURE(std::string(format));
    LiveBench bench(format);
    REQUIRE_MESSAGE(bench.attach() == VBD_OK, bench.caller.error.text());
    const std::string node = bench.caller.node();
    CHECK(node.starts_with("/dev/loop"));
    CHECK(bench.caller.results.text("backend") == "qsd");
    CHECK(bench.caller.results.flag("locked"));
    CHECK(bench.caller.results.flag("direct_io"));
    CHECK(bench.caller.results.number("block_size") == 512);
    CHECK_FALSE(bench.caller.results.flag("read_only"));
    bench.write_at(node, std::string(4096, 'g'), 1 << 20);
    CHECK_MESSAGE(bench.detach() == VBD_OK, bench.caller.error.text());
    CHECK(bench.clean());
    std::string said;
    CHECK_MESSAGE(run_program({"qemu-io", "-r", "-f", format, "-c", "read -P 0x67 1048576 4096", bench.image},
                              &said) == 0,
                  said);
    CHECK_MESSAGE(said.find("Pattern verification failed") == std::string::npos, said);
    CHECK(bench.detach() == VBD_OK);
  }
}

TEST_CASE("qsd: the daemon holds the image's lock when the host has ended") {
  NEED_QSD("fd-blktap qsd lock");
  for (const char *format : {"qcow2", "raw"}) {
    LiveBench bench(format);
    REQUIRE_MESSAGE(bench.attach() == VBD_OK, bench.caller.error.text());
    bench.caller.fd.reset();
    std::string said;
    CHECK(run_program({"qemu-img", "resize", "-f", format, bench.image, "32M"}, &said) != 0);
    CHECK_MESSAGE(said.find("Failed to get") != std::string::npos, said);
    CHECK(bench.detach() == VBD_OK);
    CHECK(run_program({"qemu-img", "resize", "-q", "-f", format, bench.image, "32M"}) == 0);
  }
}

TEST_CASE("qsd: many writes in flight come out where they belong")  // see make_loop
{
  NEED_QSD("fd-blktap qsd overlapping writes");
  LiveBench bench("raw");
  for (int round = 0; round < 3; ++round) {
    REQUIRE_MESSAGE(bench.attach() == VBD_OK, bench.caller.error.text());
    std::vector<std::uint64_t> sectors(std::size_t{8} << 17);
    for (std::size_t i = 0; i < sectors.size(); ++i) sectors[i] = i / 64 + static_cast<std::size_t>(round);
    const auto bytes = static_cast<ssize_t>(sectors.size() * 8);
    {
      const UniqueFd node(::open(bench.caller.node().c_str(), O_WRONLY | O_CLOEXEC));
      REQUIRE(::pwrite(node.get(), sectors.data(), static_cast<std::size_t>(bytes), 0) == bytes);
      REQUIRE(::fsync(node.get()) == 0);
    }
    CHECK(bench.detach() == VBD_OK);
    std::vector<std::uint64_t> got(sectors.size());
    const UniqueFd file(::open(bench.image.c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(::pread(file.get(), got.data(), static_cast<std::size_t>(bytes), 0) == bytes);
    CHECK(got == sectors);
    bench.host.lock_image(bench.caller.fd.get());
  }
}

TEST_CASE("qsd: requests of an fsync between writes in flight harm none of them")  // see flush.cpp
{
  NEED_QSD("fd-blktap qsd flush among writes");
  for (const char *format : {"raw", "qcow2"}) {
    CAPTURE(std::string(format));
    LiveBench bench(format);
    REQUIRE_MESSAGE(bench.attach() == VBD_OK, bench.caller.error.text());
    std::vector<std::uint64_t> words(std::size_t{16} << 17);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = i;
    const auto bytes = words.size() * sizeof words[0];
    std::atomic<bool> done = false;
    std::thread flusher([&] {
      while (!done) {
        const UniqueFd file(::open(bench.fuse().c_str(), O_RDONLY | O_CLOEXEC));
        CHECK(::fsync(file.get()) == 0);
      }
    });
    const UniqueFd node(::open(bench.caller.node().c_str(), O_RDWR | O_CLOEXEC));
    CHECK(::pwrite(node.get(), words.data(), bytes, 0) == static_cast<ssize_t>(bytes));
    CHECK(::fsync(node.get()) == 0);
    done = true;
    flusher.join();
    std::vector<std::uint64_t> got(words.size());
    CHECK(::posix_fadvise(node.get(), 0, 0, POSIX_FADV_DONTNEED) == 0);
    CHECK(::pread(node.get(), got.data(), bytes, 0) == static_cast<ssize_t>(bytes));
    CHECK(got == words);
  }
}

TEST_CASE("qsd: data that no flush follows is in the image when the daemon dies") {
  NEED_QSD("fd-blktap qsd data without a flush");
  LiveBench bench;
  REQUIRE_MESSAGE(bench.attach() == VBD_OK, bench.caller.error.text());
  const blktap::QsdProcess process = bench.processes().at(0);
  const UniqueFd node(::open(bench.caller.node().c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
  void *block = nullptr;
  constexpr std::size_t kSize = std::size_t{8} << 20;
  REQUIRE(::posix_memalign(&block, 4096, kSize) == 0);
  std::memset(block, 'n', kSize);
  REQUIRE(::pwrite(node.get(), block, kSize, 0) == static_cast<ssize_t>(kSize));
  std::free(block);
  vbdkit::loop::pause_ms(6500);
  ::kill(static_cast<pid_t>(process.pid), SIGKILL);
  while (process_lives(process.pid, process.start_time)) vbdkit::loop::pause_ms(5);
  std::string said;
  CHECK(run_program({"qemu-io", "-r", "-U", "-f", "qcow2", "-c", "read -P 0x6e 0 8M", bench.image}, &said) ==
        0);
  CHECK_MESSAGE(said.find("Pattern verification failed") == std::string::npos, said);
}

TEST_CASE("qsd: the flusher ends with its daemon, its death harms nothing, attach starts it again") {
  NEED_QSD("fd-blktap qsd flusher");
  LiveBench bench;
  REQUIRE_MESSAGE(bench.attach() == VBD_OK, bench.caller.error.text());
  const auto flusher = [&] {
    const std::string directory = bench.scratch.path + "/record.qsd.flush.";
    return blktap::QsdProcess{
        std::strtoll(vbdkit::detail::read_text(directory + "pid").c_str(), nullptr, 10),
        std::strtoull(vbdkit::detail::read_text(directory + "start").c_str(), nullptr, 10)};
  };
  const blktap::QsdProcess first = flusher();
  REQUIRE(process_lives(first.pid, first.start_time));
  CHECK(bench.attach() == VBD_OK);
  CHECK(flusher().pid == first.pid);
  ::kill(static_cast<pid_t>(first.pid), SIGKILL);
  while (process_lives(first.pid, first.start_time)) vbdkit::loop::pause_ms(5);
  CHECK(bench.caller.query() == VBD_OK);
  CHECK(bench.caller.results.flag("attached"));
  CHECK(bench.attach() == VBD_OK);
  const blktap::QsdProcess second = flusher();
  CHECK(process_lives(second.pid, second.start_time));
  const blktap::QsdProcess daemon = bench.processes().at(0);
  ::kill(static_cast<pid_t>(daemon.pid), SIGKILL);
  for (int i = 0; i < 400 && process_lives(second.pid, second.start_time); ++i) vbdkit::loop::pause_ms(5);
  CHECK_FALSE(process_lives(second.pid, second.start_time));
  CHECK(bench.detach() == VBD_OK);
  CHECK(bench.clean());
}

TEST_CASE("qsd: read-only") {
  NEED_QSD("fd-blktap qsd read-only");
  LiveBench bench("qcow2", "sda", true);
  REQUIRE_MESSAGE(bench.attach(VBD_MUST_READONLY) == VBD_OK, bench.caller.error.text());
  CHECK(bench.caller.results.flag("read_only"));
  const UniqueFd node(::open(bench.caller.node().c_str(), O_RDWR | O_CLOEXEC));
  CHECK((!node || ::write(node.get(), "x", 1) < 0));
}

TEST_CASE("qsd: again gives the same node; another mode and a busy detach are refused") {
  NEED_QSD("fd-blktap qsd again");
  LiveBench bench;
  REQUIRE(bench.attach() == VBD_OK);
  const std::string node = bench.caller.node();
  CHECK(bench.attach() == VBD_OK);
  CHECK(bench.caller.node() == node);
  CHECK(bench.processes().size() == 1);
  CHECK(bench.attach(VBD_MUST_READONLY) == VBD_E_BUSY);
  CHECK(bench.caller.query() == VBD_OK);
  CHECK(bench.caller.results.flag("attached"));
  {
    const UniqueFd user(::open(node.c_str(), O_RDONLY | O_CLOEXEC));
    CHECK(bench.detach() == VBD_E_BUSY);
    CHECK(bench.caller.error.text().find("process") != std::string::npos);
    CHECK(bench.detach(VBD_MUST_DRY_RUN) == VBD_E_BUSY);
  }
  CHECK(bench.processes().size() == 1);
  CHECK(bench.detach() == VBD_OK);
  CHECK(bench.clean());
}

TEST_CASE("qsd: names that need care in its command line") {
  NEED_QSD("fd-blktap qsd names");
  for (const char *name : {"a,b=c", "a b", "json:{}", "q\"uote'", "\xff\xfe", "nbd://x"}) {
    CAPTURE(std::string(name));
    LiveBench bench;
    const std::string path =
        bench.scratch.path + "/" + std::string(name).substr(0, std::string(name).find('/'));
    REQUIRE(::rename(bench.image.c_str(), path.c_str()) == 0);
    bench.caller.image = path;
    REQUIRE_MESSAGE(bench.attach() == VBD_OK, bench.caller.error.text());
    CHECK(bench.detach() == VBD_OK);
    CHECK(bench.clean());
  }
}

TEST_CASE("qsd: the daemon died: broken, and detach as well as attach put it right") {
  NEED_QSD("fd-blktap qsd died");
  for (const bool again : {false, true}) {
    CAPTURE(again);
    LiveBench bench;
    REQUIRE(bench.attach() == VBD_OK);
    const blktap::QsdProcess process = bench.processes().at(0);
    ::kill(static_cast<pid_t>(process.pid), SIGKILL);
    while (process_lives(process.pid, process.start_time)) vbdkit::loop::pause_ms(5);
    vbdkit::loop::pause_ms(1200);  // the kernel believes the file's attributes for a second
    CHECK(bench.caller.query() == VBD_OK);
    CHECK_FALSE(bench.caller.results.flag("attached"));
    CHECK(bench.caller.results.text("broken").find("qemu-storage-daemon has ended") != std::string::npos);
    bench.host.lock_image(bench.caller.fd.get());
    if (again) {
      CHECK_MESSAGE(bench.attach() == VBD_OK, bench.caller.error.text());
      CHECK(bench.loops().size() == 1);
    }
    CHECK_MESSAGE(bench.detach() == VBD_OK, bench.caller.error.text());
    CHECK(bench.clean());
  }
}

TEST_CASE("qsd: the loop device was taken away: broken, attach puts it right") {
  NEED_QSD("fd-blktap qsd loop gone");
  LiveBench bench;
  REQUIRE(bench.attach() == VBD_OK);
  {
    const UniqueFd node(::open(bench.caller.node().c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(::ioctl(node.get(), LOOP_CLR_FD) == 0);
  }
  CHECK(bench.caller.query() == VBD_OK);
  CHECK(bench.caller.results.text("broken").find("gone") != std::string::npos);
  bench.host.lock_image(bench.caller.fd.get());
  CHECK(bench.attach() == VBD_OK);
  CHECK(bench.detach() == VBD_OK);
  CHECK(bench.clean());
}

TEST_CASE("qsd: an image that somebody else has locked is busy, and all is undone") {
  NEED_QSD("fd-blktap qsd locked");
  LiveBench bench;
  const UniqueFd other(::open(bench.image.c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock = {};
  lock.l_type = F_RDLCK;
  lock.l_start = 201;
  lock.l_len = 1;
  REQUIRE(::fcntl(other.get(), F_OFD_SETLK, &lock) == 0);
  CHECK(bench.attach() == VBD_E_BUSY);
  CHECK_MESSAGE(bench.caller.error.text().find("lock") != std::string::npos, bench.caller.error.text());
  CHECK(bench.clean());
  CHECK(bench.host.locked());
}

TEST_CASE("qsd: whether it was a lock that ended the daemon is not read from its English") {
  NEED_QSD("fd-blktap qsd died");
  LiveBench bench("qcow2");
  REQUIRE(::truncate(bench.image.c_str(), 16) == 0);  // no header any more, and no lock
  CHECK(bench.attach() == VBD_E_IO);
  CHECK(bench.clean());
}

TEST_CASE("qsd: another loop device on the image is named") {
  NEED_QSD("fd-blktap qsd foreign");
  LiveBench bench("raw");
  const vbdkit::loop::Wanted wanted{bench.caller.fd.get(), "somebody else", 512, false, false};
  vbdkit::loop::Device other;
  REQUIRE(vbdkit::loop::attach(wanted, other, nullptr) == VBD_OK);
  CHECK(bench.attach() == VBD_E_BUSY);
  CHECK(bench.caller.error.text().find(other.node) != std::string::npos);
  int flush_error = 0;
  CHECK(vbdkit::loop::clear(other, flush_error, nullptr) == VBD_OK);
}

TEST_CASE("qsd: a backing file that slipped in is not opened") {
  NEED_QSD("fd-blktap qsd backing");
  LiveBench bench;
  bench.caller.fd.reset();
  const std::string base = bench.scratch.path + "/base";
  LiveBench::make_image(base, "raw");
  REQUIRE(run_program({"qemu-io", "-f", "raw", "-c", "write -P 0x73 0 65536", base}) == 0);
  REQUIRE(run_program(
              {"qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", base, bench.image}) == 0);
  bench.caller.fd.reset(::open(bench.image.c_str(), O_RDWR | O_CLOEXEC));
  bench.host.lock_image(bench.caller.fd.get());
  REQUIRE(bench.attach() == VBD_OK);
  char byte = 'x';
  const UniqueFd node(::open(bench.caller.node().c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(::pread(node.get(), &byte, 1, 0) == 1);
  CHECK(byte == '\0');
}

TEST_CASE("qsd: what it can't do is said") {
  LiveHost host("/nonexistent");
  Scratch scratch;
  Caller no_tap(host.host(), scratch.path + "/a", {}, "vbdkit-test");
  CHECK(no_tap.attach(kBackendQsd) == VBD_E_NOTSUP);
  Caller no_qemu(host.host(), scratch.path + "/b", {{"tap", "toy"}}, "vbdkit-test");
  CHECK(no_qemu.attach(kBackendQsd) == VBD_E_NOTSUP);
  Caller odd(host.host(), scratch.path + "/c", {{"tap", "aio"}, {"qemu", "raw\",\"x"}}, "vbdkit-test");
  CHECK(odd.attach(kBackendQsd) == VBD_E_NOTSUP);
  CHECK(odd.attach(kBackendQsd, 1u << 30) == VBD_E_NOTSUP);
}
