// SPDX-License-Identifier: MIT
#include "core/base/text.hpp"
#include "core/device/disk.hpp"
#include "core/sys/children.hpp"

namespace vbd::device {
namespace {

Status to_status(Disk &disk, const Observed &observed) {
  Status status;
  status.state = observed.state;
  status.reason = observed.reason;
  Record record = disk.record ? *disk.record : new_record(disk);
  if (!disk.record) record.read_only = observed.facts.flag("read_only");
  status.attachment = attachment_of(record, observed);
  if (disk.record && record.phase == Record::Phase::attached && observed.state == Status::State::detached) {
    status.state = Status::State::broken;
    status.reason = text::cat("recorded as ", describe(record), ", but the device is gone");
  }
  if (status.state == Status::State::detached) status.attachment = {};
  if (observed.bad_node) status.attachment.node.clear();
  return status;
}

}  // namespace

Result<Status> status_of(Disk &disk) {
  if (disk.record && disk.record->driver != disk.id.driver.str()) {
    Status status;
    status.reason = text::cat(describe(*disk.record), " through ", disk.record->driver);
    return status;
  }
  VBD_TRY_ASSIGN(auto observed, observe(disk));
  Status status = to_status(disk, observed);
  status.silent = disk.place.silent;
  if (status.state != Status::State::detached) return status;
  auto users = unrecorded_users(disk);
  status.unrecorded = users && !users->empty();
  if (status.unrecorded) status.reason = text::cat("no record of it, but in use by ", *users);
  return status;
}

Result<Status> query(const Context &context, const LogicalId &id, bool locked) {
  VBD_TRY_ASSIGN(auto disk, open_for_others(context, id, false));
  if (locked || !disk.record || disk.record->phase == Record::Phase::attached) return status_of(disk);
  // Somebody is at work, or was killed: under the lock it is seen which.
  auto lock = lock_place(context, disk.place, sys::kStoragePatience);
  VBD_TRY_ASSIGN(auto again, open_for_others(context, id, false));
  return status_of(again);
}

Result<std::vector<std::string>> holders_of(const Context &context, const LogicalId &id) {
  const Records records(context.settings.run_dir);
  if (!answers(context, id.path)) {
    VBD_TRY_ASSIGN(auto known, records.find(sys::absolute_path(id.path)));
    return known ? known->holders : std::vector<std::string>();
  }
  VBD_TRY_ASSIGN(auto place, open_place(context, id.path, true));
  auto record = records.find(place.path);
  if (record && !*record && place.directory) {
    if (auto info = sys::file_info_at(place.directory.get(), sys::base_name(place.path))) {
      record = records.find(info->id);
    }
  }
  if (!record) return record.error();
  if (*record && place.directory) {
    auto info = sys::file_info_at(place.directory.get(), sys::base_name(place.path));
    if (info && (*record)->file == info->id && !(*record)->is_of(*info)) record->reset();
  }
  auto driver = context.registry.find(id.driver);
  if (!driver) {  // without the driver the record is all that there is
    return *record ? (*record)->holders : std::vector<std::string>();
  }
  auto status = query(context, id);
  if (!status) {
    if (status.error().is(sys::kNotFound)) return std::vector<std::string>();
    return status.error();
  }
  if (*record && (*record)->driver != id.driver.str()) return (*record)->holders;
  if (status->state == Status::State::detached) return std::vector<std::string>();
  if (status->attachment.holders.empty()) return std::vector<std::string>{"an unknown holder"};
  return status->attachment.holders;
}

}  // namespace vbd::device
