// SPDX-License-Identifier: MIT
// Moves stored bytes of a source into places of the target's file: shared with it where the filesystem can,
// copied by the server of a network filesystem, or read and written. What the kernel can do is found out by
// trying. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "core/base/result.hpp"
#include "core/image/buffer.hpp"
#include "core/image/pieces.hpp"
#include "core/sys/move.hpp"

namespace vbd::image {

class Mover {
 public:
  /// `goes_on`: asked between steps; an error ends the move.
  Mover(const OpenImage &target, bool write_early, std::function<Result<void>()> goes_on);

  /// The bytes of `part` to `host` of the target's file. `buffer`: of the calling thread.
  [[nodiscard]] Result<void> move(const Piece &part, std::uint64_t host, Buffer &buffer);
  /// Are all bytes of `part` going to be written, so that space can be made for them before?
  [[nodiscard]] bool fills(const Piece &part);
  /// Space for what will be moved or put there, where that saves time. The more at once the better.
  [[nodiscard]] Result<void> make_space(std::uint64_t host, std::uint64_t length);
  /// Bytes in memory likewise.
  [[nodiscard]] Result<void> put(const unsigned char *from, std::uint64_t length, std::uint64_t host);
  /// A range of the target's file reads as zeros.
  [[nodiscard]] Result<void> clear(std::uint64_t host, std::uint64_t length);
  /// Can the bytes of `part` be shared instead of written, as far as is known?
  [[nodiscard]] bool shares(const Piece &part);

 private:
  /// From one file of the source.
  struct Route {
    sys::Way way;
    std::uint64_t block = 0;  // of sharing
    std::atomic<bool> shares{false}, copies{false};
    bool sparse = false;  // its DATA extents may have holes
    std::mutex stored_mutex;
    std::uint64_t stored_from = 0, stored_to = 0;  // without a hole: what was looked up last
  };
  std::uint64_t stored_until(Route &route, std::uint64_t from, std::uint64_t end);
  Route &route(const OpenImage &from);
  Result<std::uint64_t> share(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to);
  Result<void> copy(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to, Buffer &buffer);
  Result<void> copy_stored(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to,
                           Buffer &buffer);
  Result<void> by_hand(Route &route, std::uint64_t from, std::uint64_t length, std::uint64_t to,
                       Buffer &buffer);
  Result<void> unpack(const Piece &part, std::uint64_t host, Buffer &buffer);

  const OpenImage &target_;
  const bool write_early_;
  const std::function<Result<void>()> goes_on_;
  std::mutex routes_mutex_;
  std::map<const OpenImage *, std::unique_ptr<Route>> routes_;
  std::atomic<bool> allocates_{true};  // the target's filesystem
  std::mutex kernel_;  // writers of one file wait for each other anyhow, and spin while they do
};

}  // namespace vbd::image
