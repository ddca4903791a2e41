// SPDX-License-Identifier: MIT
// register: a directory that was copied or moved becomes an instance of its own. Two writes: the record, then
// the pointer; a run that was killed between them is finished by the same command.
#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "manager/instance/add_plan.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/settle.hpp"

namespace vbd::instance {
namespace {

using text::cat;

struct Registration {
  InstanceRecord record;    ///< as it will be
  std::string former_name;  ///< of a pointer that goes, for it leads to where nothing is any more
  bool rewrite = false, known = false;
  Plan lines;
  hypervisor::Brought brought;
};

/// Whoever is known under this UUID or name, but for the directory itself.
struct Others {
  const Entry *same_uuid = nullptr, *same_name = nullptr, *same_place = nullptr;
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
    if (here) others.same_place = &entry;
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
  auto profile = hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs);
  if (!profile) return profile.error();
  if (auto good = hypervisor::check_parameters(*profile, given.backend, "-B"); !good) return good;
  if (auto good = hypervisor::check_parameters(*profile, given.hypervisor, "-H"); !good) return good;
  const InstanceRecord before = plan.record;
  InstanceRecord &record = plan.record;
  const hypervisor::Outside outside{*profile, spec.trust, plan.brought};
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

Result<Registration> plan_registration(const Manager &manager, const InstanceRecord &found,
                                       const std::string &path, const std::string &as) {
  const Catalog catalog(manager.settings);
  auto entries = catalog.list();
  if (!entries) return entries.error();
  const std::string name = as.empty() ? found.name : as;
  if (auto good = check_addressable(manager, name); !good)
    return good.error().with_hint(cat("give it another name with --as; ", good.error().hint()));
  const Others others = find_others(*entries, found, name, path);
  const bool moved = others.same_uuid != nullptr && others.same_uuid->missing;
  const bool copied = others.same_uuid != nullptr && !others.same_uuid->missing;
  Registration plan{found, {}, false, false, {}, {}};
  if (others.same_name != nullptr && others.same_name != others.same_place &&
      !(moved && others.same_name == others.same_uuid)) {
    return name_taken(name, *others.same_name);
  }
  const bool settled = found.directory == path && found.name == name && !copied;
  plan.known = settled && others.same_place != nullptr && others.same_place->state != State::foreign;
  if (plan.known) return plan;
  if (!settled && (copied || !as.empty())) {
    auto uuid = sys::new_uuid();
    if (!uuid) return uuid.error();
    plan.record.uuid = *uuid;
    plan.record.claim.reset();  // the original's
  }
  plan.record.name = name;
  plan.record.directory = path;
  plan.rewrite = !settled;
  if (moved) plan.former_name = others.same_uuid->record.name;
  if (others.same_place != nullptr) plan.former_name = others.same_place->record.name;
  if (plan.rewrite) {
    plan.lines.push_back(cat("write ", path, "/", kInstanceFile, ": name ", name,
                             plan.record.uuid == found.uuid ? ", the same UUID" : ", a new UUID"));
  }
  if (!plan.former_name.empty()) plan.lines.push_back(cat("forget the former place of ", plan.former_name));
  plan.lines.push_back(cat("take the name ", name));
  return plan;
}

Result<void> check_registrable(const Manager &manager, const InstanceRecord &found, const std::string &path,
                               const Registration &plan) {
  if (found.operation) {
    return Error(kInterrupted,
                 cat(path, ": ", text::printable(found.operation->verb), " of ", found.name, " began ",
                     found.operation->started, " and is not finished"),
                 "finish it where it began, and copy the directory again");
  }
  const auto &claim = plan.record.claim;
  if (!claim || claim->node == manager.settings.node) return {};
  return Error(kClaimed,
               cat(path, ": claimed by ", text::printable(claim->holder), " on node ",
                   text::printable(claim->node), " since ", text::printable(claim->time)),
               "stop or detach it there; a copy gets a name of its own with --as");
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

Result<void> do_register(const Catalog &catalog, const Site &site, const Registration &plan) {
  if (plan.rewrite) {
    if (auto written = catalog.write_record(site.directory.get(), plan.record); !written) return written;
  }
  if (!plan.former_name.empty()) {
    if (auto gone = catalog.remove_pointer(plan.former_name); !gone) return gone;
  }
  return catalog.write_pointer(plan.record);
}

}  // namespace

Result<void> check_names_nothing_here(const Manager &manager, const InstanceRecord &record) {
  Registration plan{record, {}, false, false, {}, {}};
  RegisterSpec spec;
  if (auto narrowed = narrow(manager, spec, plan); !narrowed) return narrowed;
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
  const std::string &as = spec.as;
  if (!as.empty()) {
    if (auto good = check_instance_name(as); !good) return good.error();
  }
  const Catalog catalog(manager.settings);
  const auto allowed = sys::resolve_allowed(manager.settings.allowed_dirs);
  auto path = sys::confine(sys::absolute_path(spec.directory), allowed);
  if (!path) return path.error();
  auto opened = sys::open_dir_below(*path, allowed);
  if (!opened) return opened.error();
  auto found = catalog.read_record(opened->get(), *path);
  if (!found) {
    if (!found.error().is(sys::kNotFound)) return found.error();
    return Error(kInstanceNotFound, cat(*path, ": holds no instance"),
                 "vbd instance add with reuse makes one of the images that lie there");
  }
  std::optional<sys::OperationLock> names;
  Site site;
  if (!dry_run) {
    auto taken = catalog.lock_names();
    if (!taken) return taken.error();
    names = std::move(*taken);
    auto locked = open_site(manager.settings, *path, std::chrono::milliseconds(0));
    if (!locked) return locked.error();
    site = std::move(*locked);
    found = catalog.read_record(site.directory.get(), *path);
    if (!found) return found.error();
  }
  auto plan = plan_registration(manager, *found, *path, as);
  if (!plan) return plan.error();
  if (auto good = check_registrable(manager, *found, *path, *plan); !good) return good.error();
  if (plan->known) return FromOutside{plan->lines, plan->brought};
  if (auto narrowed = narrow(manager, spec, *plan); !narrowed) return narrowed.error();
  if (auto good = vet_all(manager, *plan); !good) return good.error();
  if (!vetting_line(manager).empty()) plan->lines.push_back(vetting_line(manager));
  if (dry_run) return FromOutside{plan->lines, plan->brought};
  auto done = do_register(catalog, site, *plan);
  log::audit(cat("instance register ", plan->record.name, " in ", *path),
             done ? "done" : done.error().message());
  if (!done) return done.error();
  return FromOutside{plan->lines, plan->brought};
}

}  // namespace vbd::instance
