// SPDX-License-Identifier: MIT
// add: check everything, then change. The record of what is going on comes first, the images after it, the
// complete record last; a failure undoes what this run made, and what a killed run left is settled by the
// next one.
#include <algorithm>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "manager/instance/add_plan.hpp"
#include "manager/instance/os_scripts.hpp"
#include "manager/instance/settle.hpp"
#include "manager/instance/site.hpp"
#include "manager/instance/witness.hpp"

namespace vbd::instance {
namespace {

using text::cat;

/// The reservation: from here on the name and the directory are this run's.
struct Begun {
  AddPlan plan;
  InstanceRecord record;  ///< with the operation
  Site site;
};

InstanceRecord with_operation(const AddPlan &plan) {
  InstanceRecord record = plan.record;
  record.operation = OperationRecord{"add", sys::now_rfc3339(), {}, !plan.directory_exists};
  for (const auto &disk : plan.disks) {
    if (disk.made()) record.operation->files.push_back(disk.record.file);
    if (disk.adopt) note_adoption(*record.operation, disk.record.file, *disk.adopt);
  }
  if (plan.definition) record.operation->details[kScriptDetail] = "create";
  return record;
}

/// Under the directory's lock: the files must still be what they were.
Result<void> check_reuse_again(const Manager &manager, const AddSpec &spec, const Begun &begun) {
  if (!spec.reuse) return {};
  auto files = check_reuse(manager, spec, begun.site.path, begun.site.directory.get(), {});
  if (!files) return files.error();
  const auto &disks = begun.plan.record.disks;
  const bool same = std::equal(
      files->begin(), files->end(), disks.begin(), disks.end(),
      [](const ReusedFile &f, const DiskRecord &d) { return f.name == d.file && f.size == d.size; });
  if (!same)
    return Error(kReuse, cat(begun.site.path, ": reuse: the files changed meanwhile"),
                 "nothing was changed; try again");
  return {};
}

Result<void> settle_all(const Manager &manager, const AddSpec &spec,
                        const std::vector<std::string> &directories) {
  for (const auto &directory : directories) {
    VBD_TRY(settle(manager, spec.name, directory, false));
  }
  return {};
}

/// Under the names lock: looks again, reserves directory and name.
Result<Begun> begin(const Manager &manager, const AddSpec &spec, const AddPlan &first) {
  for (const auto &path : first.interrupted) wait_for_rest(manager.settings, path);
  const Catalog catalog(manager.settings);
  VBD_TRY_ASSIGN(const auto names, catalog.lock_names());
  VBD_TRY(settle_all(manager, spec, first.interrupted));
  sweep_leftovers(manager.settings, first.record.directory);
  VBD_TRY_ASSIGN(auto plan, plan_add(manager, spec));
  if (!plan.interrupted.empty()) {
    return Error(kInterrupted, cat("instance ", spec.name, ": interrupted in ", plan.interrupted.front()),
                 "try again");
  }
  Begun begun;
  begun.plan = std::move(plan);
  begun.record = with_operation(begun.plan);
  if (!spec.fill_script.empty()) begun.record.operation->details[kScriptDetail] = spec.fill_script;
  VBD_TRY_ASSIGN(auto site, begun.plan.directory_exists ? enter_site(manager.settings, begun.record)
                                                        : make_site(manager.settings, begun.record));
  begun.site = std::move(site);
  auto done = check_reuse_again(manager, spec, begun);
  if (done) done = witness_adoptions(manager, begun.record, begun.plan.disks);
  if (done) done = catalog.write_pointer(begun.record);
  if (done) return begun;
  auto undone = undo_add(manager, begun.site, begun.record, NamesLock::held);
  if (!undone) log::error(cat("instance ", spec.name, ": left interrupted: ", undone.error().message()));
  return done.error();
}

/// After a failure at disk `at`: what this run has not come to, or found there, is not its to delete.
void forget_unmade(Begun &begun, std::size_t at, const Error &error) {
  auto &files = begun.record.operation->files;
  for (std::size_t i = at; i < begun.plan.disks.size(); ++i) {
    if (i <= at && !error.is(sys::kExists)) continue;
    std::erase(files, begun.plan.disks[i].record.file);
    begun.record.operation->details.erase(cat("adopt.", begun.plan.disks[i].record.file));
  }
}

Result<void> create_images(const Manager &manager, Begun &begun) {
  for (std::size_t i = 0; i < begun.plan.disks.size(); ++i) {
    const auto &disk = begun.plan.disks[i];
    auto created = make_disk(manager, begun.site, disk);
    if (created && !disk.made()) created = vet_image(manager, logical_id(begun.plan.record, disk.record));
    if (created) continue;
    forget_unmade(begun, i, created.error());
    return created;
  }
  return {};
}

Result<void> do_add(const Manager &manager, const AddSpec &spec, const AddPlan &first, const Fill &fill) {
  VBD_TRY_ASSIGN(auto begun, begin(manager, spec, first));
  auto done = create_images(manager, begun);
  if (done && fill) done = fill(begun.site, begun.record);
  if (done && begun.plan.definition)
    done = run_install(manager, begun.site, begun.record, *begun.plan.definition, false);
  if (done) done = Catalog(manager.settings).write_record(begun.site.directory.get(), begun.plan.record);
  if (done) {
    // The instance is complete; the next verb drops it.
    auto gone = drop_witness(manager.settings, begun.record.uuid);
    if (!gone) log::warn(gone.error().message());
    return {};
  }
  auto undone = undo_add(manager, begun.site, begun.record, NamesLock::wanted);
  if (!undone) log::error(cat("instance ", spec.name, ": left interrupted: ", undone.error().message()));
  return done;
}

}  // namespace

Result<void> make_disk(const Manager &manager, const Site &site, const PlannedDisk &disk) {
  if (disk.adopt) {
    return disk.adopt->in_place ? Result<void>() : adopt_image(manager, site, disk.record, *disk.adopt);
  }
  if (!disk.create) return {};
  return image::create(manager.registry, site.directory.get(), disk.record.file,
                       cat(site.path, "/", disk.record.file), *disk.create);
}

Result<Plan> add(const Manager &manager, const AddSpec &spec, bool dry_run, const Fill &fill) {
  VBD_TRY_ASSIGN(auto plan, plan_add(manager, spec));
  if (!plan.warning.empty()) log::warn(plan.warning);
  if (plan.definition) {
    if (auto good = verify_parameters(manager, *plan.definition, plan.record); !good) return good.error();
  }
  if (dry_run) return plan.lines;
  auto done = do_add(manager, spec, plan, fill);
  log::audit(cat("instance add ", spec.name, " in ", plan.record.directory, spec.reuse ? ", reuse" : ""),
             done ? "done" : done.error().message());
  if (!done) return done.error();
  return plan.lines;
}

}  // namespace vbd::instance
