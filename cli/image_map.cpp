// SPDX-License-Identifier: MIT
// vbd image map
#include "cli/image_words.hpp"
#include "cli/parser.hpp"
#include "cli/report/picture.hpp"
#include "cli/report/piecewise.hpp"
#include "cli/report/report.hpp"
#include "core/base/text.hpp"
#include "core/image/open.hpp"

namespace vbd::cli {
namespace image_map_file {
namespace {

constexpr std::size_t kLargestSvg = std::size_t{4} << 20;

Result<report::BlockMap> draw(const image::OpenImage &image, std::uint64_t cells) {
  report::BlockMap map(image.size(), cells);
  VBD_TRY(image::for_each_piece(image, [&](const image::Piece &piece) -> Result<void> {
    map.add(piece);
    return {};
  }));
  return map;
}

/// In place of an older picture, but of nothing else: the name may be a slip, and that of a disk.
Result<Outcome> write_svg(Session &session, const image::OpenImage &image, const std::string &file) {
  if (file.empty() || file.ends_with('/'))
    return Error{kBadValue, text::cat("--svg '", text::printable(file), "': no name of a file")};
  VBD_TRY_ASSIGN(const auto directory, sys::open_parent(file));
  const std::string name = sys::base_name(file);
  VBD_TRY_ASSIGN(const auto map, draw(image, std::uint64_t{report::kSvgColumns} * report::kSvgRows));
  if (sys::file_info_at(directory.get(), name)) {
    const auto older = sys::read_file_at(directory.get(), name, kLargestSvg);
    if (!older || !older->starts_with(report::kSvgBegin)) {
      return Error{sys::kExists, text::cat(text::printable(file), ": exists, and is no picture of vbd"),
                   "choose another name, or remove it first"};
    }
  }
  auto written = sys::replace_file_at(directory.get(), name, report::picture_svg(map, image.path()), 0644);
  if (!written) return written.error().at(text::printable(file));
  return report::plan(session.json(), {text::cat("write ", text::printable(file))}, false, "");
}

Result<Outcome> json_list(const image::OpenImage &image) {
  report::Piecewise document(json::Object{{"schema", "vbdkit.map/1"}}, "extents");
  const auto walked = image::for_each_piece(
      image, [&](const image::Piece &piece) { return document.add(report::piece_json(piece)); });
  if (!walked) return document.end({}, walked.error());
  return document.end({});
}

Result<Outcome> map(Session &session) {
  VBD_TRY_ASSIGN(const auto filetype, filetype_of(session));
  const std::string path = session.args().value("PATH");
  auto fd = sys::open_image_anywhere(path, sys::Access::read);
  if (!fd) return fd.error();
  VBD_TRY(image::lock_to_look(fd->get(), path));
  const auto image =
      image::OpenImage::open(session.registry(), session.settings(), filetype, *std::move(fd), path);
  if (!image) return image.error();
  if (session.args().has("svg")) return write_svg(session, **image, session.args().value("svg"));
  if (session.args().has("picture") && !session.json()) {
    VBD_TRY_ASSIGN(const auto drawn,
                   draw(**image, std::uint64_t{report::kPictureColumns} * report::kPictureRows));
    return Outcome{report::picture_text(drawn, path, session.color()), {}};
  }
  if (session.json()) return json_list(**image);
  std::vector<image::Piece> pieces;
  VBD_TRY(image::for_each_piece(**image, [&](const image::Piece &piece) -> Result<void> {
    pieces.push_back(piece);
    return {};
  }));
  return report::map(pieces);
}

constexpr OptionSpec kOptions[] = {
    kFiletypeOption,
    {"--picture", Takes::nothing, "", "draw a map of the disk that fits one screen instead of the list"},
    {"--svg", Takes::value, "FILE", "write such a map to FILE as SVG; an older one is replaced", "", false,
     Meaning::file},
};
constexpr std::string_view kExamples[] = {"vbd image map --filetype raw disk.img",
                                          "vbd image map --picture --filetype qcow disk.qcow2",
                                          "vbd image map --svg disk.svg --filetype qcow disk.qcow2",
                                          "vbd image map --filetype qcow disk.qcow2 --output json"};

}  // namespace
}  // namespace image_map_file

VerbSpec image_map_verb() {
  return {
      "map",
      "show which parts of the guest's disk are data, and where they lie",
      "Reads the tables only, also beside a running guest. In JSON with the fields of qemu-img map; JSON is "
      "always the list.",
      image_map_file::kOptions,
      kImagePath,
      image_map_file::kExamples,
      false,
      false,
      image_map_file::map};
}

}  // namespace vbd::cli
