// SPDX-License-Identifier: MIT
// What an image stores as a picture: the guest's disk cut into equal cells, each with what lies in it. Memory
// is that of the cells. Pure functions; not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/image/open.hpp"

namespace vbd::cli::report {

class BlockMap {
 public:
  enum Kind : unsigned { hole, zero, data, packed, below, kinds };

  /// At most `cells` of them, of a multiple of 512 bytes each.
  BlockMap(std::uint64_t size, std::uint64_t cells);

  void add(const image::Piece &piece);

  struct Cell {
    std::array<std::uint64_t, kinds> bytes{};
    /// What most of it is, where it stores anything; else whether most is marked as zeros or nothing at all.
    [[nodiscard]] Kind kind() const;
    [[nodiscard]] std::uint64_t stored() const { return bytes[data] + bytes[packed] + bytes[below]; }
    [[nodiscard]] std::uint64_t size() const { return stored() + bytes[hole] + bytes[zero]; }
  };
  [[nodiscard]] const std::vector<Cell> &cells() const { return cells_; }
  [[nodiscard]] const Cell &total() const { return total_; }
  [[nodiscard]] std::uint64_t cell_size() const { return cell_size_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  std::uint64_t size_, cell_size_;
  std::vector<Cell> cells_;
  Cell total_;
};

inline constexpr unsigned kPictureColumns = 64, kPictureRows = 16;  ///< fits a terminal of 80 by 24
[[nodiscard]] std::string picture_text(const BlockMap &map, const std::string &path, bool color);

inline constexpr unsigned kSvgColumns = 96, kSvgRows = 48;
/// What every such file begins with.
inline constexpr char kSvgBegin[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- vbd image map -->\n";
[[nodiscard]] std::string picture_svg(const BlockMap &map, const std::string &path);

}  // namespace vbd::cli::report
