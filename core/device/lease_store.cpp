// SPDX-License-Identifier: MIT
#include "core/device/lease_store.hpp"

#include <algorithm>
#include <array>

#include "core/base/text.hpp"
#include "core/config/documents.hpp"
#include "core/device/device.hpp"
#include "core/sys/files.hpp"
#include "core/sys/spare.hpp"

namespace vbd::device {
namespace {

constexpr std::size_t kMaxFile = 1u << 20;

std::string path_in(const std::string &directory, const char *file) {
  return text::cat(directory, "/", file);
}

Result<std::optional<Lease>> read_from_instance(const LeaseSpot &, const InstanceRecord *instance) {
  return instance == nullptr ? std::optional<Lease>() : std::optional<Lease>(instance->lease);
}

Result<void> write_to_instance(const LeaseSpot &spot, const Lease &lease, const config::Settings &) {
  VBD_TRY_ASSIGN(auto record, read_instance(spot.directory, spot.directory_path, false));
  if (!record) return Error(sys::kNotFound, path_in(spot.directory_path, kInstanceFile) + ": has gone");
  record->lease = lease;
  return put_instance(spot.directory, *record);
}

Result<config::Leases> read_leases(const LeaseSpot &spot) {
  auto text = sys::read_record_at(spot.directory, kLeaseFile, kMaxFile);
  if (!text && text.error().is(sys::kNotFound)) return config::Leases();
  if (!text) return text.error().at(text::printable(spot.directory_path));
  return config::parse_leases(*text, path_in(spot.directory_path, kLeaseFile));
}

Result<std::optional<Lease>> read_beside(const LeaseSpot &spot, const InstanceRecord *) {
  if (spot.file.empty()) return std::optional<Lease>();
  VBD_TRY_ASSIGN(auto leases, read_leases(spot));
  const auto found = leases.find(spot.file);
  return std::optional<Lease>(found == leases.end() ? Lease{} : found->second);
}

/// Those of images that are gone go too, unless another node has them.
Result<void> write_beside(const LeaseSpot &spot, const Lease &lease, const config::Settings &settings) {
  VBD_TRY_ASSIGN(auto leases, read_leases(spot));
  leases[spot.file] = lease;
  std::erase_if(leases, [&](const auto &entry) {
    if (entry.second == Lease{}) return true;
    if (is_elsewhere(entry.second, settings) || (entry.first == spot.file && lease.held())) return false;
    const auto there = sys::file_info_at(spot.directory, entry.first);
    return !there && there.error().is(sys::kNotFound);
  });
  if (leases.empty()) {
    VBD_TRY(sys::unlink_at(spot.directory, kLeaseFile));
    return device::drop_spares(spot.directory);
  }
  return sys::replace_record_at(spot.directory, kLeaseFile, config::write_leases(leases));
}

constexpr std::array kStores{
    LeaseStore{kInstanceFile, read_from_instance, write_to_instance},
    LeaseStore{kLeaseFile, read_beside, write_beside},
};

}  // namespace

std::span<const LeaseStore> lease_stores() {
  return kStores;
}

Result<std::optional<InstanceRecord>> read_instance(int directory, const std::string &path, bool read_only) {
  auto text = sys::read_record_at(directory, kInstanceFile, kMaxFile);
  if (!text) {
    if (text.error().is(sys::kNotFound)) return std::optional<InstanceRecord>();
    return text.error().at(text::printable(path));
  }
  auto record = config::parse_instance(*text, path_in(path, kInstanceFile));
  if (record) return std::optional<InstanceRecord>(std::move(*record));
  if (read_only && record.error().is(config::kNewerSchema)) return std::optional<InstanceRecord>();
  return record.error();
}

Result<void> put_instance(int directory, const InstanceRecord &record) {
  return sys::replace_record_at(directory, kInstanceFile, config::write_instance(record));
}

bool lists(const InstanceRecord &record, const std::string &file) {
  return std::any_of(record.disks.begin(), record.disks.end(),
                     [&](const DiskRecord &disk) { return disk.file == file; });
}

Result<void> check_home(const InstanceRecord &record, int directory, const std::string &path) {
  if (record.directory == path) return {};
  // Another way to write the same directory is no move.
  auto here = sys::file_info(directory);
  if (!here) return here.error().at(text::printable(path));
  const auto parent = sys::open_parent(record.directory);
  const auto home = parent ? sys::file_info_at(parent->get(), sys::base_name(record.directory))
                           : Result<sys::FileInfo>(parent.error());
  if (home && home->id == here->id) return {};
  return Error(
      kForeignDirectory,
      text::cat(text::printable(path_in(path, kInstanceFile)), ": instance ", text::printable(record.name),
                " belongs to ", text::printable(record.directory), ", this is a copy of it"),
      "vbd instance register --as NAME makes it an instance of its own");
}

}  // namespace vbd::device
