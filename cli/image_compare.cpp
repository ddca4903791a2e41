// SPDX-License-Identifier: MIT
// vbd image compare
#include "cli/image_words.hpp"
#include "cli/progress.hpp"
#include "cli/report/report.hpp"
#include "core/image/compare.hpp"

namespace vbd::cli {
namespace image_compare_file {
namespace {

Result<Outcome> compare(Session &session) {
  const auto filetype = filetype_of(session);
  if (!filetype) return filetype.error();
  VBD_TRY_ASSIGN(const auto other,
                 Constant::parse(session.args().value("filetype-b", session.args().value("filetype")),
                                 PluginKind::filetype));
  std::string in_use;
  VBD_TRY_ASSIGN(const auto a, open_still(session, *filetype, session.args().value("A"), in_use));
  VBD_TRY_ASSIGN(const auto b, open_still(session, other, session.args().value("B"), in_use));
  Progress progress(session, "compare", session.args().value("A"));
  VBD_TRY_ASSIGN(const auto differences, image::compare(*a, *b, progress.watch()));
  return marked(session.json(), report::comparison(session.json(), *a, *b, differences), in_use);
}

constexpr OptionSpec kOptions[] = {
    kFiletypeOption,
    {"--filetype-b", Takes::value, "FT", "filetype of B, where it is another one", "", false,
     Meaning::filetype},
    kAllowInUse,
};
constexpr ArgumentSpec kArguments[] = {{"A", "an image", true, Meaning::file},
                                       {"B", "another one", true, Meaning::file}};
constexpr std::string_view kExamples[] = {
    "vbd image compare --filetype raw disk.img copy.img",
    "vbd image compare --filetype raw disk.img --filetype-b qcow disk.qcow2"};

}  // namespace
}  // namespace image_compare_file

VerbSpec image_compare_verb() {
  return {
      "compare",
      "say whether two images show the guest the same bytes, or where they differ",
      "Exit code 0: identical, 1: different. What lies beyond the end of the shorter one counts as zeros. "
      "Holes are not read. Ranges are in sectors of 512 bytes; when there are more than 16384, they are "
      "rounded to larger units until they are fewer, so that every difference lies in one of them.",
      image_compare_file::kOptions,
      image_compare_file::kArguments,
      image_compare_file::kExamples,
      false,
      false,
      image_compare_file::compare};
}

}  // namespace vbd::cli
