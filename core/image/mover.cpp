// SPDX-License-Identifier: MIT
#include "core/image/mover.hpp"

#include <algorithm>

namespace vbd::image {
namespace {

constexpr std::uint64_t kHandStep = std::uint64_t{1} << 20;    // read and written at once
constexpr std::uint64_t kKernelStep = std::uint64_t{4} << 20;  // copied by the kernel between two questions
constexpr std::uint64_t kAhead = std::uint64_t{16} << 20;      // that the kernel reads before they are copied

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
    known->sparse = !from.flat();  // the map of a flat one is that of its file
  }
  return *known;
}

bool Mover::shares(const Piece &part) {
  return part.verbatim && route(*part.image).shares;
}

Result<void> Mover::put(const unsigned char *from, std::uint64_t length, std::uint64_t host) {
  if (auto done = sys::write_at(target_.fd(), target_.path(), from, length, host); !done) return done;
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
  auto shared = sys::clone_range(route.way, from, whole, to);
  if (!shared) return shared.error();
  if (!*shared) route.shares = false;
  return *shared ? whole : std::uint64_t{0};
}

Result<void> Mover::move(const Piece &part, std::uint64_t host, std::vector<unsigned char> &buffer) {
  if (!part.verbatim) return unpack(part, host, buffer);
  Route &route = this->route(*part.image);
  std::uint64_t from = part.host_offset, length = part.length;
  if (route.shares && from % route.block != 0 && from % route.block == host % route.block) {
    const std::uint64_t head = std::min(length, route.block - from % route.block);
    if (auto done = copy(route, from, head, host, buffer); !done) return done;
    from += head, host += head, length -= head;
  }
  const auto shared = share(route, from, length, host);
  if (!shared) return shared.error();
  return copy(route, from + *shared, length - *shared, host + *shared, buffer);
}

/// Holes of the source's file stay holes.
Result<void> Mover::copy(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to,
                         std::vector<unsigned char> &buffer) {
  if (!route.sparse) return copy_stored(route, from, length, to, buffer);
  const std::uint64_t end = from + length;
  while (from < end) {
    const std::uint64_t data = sys::next_data(route.way.from, from, end);
    if (data > from) {
      if (auto done = clear(to, data - from); !done) return done;
      to += data - from;
      from = data;
      continue;
    }
    // At the end of the file both questions have the same answer, and reading says that it is too short.
    const std::uint64_t hole = std::max(sys::next_hole(route.way.from, from, end), from + 1);
    if (auto done = copy_stored(route, from, std::min(hole, end) - from, to, buffer); !done) return done;
    to += std::min(hole, end) - from;
    from = std::min(hole, end);
  }
  return {};
}

Result<void> Mover::copy_stored(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to,
                                std::vector<unsigned char> &buffer) {
  while (length > 0 && route.copies) {
    const std::uint64_t step = std::min(length, kKernelStep);
    if (auto more = goes_on_(); !more) return more;
    if (length > step) sys::begin_reading(route.way.from, from + step, std::min(length - step, kAhead));
    std::uint64_t copied = 0;
    {
      const std::lock_guard<std::mutex> alone(kernel_);
      const auto some = sys::copy_range(route.way, from, step, to);
      if (!some) return some.error();
      copied = *some;
    }
    if (write_early_ && copied > 0) sys::begin_writing(route.way.to, to, copied);
    from += copied, to += copied, length -= copied;
    if (copied == step) continue;
    if (copied == 0) route.copies = false;
    break;
  }
  return by_hand(route, from, length, to, buffer);
}

Result<void> Mover::by_hand(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to,
                            std::vector<unsigned char> &buffer) {
  while (length > 0) {
    const std::uint64_t step = std::min(length, kHandStep);
    if (auto more = goes_on_(); !more) return more;
    buffer.resize(std::max<std::size_t>(buffer.size(), kHandStep));
    if (auto done = sys::read_at(route.way.from, route.way.from_name, buffer.data(), step, from); !done)
      return done;
    if (auto done = put(buffer.data(), step, to); !done) return done;
    from += step, to += step, length -= step;
  }
  return {};
}

Result<void> Mover::unpack(const Piece &part, std::uint64_t host, std::vector<unsigned char> &buffer) {
  for (std::uint64_t done = 0; done < part.length;) {
    const std::uint64_t step = std::min(part.length - done, kHandStep);
    if (auto more = goes_on_(); !more) return more;
    buffer.resize(std::max<std::size_t>(buffer.size(), kHandStep));
    if (auto read = part.image->read(buffer.data(), step, part.offset + done); !read) return read;
    if (auto written = put(buffer.data(), step, host + done); !written) return written;
    done += step;
  }
  return {};
}

}  // namespace vbd::image
