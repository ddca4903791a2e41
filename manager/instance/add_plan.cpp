// SPDX-License-Identifier: MIT
#include "manager/instance/add_plan.hpp"

#include <algorithm>

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "manager/hypervisor/profile.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/space.hpp"
#include "manager/instance/storage.hpp"

namespace vbd::instance {
namespace {

using text::cat;

/// A pointer's temporary file is called .vbd-NAME.yaml.RANDOM.tmp, and a file name has at most 255 bytes
/// (limits.h).
constexpr std::size_t kLongestName = 220;

/// The directory as it will be found once what a killed run left is gone.
struct Place {
  std::string path;
  bool exists = false;
  sys::Fd directory;              ///< when it exists
  sys::Fd filesystem;             ///< it, or the directory in which it will be made
  std::set<std::string> ignored;  ///< files of a killed run
};

Result<void> check_node(const config::Settings &settings, const std::string &node, std::string_view what) {
  if (node.empty() || node == settings.node || settings.nodes.contains(node)) return {};
  std::vector<std::string> known{settings.node};
  for (const auto &[name, unused] : settings.nodes) known.push_back(name);
  return Error(kNoNode, cat(what, " ", text::printable(node), ": not known"),
               cat("known: ", text::join(text::nearest_first(node, known), ", "),
                   "; the configuration's 'nodes' lists others"));
}

Result<void> check_nodes(const config::Settings &settings, const AddSpec &spec) {
  VBD_TRY(check_node(settings, spec.node, "node"));
  VBD_TRY(check_node(settings, spec.secondary, "secondary node"));
  const std::string primary = spec.node.empty() ? settings.node : spec.node;
  if (spec.secondary == primary)
    return Error(kGrammar, cat("-n ", primary, ":", primary, ": the secondary is the primary"));
  if (primary != settings.node) {
    return Error(
        kOtherNode,
        cat("node ", primary, ": this is ", settings.node, ", and instances are added on their own node"),
        cat("run the same command on ", primary));
  }
  return {};
}

/// With `reuse` and --no-install no script runs, so the name is only recorded, known here or not.
Result<void> plan_os(const config::Settings &settings, const AddSpec &spec, AddPlan &plan) {
  if (spec.os.empty()) {
    if (spec.os_parameters.empty()) return {};
    return Error(kGrammar, "-O: parameters of a guest OS definition, and no -o says which");
  }
  VBD_TRY_ASSIGN(auto name, os::parse_os_name(spec.os));
  if (takes_images(spec) || spec.no_install) return {};
  VBD_TRY_ASSIGN(auto definition, os::find_definition(settings, name.name));
  for (const auto &check :
       {os::check_variant(definition, name), os::check_parameter_names(definition, spec.os_parameters)}) {
    if (!check) return check;
  }
  plan.definition = std::move(definition);
  return {};
}

Result<void> check_parameters(const Manager &manager, const AddSpec &spec) {
  if (spec.backend.empty() && spec.hypervisor.empty()) return {};
  VBD_TRY_ASSIGN(auto profile, hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs));
  VBD_TRY(hypervisor::check_parameters(profile, spec.backend, "-B"));
  return hypervisor::check_parameters(profile, spec.hypervisor, "-H");
}

Result<std::string> directory_path(const config::Settings &settings, const AddSpec &spec) {
  std::string path = spec.path.empty() ? cat(settings.file_storage_dir, "/", spec.name) : spec.path;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  VBD_TRY(check_image_path(path));
  if (path.find(',') != std::string::npos) {
    return Error(kBadPath, cat(path, ": a comma can't be carried by a hypervisor's disk string"),
                 "choose a directory without a comma in its name");
  }
  if (path == settings.file_storage_dir) {
    return Error(kGrammar, cat("path=", path, ": is the directory that holds all instances"),
                 cat("use ", path, "/", spec.name));
  }
  return path;
}

/// No instance within an instance: removing the outer one would have to know.
Result<void> check_not_nested(const std::string &path, const std::vector<sys::AllowedDir> &allowed) {
  for (std::string up = sys::dir_name(path); up.size() > 1; up = sys::dir_name(up)) {
    auto directory = sys::open_dir_below(up, allowed);
    if (!directory) return {};
    if (sys::file_info_at(directory->get(), kInstanceFile).ok()) {
      return Error(kInstanceExists, cat(path, ": lies within the directory of the instance in ", up));
    }
  }
  return {};
}

Result<Place> find_place(const Manager &manager, const AddSpec &spec) {
  const auto allowed = sys::resolve_allowed(manager.settings.allowed_dirs);
  VBD_TRY_ASSIGN(auto wanted, directory_path(manager.settings, spec));
  VBD_TRY_ASSIGN(auto path, sys::confine(wanted, allowed));
  Place place;
  place.path = path;
  VBD_TRY(check_not_nested(path, allowed));
  auto directory = sys::open_dir_below(path, allowed);
  if (directory) {
    place.exists = true;
    place.directory = std::move(*directory);
    VBD_TRY_ASSIGN(auto again, sys::open_dir_below(path, allowed));
    place.filesystem = std::move(again);
    return place;
  }
  if (!directory.error().is(sys::kNotFound)) return directory.error();
  auto parent = sys::open_dir_below(sys::dir_name(path), allowed);
  if (!parent) {
    return parent.error().with_hint(parent.error().is(sys::kNotFound)
                                        ? "make it first; 'vbd cluster init' makes file_storage_dir"
                                        : parent.error().hint());
  }
  place.filesystem = std::move(*parent);
  return place;
}

/// An instance in the directory: a killed run of this name, or somebody's.
Result<void> look_inside(const Manager &manager, const AddSpec &spec, Place &place, AddPlan &plan) {
  auto record = Catalog(manager.settings).read_record(place.directory.get(), place.path);
  if (!record) return record.error().is(sys::kNotFound) ? Result<void>() : record.error();
  const bool ours = record->name == spec.name && record->directory == place.path;
  if (!ours || !record->operation) {
    return Error(
        kInstanceExists,
        cat(place.path, ": holds the instance ", record->name, record->operation ? ", interrupted" : ""),
        record->operation ? cat("vbd instance remove ", record->name)
                          : "'vbd cluster verify --rebuild' makes it known again");
  }
  if (std::find(plan.interrupted.begin(), plan.interrupted.end(), place.path) == plan.interrupted.end()) {
    plan.interrupted.push_back(place.path);
  }
  place.ignored.insert(record->operation->files.begin(), record->operation->files.end());
  return {};
}

Result<void> check_name_free(const Manager &manager, const AddSpec &spec, AddPlan &plan) {
  VBD_TRY(check_instance_name(spec.name));
  if (spec.name.size() > kLongestName) {
    return Error(kGrammar, cat("instance name of ", spec.name.size(), " bytes: at most ", kLongestName));
  }
  VBD_TRY(check_addressable(manager, spec.name));
  auto entry = Catalog(manager.settings).find(spec.name);
  if (!entry) return entry.error().is(kInstanceNotFound) ? Result<void>() : entry.error();
  if (entry->state != State::interrupted) {
    return Error(kInstanceExists, cat("instance ", spec.name, ": exists already in ", entry->record.directory,
                                      entry->reason.empty() ? "" : cat(" (", state_text(entry->state), ")")));
  }
  plan.interrupted.push_back(entry->record.directory);
  return {};
}

/// Without `reuse` a file that is named like a disk is somebody's data.
Result<void> check_no_disks(const Place &place, const std::vector<PlannedDisk> &disks) {
  auto names = sys::list_dir(place.directory.get());
  if (!names) return names.error().at(place.path);
  std::vector<std::string> found;
  for (const auto &name : *names) {
    const bool adopted = std::any_of(disks.begin(), disks.end(), [&](const PlannedDisk &disk) {
      return disk.adopt && disk.adopt->source == cat(place.path, "/", name);
    });
    if (parse_disk_name(name) && !adopted && !place.ignored.contains(name)) found.push_back(name);
  }
  if (found.empty()) return {};
  return Error(sys::kExists, cat(place.path, ": holds disks already: ", text::join(found, ", ")),
               "give 'reuse' in -t to set the instance up with them, or another path");
}

Result<InstanceRecord> build_record(const config::Settings &settings, const AddSpec &spec, const Place &place,
                                    const std::vector<PlannedDisk> &disks, std::vector<NicRecord> nics) {
  VBD_TRY_ASSIGN(auto uuid, sys::new_uuid());
  InstanceRecord record;
  record.uuid = uuid;
  record.name = spec.name;
  record.directory = place.path;
  record.node = settings.node;
  record.secondary = spec.secondary;
  record.os = spec.os;
  record.created = sys::now_rfc3339();
  record.backend = spec.backend;
  record.hypervisor = spec.hypervisor;
  record.os_parameters = spec.os_parameters;
  for (const auto &disk : disks) record.disks.push_back(disk.record);
  record.nics = std::move(nics);
  // What can't be read back must not be written.
  VBD_TRY(config::parse_instance(config::write_instance(record), cat(place.path, "/", kInstanceFile)));
  return record;
}

Plan describe(const AddPlan &plan) {
  Plan lines;
  for (const auto &path : plan.interrupted) lines.push_back(cat("undo what a killed run left in ", path));
  const std::string &directory = plan.record.directory;
  if (!plan.directory_exists) lines.push_back(cat("make the directory ", directory));
  lines.push_back(cat("write ", directory, "/", kInstanceFile));
  lines.push_back(cat("take the name ", plan.record.name));
  for (const auto &disk : plan.disks) {
    const std::string what = cat(directory, "/", disk.record.file, " (", disk.record.driver.str(), ", ",
                                 disk.record.filetype.str(), ", ", format_size(disk.record.size), ")");
    const std::string source =
        disk.adopt && !disk.adopt->in_place
            ? cat(disk.adopt->source, " (a clone where the filesystem can, else moved) as ")
            : "";
    lines.push_back(cat(disk.create    ? "create "
                        : disk.adopt   ? "adopt "
                        : disk.brought ? "bring "
                                       : "reuse ",
                        source, what));
  }
  if (plan.definition) {
    lines.push_back(cat("run ", plan.definition->script("create"), " on ", plan.disks.size(),
                        plan.disks.size() == 1 ? " attached disk" : " attached disks"));
  }
  return lines;
}

}  // namespace

Result<AddPlan> plan_add(const Manager &manager, const AddSpec &spec) {
  AddPlan plan;
  Result<void> good = check_nodes(manager.settings, spec);
  if (good) good = plan_os(manager.settings, spec, plan);
  if (good) good = check_parameters(manager, spec);
  if (good) good = check_name_free(manager, spec, plan);
  if (!good) return good.error();
  VBD_TRY_ASSIGN(auto place, find_place(manager, spec));
  plan.directory_exists = place.exists;
  if (place.exists) {
    if (auto free = look_inside(manager, spec, place, plan); !free) return free.error();
  } else if (spec.reuse) {
    return Error(kReuse, cat(place.path, ": reuse: no such directory"), "nothing was changed");
  }
  VBD_TRY_ASSIGN(auto disks, plan_disks(manager, spec, place.path, place.directory.get(), place.ignored));
  if (place.exists && !spec.reuse) {
    if (auto none = check_no_disks(place, disks); !none) return none.error();
  }
  auto nics = plan_nics(manager, spec);
  if (!nics) return nics.error();
  VBD_TRY_ASSIGN(auto record, build_record(manager.settings, spec, place, disks, *std::move(nics)));
  plan.record = std::move(record);
  plan.disks = std::move(disks);
  plan.lines = describe(plan);
  const bool takes = std::any_of(plan.disks.begin(), plan.disks.end(),
                                 [](const PlannedDisk &disk) { return disk.brought || !disk.made(); });
  if (takes && !vetting_line(manager).empty()) plan.lines.push_back(vetting_line(manager));
  plan.warning = space_warning(manager.settings, place.filesystem.get(), place.path);
  return plan;
}

}  // namespace vbd::instance
