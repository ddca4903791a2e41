// SPDX-License-Identifier: MIT
#include "core/image/read_ahead.hpp"

#include <algorithm>

#include "core/sys/move.hpp"

namespace vbd::image {
namespace {
constexpr std::uint64_t kAhead = std::uint64_t{32} << 20;  // bytes that were asked for and not read yet
constexpr std::uint64_t kStep = std::uint64_t{2} << 20;    // asked for at once
}  // namespace

ReadAhead::ReadAhead(const OpenImage &image, std::function<bool(const Piece &)> wanted)
    : pieces_(image),
      wanted_(std::move(wanted)),
      helps_(image.has_references() || !sys::is_cached(image.fd())) {}

/// A piece to be read into held_; false at the end.
bool ReadAhead::fetch() {
  while (!held_ || held_->length == 0) {
    auto piece = pieces_.next();
    if (!piece || !*piece) return false;
    held_ = (*piece)->verbatim && (!wanted_ || wanted_(**piece)) ? **piece : Piece{};
  }
  return true;
}

void ReadAhead::reach(std::uint64_t offset) {
  for (; !asked_.empty() && asked_.front().end <= offset; asked_.pop_front())
    in_flight_ -= asked_.front().bytes;
  while (in_flight_ < kAhead && more_) {
    more_ = fetch();
    if (!more_) return;
    const std::uint64_t step = std::min(held_->length, kStep);
    // Readers that are further already need no help.
    if (held_->offset + step > offset) {
      sys::begin_reading(held_->image->fd(), held_->host_offset, step);
      asked_.push_back({held_->offset + step, step});
      in_flight_ += step;
    }
    held_->offset += step, held_->host_offset += step, held_->length -= step;
  }
}

}  // namespace vbd::image
