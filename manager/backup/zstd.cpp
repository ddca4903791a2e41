// SPDX-License-Identifier: MIT
// Dumps as zstd frames (RFC 8878): one for each part of 1 MiB, so that all processors work on one dump and a
// part of zeros is known by its frame without unpacking it. The only place that sees libzstd beside the
// plugins.
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "core/base/text.hpp"
#include "core/sys/bulk.hpp"
#include "core/sys/components.hpp"
#include "manager/backup/ini.hpp"
#include "manager/backup/transfer.hpp"

namespace vbd::backup {
namespace {

using text::cat;
using Bytes = std::vector<unsigned char>;

constexpr int kLevel = 3;  // zstd's own default

Result<Bytes> packed(const unsigned char *bytes, std::size_t length) {
  Bytes out(ZSTD_compressBound(length));
  const std::size_t size = ZSTD_compress(out.data(), out.size(), bytes, length, kLevel);
  if (ZSTD_isError(size) != 0) return Error(sys::kIo, cat("zstd: ", ZSTD_getErrorName(size)));
  out.resize(size);
  return out;
}

Result<Bytes> packed_zeros(std::size_t length) {
  const Bytes zeros(length);
  return packed(zeros.data(), zeros.size());
}

class ZstdSink final : public Sink {
 public:
  explicit ZstdSink(int fd) : fd_(fd) {}

  Result<Bytes> encode(const Part &part, const unsigned char *bytes, const Pages &) override {
    return packed(bytes, part.length);
  }
  Result<void> take(std::uint64_t offset, std::size_t length, Bytes encoded) override {
    VBD_TRY(fill_to(offset));
    filled_ = offset + length;
    return append(encoded);
  }
  Result<void> finish(std::uint64_t length) override { return fill_to(length); }

 private:
  Result<void> append(const Bytes &bytes) {
    VBD_TRY(sys::write_at(fd_, bytes.data(), bytes.size(), at_));
    sys::start_writing(fd_, at_, bytes.size());
    at_ += bytes.size();
    return {};
  }
  Result<void> fill_to(std::uint64_t offset) {
    if (filled_ < offset && zeros_.empty()) {
      auto zeros = packed_zeros(kPart);
      if (!zeros) return zeros.error();
      zeros_ = *std::move(zeros);
    }
    for (; offset - filled_ >= kPart; filled_ += kPart) {
      if (auto added = append(zeros_); !added) return added;
    }
    if (filled_ == offset) return {};
    VBD_TRY_ASSIGN(auto rest, packed_zeros(static_cast<std::size_t>(offset - filled_)));
    filled_ = offset;
    return append(rest);
  }

  int fd_;
  std::uint64_t filled_ = 0, at_ = 0;
  Bytes zeros_;
};

class ZstdSource final : public Source {
 public:
  ZstdSource(int fd, std::uint64_t length, std::string name)
      : fd_(fd), length_(length), name_(std::move(name)), buffer_(4 * kPart) {}

  Result<std::optional<Part>> next() override {
    if (zeros_.empty()) {
      auto zeros = packed_zeros(kPart);
      if (!zeros) return zeros.error();
      zeros_ = *std::move(zeros);
    }
    for (;;) {
      VBD_TRY(fill());
      if (used_ == end_) return at_end();
      auto part = take_frame();
      if (!part) return part.error();
      if (part->bytes != zeros_) return std::optional(*std::move(part));
    }
  }
  Result<void> load(const Part &part, unsigned char *to) override {
    const std::size_t size = ZSTD_decompress(to, part.length, part.bytes.data(), part.bytes.size());
    if (ZSTD_isError(size) != 0) return bad(part.offset, ZSTD_getErrorName(size));
    if (size != part.length) return bad(part.offset, "a frame of another length than it says");
    return {};
  }
  [[nodiscard]] std::uint64_t length() const override { return length_; }

 private:
  [[nodiscard]] Error bad(std::uint64_t offset, std::string_view why) const {
    return {kDamaged, cat(name_, ": zstd at ", offset, ": ", why)};
  }

  Result<std::optional<Part>> at_end() {
    if (at_ == length_) return std::optional<Part>{};
    return Error(kDamaged, cat(name_, ": ends after ", at_, " of ", length_, " bytes"));
  }

  /// buffer_ holds a whole frame, or all that there is.
  Result<void> fill() {
    if (over_ || end_ - used_ >= ZSTD_compressBound(kPart)) return {};
    if (used_ > 0) std::memmove(buffer_.data(), buffer_.data() + used_, end_ - used_);
    end_ -= used_;
    used_ = 0;
    VBD_TRY_ASSIGN(auto got, sys::read_at(fd_, buffer_.data() + end_, buffer_.size() - end_, read_));
    read_ += got;
    end_ += got;
    over_ = end_ < buffer_.size();
    return {};
  }

  Result<Part> take_frame() {
    const unsigned char *frame = buffer_.data() + used_;
    const std::size_t size = ZSTD_findFrameCompressedSize(frame, end_ - used_);
    if (ZSTD_isError(size) != 0) return bad(at_, ZSTD_getErrorName(size));
    const unsigned long long content = ZSTD_getFrameContentSize(frame, end_ - used_);
    if (content != std::min<std::uint64_t>(kPart, length_ - at_) || content == 0)
      return bad(at_, "not a frame of ours, or more than the export says");
    Part part;
    part.offset = at_;
    part.length = static_cast<std::size_t>(content);
    part.bytes.assign(frame, frame + size);
    at_ += content;
    used_ += size;
    return part;
  }

  int fd_;
  std::uint64_t length_, at_ = 0;
  std::uint64_t read_ = 0;  // of the file: another source may be reading it too
  std::string name_;
  Bytes buffer_, zeros_;
  std::size_t used_ = 0, end_ = 0;  // of buffer_: what is not taken yet
  bool over_ = false;
};

}  // namespace

std::unique_ptr<Sink> zstd_sink(int fd) {
  return std::make_unique<ZstdSink>(fd);
}

std::unique_ptr<Source> zstd_source(int fd, std::uint64_t length, std::string name) {
  return std::make_unique<ZstdSource>(fd, length, std::move(name));
}

}  // namespace vbd::backup
