// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "sdk/testkit/files.hpp"
#include "sdk/testkit/random.hpp"

using namespace vbdkit::testkit;

namespace {

std::string text(const vbd_file *file, std::uint64_t length, std::uint64_t offset) {
  std::string to(length, '?');
  const auto n = file->read(file->ctx, to.data(), length, offset);
  to.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return to;
}

/// What every vbd_file promises, whatever is behind it.
void keeps_the_contract(const vbd_file *file) {
  CHECK(text(file, 10, 0).empty());
  REQUIRE(file->write(file->ctx, "abcdef", 6, 100) == 6);
  std::uint64_t size = 0;
  REQUIRE(file->get_size(file->ctx, &size) == 0);
  CHECK(size == 106);
  CHECK(text(file, 10, 100) == "abcdef");
  CHECK(text(file, 3, 98) == std::string("\0\0a", 3));
  CHECK(text(file, 3, 106).empty());
  CHECK(file->punch(file->ctx, 102, 2) == 0);
  CHECK(text(file, 6, 100) == std::string("ab\0\0ef", 6));
  REQUIRE(file->truncate(file->ctx, 1u << 20) == 0);
  std::uint64_t length = 0;
  std::uint32_t hole = 9;
  REQUIRE(file->map(file->ctx, 0, &length, &hole) == 0);
  CHECK(hole == 0);
  CHECK(length >= 106);
  CHECK(file->map(file->ctx, 1u << 20, &length, &hole) == -ENXIO);
  REQUIRE(file->truncate(file->ctx, 102) == 0);
  REQUIRE(file->truncate(file->ctx, 106) == 0);
  CHECK(text(file, 6, 100) == std::string("ab\0\0\0\0", 6));
  CHECK(file->sync(file->ctx) == 0);
}

struct TemporaryFile {
  std::FILE *stream = std::tmpfile();
  TemporaryFile() = default;
  TemporaryFile(const TemporaryFile &) = delete;
  ~TemporaryFile() { std::fclose(stream); }
  [[nodiscard]] int fd() const { return ::fileno(stream); }
};

}  // namespace

TEST_CASE("a file in memory keeps the contract") {
  MemoryFile memory;
  keeps_the_contract(memory.file());
}

TEST_CASE("a real file keeps the contract") {
  const TemporaryFile temporary;
  FdFile real(temporary.fd());
  keeps_the_contract(real.file());
}

TEST_CASE("sparse bytes equal a plain array under random changes") {
  constexpr std::uint64_t kSize = 64 * 1024;
  Random random(7);
  SparseBytes sparse;
  std::vector<unsigned char> plain;
  for (int i = 0; i < 4000; ++i) {
    const std::uint64_t offset = random.below(kSize), length = random.between(1, 9000);
    if (random.chance(10)) {
      sparse.resize(offset);
      plain.resize(offset);
    } else if (random.chance(3)) {
      sparse.punch(offset, length);
      for (std::uint64_t at = offset; at < plain.size() && at < offset + length; ++at) plain[at] = 0;
    } else if (random.chance(8)) {
      sparse.allocate(offset, length);
      plain.resize(std::max<std::size_t>(plain.size(), offset + length));
    } else {
      const std::vector<unsigned char> data(length, static_cast<unsigned char>(random.next()));
      sparse.write(data.data(), length, offset);
      plain.resize(std::max<std::size_t>(plain.size(), offset + length));
      std::memcpy(plain.data() + offset, data.data(), length);
    }
    REQUIRE(sparse.bytes() == plain);
    REQUIRE(sparse == SparseBytes::of(plain));
  }
}

TEST_CASE("copies of sparse bytes do not share later changes") {
  SparseBytes one;
  one.write("abc", 3, 0);
  const SparseBytes two = one;
  one.write("x", 1, 1);
  CHECK(two.bytes() == std::vector<unsigned char>{'a', 'b', 'c'});
  CHECK(one.bytes() == std::vector<unsigned char>{'a', 'x', 'c'});
  CHECK_FALSE(one == two);
}

TEST_CASE("sparse bytes tell holes from data, and a hole equals zeros") {
  SparseBytes sparse;
  sparse.resize(std::uint64_t{1} << 44);
  sparse.write("abc", 3, 1u << 20);
  bool hole = false;
  CHECK(sparse.extent(0, hole) == 1u << 20);
  CHECK(hole);
  CHECK(sparse.extent(1u << 20, hole) == SparseBytes::kPage);
  CHECK_FALSE(hole);
  CHECK(sparse.allocated() == SparseBytes::kPage);
  SparseBytes stored = sparse;
  stored.allocate(0, 100);
  CHECK(stored == sparse);
}

TEST_CASE("a read-only file refuses to change, and limits give the errors of a filesystem") {
  MemoryFile fixed(SparseBytes::of({1, 2, 3}), VBD_FILE_READONLY);
  const vbd_file *file = fixed.file();
  CHECK(file->write(file->ctx, "x", 1, 0) == -EBADF);
  CHECK(file->truncate(file->ctx, 0) == -EBADF);
  CHECK(file->allocate(file->ctx, 0, 1) == -EBADF);
  CHECK(file->punch(file->ctx, 0, 1) == -EBADF);

  MemoryFile small;
  small.limit_size(10000);
  small.limit_space(4096);
  file = small.file();
  CHECK(file->truncate(file->ctx, 10001) == -EFBIG);
  CHECK(file->write(file->ctx, "x", 1, 10000) == -EFBIG);
  CHECK(file->write(file->ctx, "x", 1, 0) == 1);
  CHECK(file->write(file->ctx, "x", 1, 5000) == -ENOSPC);
  CHECK(file->write(file->ctx, "x", 1, 100) == 1);
  CHECK(file->allocate(file->ctx, 4096, 1) == -ENOSPC);
  small.set_simple(true);
  CHECK(file->allocate(file->ctx, 0, 1) == -EOPNOTSUPP);
}

TEST_CASE("a counting file counts calls and bytes by kind") {
  MemoryFile memory;
  CountingFile counting(memory.file());
  const vbd_file *file = counting.file();
  file->write(file->ctx, "abcdef", 6, 0);
  CHECK(text(file, 100, 2) == "cdef");
  file->sync(file->ctx);
  CHECK(counting.count(Call::write).calls == 1);
  CHECK(counting.count(Call::write).bytes == 6);
  CHECK(counting.count(Call::read).bytes == 4);
  CHECK(counting.count(Call::sync).calls == 1);
  CHECK(counting.all_calls() == 3);
  counting.reset();
  CHECK(counting.all_calls() == 0);
}
