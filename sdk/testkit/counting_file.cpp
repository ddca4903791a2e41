// SPDX-License-Identifier: MIT
#include "files.hpp"

namespace vbdkit::testkit {

struct CountingFile::Functions {
  static const vbd_file *under(void *ctx) { return static_cast<CountingFile *>(ctx)->under_; }
  static void note(void *ctx, Call call, std::int64_t bytes) {
    Counter &counter = static_cast<CountingFile *>(ctx)->counters_[static_cast<std::size_t>(call)];
    ++counter.calls;
    if (bytes > 0) counter.bytes += static_cast<std::uint64_t>(bytes);
  }

  static std::int64_t read(void *ctx, void *to, std::uint64_t length, std::uint64_t offset) noexcept {
    const std::int64_t n = under(ctx)->read(under(ctx)->ctx, to, length, offset);
    note(ctx, Call::read, n);
    return n;
  }
  static std::int64_t write(void *ctx, const void *from, std::uint64_t length,
                            std::uint64_t offset) noexcept {
    const std::int64_t n = under(ctx)->write(under(ctx)->ctx, from, length, offset);
    note(ctx, Call::write, n);
    return n;
  }
  static std::int32_t get_size(void *ctx, std::uint64_t *bytes) noexcept {
    note(ctx, Call::get_size, 0);
    return under(ctx)->get_size(under(ctx)->ctx, bytes);
  }
  static std::int32_t truncate(void *ctx, std::uint64_t bytes) noexcept {
    note(ctx, Call::truncate, 0);
    return under(ctx)->truncate(under(ctx)->ctx, bytes);
  }
  static std::int32_t allocate(void *ctx, std::uint64_t offset, std::uint64_t length) noexcept {
    note(ctx, Call::allocate, static_cast<std::int64_t>(length));
    return under(ctx)->allocate(under(ctx)->ctx, offset, length);
  }
  static std::int32_t punch(void *ctx, std::uint64_t offset, std::uint64_t length) noexcept {
    note(ctx, Call::punch, static_cast<std::int64_t>(length));
    return under(ctx)->punch(under(ctx)->ctx, offset, length);
  }
  static std::int32_t map(void *ctx, std::uint64_t offset, std::uint64_t *length,
                          std::uint32_t *is_hole) noexcept {
    note(ctx, Call::map, 0);
    return under(ctx)->map(under(ctx)->ctx, offset, length, is_hole);
  }
  static std::int32_t sync(void *ctx) noexcept {
    note(ctx, Call::sync, 0);
    return under(ctx)->sync(under(ctx)->ctx);
  }
};

CountingFile::CountingFile(const vbd_file *under)
    : under_(under), file_{sizeof(vbd_file),    under->flags,        this,
                           Functions::read,     Functions::write,    Functions::get_size,
                           Functions::truncate, Functions::allocate, Functions::punch,
                           Functions::map,      Functions::sync} {}

CountingFile::Count CountingFile::count(Call call) const {
  const Counter &counter = counters_[static_cast<std::size_t>(call)];
  return {counter.calls.load(), counter.bytes.load()};
}

std::uint64_t CountingFile::all_calls() const {
  std::uint64_t sum = 0;
  for (const Counter &counter : counters_) sum += counter.calls.load();
  return sum;
}

void CountingFile::reset() {
  for (Counter &counter : counters_) {
    counter.calls = 0;
    counter.bytes = 0;
  }
}

}  // namespace vbdkit::testkit
