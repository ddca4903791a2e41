// SPDX-License-Identifier: MIT
#include "core/device/claim.hpp"

#include "core/base/text.hpp"
#include "core/config/documents.hpp"
#include "core/device/device.hpp"
#include "core/sys/host.hpp"

namespace vbd::device {
namespace {

constexpr std::size_t kMaxInstanceFile = 1u << 20;

Result<void> replace_instance(int directory, const InstanceRecord &record) {
  const auto present = sys::file_info_at(directory, kInstanceFile);
  const std::uint32_t mode = present ? present->mode & 07777u : 0600u;
  return sys::replace_file_at(directory, kInstanceFile, config::write_instance(record), mode);
}

std::string file_of(const std::string &path) {
  return text::cat(path, "/", kInstanceFile);
}

}  // namespace

Result<std::optional<InstanceRecord>> read_instance(int directory, const std::string &path, bool read_only) {
  auto text = sys::read_file_at(directory, kInstanceFile, kMaxInstanceFile);
  if (!text) {
    if (text.error().is(sys::kNotFound)) return std::optional<InstanceRecord>();
    return text.error().at(text::printable(path));
  }
  auto record = config::parse_instance(*text, file_of(path));
  if (record) return std::optional<InstanceRecord>(std::move(*record));
  if (read_only && record.error().is(config::kNewerSchema)) return std::optional<InstanceRecord>();
  return record.error();
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
  return Error(kForeignDirectory,
               text::cat(text::printable(file_of(path)), ": instance ", text::printable(record.name),
                         " belongs to ", text::printable(record.directory), ", this is a copy of it"),
               "vbd instance register --as NAME makes it an instance of its own");
}

Result<bool> claim_is_ours(const InstanceRecord &record, const config::Settings &settings) {
  if (!record.claim || record.claim->node != settings.node) return false;
  auto boot = sys::boot_id();
  if (!boot) return boot.error();
  return record.claim->boot_id == *boot;
}

Result<void> check_claim(const InstanceRecord &record, const config::Settings &settings,
                         const std::string &path) {
  if (!record.claim || record.claim->node == settings.node) return {};
  return Error(kClaimedElsewhere,
               text::cat(text::printable(file_of(path)), ": node ", text::printable(record.claim->node),
                         " writes this instance's disks for ", text::printable(record.claim->holder),
                         " since ", text::printable(record.claim->time)),
               "detach them there, or fail the instance over when that node is dead");
}

Result<void> write_claim(int directory, InstanceRecord record, const config::Settings &settings,
                         const std::string &holder) {
  auto boot = sys::boot_id();
  if (!boot) return boot.error();
  record.claim = ClaimRecord{settings.node, *boot, holder, sys::now_rfc3339()};
  return replace_instance(directory, record);
}

Result<void> release_claim(int directory, const std::string &path, const config::Settings &settings) {
  auto record = read_instance(directory, path, false);
  if (!record) return record.error();
  if (!*record || !(*record)->claim || (*record)->claim->node != settings.node) return {};
  (*record)->claim.reset();
  return replace_instance(directory, **record);
}

}  // namespace vbd::device
