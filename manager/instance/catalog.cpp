// SPDX-License-Identifier: MIT
#include "manager/instance/catalog.hpp"

#include <algorithm>
#include <iterator>

#include "core/base/text.hpp"
#include "core/device/lease.hpp"
#include "core/sys/files.hpp"
#include "core/sys/spare.hpp"
#include "core/sys/trusted.hpp"
#include "manager/instance/storage.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr std::size_t kPointerLimit = 65536;
constexpr std::chrono::milliseconds kNamesPatience{10000};
constexpr std::string_view kPointerSuffix = ".yaml";
constexpr std::size_t kBatch = 256;

Entry entry_of(const config::Pointer &pointer, State state, std::string reason) {
  Entry entry;
  entry.state = state;
  entry.reason = std::move(reason);
  entry.record.name = pointer.name;
  entry.record.uuid = pointer.uuid;
  entry.record.directory = pointer.directory;
  entry.unreadable = state == State::error;
  return entry;
}

/// Why the record is not the instance that the pointer means; "" when it is.
std::string foreign_reason(const config::Pointer &pointer, const InstanceRecord &record) {
  const std::string file = cat(pointer.directory, "/", kInstanceFile);
  if (record.directory != pointer.directory)
    return cat(file, " was written for ", text::printable(record.directory));
  if (record.name != pointer.name) return cat(file, " is of the instance ", record.name);
  if (record.uuid != pointer.uuid)
    return cat(file, " has the UUID ", record.uuid, ", known is ", pointer.uuid);
  return {};
}

Entry judge(const config::Pointer &pointer, const FileText &file) {
  if (!file) return entry_of(pointer, State::unreachable, cat(pointer.directory, ": no answer within 2 s"));
  const Result<std::string> &text = *file;
  if (!text && text.error().is(sys::kNotFound)) {
    Entry entry =
        entry_of(pointer, State::unreachable, cat(text.error().message(), "; is its storage mounted?"));
    entry.missing = true;
    return entry;
  }
  if (!text) return entry_of(pointer, State::error, text.error().message());
  auto record = config::parse_instance(*text, cat(pointer.directory, "/", kInstanceFile));
  if (!record) return entry_of(pointer, State::error, record.error().message());
  Entry entry;
  entry.record = *record;
  const bool renamed =
      record->uuid == pointer.uuid && is_being_renamed(*record, pointer.name, pointer.directory);
  if (renamed) {
    entry.record.name = pointer.name;
    entry.record.directory = pointer.directory;
  } else {
    entry.reason = foreign_reason(pointer, *record);
  }
  if (!entry.reason.empty()) {
    entry.state = State::foreign;
    entry.record.name = pointer.name;
  } else if (record->operation) {
    entry.state = State::interrupted;
    const std::string &node = record->operation->node;
    entry.reason = cat(record->operation->verb, " began ", record->operation->started,
                       node.empty() ? "" : " on node ", text::printable(node), " and is not finished");
  }
  return entry;
}

}  // namespace

bool is_being_renamed(const InstanceRecord &record, const std::string &name, const std::string &path) {
  if (!record.operation || record.operation->verb != "rename") return false;
  const auto &details = record.operation->details;
  const auto is = [&](const char *key, const std::string &value) {
    const auto found = details.find(key);
    return found != details.end() && found->second == value;
  };
  return (is("from", name) || is("to", name)) && (is("from_directory", path) || is("to_directory", path));
}

Result<sys::Fd> Catalog::open_names() const {
  return sys::open_trusted_directory(names_path(), sys::kStateDirectory);
}

Result<std::vector<std::string>> Catalog::names() const {
  auto directory = open_names();
  if (!directory) {
    if (directory.error().is(sys::kNotFound)) return std::vector<std::string>{};  // nothing was ever added
    return directory.error();
  }
  auto files = sys::list_dir(directory->get());
  if (!files) return files.error().at(names_path());
  std::vector<std::string> names;
  for (const auto &file : *files) {
    if (!file.ends_with(kPointerSuffix) || file.starts_with(".")) continue;
    names.push_back(file.substr(0, file.size() - kPointerSuffix.size()));
  }
  return names;
}

Result<std::optional<config::Pointer>> Catalog::pointer(const std::string &name) const {
  VBD_TRY(check_instance_name(name));
  auto directory = open_names();
  if (directory) return pointer_at(directory->get(), name);
  if (directory.error().is(sys::kNotFound)) return std::optional<config::Pointer>{};
  return directory.error();
}

Result<std::optional<config::Pointer>> Catalog::pointer_at(int directory, const std::string &name) const {
  VBD_TRY(check_instance_name(name));
  const std::string file = cat(name, kPointerSuffix), path = cat(names_path(), "/", file);
  auto content = sys::read_trusted_at(directory, file, path, kPointerLimit, sys::kStateDirectory);
  if (!content) {
    if (content.error().is(sys::kNotFound)) return std::optional<config::Pointer>{};
    return content.error();
  }
  auto pointer = config::parse_pointer(*content, path);
  if (!pointer) return pointer.error();
  if (pointer->name != name)
    return Error(kForeign, cat(path, ": is the pointer of ", text::printable(pointer->name)));
  return std::optional(*pointer);
}

std::vector<Entry> Catalog::read(std::span<const std::string> names, std::set<std::string> &silent) const {
  std::vector<Entry> entries;
  std::vector<config::Pointer> pointers;
  std::vector<std::string> directories;
  const auto directory = open_names();
  for (const auto &name : names) {
    auto found = directory ? pointer_at(directory->get(), name) : pointer(name);
    if (!found) {
      entries.push_back(entry_of({name, "", ""}, State::error, found.error().message()));
    } else if (found->has_value()) {
      pointers.push_back(**found);
      directories.push_back((*found)->directory);
    }
  }
  const auto files = read_instance_files(settings_, directories, &silent);
  for (std::size_t i = 0; i < pointers.size(); ++i) entries.push_back(judge(pointers[i], files[i]));
  std::sort(entries.begin(), entries.end(),
            [](const Entry &a, const Entry &b) { return a.record.name < b.record.name; });
  return entries;
}

Result<void> Catalog::each(const std::function<bool(const std::string &)> &wanted,
                           const std::function<Result<void>(std::vector<Entry>)> &take,
                           std::set<std::string> &silent) const {
  VBD_TRY_ASSIGN(auto known, names());
  if (wanted) std::erase_if(known, [&](const std::string &name) { return !wanted(name); });
  std::sort(known.begin(), known.end());
  const std::span<const std::string> all(known);
  for (std::size_t at = 0; at < all.size(); at += kBatch) {
    if (auto taken = take(read(all.subspan(at, std::min(kBatch, all.size() - at)), silent)); !taken)
      return taken;
  }
  return {};
}

Result<std::vector<Entry>> Catalog::list() const {
  std::vector<Entry> entries;
  Silent silent;
  const auto keep = [&](std::vector<Entry> some) -> Result<void> {
    std::move(some.begin(), some.end(), std::back_inserter(entries));
    return {};
  };
  VBD_TRY(each({}, keep, silent));
  return entries;
}

Error Catalog::not_found(const std::string &name) const {
  const auto known = names();
  if (!known) return known.error();
  const std::string near = text::did_you_mean(name, *known);
  return Error(kInstanceNotFound, cat("instance ", text::printable(name), ": not known on this host"),
               near.empty() ? "'vbd instance list' shows all" : cat("did you mean ", near, "?"));
}

Result<Entry> Catalog::find(const std::string &name) const {
  VBD_TRY_ASSIGN(auto found, pointer(name));
  if (found.has_value()) return judge(*found, read_instance_files(settings_, {found->directory}).front());
  return not_found(name);
}

Result<void> Catalog::write_record(int directory, const InstanceRecord &record,
                                   const InstanceRecord *overrule) const {
  auto written = device::replace_instance(directory, record.directory, record, settings_, overrule);
  if (!written) return written.error().at(record.directory);
  return {};
}

Result<void> Catalog::create_record(int directory, const InstanceRecord &record) const {
  VBD_TRY_ASSIGN(auto stamped, device::with_origin(record, settings_));
  const std::string content = config::write_instance(stamped);
  auto created = sys::create_file_at(directory, kInstanceFile, content, 0600);
  if (created) created = device::keep_room(directory, record.directory, content.size(), settings_);
  if (created) return {};
  if (created.error().is(sys::kExists)) {
    return Error(kInstanceExists, cat(record.directory, ": holds an instance already"));
  }
  return created.error().at(record.directory);
}

Result<InstanceRecord> Catalog::read_record(int directory, const std::string &path) const {
  auto content = sys::read_record_at(directory, kInstanceFile, kInstanceFileLimit);
  if (!content) return content.error().at(path);
  return config::parse_instance(*content, cat(path, "/", kInstanceFile));
}

Result<sys::OperationLock> Catalog::lock_names() const {
  VBD_TRY_ASSIGN(auto directory, sys::make_trusted_directory(names_path(), 0755, sys::kStateDirectory));
  return sys::OperationLock::acquire(directory.get(), names_path(), kNamesPatience);
}

Result<void> Catalog::write_pointer(const InstanceRecord &record) const {
  VBD_TRY_ASSIGN(auto directory, open_names());
  const std::string content = config::write_pointer({record.name, record.uuid, record.directory});
  auto created = sys::create_file_at(directory.get(), cat(record.name, kPointerSuffix), content, 0644);
  if (created) return {};
  if (created.error().is(sys::kExists)) {
    return Error(kInstanceExists, cat("instance ", record.name, ": exists already on this host"));
  }
  return created.error().at(names_path());
}

Result<void> Catalog::replace_pointer(const InstanceRecord &record) const {
  VBD_TRY_ASSIGN(auto directory, open_names());
  const std::string content = config::write_pointer({record.name, record.uuid, record.directory});
  return sys::replace_record_at(directory.get(), cat(record.name, kPointerSuffix), content, 0644);
}

Result<void> Catalog::remove_pointer(const std::string &name) const {
  VBD_TRY(check_instance_name(name));
  VBD_TRY_ASSIGN(auto directory, open_names());
  VBD_TRY(sys::unlink_at(directory.get(), cat(name, kPointerSuffix)));
  return sys::sync_fd(directory.get());
}

Result<void> Catalog::remove_own_pointer(const InstanceRecord &record) const {
  VBD_TRY_ASSIGN(auto found, pointer(record.name));
  if (!found.has_value() || found->uuid != record.uuid || found->directory != record.directory) return {};
  return remove_pointer(record.name);
}

Result<std::vector<std::string>> Catalog::scan_directories() const {
  return walk_storage(settings_).instances;
}

}  // namespace vbd::instance
