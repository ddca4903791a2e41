// SPDX-License-Identifier: MIT
#include "core/image/digest.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "core/base/text.hpp"
#include "core/image/buffer.hpp"
#include "core/image/digest_tree.hpp"
#include "core/image/in_order.hpp"
#include "core/image/pieces.hpp"
#include "core/image/read_ahead.hpp"

namespace vbd::image {
namespace {

constexpr unsigned kLeaves = 16;  ///< blocks that a thread works on at once
constexpr std::uint64_t kSpan = kLeaves * kDigestBlock;
struct Span {
  std::uint64_t begin = 0;
  std::vector<Stored::Stretch> stored;
};
struct Leaves {
  std::uint64_t first = 0;
  std::array<Sha256, kLeaves> digests{};
  std::uint32_t present = 0;  ///< bit by leaf: holds anything but zeros
};

class Digester final : public InOrder<Span, Leaves> {
 public:
  Digester(const OpenImage &image, const BlockVisitor &visit, const Watch &watch)
      : image_(image), visit_(visit), watch_(watch), stored_(image), ahead_(image) {}

  Result<ImageDigest> digest() {
    VBD_TRY(run(image_.parallel_read() ? all_processors() : 1));
    result_.root = tree_.root(image_.size());
    return result_;
  }

 private:
  class Hasher;
  Result<std::optional<Span>> next() override;
  std::unique_ptr<Worker> worker() override;
  Result<void> take(Leaves leaves) override;

  const OpenImage &image_;
  const BlockVisitor &visit_;
  const Watch &watch_;
  Stored stored_;
  ReadAhead ahead_;
  std::uint64_t at_ = 0;
  DigestTree tree_;
  ImageDigest result_;
};

Result<std::optional<Span>> Digester::next() {
  if (stopped(watch_, std::min(at_, image_.size()), image_.size())) return cancelled("digest");
  VBD_TRY_ASSIGN(const auto stretch, stored_.from(at_));
  if (!stretch) return std::optional<Span>{};
  Span span;
  span.begin = std::max(stretch->begin, at_) / kSpan * kSpan;
  auto stored = stored_.within(std::max(span.begin, at_), span.begin + kSpan);
  if (!stored) return stored.error();
  span.stored = *std::move(stored);
  ahead_.reach(span.begin);
  at_ = span.begin + kSpan;
  return std::optional<Span>(std::move(span));
}

/// Block by block, so that the bytes are still in the processor's cache when they are hashed.
class Digester::Hasher final : public Worker {
 public:
  explicit Hasher(const OpenImage &image) : image_(image), block_(kDigestBlock) {}

  Result<Leaves> work(const Span &span) override {
    Leaves leaves{span.begin / kDigestBlock, {}, 0};
    auto stretch = span.stored.begin();
    for (unsigned i = 0; i < kLeaves; ++i) {
      const std::uint64_t begin = span.begin + i * kDigestBlock, end = begin + kDigestBlock;
      while (stretch != span.stored.end() && stretch->end <= begin) ++stretch;
      if (stretch == span.stored.end()) break;
      if (stretch->begin >= end) continue;
      VBD_TRY(read(span, begin, stretch));
      if (all_zero(block_.data(), kDigestBlock)) continue;
      leaves.digests[i] = sha256(block_.data(), kDigestBlock);
      leaves.present |= 1u << i;
    }
    return leaves;
  }

 private:
  /// The block at `begin`, from the first stretch in it on, with zeros around what is stored.
  Result<void> read(const Span &span, std::uint64_t begin,
                    std::vector<Stored::Stretch>::const_iterator from) {
    std::uint64_t filled = begin;
    const std::uint64_t block_end = begin + kDigestBlock;
    for (; from != span.stored.end() && from->begin < block_end; ++from) {
      const std::uint64_t at = std::max(from->begin, begin), end = std::min(from->end, block_end);
      std::memset(block_.data() + (filled - begin), 0, at - filled);
      VBD_TRY(image_.read(block_.data() + (at - begin), end - at, at));
      filled = end;
    }
    std::memset(block_.data() + (filled - begin), 0, block_end - filled);
    return {};
  }

  const OpenImage &image_;
  Buffer block_;
};

std::unique_ptr<Digester::Worker> Digester::worker() {
  return std::make_unique<Hasher>(image_);
}

Result<void> Digester::take(Leaves leaves) {
  for (unsigned i = 0; i < kLeaves; ++i) {
    if ((leaves.present >> i & 1) == 0) continue;
    tree_.add(leaves.first + i, leaves.digests[i]);
    ++result_.blocks;
    if (!visit_) continue;
    if (auto done = visit_(leaves.first + i, leaves.digests[i]); !done) return done;
  }
  return {};
}

}  // namespace

Result<ImageDigest> digest(const OpenImage &image, const BlockVisitor &visit, const Watch &watch) {
  return Digester(image, visit, watch).digest();
}

}  // namespace vbd::image
