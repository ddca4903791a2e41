// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>

#include "core/base/text.hpp"
#include "core/sys/bulk.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "manager/backup/ini.hpp"
#include "manager/backup/transfer.hpp"

namespace vbd::backup {
namespace {

/// Loads stretches with `read(to, length, offset)`, zeros between them.
template <class Read>
Result<void> load_stretches(const Part &part, unsigned char *to, const Read &read) {
  std::uint64_t filled = part.offset;
  const std::uint64_t end = part.offset + part.length;
  const auto zeros = [&](std::uint64_t until) {
    if (filled < until) std::memset(to + (filled - part.offset), 0, until - filled);
  };
  for (const Stretch &stretch : part.stored) {
    zeros(stretch.begin);
    Result<void> done = read(to + (stretch.begin - part.offset), stretch.end - stretch.begin, stretch.begin);
    if (!done) return done;
    filled = stretch.end;
  }
  zeros(end);
  return {};
}

class ImageSource final : public Source {
 public:
  explicit ImageSource(const image::OpenImage &image) : image_(image), stored_(image) {}

  Result<std::optional<Part>> next() override {
    VBD_TRY_ASSIGN(const auto stretch, stored_.from(at_));
    if (!stretch) return std::optional<Part>{};
    Part part;
    part.offset = std::max(stretch->begin, at_) / kPart * kPart;
    part.length = static_cast<std::size_t>(std::min(kPart, image_.size() - part.offset));
    VBD_TRY_ASSIGN(auto within, stored_.within(std::max(part.offset, at_), part.offset + part.length));
    for (const auto &one : within) part.stored.push_back({one.begin, one.end});
    at_ = part.offset + kPart;
    return std::optional(std::move(part));
  }
  Result<void> load(const Part &part, unsigned char *to) override {
    return load_stretches(part, to, [this](unsigned char *at, std::uint64_t length, std::uint64_t offset) {
      return image_.read(at, length, offset);
    });
  }
  [[nodiscard]] std::uint64_t length() const override { return image_.size(); }

 private:
  const image::OpenImage &image_;
  image::Stored stored_;
  std::uint64_t at_ = 0;
};

class FileSource final : public Source {
 public:
  FileSource(int fd, std::uint64_t size) : fd_(fd), size_(size) {}

  Result<std::optional<Part>> next() override {
    VBD_TRY(find_data(at_));
    if (data_.begin == data_.end) return std::optional<Part>{};
    Part part;
    part.offset = data_.begin / kPart * kPart;
    const std::uint64_t end = std::min(part.offset + kPart, size_);
    part.length = static_cast<std::size_t>(end - part.offset);
    while (data_.begin < data_.end && data_.begin < end) {
      part.stored.push_back({data_.begin, std::min(data_.end, end)});
      at_ = part.stored.back().end;
      if (auto found = find_data(at_); !found) return found.error();
    }
    return std::optional(std::move(part));
  }
  Result<void> load(const Part &part, unsigned char *to) override {
    return load_stretches(part, to, [this](unsigned char *at, std::uint64_t length, std::uint64_t offset) {
      auto got = sys::read_at(fd_, at, length, offset);
      if (!got) return Result<void>(got.error());
      if (*got == length) return Result<void>();
      return Result<void>(
          Error(kDamaged, text::cat("a dump became shorter than ", offset + length, " bytes")));
    });
  }
  [[nodiscard]] std::uint64_t length() const override { return size_; }

 private:
  /// data_ becomes what is stored from `offset` on; empty at the end.
  Result<void> find_data(std::uint64_t offset) {
    if (offset < data_.end) {
      data_.begin = std::max(data_.begin, offset);
      return {};
    }
    VBD_TRY_ASSIGN(auto found, sys::next_data(fd_, offset));
    data_ = {std::min(found.begin, size_), std::min(found.end, size_)};
    return {};
  }

  int fd_;
  std::uint64_t size_, at_ = 0;
  Stretch data_;
};

class PipeSource final : public Source {
 public:
  PipeSource(int fd, int size) : fd_(fd), size_(size) {}

  Result<std::optional<Part>> next() override {
    VBD_TRY(hear_size());
    Part part;
    part.bytes.resize(kPart);
    VBD_TRY_ASSIGN(auto got, sys::read_full(fd_, part.bytes.data(), part.bytes.size()));
    if (got == 0) return std::optional<Part>{};
    part.offset = length_;
    part.length = got;
    part.bytes.resize(got);
    length_ += got;
    return std::optional(std::move(part));
  }
  Result<void> load(const Part &part, unsigned char *to) override {
    std::memcpy(to, part.bytes.data(), part.bytes.size());
    return {};
  }
  [[nodiscard]] std::uint64_t length() const override { return length_; }
  [[nodiscard]] std::uint64_t expected() const override { return expected_; }

 private:
  /// Whatever comes is read, so that its writer never waits; the first line counts.
  Result<void> hear_size() {
    if (size_ < 0) return {};
    VBD_TRY_ASSIGN(auto said, sys::read_ready(size_));
    if (expected_ != 0) return {};
    said_.append(said, 0, kMostDigits + 1 - std::min(said_.size(), kMostDigits + 1));
    const std::size_t end = said_.find('\n');
    if (end == std::string::npos) return {};
    std::uint64_t bytes = 0;
    const auto [stop, error] = std::from_chars(said_.data(), said_.data() + end, bytes);
    if (error == std::errc{} && stop == said_.data() + end) expected_ = bytes;
    return {};
  }

  static constexpr std::size_t kMostDigits = 20;
  int fd_, size_;
  std::string said_;
  std::atomic<std::uint64_t> expected_{0};
  std::uint64_t length_ = 0;
};

}  // namespace

Result<std::uint64_t> stored_bytes(Source &source) {
  std::uint64_t sum = 0;
  for (;;) {
    VBD_TRY_ASSIGN(auto part, source.next());
    if (!part) return sum;
    if (part->stored.empty()) sum += part->length;
    for (const Stretch &stretch : part->stored) sum += stretch.end - stretch.begin;
  }
}

std::unique_ptr<Source> image_source(const image::OpenImage &image) {
  return std::make_unique<ImageSource>(image);
}

Result<std::unique_ptr<Source>> file_source(int fd) {
  VBD_TRY_ASSIGN(auto info, sys::file_info(fd));
  return std::unique_ptr<Source>(std::make_unique<FileSource>(fd, info.size));
}

std::unique_ptr<Source> pipe_source(int fd, int size) {
  return std::make_unique<PipeSource>(fd, size);
}

}  // namespace vbd::backup
