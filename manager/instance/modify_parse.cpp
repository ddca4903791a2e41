// SPDX-License-Identifier: MIT
// The grammar of modify's --disk: that of gnt-instance(8), and remove:N.
#include <charconv>

#include "core/base/text.hpp"
#include "manager/instance/disks.hpp"

namespace vbd::instance {
namespace {

bool take_index(const std::string &text, std::optional<std::size_t> &index) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number >= kMaxDisks) return false;
  index = number;
  return true;
}

Error bad_change(const std::string &where, std::string_view why) {
  return {kGrammar, text::cat(where, ": ", why),
          "write add:size=4G, N:add:size=4G, remove:N, N:mode=ro, or N:size=actual"};
}

/// "add", "add:size=4G", "add,size=4G": false when it is something else.
bool take_word(std::string &rest, std::string_view word) {
  if (!rest.starts_with(word)) return false;
  if (rest.size() > word.size() && rest[word.size()] != ':' && rest[word.size()] != ',') return false;
  rest.erase(0, word.size() + 1);
  return true;
}

Result<void> read_change(std::string rest, const std::string &where, DiskChange &change) {
  if (take_word(rest, "add")) {
    change.what = DiskChange::What::add;
    VBD_TRY(parse_disk_words(rest, where, change.disk));
    if (change.disk.size || change.disk.adopt) return {};
    return bad_change(where, "neither size= nor adopt=");
  }
  if (take_word(rest, "remove")) {
    change.what = DiskChange::What::remove;
    if (rest.empty() || (!change.index && take_index(rest, change.index))) return {};
    return bad_change(
        where, text::cat("expected a disk's number behind remove, found '", text::printable(rest), "'"));
  }
  if (!change.index) return bad_change(where, "neither add, nor remove, nor a disk's number");
  if (rest == "size=actual") {
    change.what = DiskChange::What::size;
    return {};
  }
  change.what = DiskChange::What::mode;
  VBD_TRY(parse_disk_words(rest, where, change.disk));
  const DiskSpec &disk = change.disk;
  const bool only_mode =
      disk.mode && !disk.size && !disk.adopt && !disk.filetype && !disk.driver && disk.options.empty();
  if (only_mode) return {};
  return bad_change(
      where,
      "of a disk that is there only mode= can change; grow-disk changes its size, and size=actual takes it "
      "as it is");
}

}  // namespace

Result<DiskChange> parse_disk_change(const std::string &text) {
  const std::string where = text::cat("--disk ", text::printable(text));
  DiskChange change;
  std::string rest = text;
  const auto colon = text.find(':');
  if (colon != std::string::npos && take_index(text.substr(0, colon), change.index)) rest.erase(0, colon + 1);
  VBD_TRY(read_change(std::move(rest), where, change));
  return change;
}

}  // namespace vbd::instance
