// SPDX-License-Identifier: MIT
// The work of a copy, cut into tasks: ranges of whole units of the target with what of them the source
// stores. One thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/result.hpp"
#include "core/image/pieces.hpp"

namespace vbd::image {

struct CopyTask {
  std::uint64_t begin = 0, end = 0;  ///< guest bytes: units of the target, the last one cut by the disk's end
  std::vector<Piece> parts;          ///< ascending; between them are zeros
  /// All of it lies verbatim in files: nothing needs to be computed.
  [[nodiscard]] bool verbatim() const { return parts.front().verbatim; }
};

class CopyTasks {
 public:
  /// `unit`: a power of two.
  CopyTasks(const OpenImage &source, std::uint64_t unit);
  /// The next one; none at the end. At most `longest_verbatim` or `longest` bytes, at least one unit.
  [[nodiscard]] Result<std::optional<CopyTask>> next(std::uint64_t longest_verbatim, std::uint64_t longest);

 private:
  [[nodiscard]] Result<bool> fetch();  // the next piece that is stored into held_; false at the end
  [[nodiscard]] std::uint64_t up(std::uint64_t offset) const;

  Pieces pieces_;
  std::uint64_t size_, unit_;
  std::optional<Piece> held_;
};

}  // namespace vbd::image
