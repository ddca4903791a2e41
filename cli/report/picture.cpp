// SPDX-License-Identifier: MIT
#include "cli/report/picture.hpp"

#include <algorithm>

#include "core/base/size.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {
namespace {

struct Look {
  const char *word;
  char whole, part;  // of a cell that is stored as a whole, or in part
  const char *escape;
  const char *fill;
};
// Colours that differ in brightness too: seen by everybody, and on paper.
constexpr std::array<Look, BlockMap::kinds> kLooks = {{
    {"nothing stored", '.', '.', "\x1b[2m", "#e9ecef"},
    {"zeros, marked or stored", '0', '0', "\x1b[36m", "#8fd3d1"},
    {"data", '#', '+', "\x1b[1;34m", "#1f4e9c"},
    {"packed data", 'C', 'c', "\x1b[1;35m", "#8e3fa8"},
    {"in a file that it refers to", 'B', 'b', "\x1b[33m", "#d98c1f"},
}};
constexpr const char *kPlain = "\x1b[0m";

BlockMap::Kind kind_of(const image::Piece &piece) {
  if (piece.kind == VBD_EXTENT_HOLE) return BlockMap::hole;
  if (piece.kind == VBD_EXTENT_ZERO) return BlockMap::zero;
  if (piece.depth > 0) return BlockMap::below;
  return piece.kind == VBD_EXTENT_PACKED ? BlockMap::packed : BlockMap::data;
}

std::string padded(std::string text, std::size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

std::string xml(const std::string &raw) {
  std::string out;
  for (const char c : text::printable(raw)) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else {
      out += c;
    }
  }
  return out;
}

/// How dark a cell is, in steps: 4 where it is stored as a whole.
unsigned shade(const BlockMap::Cell &cell) {
  const std::uint64_t size = cell.size();
  if (cell.stored() == 0 || cell.stored() == size) return 4;
  return 1 + static_cast<unsigned>(cell.stored() / (size / 3 + 1));
}

}  // namespace

BlockMap::Kind BlockMap::Cell::kind() const {
  if (stored() == 0) return bytes[zero] > bytes[hole] ? zero : hole;
  Kind most = data;
  for (const Kind one : {packed, below}) {
    if (bytes[one] > bytes[most]) most = one;
  }
  return most;
}

BlockMap::BlockMap(std::uint64_t size, std::uint64_t cells)
    : size_(size),
      cell_size_(std::max(kSectorSize, (size / cells + (size % cells != 0 ? kSectorSize : kSectorSize - 1)) /
                                           kSectorSize * kSectorSize)),
      cells_((size + cell_size_ - 1) / cell_size_) {}

void BlockMap::add(const image::Piece &piece) {
  const Kind kind = kind_of(piece);
  total_.bytes[kind] += piece.length;
  const std::uint64_t end = std::min(size_, piece.offset + piece.length);
  for (std::uint64_t at = piece.offset; at < end;) {
    const std::uint64_t next = std::min(end, (at / cell_size_ + 1) * cell_size_);
    cells_[at / cell_size_].bytes[kind] += next - at;
    at = next;
  }
}

std::string picture_text(const BlockMap &map, const std::string &path, bool color) {
  std::string out =
      text::cat(text::printable(path), ": ", format_size(map.size()), ", ", format_size(map.total().stored()),
                " stored; a character is ", format_size(map.cell_size()), "\n");
  const auto &cells = map.cells();
  for (std::size_t row = 0; row < cells.size(); row += kPictureColumns) {
    out += padded(format_size(row * map.cell_size()), 10) + " ";
    const char *now = kPlain;
    for (std::size_t i = row; i < std::min<std::size_t>(row + kPictureColumns, cells.size()); ++i) {
      const Look &look = kLooks[cells[i].kind()];
      if (color && now != look.escape) out += text::cat(kPlain, now = look.escape);
      out += cells[i].stored() == cells[i].size() ? look.whole : look.part;
    }
    out += text::cat(color ? kPlain : "", "\n");
  }
  for (unsigned kind = 0; kind < BlockMap::kinds; ++kind) {
    const Look &look = kLooks[kind];
    if (map.total().bytes[kind] == 0) continue;
    out +=
        text::cat("           ", color ? look.escape : "", look.whole, color ? kPlain : "", " ", look.word);
    if (look.part != look.whole)
      out += text::cat(" (", color ? look.escape : "", look.part, color ? kPlain : "", " in part)");
    out += text::cat(", ", format_size(map.total().bytes[kind]), "\n");
  }
  return out;
}

std::string picture_svg(const BlockMap &map, const std::string &path) {
  constexpr unsigned kCell = 9, kLeft = 80, kTop = 50, kLine = 20;
  const auto &cells = map.cells();
  const std::size_t rows = (cells.size() + kSvgColumns - 1) / kSvgColumns;
  const std::size_t width = kLeft + kSvgColumns * kCell + 20;
  const std::size_t below = kTop + rows * kCell + 24, height = below + (BlockMap::kinds + 1) * kLine;
  std::string out = kSvgBegin;
  out += text::cat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", width, "\" height=\"", height,
                   "\" viewBox=\"0 0 ", width, " ", height,
                   "\" font-family=\"sans-serif\" font-size=\"12\">\n<title>", xml(path), "</title>\n");
  out += text::cat("<rect width=\"", width, "\" height=\"", height, "\" fill=\"#ffffff\"/>\n");
  out += text::cat("<text x=\"20\" y=\"24\" font-size=\"15\">", xml(path), "</text>\n");
  out += text::cat("<text x=\"20\" y=\"42\" fill=\"#555555\">", format_size(map.size()), ", ",
                   format_size(map.total().stored()), " stored; a cell is ", format_size(map.cell_size()),
                   "</text>\n");
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t first = row * kSvgColumns, last = std::min(first + kSvgColumns, cells.size());
    const std::size_t y = kTop + row * kCell;
    if (row % 4 == 0) {
      out += text::cat("<text x=\"", kLeft - 6, "\" y=\"", y + 8, "\" text-anchor=\"end\" font-size=\"9\">",
                       format_size(first * map.cell_size()), "</text>\n");
    }
    for (std::size_t i = first, next = first; i < last; i = next) {
      const BlockMap::Kind kind = cells[i].kind();
      while (next < last && cells[next].kind() == kind && shade(cells[next]) == shade(cells[i])) ++next;
      out += text::cat("<rect x=\"", kLeft + (i - first) * kCell, "\" y=\"", y, "\" width=\"",
                       (next - i) * kCell, "\" height=\"", kCell - 1, "\" fill=\"", kLooks[kind].fill, "\"");
      if (shade(cells[i]) < 4) out += text::cat(" fill-opacity=\"0.", 2 + 2 * shade(cells[i]), "\"");
      out += "/>\n";
    }
  }
  for (unsigned kind = 0; kind < BlockMap::kinds; ++kind) {
    const std::size_t y = below + kind * kLine;
    out += text::cat("<rect x=\"", kLeft, "\" y=\"", y, "\" width=\"12\" height=\"12\" fill=\"",
                     kLooks[kind].fill, "\"/>\n<text x=\"", kLeft + 20, "\" y=\"", y + 10, "\">",
                     kLooks[kind].word, ": ", format_size(map.total().bytes[kind]), "</text>\n");
  }
  out += text::cat("<text x=\"", kLeft, "\" y=\"", below + BlockMap::kinds * kLine + 10,
                   "\" fill=\"#555555\">paler: stored in part</text>\n");
  return out + "</svg>\n";
}

}  // namespace vbd::cli::report
