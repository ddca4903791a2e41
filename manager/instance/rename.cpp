// SPDX-License-Identifier: MIT
#include "manager/instance/rename.hpp"

#include <optional>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/os_scripts.hpp"

namespace vbd::instance {
namespace {

using text::cat;

struct Names {
  std::string from, to, from_directory, to_directory;
};

Names names_of(const OperationRecord &operation) {
  const auto get = [&](const char *key) {
    const auto found = operation.details.find(key);
    return found == operation.details.end() ? std::string() : found->second;
  };
  return {get("from"), get("to"), get("from_directory"), get("to_directory")};
}

InstanceRecord identity(const InstanceRecord &record, const std::string &name, const std::string &directory) {
  InstanceRecord other;
  other.uuid = record.uuid;
  other.name = name;
  other.directory = directory;
  return other;
}

std::string new_directory(const config::Settings &settings, const InstanceRecord &record,
                          const std::string &to) {
  auto own = sys::confine(cat(settings.file_storage_dir, "/", record.name),
                          sys::resolve_allowed(settings.allowed_dirs));
  if (!own || record.directory != *own) return record.directory;
  return cat(sys::dir_name(record.directory), "/", to);
}

Result<void> check_free(const Manager &manager, const Names &names) {
  VBD_TRY_ASSIGN(auto there, Catalog(manager.settings).pointer(names.to));
  if (there.has_value()) {
    return Error(kInstanceExists, cat("instance ", names.to, ": exists already in ", there->directory));
  }
  if (names.to_directory == names.from_directory) return {};
  VBD_TRY_ASSIGN(auto parent, sys::open_dir_below(sys::dir_name(names.to_directory),
                                                  sys::resolve_allowed(manager.settings.allowed_dirs)));
  if (!sys::file_info_at(parent.get(), sys::base_name(names.to_directory))) return {};
  return Error(sys::kExists, cat(names.to_directory, ": exists already"),
               "the directory gets the new name too; move that one away");
}

Result<void> rename_directory(const config::Settings &settings, Work &work, const Names &names) {
  if (names.to_directory == names.from_directory) return {};
  auto parent =
      sys::open_dir_below(sys::dir_name(names.from_directory), sys::resolve_allowed(settings.allowed_dirs));
  if (!parent) return parent.error();
  auto renamed = sys::rename_dir_at(parent->get(), sys::base_name(names.from_directory),
                                    sys::base_name(names.to_directory));
  // One that could not be made durable has happened all the same.
  auto own = sys::file_info(work.site.directory.get());
  auto there = sys::file_info_at(parent->get(), sys::base_name(names.to_directory));
  if (own && there && own->id == there->id) work.site.path = names.to_directory;
  return renamed;
}

/// From the new name of the directory on there is only forward.
Result<void> finish(const Manager &manager, Work &work, const Names &names) {
  const Catalog catalog(manager.settings);
  work.record.name = names.to;
  work.record.directory = names.to_directory;
  VBD_TRY(catalog.write_record(work.site.directory.get(), work.record));
  VBD_TRY_ASSIGN(auto pointer, catalog.pointer(names.to));
  if (!pointer.has_value()) {
    if (auto written = catalog.write_pointer(work.record); !written) return written;
  }
  return catalog.remove_own_pointer(identity(work.record, names.from, names.from_directory));
}

Result<void> undo(const Manager &manager, Work &work, const Names &names) {
  const Catalog catalog(manager.settings);
  VBD_TRY(catalog.remove_own_pointer(identity(work.record, names.to, names.to_directory)));
  work.record.name = names.from;
  work.record.directory = names.from_directory;
  return end_operation(manager, work);
}

bool has_moved(const Work &work, const Names &names) {
  if (names.to_directory != names.from_directory) return work.site.path == names.to_directory;
  return work.record.name == names.to;
}

/// Under the names lock: all but the script; the operation stays recorded.
Result<void> change_name(const Manager &manager, Work &work, const Names &names, bool script) {
  const Catalog catalog(manager.settings);
  VBD_TRY_ASSIGN(const auto lock, catalog.lock_names());
  VBD_TRY(check_free(manager, names));
  OperationRecord operation{"rename", sys::now_rfc3339(), {}, false};
  operation.details = {{"from", names.from},
                       {"to", names.to},
                       {"from_directory", names.from_directory},
                       {"to_directory", names.to_directory}};
  if (script) operation.details[kScriptDetail] = "rename";
  auto done = begin_operation(manager, work, std::move(operation));
  if (done) done = catalog.write_pointer(identity(work.record, names.to, names.to_directory));
  if (done) done = rename_directory(manager.settings, work, names);
  if (done) done = finish(manager, work, names);
  if (done || has_moved(work, names)) return done;
  auto undone = undo(manager, work, names);
  if (!undone) log::error(cat("instance ", names.from, ": left interrupted: ", undone.error().message()));
  return done;
}

/// The definition whose rename script is to run; none when there is nothing to run.
Result<std::optional<os::Definition>> script_of(const Manager &manager, const InstanceRecord &record,
                                                const RenameSpec &spec) {
  using Found = std::optional<os::Definition>;
  if (spec.no_script || record.os.empty() || record.disks.empty()) return Found();
  auto name = os::parse_os_name(record.os);
  if (!name) return name.error();
  auto definition = os::find_definition(manager.settings, name->name);
  if (definition) return Found(std::move(*definition));
  if (!definition.error().is(os::kOsNotFound)) {
    return definition.error().with_hint(
        "mend it, or give --no-script to leave the guest's files as they are");
  }
  log::warn(cat("instance ", spec.from,
                ": its rename script does not run, so the guest's own files keep the "
                "name: ",
                definition.error().message()));
  return Found();
}

/// An earlier run of the same words that was killed after the directory had its new name.
Result<bool> resume(const Manager &manager, const RenameSpec &spec) {
  auto entry = Catalog(manager.settings).find(spec.to);
  if (!entry || entry->state != State::interrupted || entry->record.operation->verb != "rename") return false;
  if (names_of(*entry->record.operation).from != spec.from) return false;
  auto settled = find_settled(manager, spec.to, false);
  if (settled) return true;
  return settled.error().is(kInstanceNotFound) || settled.error().is(kUnreachable) ? Result<bool>(false)
                                                                                   : settled.error();
}

Result<void> do_rename(const Manager &manager, const RenameSpec &spec,
                       const std::optional<os::Definition> &definition) {
  VBD_TRY_ASSIGN(auto work, open_work(manager, spec.from));
  VBD_TRY(check_all_unused(manager, work.record, false));
  const Names names{spec.from, spec.to, work.record.directory,
                    new_directory(manager.settings, work.record, spec.to)};
  VBD_TRY(change_name(manager, work, names, definition.has_value()));
  Result<void> done;
  if (definition) {
    done = run_on_disks(manager, work.site, work.record, [&](const os::Call &call, const os::Guest &guest) {
      return os::run_rename(call, *definition, guest, spec.from);
    });
    if (!done)
      done = done.error().with_hint(
          cat("the instance is called ", spec.to, " all the same; ", done.error().hint()));
    if (!done && !detach_left(manager, work.record)) return done;
  }
  auto ended = end_operation(manager, work);
  return done ? ended : done;
}

/// The note lies on the storage, where others may write: no name is given or taken by it unless this host's
/// own pointer leads here, under the name that the directory has at this moment.
Result<void> check_ours(const Manager &manager, const Work &work, const Names &names) {
  const std::string &here = work.site.path;
  const bool plain = check_instance_name(names.from) && check_instance_name(names.to) &&
                     sys::dir_name(names.from_directory) == sys::dir_name(names.to_directory);
  for (const auto &[name, directory] :
       {std::pair(names.from, names.from_directory), std::pair(names.to, names.to_directory)}) {
    if (!plain || directory != here) continue;
    VBD_TRY_ASSIGN(auto pointer, Catalog(manager.settings).pointer(name));
    if (pointer && pointer->uuid == work.record.uuid && pointer->directory == here) return {};
  }
  return Error(kInterrupted,
               cat(here, "/", kInstanceFile, ": says that a rename of ", text::printable(names.from), " to ",
                   text::printable(names.to), " was cut off, and ", manager.settings.state_dir,
                   " knows nothing of that; nothing was changed"),
               "when nobody renames it, take 'operation' out of that file");
}

}  // namespace

Result<void> settle_rename(const Manager &manager, Work &work) {
  const Names names = names_of(*work.record.operation);
  VBD_TRY(check_ours(manager, work, names));
  if (!has_moved(work, names)) return undo(manager, work, names);
  VBD_TRY(detach_left(manager, work.record));
  VBD_TRY_ASSIGN(auto record,
                 Catalog(manager.settings).read_record(work.site.directory.get(), work.site.path));
  work.record = std::move(record);
  VBD_TRY(finish(manager, work, names));
  if (work.record.operation->details.contains(kScriptDetail)) {
    log::warn(cat("instance ", names.to, ": its rename from ", names.from,
                  " was cut off before the guest OS definition's rename script was done"));
  }
  return end_operation(manager, work);
}

Result<Plan> rename(const Manager &manager, const RenameSpec &spec, bool dry_run) {
  for (const auto &good : {check_instance_name(spec.from), check_instance_name(spec.to)}) {
    if (!good) return good.error();
  }
  VBD_TRY(check_addressable(manager, spec.to));
  if (spec.from == spec.to) return Error(kGrammar, cat("instance rename ", spec.from, ": that is its name"));
  if (!dry_run) {
    VBD_TRY_ASSIGN(auto resumed, resume(manager, spec));
    if (resumed) return Plan{cat("finish what a killed rename of ", spec.from, " left")};
  }
  VBD_TRY_ASSIGN(auto entry, find_settled(manager, spec.from, dry_run));
  const InstanceRecord &record = entry.record;
  const Names names{spec.from, spec.to, record.directory, new_directory(manager.settings, record, spec.to)};
  VBD_TRY(check_free(manager, names));
  VBD_TRY(check_all_unused(manager, record, false));
  VBD_TRY_ASSIGN(auto definition, script_of(manager, record, spec));
  Plan plan{cat("take the name ", spec.to)};
  if (names.to_directory != names.from_directory)
    plan.push_back(cat("rename the directory ", names.from_directory, " to ", names.to_directory));
  plan.push_back(cat("give back the name ", spec.from));
  if (definition) plan.push_back(cat("run ", definition->script("rename")));
  if (dry_run) return plan;
  auto done = do_rename(manager, spec, definition);
  log::audit(cat("instance rename ", spec.from, " to ", spec.to), done ? "done" : done.error().message());
  if (!done) return done.error();
  return plan;
}

}  // namespace vbd::instance
