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
  VBD_TRY_ASSIGN(auto names, sys::list_dir(directory->get()));
  for (const std::string &entry : names) {
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
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  if (record->boot_id != boot) return std::optional<Record>();
  return std::optional<Record>(std::move(*record));
}

Result<std::optional<Record>> Records::find(const sys::FileId &file) const {
  VBD_TRY_ASSIGN(auto directory, open_if_there(records_directory()));
  if (!directory) return std::optional<Record>();
  auto record = read(directory.get(), record_name(file), false);
  if (!record || !*record) return record;
  VBD_TRY(open_if_there(state_directory(file)));
  return record;
}

Result<std::optional<Record>> Records::find(const std::string &image) const {
  VBD_TRY_ASSIGN(auto records, all());
  for (Record &record : records) {
    if (record.image != image) continue;
    VBD_TRY(open_if_there(state_directory(record.file)));
    return std::optional<Record>(std::move(record));
  }
  return std::optional<Record>();
}

Result<std::vector<Record>> Records::all(bool stale) const {
  VBD_TRY_ASSIGN(auto directory, open_if_there(records_directory()));
  std::vector<Record> records;
  if (!directory) return records;
  VBD_TRY_ASSIGN(auto names, sys::list_dir(directory.get()));
  for (const std::string &name : names) {
    if (!name.ends_with(kSuffix)) continue;
    auto record = read(directory.get(), name, stale);
    if (!record) {
      log::warn(record.error().message());  // one damaged file must not hide the others
      continue;
    }
    if (*record) records.push_back(std::move(**record));
  }
  return records;
}

Result<void> Records::write(Record &record) const {
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  record.boot_id = boot;
  VBD_TRY_ASSIGN(auto directory, make_directory(records_directory(), 0755));
  auto written =
      sys::replace_record_at(directory.get(), record_name(record.file), write_record_json(record), 0644);
  return written ? written : Result<void>(written.error().at(records_directory()));
}

Result<void> Records::drop(const Record &record) const {
  // The directory first: a kill in between leaves a record, which the next command finds by itself.
  VBD_TRY_ASSIGN(auto states, open_if_there(run_dir_ + "/state"));
  if (states) {
    auto gone = remove_flat_directory(states.get(), record.file.text(), state_directory(record.file));
    if (!gone) log::warn(gone.error().message());  // nothing is attached any more: a sweep gets it later
  }
  VBD_TRY_ASSIGN(auto directory, open_if_there(records_directory()));
  if (!directory) return {};
  // The spare of the last record goes before it, so that a kill in between leaves no spare alone.
  auto names = sys::list_dir(directory.get());
  const auto other = [&](const std::string &name) {
    return name.ends_with(kSuffix) && name != record_name(record.file);
  };
  if (names && std::none_of(names->begin(), names->end(), other)) (void)sys::drop_spares(directory.get());
  return sys::unlink_at(directory.get(), record_name(record.file));
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
  VBD_TRY_ASSIGN(auto locks, locks_directory(beside));
  return sys::OperationLock::acquire(locks.get(), beside, patience);
}

Result<std::vector<std::string>> Records::sweep(bool repair) const {
  std::vector<std::string> swept;
  VBD_TRY_ASSIGN(auto records, open_if_there(records_directory()));
  if (!records) return swept;
  VBD_TRY_ASSIGN(auto stale, sys::stale_temp_files(records.get()));
  for (const std::string &name : stale) {
    swept.push_back(text::cat(records_directory(), "/", name));
    if (!repair) continue;
    if (auto gone = sys::unlink_at(records.get(), name); !gone) return gone.error();
  }
  VBD_TRY_ASSIGN(auto states, open_if_there(run_dir_ + "/state"));
  if (!states) return swept;
  VBD_TRY_ASSIGN(auto names, sys::list_dir(states.get()));
  for (const std::string &name : names) {
    if (sys::file_info_at(records.get(), name + std::string(kSuffix))) continue;
    const std::string path = text::cat(run_dir_, "/state/", name);
    swept.push_back(path);
    if (!repair) continue;
    if (auto gone = remove_flat_directory(states.get(), name, path); !gone) return gone.error();
  }
  return swept;
}

}  // namespace vbd::device
