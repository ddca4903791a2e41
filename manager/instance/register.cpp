// SPDX-License-Identifier: MIT
// register: a directory that was copied or moved becomes an instance of its own. Two writes: the record, then
// the pointer; a run that was killed between them is finished by the same command. The lease and the
// operation of another node are respected, for DIRECTORY may be what that node uses.
#include <algorithm>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/lease.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "core/sys/name_lock.hpp"
#include "manager/instance/add_plan.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/settle.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr std::chrono::milliseconds kOriginalPatience{5000};

struct Registration {
  InstanceRecord record;            ///< as it will be
  std::vector<std::string> former;  ///< names whose pointers go, once the new one is there
  bool rewrite = false, known = false;
  bool replaces = false;  ///< the name's pointer leads to where the instance was
  Plan lines;
  hypervisor::Brought brought;
};

/// Whoever is known under this UUID or name, but for the directory itself.
struct Others {
  const Entry *same_uuid = nullptr, *same_name = nullptr;
  std::vector<const Entry *> same_place;

  [[nodiscard]] bool is_here(const Entry *entry) const {
    return std::find(same_place.begin(), same_place.end(), entry) != same_place.end();
  }
};

Others find_others(const std::vector<Entry> &entries, const InstanceRecord &record, const std::string &name,
                   const std::string &path) {
  Others others;
  for (const auto &entry : entries) {
    if (entry.record.name == name) others.same_name = &entry;
    // What a pointer leads to may say another directory: the pointer counts.
    const bool here = entry.record.directory == path ||
                      (entry.state == State::foreign && entry.record.uuid == record.uuid &&
                       entry.record.directory == record.directory && entry.reason.starts_with(path + "/"));
    if (here) others.same_place.push_back(&entry);
    if (!here && entry.record.uuid == record.uuid) others.same_uuid = &entry;
  }
  return others;
}

/// A record that this host did not know: its words are not those of this host's operators.
Result<void> narrow(const Manager &manager, const RegisterSpec &spec, Registration &plan) {
  const AddSpec &given = spec.given;
  const bool nothing = plan.record.backend.empty() && plan.record.hypervisor.empty() &&
                       plan.record.os_parameters.empty() && plan.record.nics.empty() &&
                       given.backend.empty() && given.hypervisor.empty() && given.os_parameters.empty() &&
                       given.nics.empty();
  if (nothing) return {};
  VBD_TRY_ASSIGN(auto profile, hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs));
  VBD_TRY(hypervisor::check_parameters(profile, given.backend, "-B"));
  VBD_TRY(hypervisor::check_parameters(profile, given.hypervisor, "-H"));
  const InstanceRecord before = plan.record;
  InstanceRecord &record = plan.record;
  const hypervisor::Outside outside{profile, spec.trust, plan.brought};
  record.backend = outside.take("-B", record.backend, given.backend);
  record.hypervisor = outside.take("-H", record.hypervisor, given.hypervisor);
  record.os_parameters = outside.take_os(record.os_parameters, given.os_parameters);
  if (spec.no_nics) {
    record.nics.clear();
  } else if (given.nics.empty()) {
    record.nics = outside.take(record.nics);
  } else {
    AddSpec cards = given;
    cards.name = record.name;
    auto nics = plan_nics(manager, cards);
    if (!nics) return nics.error();
    record.nics = *std::move(nics);
  }
  const bool same = record.backend == before.backend && record.hypervisor == before.hypervisor &&
                    record.os_parameters == before.os_parameters && record.nics == before.nics;
  if (same) return {};
  if (!plan.rewrite)
    plan.lines.insert(plan.lines.begin(),
                      cat("write its parameters into ", before.directory, "/", kInstanceFile));
  plan.rewrite = true;
  return {};
}

Error name_taken(const std::string &name, const Entry &other) {
  return {kInstanceExists, cat("instance ", name, ": exists already in ", other.record.directory),
          "give it another name with --as"};
}

/// Where the instance is that the record was written for.
enum class Original {
  here,       ///< DIRECTORY itself, perhaps reached by another way
  elsewhere,  ///< DIRECTORY is a copy of it
  unseen      ///< its place holds it no longer, or can't be seen from here: DIRECTORY may be it, moved
};

Result<Original> find_original(const Manager &manager, const InstanceRecord &found, const std::string &path,
                               int directory, bool dry_run) {
  if (found.directory == path) return Original::here;
  auto home = sys::open_parent(found.directory + "/.");
  if (!home) return Original::unseen;
  auto own = sys::file_info(directory), there = sys::file_info(home->get());
  if (!own || !there) return Original::unseen;
  // Two mounts of one directory have device numbers of their own.
  if (own->id.inode == there->id.inode && (dry_run || own->id == there->id)) return Original::here;
  if (!dry_run) {
    VBD_TRY_ASSIGN(auto name,
                   sys::NameLock::acquire(directory, path, manager.settings.node, kOriginalPatience));
    if (name.seen_in(home->get())) return Original::here;
  }
  auto record = Catalog(manager.settings).read_record(home->get(), found.directory);
  return record && record->uuid == found.uuid ? Original::elsewhere : Original::unseen;
}

/// Pointers that lead here under another name, and the one to where the instance was before it moved.
void find_former(Registration &plan, const Others &others, bool moved) {
  for (const Entry *entry : others.same_place) {
    if (entry->record.name != plan.record.name) plan.former.push_back(entry->record.name);
  }
  if (moved && others.same_uuid->record.name != plan.record.name)
    plan.former.push_back(others.same_uuid->record.name);
  for (const auto &name : plan.former) plan.lines.push_back(cat("forget the former name or place of ", name));
}

Result<Registration> plan_registration(const Manager &manager, const InstanceRecord &found,
                                       const std::string &path, const std::string &as, Original original) {
  VBD_TRY_ASSIGN(auto entries, Catalog(manager.settings).list());
  const std::string name = as.empty() ? found.name : as;
  if (auto good = check_addressable(manager, name); !good)
    return good.error().with_hint(cat("give it another name with --as; ", good.error().hint()));
  const Others others = find_others(entries, found, name, path);
  // One that gets another name is another instance: where the other one is just not mounted, it stays known.
  const bool moved = others.same_uuid != nullptr && others.same_uuid->missing && name == found.name;
  const bool copied = (others.same_uuid != nullptr && !moved) || original == Original::elsewhere;
  Registration plan;
  plan.record = found;
  if (others.same_name != nullptr && !others.is_here(others.same_name) &&
      !(moved && others.same_name == others.same_uuid)) {
    return name_taken(name, *others.same_name);
  }
  const bool settled = found.directory == path && found.name == name && !copied;
  plan.known = settled && others.same_name != nullptr && others.same_name->state != State::foreign;
  plan.rewrite = !settled;
  plan.replaces = others.same_name != nullptr;
  if (!settled && (copied || name != found.name)) {
    VBD_TRY_ASSIGN(auto uuid, sys::new_uuid());
    plan.record.uuid = uuid;
  }
  if (original == Original::elsewhere) plan.record.lease.free();  // the original's
  plan.record.name = name;
  plan.record.directory = path;
  if (plan.rewrite) {
    plan.lines.push_back(cat("write ", path, "/", kInstanceFile, ": name ", name,
                             plan.record.uuid == found.uuid ? ", the same UUID" : ", a new UUID"));
  }
  if (!plan.known) plan.lines.push_back(cat("take the name ", name));
  find_former(plan, others, moved);
  return plan;
}

/// What was found decides, not what is planned: the original's lease is the original's whatever name it gets.
Result<void> check_registrable(const Manager &manager, const InstanceRecord &found, const std::string &path,
                               const Registration &plan, Original original) {
  if (found.operation) {
    const std::string &node = found.operation->node;
    return Error(kInterrupted,
                 cat(path, ": ", text::printable(found.operation->verb), " of ", found.name, " began ",
                     found.operation->started, node.empty() ? "" : " on node ", text::printable(node),
                     " and is not finished"),
                 original == Original::elsewhere ? "finish it where it began, and copy the directory again"
                                                 : "finish it where it began");
  }
  if (original != Original::elsewhere) {
    VBD_TRY(device::check_lease(found.lease, manager.settings, path, path));
  }
  if (!plan.rewrite) return {};
  InstanceRecord here = found;
  here.directory = path;
  here.lease.free();
  if (original == Original::elsewhere) here.uuid = plan.record.uuid;  // the guest is the original's
  return check_all_unused(manager, here, false);
}

/// Whoever put the directory there put the images there.
Result<void> vet_all(const Manager &manager, const Registration &plan) {
  for (const DiskRecord &disk : plan.record.disks) {
    const LogicalId id = logical_id(plan.record, disk);
    auto good = vet_image(manager, id);
    if (good || good.error().is(sys::kNotFound)) continue;
    if (good.error().exit() == Exit::damaged || good.error().exit() == Exit::busy) return good;
    log::warn(cat(text::printable(id.path), ": not checked: ", good.error().message()));
  }
  return {};
}

/// An instance that this host does not know yet: its words and its images.
Result<void> take_in(const Manager &manager, const RegisterSpec &spec, Registration &plan) {
  VBD_TRY(narrow(manager, spec, plan));
  VBD_TRY(vet_all(manager, plan));
  if (!vetting_line(manager).empty()) plan.lines.push_back(vetting_line(manager));
  return {};
}

/// What register does, and all that speaks against it.
Result<Registration> plan_checked(const Manager &manager, const RegisterSpec &spec,
                                  const InstanceRecord &found, const std::string &path, int directory,
                                  bool dry_run) {
  VBD_TRY_ASSIGN(auto original, find_original(manager, found, path, directory, dry_run));
  auto plan = plan_registration(manager, found, path, spec.as, original);
  if (!plan) return plan;
  VBD_TRY(check_registrable(manager, found, path, *plan, original));
  if (plan->known) return plan;
  VBD_TRY(take_in(manager, spec, *plan));
  return plan;
}

/// The new pointer comes before the old one goes: a kill in between leaves one too many, never none.
Result<void> do_register(const Catalog &catalog, const Site &site, const InstanceRecord &found,
                         const Registration &plan) {
  if (plan.rewrite) {
    if (auto written = catalog.write_record(site.directory.get(), plan.record, &found); !written)
      return written;
  }
  if (!plan.known) {
    VBD_TRY(plan.replaces ? catalog.replace_pointer(plan.record) : catalog.write_pointer(plan.record));
  }
  for (const auto &name : plan.former) {
    if (auto gone = catalog.remove_pointer(name); !gone) return gone;
  }
  return {};
}

}  // namespace

Result<void> check_names_nothing_here(const Manager &manager, const InstanceRecord &record) {
  Registration plan;
  plan.record = record;
  RegisterSpec spec;
  VBD_TRY(narrow(manager, spec, plan));
  std::vector<std::string> names;
  for (const auto &word : plan.brought.left_out) {
    if (word.reason == "host")
      names.push_back(text::printable(cat(word.option, " ", word.name, "=", word.value)));
  }
  if (names.empty()) return {};
  return Error(kForeignWords, cat("its parameters may name things of this host: ", text::join(names, ", "),
                                  "; '--rebuild --trust-parameters' "
                                  "takes them, 'vbd instance register ",
                                  record.directory, "' leaves them out"));
}

Result<FromOutside> register_directory(const Manager &manager, const RegisterSpec &spec, bool dry_run) {
  if (!spec.as.empty()) {
    if (auto good = check_instance_name(spec.as); !good) return good.error();
  }
  const Catalog catalog(manager.settings);
  const auto allowed = sys::resolve_allowed(manager.settings.allowed_dirs);
  VBD_TRY_ASSIGN(auto path, sys::confine(sys::absolute_path(spec.directory), allowed));
  VBD_TRY_ASSIGN(auto opened, sys::open_dir_below(path, allowed));
  auto found = catalog.read_record(opened.get(), path);
  if (!found) {
    if (!found.error().is(sys::kNotFound)) return found.error();
    return Error(kInstanceNotFound, cat(path, ": holds no instance"),
                 "vbd instance add with reuse makes one of the images that lie there");
  }
  std::optional<sys::OperationLock> names;
  Site site;
  if (!dry_run) {
    VBD_TRY_ASSIGN(auto taken, catalog.lock_names());
    names = std::move(taken);
    VBD_TRY_ASSIGN(auto locked, open_site(manager.settings, path, std::chrono::milliseconds(0)));
    site = std::move(locked);
    found = catalog.read_record(site.directory.get(), path);
    if (!found) return found.error();
  }
  auto plan =
      plan_checked(manager, spec, *found, path, dry_run ? opened.get() : site.directory.get(), dry_run);
  if (!plan) return plan.error();
  if (dry_run || plan->lines.empty()) return FromOutside{plan->lines, plan->brought};
  auto done = do_register(catalog, site, *found, *plan);
  log::audit(cat("instance register ", plan->record.name, " in ", path),
             done ? "done" : done.error().message());
  if (!done) return done.error();
  return FromOutside{plan->lines, plan->brought};
}

}  // namespace vbd::instance
