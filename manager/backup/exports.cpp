// SPDX-License-Identifier: MIT
#include "manager/backup/exports.hpp"

#include <algorithm>
#include <set>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/bulk.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/trusted.hpp"

namespace vbd::backup {
namespace {

using text::cat;

constexpr std::uint32_t kDirectoryMode = 0700;  // dumps hold whole guests
constexpr std::chrono::milliseconds kPatience{10000};
constexpr std::string_view kNew = ".new";  // being made, or what a new one has taken the place of
constexpr std::string_view kOld =
    ".old";  // of a filesystem that can't exchange names: goes when NAME is there
constexpr std::string_view kGone = ".gone";  // removed

std::string hidden(const std::string &name, std::string_view suffix) {
  return cat(".", name, suffix);
}

/// "web1" of ".web1.new".
std::optional<std::string> shown_name(const std::string &entry, std::string_view suffix) {
  if (entry.size() <= suffix.size() + 1 || entry.front() != '.' || !entry.ends_with(suffix))
    return std::nullopt;
  std::string name = entry.substr(1, entry.size() - 1 - suffix.size());
  if (!check_instance_name(name)) return std::nullopt;
  return name;
}

bool exists(int directory, const std::string &name) {
  return sys::file_info_at(directory, name).ok();
}

Result<sys::Fd> open_shelf(const config::Settings &settings, bool make) {
  if (make) return sys::make_trusted_directory(settings.export_dir, kDirectoryMode, sys::kExportDirectory);
  return sys::open_trusted_directory(settings.export_dir, sys::kExportDirectory);
}

/// A directory of plain files under a hidden name.
Result<void> delete_hidden(int parent, const std::string &name) {
  VBD_TRY_ASSIGN(auto directory, sys::open_directory_at(parent, name, name));
  VBD_TRY_ASSIGN(auto names, sys::list_dir(directory.get()));
  for (const auto &file : names) {
    if (auto gone = sys::unlink_at(directory.get(), file); !gone) return gone;
  }
  return sys::remove_dir_at(parent, name);
}

bool is_being_made(int parent, const std::string &name) {
  auto directory = sys::open_directory_at(parent, name, name);
  if (!directory || !exists(directory->get(), std::string(sys::OperationLock::kFileName))) return false;
  auto lock = sys::OperationLock::acquire(directory->get(), name, std::chrono::milliseconds(0));
  return !lock && lock.error().is(sys::kLocked);
}

/// What killed runs left. The shelf's lock is held.
void settle(int parent, const std::string &parent_path) {
  auto names = sys::list_dir(parent);
  if (!names) return;
  for (const auto &entry : *names) {
    Result<void> done;
    const auto old = shown_name(entry, kOld);
    if (old && !exists(parent, *old)) {
      done = sys::rename_dir_at(parent, entry, *old);
    } else if (old || shown_name(entry, kGone) ||
               (shown_name(entry, kNew) && !is_being_made(parent, entry))) {
      done = delete_hidden(parent, entry);
    }
    if (!done) log::warn(cat(parent_path, "/", entry, ": ", done.error().message()));
  }
}

Result<sys::OperationLock> lock_shelf(int parent, const std::string &path) {
  auto lock = sys::OperationLock::acquire(parent, path, kPatience);
  if (lock) settle(parent, path);
  return lock;
}

Result<Description> read_description(int directory, const std::string &path) {
  auto content = sys::read_file_at(directory, kDescriptionFile, kDescriptionLimit);
  if (!content) {
    if (content.error().is(sys::kNotFound))
      return Error(kNoExport, cat(path, ": no export: there is no ", kDescriptionFile, " in it"));
    return content.error().at(path);
  }
  return parse_description(*content, cat(path, "/", kDescriptionFile));
}

Error no_export(const config::Settings &settings, const std::string &name) {
  std::vector<std::string> names;
  if (auto listed = list_exports(settings)) {
    for (const auto &one : *listed) names.push_back(one.name);
  }
  const std::string near = text::did_you_mean(name, names);
  return {kNoExport, cat("export ", text::printable(name), ": there is none in ", settings.export_dir),
          near.empty() ? "'vbd backup list' shows all" : cat("did you mean ", near, "?")};
}

std::uint64_t allocated_in(int directory) {
  std::uint64_t sum = 0;
  auto names = sys::list_dir(directory);
  if (!names) return 0;
  for (const auto &name : *names) {
    if (auto info = sys::file_info_at(directory, name)) sum += info->allocated;
  }
  return sum;
}

Listed look_at(int parent, const std::string &parent_path, const std::string &name) {
  Listed listed{name, cat(parent_path, "/", name), {}, {}, 0};
  auto directory = sys::open_directory_at(parent, name, listed.path);
  if (!directory) {
    listed.problem = directory.error().message();
    return listed;
  }
  listed.allocated = allocated_in(directory->get());
  auto description = read_description(directory->get(), listed.path);
  if (description) {
    listed.description = *std::move(description);
  } else {
    listed.problem = description.error().message();
  }
  return listed;
}

}  // namespace

Result<Export> open_export(const config::Settings &settings, const std::string &word) {
  Export found;
  if (word.starts_with('/')) {
    found.path = sys::absolute_path(word);
    auto directory = sys::open_directory(found.path);
    if (!directory) {
      return directory.error().is(sys::kNotFound) ? Error(kNoExport, cat(found.path, ": no such directory"))
                                                  : directory.error();
    }
    found.directory = std::move(*directory);
  } else {
    VBD_TRY(check_instance_name(word));
    auto shelf = open_shelf(settings, false);
    if (!shelf) return shelf.error().is(sys::kNotFound) ? no_export(settings, word) : shelf.error();
    found.path = cat(settings.export_dir, "/", word);
    auto directory = sys::open_trusted_directory_at(shelf->get(), word, found.path, sys::kExportDirectory);
    if (!directory)
      return directory.error().is(sys::kNotFound) ? no_export(settings, word) : directory.error();
    found.directory = std::move(*directory);
  }
  auto description = read_description(found.directory.get(), found.path);
  if (!description) return description.error();
  found.description = *std::move(description);
  return found;
}

Result<std::vector<Listed>> list_exports(const config::Settings &settings) {
  std::vector<Listed> out;
  auto shelf = open_shelf(settings, false);
  if (!shelf) return shelf.error().is(sys::kNotFound) ? Result<std::vector<Listed>>(out) : shelf.error();
  auto names = sys::list_dir(shelf->get());
  if (!names) return names.error().at(settings.export_dir);
  for (const auto &name : *names) {
    auto info = sys::file_info_at(shelf->get(), name);
    if (name.starts_with('.') || !info || !info->is_directory()) continue;
    out.push_back(look_at(shelf->get(), settings.export_dir, name));
  }
  return out;
}

Result<std::vector<std::string>> left_exports(const config::Settings &settings, bool repair) {
  std::vector<std::string> left;
  auto shelf = open_shelf(settings, false);
  if (!shelf)
    return shelf.error().is(sys::kNotFound) ? Result<std::vector<std::string>>(left) : shelf.error();
  auto names = sys::list_dir(shelf->get());
  if (!names) return names.error().at(settings.export_dir);
  for (const auto &entry : *names) {
    const bool hidden_one = shown_name(entry, kOld) || shown_name(entry, kGone) || shown_name(entry, kNew);
    if (hidden_one && !is_being_made(shelf->get(), entry))
      left.push_back(cat(settings.export_dir, "/", entry));
  }
  if (left.empty() || !repair) return left;
  auto lock = lock_shelf(shelf->get(), settings.export_dir);
  return lock ? Result<std::vector<std::string>>(left) : lock.error();
}

Result<std::vector<std::string>> files_of(const Export &found) {
  std::set<std::string> own = {kDescriptionFile};
  for (const auto &disk : found.description.disks) own.insert(disk.dump);
  auto names = sys::list_dir(found.directory.get());
  if (!names) return names.error().at(found.path);
  std::vector<std::string> files, others;
  for (const auto &name : *names) {
    if (name != kDescriptionFile) (own.contains(name) ? files : others).push_back(name);
  }
  if (!others.empty()) {
    return Error(kForeignFiles,
                 cat(found.path,
                     ": holds files that are not of the export: ", text::printable(text::join(others, ", "))),
                 "look at them and remove them yourself");
  }
  files.emplace_back(kDescriptionFile);
  return files;
}

Result<void> remove_export(const config::Settings &settings, const std::string &name) {
  VBD_TRY_ASSIGN(auto shelf, open_shelf(settings, false));
  VBD_TRY_ASSIGN(const auto lock, lock_shelf(shelf.get(), settings.export_dir));
  auto found = open_export(settings, name);  // settling may have brought it back
  if (!found) return found.error();
  VBD_TRY(files_of(*found));
  const std::string gone = hidden(name, kGone);
  VBD_TRY(sys::rename_dir_at(shelf.get(), name, gone));
  if (auto deleted = delete_hidden(shelf.get(), gone); !deleted) return deleted.error().at(found->path);
  return sys::sync_fd(shelf.get());
}

Result<NewExport> NewExport::begin(const config::Settings &settings, const std::string &name) {
  NewExport made;
  VBD_TRY_ASSIGN(auto shelf, open_shelf(settings, true));
  VBD_TRY_ASSIGN(const auto lock, lock_shelf(shelf.get(), settings.export_dir));
  made.parent_path_ = settings.export_dir;
  const std::string temporary = hidden(name, kNew);
  if (exists(shelf.get(), temporary)) {
    return Error(sys::kLocked, cat("export ", name, ": another process is making one now, or left ",
                                   settings.export_dir, "/", temporary));
  }
  if (auto done = sys::make_dir_at(shelf.get(), temporary, kDirectoryMode); !done) {
    (void)sys::remove_dir_at(shelf.get(), temporary);
    return done.error().at(settings.export_dir);
  }
  made.name_ = name;  // from here on the destructor removes it
  made.path_ = cat(settings.export_dir, "/", temporary);
  made.parent_ = std::move(shelf);
  VBD_TRY_ASSIGN(auto directory, sys::open_directory_at(made.parent_.get(), temporary, made.path_));
  made.directory_ = std::move(directory);
  VBD_TRY_ASSIGN(auto inner, sys::OperationLock::acquire(made.directory_.get(), made.path_,
                                                         std::chrono::milliseconds(0)));
  made.lock_ = std::move(inner);
  return made;
}

NewExport::~NewExport() {
  if (!parent_) return;  // published, or moved from
  if (auto gone = delete_hidden(parent_.get(), hidden(name_, kNew)); !gone)
    log::warn(cat(path_, ": ", gone.error().message()));
}

Result<void> NewExport::take_name() {
  const std::string temporary = hidden(name_, kNew);
  if (!exists(parent_.get(), name_)) {
    auto named = sys::rename_dir_at(parent_.get(), temporary, name_);
    // What could not be made durable has happened all the same.
    if (!named && !exists(parent_.get(), temporary))
      (void)sys::rename_dir_at(parent_.get(), name_, temporary);
    return named;
  }
  VBD_TRY_ASSIGN(auto exchanged, sys::exchange_at(parent_.get(), temporary, name_));
  if (exchanged) {
    auto synced = sys::sync_fd(parent_.get());
    if (!synced) (void)sys::exchange_at(parent_.get(), temporary, name_);
    return synced;
  }
  const std::string old = hidden(name_, kOld);
  if (auto moved = sys::rename_dir_at(parent_.get(), name_, old); !moved) {
    if (!exists(parent_.get(), name_)) (void)sys::rename_dir_at(parent_.get(), old, name_);
    return moved;
  }
  auto named = sys::rename_dir_at(parent_.get(), temporary, name_);
  if (!named) (void)sys::rename_dir_at(parent_.get(), old, name_);
  return named;
}

Result<void> NewExport::publish(const std::string &description) {
  auto written = sys::create_file_at(directory_.get(), kDescriptionFile, description);
  if (!written) return written.error().at(path_);
  VBD_TRY_ASSIGN(const auto lock, sys::OperationLock::acquire(parent_.get(), parent_path_, kPatience));
  VBD_TRY(sys::unlink_at(directory_.get(), std::string(sys::OperationLock::kFileName)));
  VBD_TRY(sys::sync_fd(directory_.get()));
  if (auto named = take_name(); !named) return named.error().at(parent_path_);
  const sys::Fd parent = std::move(parent_);
  settle(parent.get(), parent_path_);  // the one whose place it took
  return {};
}

}  // namespace vbd::backup
