// SPDX-License-Identifier: MIT
#include "core/sys/host_file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

namespace {

struct Scratch {
  Scratch() {
    std::string name = "/var/tmp/vbdkit-file.XXXXXX";
    fd = vbd::sys::Fd(::mkostemp(name.data(), O_CLOEXEC));
    path = name;
    REQUIRE(fd);
  }
  ~Scratch() { ::unlink(path.c_str()); }
  vbd::sys::Fd fd;
  std::string path;
};

std::uint64_t blocks(int fd) {
  struct stat st {};
  REQUIRE(::fstat(fd, &st) == 0);
  return static_cast<std::uint64_t>(st.st_blocks);
}

}  // namespace

TEST_CASE("host file: reads what it wrote, short only at the end, never padded") {
  Scratch scratch;
  const vbd::sys::HostFile host(scratch.fd.get());
  const vbd_file *file = host.file();
  const std::string text = "vbdkit";
  REQUIRE(file->write(file->ctx, text.data(), text.size(), 1000) == 6);
  std::uint64_t size = 0;
  REQUIRE(file->get_size(file->ctx, &size) == 0);
  CHECK(size == 1006);
  char buf[32];
  std::memset(buf, 'x', sizeof buf);
  CHECK(file->read(file->ctx, buf, sizeof buf, 1000) == 6);
  CHECK(std::string(buf, 7) == "vbdkitx");
  CHECK(file->read(file->ctx, buf, sizeof buf, 1006) == 0);
  CHECK(file->read(file->ctx, buf, sizeof buf, 1u << 30) == 0);
  CHECK(file->read(file->ctx, buf, 8, ~std::uint64_t{0}) == -EINVAL);
  CHECK(file->write(file->ctx, buf, 8, ~std::uint64_t{0} - 4) == -EFBIG);
  CHECK(file->truncate(file->ctx, ~std::uint64_t{0}) == -EFBIG);
}

TEST_CASE("host file: map tells holes from data; punch gives space back and reads zero") {
  Scratch scratch;
  const vbd::sys::HostFile host(scratch.fd.get());
  const vbd_file *file = host.file();
  constexpr std::uint64_t kMiB = 1 << 20;
  const std::vector<char> data(kMiB, 'd');
  REQUIRE(file->truncate(file->ctx, 4 * kMiB) == 0);
  REQUIRE(file->write(file->ctx, data.data(), kMiB, kMiB) == static_cast<std::int64_t>(kMiB));
  REQUIRE(file->sync(file->ctx) == 0);

  std::uint64_t len = 0;
  std::uint32_t hole = 9;
  REQUIRE(file->map(file->ctx, 0, &len, &hole) == 0);
  CHECK(hole == 1);
  CHECK(len == kMiB);
  REQUIRE(file->map(file->ctx, kMiB + 512, &len, &hole) == 0);
  CHECK(hole == 0);
  CHECK(len == kMiB - 512);
  REQUIRE(file->map(file->ctx, 2 * kMiB, &len, &hole) == 0);
  CHECK(hole == 1);
  CHECK(len == 2 * kMiB);
  CHECK(file->map(file->ctx, 4 * kMiB, &len, &hole) == -ENXIO);

  const std::uint64_t before = blocks(scratch.fd.get());
  REQUIRE(file->punch(file->ctx, kMiB, 8 * kMiB) == 0);
  CHECK(blocks(scratch.fd.get()) < before);
  std::uint64_t size = 0;
  REQUIRE(file->get_size(file->ctx, &size) == 0);
  CHECK(size == 4 * kMiB);
  char byte = 'x';
  REQUIRE(file->read(file->ctx, &byte, 1, kMiB + 7) == 1);
  CHECK(byte == 0);
  REQUIRE(file->allocate(file->ctx, 4 * kMiB, kMiB) == 0);
  REQUIRE(file->get_size(file->ctx, &size) == 0);
  CHECK(size == 5 * kMiB);
}

TEST_CASE("host file: a read-only one changes nothing, whatever the descriptor may do") {
  Scratch scratch;
  const vbd::sys::HostFile host(scratch.fd.get(), VBD_FILE_READONLY);
  const vbd_file *file = host.file();
  CHECK(file->write(file->ctx, "x", 1, 0) == -EBADF);
  CHECK(file->truncate(file->ctx, 10) == -EBADF);
  CHECK(file->allocate(file->ctx, 0, 10) == -EBADF);
  CHECK(file->punch(file->ctx, 0, 10) == -EBADF);
  CHECK((file->flags & VBD_FILE_READONLY) != 0);
  std::uint64_t size = 9;
  REQUIRE(file->get_size(file->ctx, &size) == 0);
  CHECK(size == 0);
}
