// SPDX-License-Identifier: MIT
#include "core/device/record.hpp"

#include <algorithm>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/record_json.hpp"
#include "core/sys/components.hpp"
#include "core/sys/host.hpp"
#include "core/sys/spare.hpp"
#include "core/sys/trusted.hpp"

namespace vbd::device {
namespace {

constexpr std::size_t kMaxRecord = 1u << 20;
constexpr std::string_view kSuffix = ".json";

std::string record_name(const sys::FileId &file) {
  return file.text() + std::string(kSuffix);
}

/// Of RUN_DIR, which only we and root may be able to change: a record names devices, processes, files.
/// Missing: no descriptor.
Result<sys::Fd> open_if_there(const std::string &path) {
  auto fd = sys::open_trusted_directory(path, sys::kRunDirectory);
  if (!fd && fd.error().is(sys::kNotFound)) return sys::Fd();
  return fd;
}

Result<sys::Fd> make_directory(const std::string &path, std::uint32_t mode) {
  return sys::make_trusted_directory(path, mode, sys::kRunDirectory);
}

/// One level only: below it may be a mount of the driver's, whose files are not ours to delete.
Result<void> remove_flat_directory(int parent, const std::string &name, const std::string &path) {
  const auto directory = sys::open_trusted_directory_at(parent, name, path, sys::kRunDirectory);
  if (!directory && directory.error().is(sys::kNotFound)) return {};
  if (!directory) return directory.error();
  auto names = sys::list_dir(directory->get());
  if (!names) return names.error();
  for (const std::string &entry : *names) {
    const auto info = sys::file_info_at(directory->get(), entry);
    if (!info) continue;  // gone meanwhile
    auto removed = info->is_directory() ? sys::remove_dir_at(directory->get(), entry)
                                        : sys::unlink_at(directory->get(), entry);
    if (!removed) return removed.error().at(text::printable(path));
  }
  return sys::remove_dir_at(parent, name);
}

}  // namespace

bool Record::held_by(const std::string &holder) const {
  return std::find(holders.begin(), holders.end(), holder) != holders.end();
}

void Record::drop_holder(const std::string &holder) {
  std::erase(holders, holder);
}

Result<std::optional<Record>> Records::read(int directory, const std::string &name, bool stale) const {
  const std::string path = text::cat(records_directory(), "/", name);
  auto text = sys::read_trusted_at(directory, name, path, kMaxRecord, sys::kRunDirectory);
  if (!text) {
    if (text.error().is(sys::kNotFound)) return std::optional<Record>();
    return text.error();
  }
  auto record = parse_record_json(*text, path);
  if (!record) return record.error();
  if (record_name(record->file) != name) {
    return Error(
        kBadRecord,
        text::cat(text::printable(path), ": is the record of another file, ", record_name(record->file)),
        "remove the file; what is attached is found again by asking the drivers");
  }
  if (stale) return std::optional<Record>(std::move(*record));
  auto boot = sys::boot_id();
  if (!boot) return boot.error();
  if (record->boot_id != *boot) return std::optional<Record>();
  return std::optional<Record>(std::move(*record));
}

Result<std::optional<Record>> Records::find(const sys::FileId &file) const {
  auto directory = open_if_there(records_directory());
  if (!directory) return directory.error();
  if (!*directory) return std::optional<Record>();
  auto record = read(directory->get(), record_name(file), false);
  if (!record || !*record) return record;
  if (auto own = open_if_there(state_directory(file)); !own) return own.error();
  return record;
}

Result<std::optional<Record>> Records::find(const std::string &image) const {
  auto records = all();
  if (!records) return records.error();
  for (Record &record : *records) {
    if (record.image != image) continue;
    if (auto own = open_if_there(state_directory(record.file)); !own) return own.error();
    return std::optional<Record>(std::move(record));
  }
  return std::optional<Record>();
}

Result<std::vector<Record>> Records::all(bool stale) const {
  auto directory = open_if_there(records_directory());
  if (!directory) return directory.error();
  std::vector<Record> records;
  if (!*directory) return records;
  auto names = sys::list_dir(directory->get());
  if (!names) return names.error();
  for (const std::string &name : *names) {
    if (!name.ends_with(kSuffix)) continue;
    auto record = read(directory->get(), name, stale);
    if (!record) {
      log::warn(record.error().message());  // one damaged file must not hide the others
      continue;
    }
    if (*record) records.push_back(std::move(**record));
  }
  return records;
}

Result<void> Records::write(Record &record) const {
  auto boot = sys::boot_id();
  if (!boot) return boot.error();
  record.boot_id = *boot;
  auto directory = make_directory(records_directory(), 0755);
  if (!directory) return directory.error();
  auto written =
      sys::replace_record_at(directory->get(), record_name(record.file), write_record_json(record), 0644);
  return written ? written : Result<void>(written.error().at(records_directory()));
}

Result<void> Records::drop(const Record &record) const {
  // The directory first: a kill in between leaves a record, which the next command finds by itself.
  auto states = open_if_there(run_dir_ + "/state");
  if (!states) return states.error();
  if (*states) {
    auto gone = remove_flat_directory(states->get(), record.file.text(), state_directory(record.file));
    if (!gone) log::warn(gone.error().message());  // nothing is attached any more: a sweep gets it later
  }
  auto directory = open_if_there(records_directory());
  if (!directory) return directory.error();
  if (!*directory) return {};
  // The spare of the last record goes before it, so that a kill in between leaves no spare alone.
  auto names = sys::list_dir(directory->get());
  const auto other = [&](const std::string &name) {
    return name.ends_with(kSuffix) && name != record_name(record.file);
  };
  if (names && std::none_of(names->begin(), names->end(), other)) (void)sys::drop_spares(directory->get());
  return sys::unlink_at(directory->get(), record_name(record.file));
}

std::string Records::state_directory(const sys::FileId &file) const {
  return text::cat(run_dir_, "/state/", file.text());
}

Result<void> Records::make_state_directory(const sys::FileId &file) const {
  auto made = make_directory(state_directory(file), 0700);
  return made ? Result<void>() : made.error();
}

Result<sys::Fd> Records::locks_directory(std::string &path) const {
  path = run_dir_ + "/locks";
  return make_directory(path, 0700);
}

Result<sys::OperationLock> Records::lock(int directory, const std::string &path,
                                         std::chrono::milliseconds patience) const {
  auto lock = sys::OperationLock::acquire(directory, path, patience);
  if (lock || !lock.error().is(sys::kReadOnly)) return lock;
  std::string beside;
  auto locks = locks_directory(beside);
  if (!locks) return locks.error();
  return sys::OperationLock::acquire(locks->get(), beside, patience);
}

Result<std::vector<std::string>> Records::sweep(bool repair) const {
  std::vector<std::string> swept;
  auto records = open_if_there(records_directory());
  if (!records) return records.error();
  if (!*records) return swept;
  auto stale = sys::stale_temp_files(records->get());
  if (!stale) return stale.error();
  for (const std::string &name : *stale) {
    swept.push_back(text::cat(records_directory(), "/", name));
    if (!repair) continue;
    if (auto gone = sys::unlink_at(records->get(), name); !gone) return gone.error();
  }
  auto states = open_if_there(run_dir_ + "/state");
  if (!states) return states.error();
  if (!*states) return swept;
  auto names = sys::list_dir(states->get());
  if (!names) return names.error();
  for (const std::string &name : *names) {
    if (sys::file_info_at(records->get(), name + std::string(kSuffix))) continue;
    const std::string path = text::cat(run_dir_, "/state/", name);
    swept.push_back(path);
    if (!repair) continue;
    if (auto gone = remove_flat_directory(states->get(), name, path); !gone) return gone.error();
  }
  return swept;
}

}  // namespace vbd::device
