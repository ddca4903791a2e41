// SPDX-License-Identifier: MIT
// vbd instance
#include <vector>

#include "cli/instance_verbs.hpp"
#include "cli/instance_words.hpp"
#include "cli/nouns.hpp"
#include "cli/parser.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "cli/vet_words.hpp"
#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "manager/instance/live.hpp"

namespace vbd::cli {
namespace instance_file {
namespace {

/// A host without the hypervisor keeps instances too: then it is said, and fine.
Result<instance::Plan> start_added(Session &session, const std::string &name) {
  if (auto can = instance::check_can_start(session.manager()); !can) {
    log::warn(text::cat("instance ", name, ": not started: ", can.error().message()));
    return instance::Plan{};
  }
  if (session.dry_run()) return instance::Plan{text::cat("start ", name)};
  auto started = instance::start(session.manager(), {name, false}, false);
  if (started) return started;
  return started.error().at("added, but not started").with_hint(text::cat("vbd instance start ", name));
}

Result<Outcome> add(Session &session) {
  VBD_TRY_ASSIGN(const auto spec, add_spec(session.args(), session.settings()));
  VBD_TRY_ASSIGN(const auto steps, instance::add(session.vetting_manager(), spec, session.dry_run()));
  auto all = steps;
  bool started = false;
  if (!spec.no_start) {
    VBD_TRY_ASSIGN(auto done, start_added(session, spec.name));
    started = !done.empty();
    all.insert(all.end(), done.begin(), done.end());
  }
  return report::plan(session.json(), all, session.dry_run(),
                      text::cat("instance ", spec.name, started ? ": added and started" : ": added"));
}

/// On a terminal the plan is shown and confirmed; without one --yes must have been given.
Result<void> confirm_remove(Session &session, const instance::RemoveSpec &spec) {
  if (session.args().has("yes") || session.args().has("force")) return {};
  if (!can_ask()) {
    return Error{instance::kConfirm,
                 text::cat("instance remove ", text::printable(spec.name),
                           ": not confirmed, for there is no terminal to ask on"),
                 "add --yes"};
  }
  VBD_TRY_ASSIGN(const auto steps, instance::remove(session.manager(), spec, true));
  for (const std::string &step : steps) write_stderr(text::printable(step) + "\n");
  if (ask(text::cat("Remove instance ", text::printable(spec.name), "? [y/N] "))) return {};
  return Error{instance::kConfirm, text::cat("instance remove ", text::printable(spec.name),
                                             ": not confirmed, nothing was changed")};
}

Result<Outcome> remove(Session &session) {
  const instance::RemoveSpec spec{session.args().value("NAME"), session.args().has("keep-files"),
                                  session.args().has("assume-unused")};
  if (!session.dry_run()) {
    if (auto confirmed = confirm_remove(session, spec); !confirmed) return confirmed.error();
  }
  VBD_TRY_ASSIGN(const auto steps, instance::remove(session.manager(), spec, session.dry_run()));
  return report::plan(session.json(), steps, session.dry_run(),
                      text::cat("instance ", spec.name, ": removed"));
}

constexpr OptionSpec kAddOptions[] = {
    {"-t,--disk-template", Takes::value, "file:WORDS",
     "path=DIR, driver=NAME, filetype=NAME, reuse, options of plugins; commas between"},
    {"--disk", Takes::values, "N:size=SIZE",
     "disk N; also mode=ro|rw, filetype=, driver=, options of the plugins; adopt=PATH instead of size="},
    {"--net", Takes::values, "N:KEY=VALUE,...",
     "network card N: mac=ADDRESS|generate, mode=bridged|routed|openvswitch|user, link=BRIDGE, ip=, vlan=, "
     "network=, "
     "name="},
    {"--no-nics", Takes::nothing, "", "no network card, which is so without --net too"},
    {"-n,--node", Takes::value, "NODE[:SECONDARY]", "primary and secondary node; default: this host"},
    {"-o,--os-type", Takes::value, "OS[+VARIANT]", "guest OS definition: its create script fills the disks"},
    {"-B,--backend-parameters", Takes::values, "KEY=VALUE,...", "memory, vcpus, ..."},
    {"-H,--hypervisor-parameters", Takes::values, "[HV:]KEY=VALUE,...",
     "parameters of the hypervisor's profile"},
    {"-O,--os-parameters", Takes::values, "KEY=VALUE,...", "parameters of the guest OS definition"},
    {"--no-install", Takes::nothing, "", "do not run the guest OS definition's create script"},
    {"--no-start", Takes::nothing, "",
     "do not start the instance; a host without the hypervisor never starts it"},
    {"--no-name-check,--no-ip-check", Takes::nothing, "", "accepted; vbd looks up no names and no addresses"},
    kRepairTaken,
    kUnchecked,
};
constexpr ArgumentSpec kNewName[] = {{"NAME", "the new instance's name"}};
constexpr ArgumentSpec kName[] = {{"NAME", "an instance", true, Meaning::instance}};
constexpr std::string_view kAddExamples[] = {
    "vbd instance add -t file:driver=loop --disk 0:size=5G --disk 1:size=10G web1",
    "vbd instance add -t file:driver=blktap,filetype=qcow --disk 0:size=20G,cluster_size=64K db1",
    "vbd instance add -t file:driver=loop --disk 0:size=5G --net 0:mode=bridged,link=br0 web2",
    "vbd instance add -t file:driver=loop --disk 0:size=2G -o debootstrap+default web2",
    "vbd instance add -t file:path=/xen/instance2,driver=loop,reuse -n node -o debian-etch instance2",
};

constexpr OptionSpec kRemoveOptions[] = {
    {"-y,--yes", Takes::nothing, "", "do not ask"},
    {"-f,--force", Takes::nothing, "", "the same as --yes"},
    {"--keep-files", Takes::nothing, "", "forget the instance, leave its images"},
    {"--assume-unused", Takes::nothing, "", "go on when not all processes can be looked at (without root)"},
};
constexpr std::string_view kRemoveExamples[] = {"vbd instance remove web1",
                                                "vbd instance remove --yes --keep-files web1",
                                                "vbd instance remove --dry-run web1"};
constexpr VerbSpec kVerbs[] = {
    {"add", "add an instance: make its images, or take those that are there",
     "Adds an instance: makes its images, or with reuse takes those that its directory holds.\n"
     "SIZE: a number of MiB, or with a suffix m, g, t. The images are DIR/sda, DIR/sdb, ...;\n"
     "DIR is path= or FILE_STORAGE_DIR/NAME. Images that are taken (reuse, adopt=) are checked whole.",
     kAddOptions, kNewName, kAddExamples, true, false, add},
    {"remove", "remove an instance and its images",
     "Removes an instance and the images that it lists, reused ones too. Asks on a terminal; elsewhere --yes "
     "is needed.",
     kRemoveOptions, kName, kRemoveExamples, true, false, remove},
};

}  // namespace
}  // namespace instance_file

std::span<const VerbSpec> instance_verbs() {
  static const std::vector<VerbSpec> verbs = [] {
    std::vector<VerbSpec> all(std::begin(instance_file::kVerbs), std::end(instance_file::kVerbs));
    all.insert(all.begin() + 1, instance_info_verb());
    all.insert(all.begin() + 1, instance_list_verb());
    all.push_back(instance_config_verb());
    for (const auto verb : {instance_grow_disk_verb, instance_activate_disks_verb,
                            instance_deactivate_disks_verb, instance_replace_disks_verb, instance_modify_verb,
                            instance_register_verb, instance_reinstall_verb, instance_rename_verb}) {
      all.push_back(verb());
    }
    for (const auto &verb : instance_live_verbs()) all.push_back(verb);
    return all;
  }();
  return verbs;
}

}  // namespace vbd::cli
