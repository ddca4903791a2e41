// SPDX-License-Identifier: MIT
#include "core/image/digest.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "core/base/text.hpp"
#include "core/image/digest_tree.hpp"
#include "core/image/in_order.hpp"
#include "core/image/pieces.hpp"

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
  Digester(const OpenImage &image, const BlockVisitor &visit)
      : image_(image), visit_(visit), stored_(image) {}

  Result<ImageDigest> digest() {
    if (auto done = run(all_processors()); !done) return done.error();
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
  Stored stored_;
  std::uint64_t at_ = 0;
  DigestTree tree_;
  ImageDigest result_;
};

Result<std::optional<Span>> Digester::next() {
  const auto stretch = stored_.from(at_);
  if (!stretch) return stretch.error();
  if (!*stretch) return std::optional<Span>{};
  Span span;
  span.begin = std::max((*stretch)->begin, at_) / kSpan * kSpan;
  auto stored = stored_.within(std::max(span.begin, at_), span.begin + kSpan);
  if (!stored) return stored.error();
  span.stored = *std::move(stored);
  at_ = span.begin + kSpan;
  return std::optional<Span>(std::move(span));
}

class Digester::Hasher final : public Worker {
 public:
  explicit Hasher(const OpenImage &image) : image_(image), bytes_(kSpan) {}

  Result<Leaves> work(const Span &span) override {
    Leaves leaves{span.begin / kDigestBlock, {}, 0};
    const auto touched = read(span);
    if (!touched) return touched.error();
    for (unsigned i = 0; i < kLeaves; ++i) {
      const unsigned char *block = bytes_.data() + i * kDigestBlock;
      if ((*touched >> i & 1) == 0 || all_zero(block, kDigestBlock)) continue;
      leaves.digests[i] = sha256(block, kDigestBlock);
      leaves.present |= 1u << i;
    }
    return leaves;
  }

 private:
  /// Whole blocks, with zeros around what is stored; which ones, bit by bit.
  Result<std::uint32_t> read(const Span &span) {
    std::uint32_t touched = 0;
    std::uint64_t filled = 0;  // up to here the bytes are right in every block that was touched
    const auto block_end = [](std::uint64_t at) {
      return (at + kDigestBlock - 1) / kDigestBlock * kDigestBlock;
    };
    const auto zeros = [&](std::uint64_t begin, std::uint64_t end) {
      if (begin < end) std::memset(bytes_.data() + begin, 0, end - begin);
    };
    for (const Stored::Stretch &stretch : span.stored) {
      const std::uint64_t begin = stretch.begin - span.begin, end = stretch.end - span.begin;
      zeros(filled, std::min(block_end(filled), begin));
      zeros(std::max(filled, begin / kDigestBlock * kDigestBlock), begin);
      if (auto done = image_.read(bytes_.data() + begin, end - begin, stretch.begin); !done)
        return done.error();
      filled = end;
      for (std::uint64_t i = begin / kDigestBlock; i * kDigestBlock < end; ++i) touched |= 1u << i;
    }
    zeros(filled, block_end(filled));
    return touched;
  }

  const OpenImage &image_;
  std::vector<unsigned char> bytes_;
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

Result<ImageDigest> digest(const OpenImage &image, const BlockVisitor &visit) {
  return Digester(image, visit).digest();
}

}  // namespace vbd::image
