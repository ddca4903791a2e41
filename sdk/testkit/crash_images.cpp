// SPDX-License-Identifier: MIT
#include <algorithm>
#include <numeric>
#include <utility>

#include "fault_file.hpp"

namespace vbdkit::testkit {
namespace {

/// Applies a random half of the sectors of a write or punch.
void apply_torn(const Operation &operation, SparseBytes &file, Random &random) {
  const std::uint64_t end = operation.offset + operation.length;
  for (std::uint64_t at = operation.offset; at < end;) {
    const std::uint64_t next = std::min(end, (at / kSector + 1) * kSector);
    if (random.chance(2)) {
      if (operation.call == Call::write) {
        file.write(operation.data.data() + (at - operation.offset), next - at, at);
      } else {
        file.punch(at, next - at);
      }
    }
    at = next;
  }
}

}  // namespace

void apply(const Operation &operation, SparseBytes &file) {
  switch (operation.call) {
    case Call::write:
      file.write(operation.data.data(), operation.data.size(), operation.offset);
      break;
    case Call::truncate:
      file.resize(operation.offset);
      break;
    case Call::allocate:
      file.allocate(operation.offset, operation.length);
      break;
    case Call::punch:
      file.punch(operation.offset, operation.length);
      break;
    default:
      break;
  }
}

CrashImages::CrashImages(SparseBytes start, const std::vector<Operation> &log)
    : durable_(std::move(start)), log_(&log) {}

void CrashImages::seek(std::size_t cut) {
  for (; cut_ < cut && cut_ < log_->size(); ++cut_) {
    if ((*log_)[cut_].call != Call::sync) continue;
    for (; synced_ < cut_; ++synced_) apply((*log_)[synced_], durable_);
    synced_ = cut_ + 1;
  }
}

SparseBytes CrashImages::everything() const {
  SparseBytes image = durable_;
  for (std::size_t i = synced_; i < cut_; ++i) apply((*log_)[i], image);
  return image;
}

SparseBytes CrashImages::random(Random &random) const {
  std::vector<std::size_t> order(pending());
  std::iota(order.begin(), order.end(), synced_);
  if (random.chance(2)) {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  }
  SparseBytes image = durable_;
  const std::uint64_t keep_of_four = random.between(1, 3);
  for (const std::size_t i : order) {
    const Operation &operation = (*log_)[i];
    if (random.below(4) >= keep_of_four) continue;
    const bool can_tear = operation.call == Call::write || operation.call == Call::punch;
    if (can_tear && operation.length > kSector && random.chance(3)) {
      apply_torn(operation, image, random);
    } else {
      apply(operation, image);
    }
  }
  return image;
}

void CrashImages::each(std::uint64_t extra, Random &random,
                       const std::function<bool(const SparseBytes &, const std::string &)> &body) const {
  if (!body(durable_, "only what was synced")) return;
  if (pending() == 0) return;
  if (!body(everything(), "everything")) return;
  // One alone or one missing is what a forgotten barrier shows first; with many pending a sample is enough.
  const std::size_t step = std::max<std::size_t>(1, pending() / 8);
  for (std::size_t i = synced_ + (step > 1 ? random.below(step) : 0); pending() > 1 && i < cut_; i += step) {
    SparseBytes alone = durable_, without = durable_;
    apply((*log_)[i], alone);
    for (std::size_t k = synced_; k < cut_; ++k) {
      if (k != i) apply((*log_)[k], without);
    }
    if (!body(alone, "only operation " + std::to_string(i))) return;
    if (pending() > 2 && !body(without, "all but operation " + std::to_string(i))) return;
  }
  for (std::uint64_t i = 0; i < extra; ++i) {
    if (!body(this->random(random), "random choice " + std::to_string(i))) return;
  }
}

}  // namespace vbdkit::testkit
