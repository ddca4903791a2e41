// SPDX-License-Identifier: MIT
#include "manager/instance/reinstall.hpp"

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/host.hpp"
#include "manager/instance/os_scripts.hpp"

namespace vbd::instance {
namespace {

using text::cat;

/// As it will be recorded.
InstanceRecord with_os(InstanceRecord record, const ReinstallSpec &spec) {
  const bool other = !spec.os.empty() && spec.os != record.os;
  if (!spec.os.empty()) record.os = spec.os;
  if (other) record.os_parameters.clear();
  for (const auto &[name, value] : spec.os_parameters) record.os_parameters[name] = value;
  return record;
}

Result<os::Definition> definition_of(const Manager &manager, const InstanceRecord &record) {
  if (record.os.empty()) {
    return Error(kNoOs, cat("instance ", record.name, ": has no guest OS definition"),
                 "give one with -o OS[+VARIANT]");
  }
  VBD_TRY_ASSIGN(auto name, os::parse_os_name(record.os));
  auto definition = os::find_definition(manager.settings, name.name);
  if (!definition) return definition;
  VBD_TRY(os::check_variant(*definition, name));
  VBD_TRY(verify_parameters(manager, *definition, record));
  return definition;
}

Result<void> do_reinstall(const Manager &manager, const ReinstallSpec &spec,
                          const os::Definition &definition) {
  VBD_TRY_ASSIGN(auto work, open_work(manager, spec.name));
  VBD_TRY(check_all_unused(manager, work.record, false));
  work.record = with_os(std::move(work.record), spec);
  OperationRecord operation{"reinstall", sys::now_rfc3339(), {}, false};
  operation.details[kScriptDetail] = "create";
  VBD_TRY(begin_operation(manager, work, std::move(operation)));
  auto done = run_install(manager, work.site, work.record, definition, true);
  if (!done) {
    // What could not be detached keeps the operation, so that the next verb tries again.
    if (auto left = detach_left(manager, work.record); !left) {
      log::error(cat("instance ", spec.name, ": left interrupted: ", left.error().message()));
      return done;
    }
  }
  auto ended = end_operation(manager, work);
  if (done) return ended;
  if (!ended) log::error(cat("instance ", spec.name, ": left interrupted: ", ended.error().message()));
  return done.error().with_hint(cat("its disks hold an unfinished installation",
                                    done.error().hint().empty() ? "" : "; ", done.error().hint()));
}

}  // namespace

Result<Plan> reinstall(const Manager &manager, const ReinstallSpec &spec, bool dry_run) {
  VBD_TRY_ASSIGN(auto entry, find_settled(manager, spec.name, dry_run));
  const InstanceRecord record = with_os(entry.record, spec);
  VBD_TRY_ASSIGN(auto definition, definition_of(manager, record));
  VBD_TRY(check_all_unused(manager, record, false));
  Plan plan;
  for (const auto &disk : record.disks) {
    plan.push_back(cat("install ", record.os, " over what is on ", logical_id(record, disk).path));
  }
  plan.push_back(cat("run ", definition.script("create")));
  if (dry_run) return plan;
  auto done = do_reinstall(manager, spec, definition);
  log::audit(cat("instance reinstall ", spec.name, " with ", record.os),
             done ? "done" : done.error().message());
  if (!done) return done.error();
  return plan;
}

Result<void> settle_reinstall(const Manager &manager, Work &work) {
  VBD_TRY(detach_left(manager, work.record));
  VBD_TRY_ASSIGN(auto record,
                 Catalog(manager.settings)
                     .read_record(work.site.directory.get(), work.site.path));  // without the lease, by now
  work.record = std::move(record);
  log::warn(cat("instance ", work.record.name,
                ": its reinstall was cut off; the disks hold an unfinished installation"));
  return end_operation(manager, work);
}

}  // namespace vbd::instance
