// SPDX-License-Identifier: MIT
#include <algorithm>
#include <mutex>

#include "core/sys/bulk.hpp"
#include "core/sys/move.hpp"
#include "manager/backup/transfer.hpp"

namespace vbd::backup {
namespace {

using Bytes = std::vector<unsigned char>;
constexpr std::size_t kWorthSpace = 65536;

class FileSink final : public Sink {
 public:
  FileSink(int fd, std::uint64_t size) : fd_(fd), size_(size) {}

  Result<Bytes> encode(const Part &part, const unsigned char *bytes, const Pages &pages) override {
    for (std::size_t i = 0; i < pages.size();) {
      std::size_t last = i;
      while (last < pages.size() && pages[last] == pages[i]) ++last;
      const std::size_t begin = i * kPage, end = std::min(last * kPage, part.length);
      if (pages[i]) {
        if (auto written = write(bytes + begin, part.offset + begin, end - begin); !written)
          return written.error();
      }
      i = last;
    }
    return Bytes{};
  }
  Result<void> take(std::uint64_t offset, std::size_t length, Bytes) override {
    sys::start_writing(fd_, offset, length);  // so that the sync at the end finds less to do
    return {};
  }
  Result<void> finish(std::uint64_t length) override {
    return sys::set_size(fd_, size_ == 0 ? length : size_);
  }

 private:
  /// One at a time: writers of one file wait for each other anyhow, and spin while they do. Space that is
  /// allocated before costs less than space that is found one block after the other.
  Result<void> write(const unsigned char *bytes, std::uint64_t offset, std::size_t length) {
    const std::lock_guard<std::mutex> alone(mutex_);
    if (allocates_ && length >= kWorthSpace) {
      VBD_TRY_ASSIGN(const auto made, sys::allocate_at(fd_, "the dump", offset, length));
      allocates_ = made;
    }
    return sys::write_at(fd_, bytes, length, offset);
  }

  int fd_;
  std::uint64_t size_;
  std::mutex mutex_;
  bool allocates_ = true;
};

class PipeSink final : public Sink {
 public:
  explicit PipeSink(int fd) : fd_(fd) {}

  Result<Bytes> encode(const Part &part, const unsigned char *bytes, const Pages &) override {
    return Bytes(bytes, bytes + part.length);
  }
  Result<void> take(std::uint64_t offset, std::size_t length, Bytes encoded) override {
    VBD_TRY(fill_to(offset));
    filled_ = offset + length;
    return write(encoded.data(), encoded.size());
  }
  Result<void> finish(std::uint64_t length) override { return fill_to(length); }

 private:
  Result<void> fill_to(std::uint64_t offset) {
    const Bytes zeros(filled_ < offset ? kPart : 0);
    while (filled_ < offset) {
      const std::uint64_t length = std::min(kPart, offset - filled_);
      VBD_TRY(write(zeros.data(), length));
      filled_ += length;
    }
    return {};
  }
  Result<void> write(const unsigned char *bytes, std::size_t length) {
    if (!wanted_) return {};
    VBD_TRY_ASSIGN(auto all, sys::write_to_reader(fd_, bytes, length));
    wanted_ = all;
    return {};
  }
  int fd_;
  std::uint64_t filled_ = 0;
  bool wanted_ = true;
};

class NoSink final : public Sink {
 public:
  Result<Bytes> encode(const Part &, const unsigned char *, const Pages &) override { return Bytes{}; }
  Result<void> take(std::uint64_t, std::size_t, Bytes) override { return {}; }
  Result<void> finish(std::uint64_t) override { return {}; }
};

}  // namespace

std::unique_ptr<Sink> file_sink(int fd, std::uint64_t size) {
  return std::make_unique<FileSink>(fd, size);
}
std::unique_ptr<Sink> pipe_sink(int fd) {
  return std::make_unique<PipeSink>(fd);
}
std::unique_ptr<Sink> no_sink() {
  return std::make_unique<NoSink>();
}

}  // namespace vbd::backup
