// SPDX-License-Identifier: MIT
#include "core/image/digest_tree.hpp"

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "core/base/text.hpp"

namespace vbd::image {
namespace {

Sha256 node_of(const Sha256 &left, const Sha256 &right) {
  std::array<unsigned char, 64> both{};
  std::copy(left.begin(), left.end(), both.begin());
  std::copy(right.begin(), right.end(), both.begin() + 32);
  return sha256(both.data(), both.size());
}

}  // namespace

DigestTree::DigestTree() {
  const std::vector<unsigned char> block(kDigestBlock);
  zeros_[0] = sha256(block.data(), block.size());
  for (unsigned level = 1; level < kMostLevels; ++level)
    zeros_[level] = node_of(zeros_[level - 1], zeros_[level - 1]);
}

void DigestTree::add(std::uint64_t number, const Sha256 &leaf) {
  skip_to(number);
  push(0, leaf);
}

Sha256 DigestTree::root(std::uint64_t size) {
  const std::uint64_t leaves = std::max<std::uint64_t>(1, (size + kDigestBlock - 1) / kDigestBlock);
  const auto height = static_cast<unsigned>(std::bit_width(leaves - 1));
  skip_to(std::uint64_t{1} << height);
  const std::string text =
      text::cat("vbdkit.digest/1 ", size, " ", kDigestBlock, " ", hex(waiting_[height]), "\n");
  return sha256(text.data(), text.size());
}

void DigestTree::skip_to(std::uint64_t number) {
  while (filled_ < number) {
    const int fits = static_cast<int>(std::bit_width(number - filled_)) - 1;
    const int aligned = filled_ == 0 ? fits : std::countr_zero(filled_);
    const auto level = static_cast<unsigned>(std::min(fits, aligned));
    push(level, zeros_[level]);
  }
}

void DigestTree::push(unsigned level, Sha256 node) {
  const std::uint64_t before = filled_;
  filled_ += std::uint64_t{1} << level;
  for (; (before >> level & 1) != 0; ++level) node = node_of(waiting_[level], node);
  waiting_[level] = node;
}

}  // namespace vbd::image
