// SPDX-License-Identifier: MIT
#include "manager/instance/lease.hpp"

#include <chrono>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/config/documents.hpp"
#include "core/device/record.hpp"
#include "core/sys/files.hpp"
#include "manager/instance/settle.hpp"
#include "manager/instance/site.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr std::chrono::milliseconds kLeasePatience{10000};

Result<LeaseTarget> target_at(const std::string &path) {
  const std::string full = sys::absolute_path(path);
  auto directory = sys::open_parent(full + "/.");
  if (directory) return LeaseTarget{full, *std::move(directory), full, {}};
  auto parent = sys::open_parent(full);
  if (!parent) return parent.error();
  return LeaseTarget{full, *std::move(parent), sys::dir_name(full), sys::base_name(full)};
}

/// Nobody on this host has the image, whatever the lease says.
Result<void> check_image_unused(const Manager &manager, const LeaseTarget &target) {
  auto info = sys::file_info_at(target.directory.get(), target.file);
  if (!info) return info.error().is(sys::kNotFound) ? Result<void>() : info.error();
  VBD_TRY_ASSIGN(auto record, device::Records(manager.settings.run_dir).find(info->id));
  if (record) {
    return Error(device::kHeldByOther,
                 cat(target.shown, ": attached here for ", text::join(record->holders, ", ")),
                 "detach it: that gives the lease up");
  }
  VBD_TRY_ASSIGN(auto file, sys::open_image_anywhere(target.shown, sys::Access::read));
  return image::refuse_users(file.get(), target.shown, false);
}

/// The same for all disks of an instance, and its guest.
Result<void> check_unused(const Manager &manager, const LeaseTarget &target,
                          const std::optional<InstanceRecord> &instance) {
  if (!instance) return target.file.empty() ? Result<void>() : check_image_unused(manager, target);
  InstanceRecord here = *instance;
  here.directory = target.path;
  here.lease.free();
  return check_all_unused(manager, here, false);
}

Plan steps_of(const Manager &manager, const LeaseTarget &target, const device::SeenLease &seen) {
  Plan plan;
  if (seen.lease.held()) {
    plan.push_back(cat("take the lease of ", target.shown, " from node ", seen.lease.node,
                       ", which has it for ", seen.lease.holder, " since ", seen.lease.time));
  }
  if (seen.instance && !device::check_operation(*seen.instance, manager.settings, {})) {
    plan.push_back(cat("make the unfinished ", seen.instance->operation->verb, " of ", seen.instance->name,
                       ", begun on another node, this node's to finish or undo"));
  }
  if (!seen.changing.empty())
    plan.push_back(
        cat("end the writing of a lease that node ", seen.changing, " has begun in ", target.path));
  return plan;
}

Result<void> do_break(const Manager &manager, const LeaseTarget &target, const device::SeenLease &seen) {
  // An instance's lease covers all its disks, and each may have one beside it from before it was listed.
  const device::LeaseSpot whole{target.directory.get(), target.path, {}};
  auto done = device::break_lease(seen.instance ? whole : target.spot(), manager.settings);
  if (!seen.instance) return done;
  for (const DiskRecord &disk : seen.instance->disks) {
    if (!done) return done;
    done = device::break_lease({target.directory.get(), target.path, disk.file}, manager.settings);
  }
  return done;
}

}  // namespace

Result<LeaseTarget> find_lease_target(const Manager &manager, const std::string &word) {
  if (word.starts_with('[')) {
    auto id = config::parse_logical_id(word, manager.settings);
    return id ? target_at(id->path) : id.error();
  }
  if (word.find('/') != std::string::npos) return target_at(word);
  VBD_TRY_ASSIGN(auto pointer, Catalog(manager.settings).pointer(word));
  if (!pointer.has_value()) return Catalog(manager.settings).not_found(word);
  auto target = target_at(pointer->directory);
  if (target) target->shown = word;
  return target;
}

Result<Plan> break_lease(const Manager &manager, const LeaseTarget &target, bool dry_run) {
  std::optional<sys::OperationLock> lock;
  if (!dry_run) {
    VBD_TRY_ASSIGN(auto taken,
                   sys::OperationLock::acquire(target.directory.get(), target.path, kLeasePatience));
    lock = std::move(taken);
  }
  VBD_TRY_ASSIGN(auto seen, device::see_lease(target.spot(), manager.settings, true));
  const Plan plan = steps_of(manager, target, seen);
  if (plan.empty()) return plan;
  VBD_TRY(check_unused(manager, target, seen.instance));
  if (dry_run) return plan;
  auto done = do_break(manager, target, seen);
  for (const auto &step : plan)
    log::audit(cat("lease break: ", step), done ? "done" : done.error().message());
  if (!done) return done.error();
  return plan;
}

}  // namespace vbd::instance
