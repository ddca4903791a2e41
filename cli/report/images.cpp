// SPDX-License-Identifier: MIT
#include "cli/report/report.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {
namespace {

constexpr std::uint64_t kNowhere = ~std::uint64_t{0};

const char *kind_word(std::uint32_t kind) {
  switch (kind) {
    case VBD_EXTENT_HOLE:
      return "hole";
    case VBD_EXTENT_ZERO:
      return "zero";
    case VBD_EXTENT_PACKED:
      return "packed";
    default:
      return "data";
  }
}

bool has_place(const image::Piece &piece) {
  return piece.kind == VBD_EXTENT_DATA || (piece.kind == VBD_EXTENT_ZERO && piece.host_offset != kNowhere);
}

std::string_view word(bool yes) {
  return yes ? "true" : "false";
}

}  // namespace

/// As qemu-img map --output=json names them.
std::string piece_json(const image::Piece &piece) {
  const bool zero = piece.kind == VBD_EXTENT_HOLE || piece.kind == VBD_EXTENT_ZERO;
  std::string line;
  line.reserve(224);  // an image has very many of them
  const auto add = [&line](std::string_view key, const auto &value) {
    line += key;
    text::append(line, value);
  };
  add("{\"start\": ", piece.offset);
  add(", \"length\": ", piece.length);
  add(", \"depth\": ", piece.depth);
  add(", \"present\": ", word(piece.kind != VBD_EXTENT_HOLE));
  add(", \"zero\": ", word(zero));
  add(", \"data\": ", word(!zero));
  add(", \"compressed\": ", word(piece.kind == VBD_EXTENT_PACKED));
  if (has_place(piece)) add(", \"offset\": ", piece.host_offset);
  line += '}';
  return line;
}

Outcome map(const std::vector<image::Piece> &pieces) {
  Table table;
  table.headers = {"OFFSET", "LENGTH", "KIND", "AT", "FILE"};
  for (const image::Piece &piece : pieces) {
    table.rows.push_back({text::cat(piece.offset), text::cat(piece.length), kind_word(piece.kind),
                          has_place(piece) ? text::cat(piece.host_offset) : "-",
                          text::printable(piece.image->path())});
  }
  return {table_text(table), {}};
}

Outcome check(bool json, const Constant &filetype, const std::string &path,
              const image::CheckResult &result) {
  const Exit exit = result.errors > 0 ? Exit::damaged : result.leaks > 0 ? Exit::failed : Exit::done;
  if (json) {
    json::Value value;
    value.set("schema", "vbdkit.check/1").set("path", path).set("filetype", filetype.str());
    value.set("errors", result.errors).set("leaks", result.leaks).set("findings", to_json(result.findings));
    value.set("reason", result.reason.empty() ? json::Value{nullptr} : json::Value{result.reason});
    return {{}, std::move(value), exit};
  }
  std::string out;
  for (const std::string &finding : result.findings) out += text::printable(finding) + "\n";
  out += text::printable(path);
  if (exit == Exit::done) return {out + ": clean\n", {}, exit};
  out += text::cat(": ", result.errors, " errors, ", result.leaks, " leaks");
  if (!result.reason.empty()) out += text::cat(" (", result.reason, ")");
  return {out + "\n", {}, exit};
}

Outcome comparison(bool json, const image::OpenImage &a, const image::OpenImage &b,
                   const image::Differences &differences) {
  const Exit exit = differences.none() ? Exit::done : Exit::failed;
  if (json) {
    json::Array ranges;
    for (const image::Difference &range : differences.ranges())
      ranges.push_back(json::Object{{"start", range.offset}, {"length", range.length}});
    json::Value value;
    value.set("schema", "vbdkit.compare/1").set("a", a.path()).set("b", b.path());
    value.set("size_a", a.size()).set("size_b", b.size()).set("identical", differences.none());
    value.set("first", differences.none() ? json::Value{nullptr} : json::Value{differences.first()});
    value.set("bytes", differences.bytes()).set("granularity", differences.granularity());
    return {{}, value.set("differences", std::move(ranges)), exit};
  }
  std::string out;
  if (a.size() != b.size())
    out = text::cat("sizes: ", a.size(), " and ", b.size(), " bytes; the rest counts as zeros\n");
  if (differences.none()) return {out + "identical\n", {}, exit};
  out += text::cat("first difference at ", differences.first(), "\n");
  if (differences.granularity() > kSectorSize) {
    out += text::cat(differences.bytes(), " bytes differ, in too many ranges to list: these are rounded to ",
                     differences.granularity(), " bytes\n");
  }
  Table table;
  table.headers = {"OFFSET", "LENGTH"};
  for (const image::Difference &range : differences.ranges())
    table.rows.push_back({text::cat(range.offset), text::cat(range.length)});
  return {out + table_text(table), {}, exit};
}

}  // namespace vbd::cli::report
