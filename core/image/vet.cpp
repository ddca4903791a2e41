// SPDX-License-Identifier: MIT
#include "core/image/vet.hpp"

#include <algorithm>
#include <optional>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/stamp.hpp"
#include "core/sys/trusted.hpp"

namespace vbd::image {
namespace {

using text::cat;

constexpr std::string_view kChecked = "checked", kUnchecked = "unchecked";
constexpr std::size_t kMaxNote = 8192;
constexpr std::size_t kShownReasons = 5;

std::string notes_path(const config::Settings &settings) {
  return settings.state_dir + "/checked";
}
/// The first line of a note: all that must be as it was.
std::string line_of(const sys::FileStamp &stamp, std::string_view word) {
  return cat("vbdkit.checked/1 ", word, " ", stamp.size, " ", stamp.times, "\n");
}

/// Nothing where others could have written it, or where there is nothing.
sys::Fd open_notes(const config::Settings &settings) {
  auto directory = sys::open_trusted_directory(notes_path(settings), sys::kStateDirectory);
  return directory ? std::move(*directory) : sys::Fd();
}

std::optional<std::string> read_note(int directory, const sys::FileId &file) {
  const std::string name = file.text();
  auto text = sys::read_trusted_at(directory, name, name, kMaxNote, sys::kStateDirectory);
  if (!text) return {};
  return std::move(*text);
}

/// What was said of the image as it is: "" when it is new to us, or was changed since.
std::string_view remembered(const config::Settings &settings, const sys::FileStamp &stamp) {
  const sys::Fd directory = open_notes(settings);
  if (!directory) return {};
  const auto note = read_note(directory.get(), stamp.id);
  if (!note) return {};
  for (const std::string_view word : {kChecked, kUnchecked}) {
    if (note->starts_with(line_of(stamp, word))) return word;
  }
  return {};
}

/// Without it the image is only checked once more.
void remember(const config::Settings &settings, const sys::FileStamp &stamp, const std::string &path,
              std::string_view word) {
  const auto directory = sys::make_trusted_directory(notes_path(settings), 0700, sys::kStateDirectory);
  const auto made = directory ? sys::replace_file_at(directory->get(), stamp.id.text(),
                                                     cat(line_of(stamp, word), path, "\n"))
                              : Result<void>(directory.error());
  if (!made) log::info(cat(notes_path(settings), ": ", made.error().message()));
}

void remember(const config::Settings &settings, int fd, const std::string &path, std::string_view word) {
  const auto stamp = sys::file_stamp(fd);
  if (stamp) remember(settings, *stamp, path, word);
}

Error damaged(const std::string &path, const CheckResult &found, bool repaired) {
  const std::size_t shown = std::min(found.findings.size(), kShownReasons);
  std::string reasons =
      text::join(std::vector<std::string>(found.findings.begin(),
                                          found.findings.begin() + static_cast<std::ptrdiff_t>(shown)),
                 "; ");
  if (reasons.empty()) reasons = found.message;
  if (found.errors > shown && shown > 0) reasons += cat("; and ", found.errors - shown, " more");
  return {kDamagedImage,
          cat(text::printable(path), ": ",
              repaired ? "what is left after the repair: " : "damaged: ", text::printable(reasons)),
          repaired ? "copy what can be read of it, or --unchecked to take it as it is"
                   : "--repair mends what can be mended, --unchecked takes it as it is"};
}

/// Somebody wrote into the image that it is not to be trusted.
bool is_marked(plugin::Registry &registry, const Constant &filetype, int fd, const std::string &path,
               const char *mark) {
  const auto said = info(registry, filetype, fd, path);
  return said && said->facts.flag(mark);
}

Result<void> judge(plugin::Registry &registry, const Constant &filetype, int fd, const std::string &path,
                   const Vetting &vetting) {
  const bool repairs = vetting.word == Vetting::Word::repair;
  VBD_TRY_ASSIGN(auto found, check(registry, filetype, fd, path,
                                   repairs && !vetting.dry_run ? Repair::all : Repair::none));
  const bool bad = found.errors > 0 || is_marked(registry, filetype, fd, path, "corrupt");
  if (bad && repairs && vetting.dry_run) {
    log::warn(cat(text::printable(path), ": is damaged, and would be repaired"));
    return {};
  }
  if (bad) {
    if (found.errors == 0) found.message = "it is marked corrupt";
    return damaged(path, found, repairs);
  }
  if (repairs && !found.findings.empty()) log::warn(cat(text::printable(path), ": was repaired"));
  if (found.leaks > 0) {
    log::warn(cat(text::printable(path), ": ", found.leaks,
                  " lost clusters, which hurt nobody; 'vbd image "
                  "check --repair=leaks' gives them back"));
  }
  return {};
}

}  // namespace

Result<void> vet(plugin::Registry &registry, const config::Settings &settings, const Constant &filetype,
                 int fd, const std::string &path, const Vetting &vetting) {
  VBD_TRY_ASSIGN(auto known, registry.find(filetype));
  const auto flat = known.note.properties.find("flat");
  if (flat != known.note.properties.end() && flat->second == "1") return {};
  auto stamp = sys::file_stamp(fd);
  if (!stamp) return stamp.error().at(text::printable(path));
  if (vetting.word == Vetting::Word::unchecked) {
    log::warn(cat(text::printable(path), ": taken without a check"));
    if (!vetting.dry_run) remember(settings, *stamp, path, kUnchecked);
    return {};
  }
  const std::string_view word = remembered(settings, *stamp);
  const bool marked =
      is_marked(registry, filetype, fd, path, "dirty") || is_marked(registry, filetype, fd, path, "corrupt");
  // Whoever said --unchecked has said it of the marks as well.
  const bool known_good = word == kUnchecked || (word == kChecked && !marked);
  if (known_good && vetting.word == Vetting::Word::check) return {};
  if (!known.note.ops.contains("check")) {
    log::warn(cat(text::printable(path), ": not checked, for ", filetype.str(), " can't check"));
    return {};
  }
  VBD_TRY(judge(registry, filetype, fd, path, vetting));
  if (!vetting.dry_run) remember(settings, fd, path, kChecked);
  return {};
}

void keep_vetted(const config::Settings &settings, int fd, const std::string &path) {
  const sys::Fd directory = open_notes(settings);
  const auto stamp = directory ? sys::file_stamp(fd) : Result<sys::FileStamp>(Error(sys::kNotFound, path));
  if (!stamp) return;
  const auto note = read_note(directory.get(), stamp->id);
  if (!note) return;
  const bool unchecked = note->find(cat(" ", kUnchecked, " ")) != std::string::npos;
  remember(settings, *stamp, path, unchecked ? kUnchecked : kChecked);
}

Result<std::vector<std::string>> stale_vettings(const config::Settings &settings, bool remove) {
  std::vector<std::string> stale;
  const sys::Fd directory = open_notes(settings);
  if (!directory) return stale;
  VBD_TRY_ASSIGN(auto names, sys::list_dir(directory.get()));
  for (const std::string &name : names) {
    auto note = sys::read_file_at(directory.get(), name, kMaxNote);
    const auto line = note ? note->find('\n') : std::string::npos;
    if (line == std::string::npos) continue;
    const std::string path = note->substr(line + 1, note->size() - line - 2);
    // With its directory gone the storage may only not be there.
    const auto parent =
        path.starts_with('/') ? sys::open_parent(path) : Result<sys::Fd>(Error(sys::kNotFound, path));
    if (!parent) continue;
    const auto info = sys::file_info_at(parent->get(), sys::base_name(path));
    if (info ? info->id.text() == name : !info.error().is(sys::kNotFound)) continue;
    stale.push_back(path);
    if (!remove) continue;
    if (auto gone = sys::unlink_at(directory.get(), name); !gone) return gone.error();
  }
  return stale;
}

}  // namespace vbd::image
