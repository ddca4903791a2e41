// SPDX-License-Identifier: MIT
#include "core/image/mover.hpp"

#include <algorithm>

namespace vbd::image {
namespace {

constexpr std::uint64_t kHandStep = std::uint64_t{1} << 20;    // read and written at once
constexpr std::uint64_t kWorthSpace = 65536;                   // asked for before it is written
constexpr std::uint64_t kKernelStep = std::uint64_t{4} << 20;  // copied by the kernel between two questions

}  // namespace

Mover::Mover(const OpenImage &target, bool write_early, std::function<Result<void>()> goes_on)
    : target_(target), write_early_(write_early), goes_on_(std::move(goes_on)) {}

Mover::Route &Mover::route(const OpenImage &from) {
  const std::lock_guard<std::mutex> lock(routes_mutex_);
  std::unique_ptr<Route> &known = routes_[&from];
  if (!known) {
    known = std::make_unique<Route>();
    known->way = {from.fd(), target_.fd(), from.path(), target_.path()};
    known->block = sys::shared_block(from.fd(), target_.fd());
    known->shares = known->block != 0;
    known->copies = sys::copies_remotely(from.fd());
    known->sparse = !from.flat();  // the map of a flat one is that of its file
  }
  return *known;
}

bool Mover::shares(const Piece &part) {
  return part.verbatim && route(*part.image).shares;
}

bool Mover::fills(const Piece &part) {
  if (!part.verbatim) return true;
  Route &from = route(*part.image);
  const std::uint64_t end = part.host_offset + part.length;
  return !from.shares && (!from.sparse || stored_until(from, part.host_offset, end) == end);
}

Result<void> Mover::put(const unsigned char *from, std::uint64_t length, std::uint64_t host) {
  {
    const std::lock_guard<std::mutex> alone(kernel_);
    if (auto done = sys::write_at(target_.fd(), target_.path(), from, length, host); !done) return done;
  }
  if (write_early_) sys::begin_writing(target_.fd(), host, length);
  return {};
}

Result<void> Mover::clear(std::uint64_t host, std::uint64_t length) {
  if (sys::next_data(target_.fd(), host, host + length) == host + length) return {};
  return sys::punch_at(target_.fd(), target_.path(), host, length);
}

/// How many bytes from the beginning on were shared or copied because they are no whole block; 0: none of it
/// can be shared.
Result<std::uint64_t> Mover::share(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to) {
  if (!route.shares || from % route.block != to % route.block) return std::uint64_t{0};
  const std::uint64_t whole = length / route.block * route.block;
  if (from % route.block != 0 || whole == 0) return std::uint64_t{0};
  VBD_TRY_ASSIGN(auto shared, sys::clone_range(route.way, from, whole, to));
  if (!shared) route.shares = false;
  return shared ? whole : std::uint64_t{0};
}

Result<void> Mover::move(const Piece &part, std::uint64_t host, Buffer &buffer) {
  if (!part.verbatim) return unpack(part, host, buffer);
  Route &route = this->route(*part.image);
  std::uint64_t from = part.host_offset, length = part.length;
  if (route.shares && from % route.block != 0 && from % route.block == host % route.block) {
    const std::uint64_t head = std::min(length, route.block - from % route.block);
    VBD_TRY(copy(route, from, head, host, buffer));
    from += head, host += head, length -= head;
  }
  VBD_TRY_ASSIGN(const auto shared, share(route, from, length, host));
  return copy(route, from + shared, length - shared, host + shared, buffer);
}

/// Up to where [from, end) has no hole; `from` where it begins with one. The kernel looks as far as the next
/// hole, which can be the end of the file, so that is asked for once and not for each piece.
std::uint64_t Mover::stored_until(Route &route, std::uint64_t from, std::uint64_t end) {
  const std::lock_guard<std::mutex> lock(route.stored_mutex);
  if (from < route.stored_from || from >= route.stored_to) {
    route.stored_from = from;
    route.stored_to = sys::next_hole(route.way.from, from, ~std::uint64_t{0});
  }
  return std::clamp(route.stored_to, from, end);
}

/// Holes of the source's file stay holes.
Result<void> Mover::copy(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to,
                         Buffer &buffer) {
  if (!route.sparse) return copy_stored(route, from, length, to, buffer);
  const std::uint64_t begin = from, end = from + length;
  while (from < end) {
    std::uint64_t until = stored_until(route, from, end);
    if (until == from) {
      const std::uint64_t data = sys::next_data(route.way.from, from, end);
      if (data > from) {
        VBD_TRY(clear(to, data - from));
        to += data - from;
        from = data;
        continue;
      }
      until = end;  // somebody writes there; or the file ends, which reading says
    }
    if (from > begin || until < end) {  // else it fills all of the part, which has its space
      if (auto made = make_space(to, until - from); !made) return made;
    }
    VBD_TRY(copy_stored(route, from, until - from, to, buffer));
    to += until - from;
    from = until;
  }
  return {};
}

Result<void> Mover::copy_stored(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to,
                                Buffer &buffer) {
  while (length > 0 && route.copies) {
    const std::uint64_t step = std::min(length, kKernelStep);
    VBD_TRY(goes_on_());
    std::uint64_t copied = 0;
    {
      const std::lock_guard<std::mutex> alone(kernel_);
      VBD_TRY_ASSIGN(const auto some, sys::copy_range(route.way, from, step, to));
      copied = some;
    }
    if (write_early_ && copied > 0) sys::begin_writing(route.way.to, to, copied);
    from += copied, to += copied, length -= copied;
    if (copied == step) continue;
    if (copied == 0) route.copies = false;
    break;
  }
  return by_hand(route, from, length, to, buffer);
}

Result<void> Mover::make_space(std::uint64_t host, std::uint64_t length) {
  if (!allocates_ || length < kWorthSpace) return {};  // a call of its own, for little
  VBD_TRY_ASSIGN(const auto made, sys::allocate_at(target_.fd(), target_.path(), host, length));
  if (!made) allocates_ = false;
  return {};
}

Result<void> Mover::by_hand(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to,
                            Buffer &buffer) {
  while (length > 0) {
    const std::uint64_t step = std::min(length, kHandStep);
    VBD_TRY(goes_on_());
    buffer.hold(kHandStep);
    VBD_TRY(sys::read_at(route.way.from, route.way.from_name, buffer.data(), step, from));
    VBD_TRY(put(buffer.data(), step, to));
    from += step, to += step, length -= step;
  }
  return {};
}

Result<void> Mover::unpack(const Piece &part, std::uint64_t host, Buffer &buffer) {
  for (std::uint64_t done = 0; done < part.length;) {
    const std::uint64_t step = std::min(part.length - done, kHandStep);
    VBD_TRY(goes_on_());
    buffer.hold(kHandStep);
    VBD_TRY(part.image->read(buffer.data(), step, part.offset + done));
    VBD_TRY(put(buffer.data(), step, host + done));
    done += step;
  }
  return {};
}

}  // namespace vbd::image
