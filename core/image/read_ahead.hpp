// SPDX-License-Identifier: MIT
// Has the kernel read what will be read of an image soon, so that the disk has much to do at once and in the
// order of the image, although each reader asks for little and several ask at once. One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include "core/image/pieces.hpp"

namespace vbd::image {

class ReadAhead {
 public:
  /// `image` must outlive this. `wanted`: will the bytes of this piece be read? Those that are in no file as
  /// they are never count.
  explicit ReadAhead(const OpenImage &image, std::function<bool(const Piece &)> wanted = {});

  /// False: what there is to read is in memory.
  [[nodiscard]] bool helps() const { return helps_; }
  /// The readers have come to this byte of the guest, which never goes back. What can't be looked up is not
  /// read ahead: whoever reads it says why.
  void reach(std::uint64_t offset);

 private:
  struct Asked {
    std::uint64_t end = 0, bytes = 0;  // guest offset
  };
  bool fetch();

  Pieces pieces_;
  std::function<bool(const Piece &)> wanted_;
  std::optional<Piece> held_;
  std::deque<Asked> asked_;
  std::uint64_t in_flight_ = 0;  // bytes of asked_
  const bool helps_;
  bool more_ = helps_;
};

}  // namespace vbd::image
