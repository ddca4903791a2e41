// SPDX-License-Identifier: MIT
// vbd image map
#include "cli/image_words.hpp"
#include "cli/report/report.hpp"
#include "core/image/open.hpp"

namespace vbd::cli {
namespace {

Result<Outcome> map(Session &session) {
  const auto filetype = filetype_of(session);
  if (!filetype) return filetype.error();
  const std::string path = session.args().value("PATH");
  auto fd = sys::open_image_anywhere(path, sys::Access::read);
  if (!fd) return fd.error();
  if (auto locked = image::lock_to_look(fd->get(), path); !locked) return locked.error();
  const auto image =
      image::OpenImage::open(session.registry(), session.settings(), *filetype, *std::move(fd), path);
  if (!image) return image.error();
  std::vector<image::Piece> pieces;
  const auto walked =
      image::for_each_piece(**image, [&](const image::Piece &piece) { pieces.push_back(piece); });
  if (!walked) return walked.error();
  return report::map(session.json(), pieces);
}

constexpr OptionSpec kOptions[] = {kFiletypeOption};
constexpr std::string_view kExamples[] = {"vbd image map --filetype raw disk.img",
                                          "vbd image map --filetype qcow disk.qcow2 --output json"};

}  // namespace

VerbSpec image_map_verb() {
  return {"map",
          "show which parts of the guest's disk are data, and where they lie",
          "Reads the tables only, also beside a running guest. In JSON with the fields of qemu-img map.",
          kOptions,
          kImagePath,
          kExamples,
          false,
          false,
          map};
}

}  // namespace vbd::cli
