// SPDX-License-Identifier: MIT
// vbd instance
#include <fnmatch.h>

#include <algorithm>
#include <vector>

#include "cli/instance_verbs.hpp"
#include "cli/instance_words.hpp"
#include "cli/nouns.hpp"
#include "cli/parser.hpp"
#include "cli/report/instances.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "manager/instance/live.hpp"

namespace vbd::cli {
namespace instance_file {
namespace {

constexpr std::string_view kStates = "running,stopped,error,unreachable,foreign,interrupted";

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
  const auto spec = add_spec(session.args(), session.settings());
  if (!spec) return spec.error();
  const auto steps = instance::add(session.manager(), *spec, session.dry_run());
  if (!steps) return steps.error();
  auto all = *steps;
  bool started = false;
  if (!spec->no_start) {
    auto done = start_added(session, spec->name);
    if (!done) return done.error();
    started = !done->empty();
    all.insert(all.end(), done->begin(), done->end());
  }
  return report::plan(session.json(), all, session.dry_run(),
                      text::cat("instance ", spec->name, started ? ": added and started" : ": added"));
}

/// --state and --name leave out the others; each may be repeated.
Result<void> keep_wanted(const Arguments &arguments, std::vector<instance::Entry> &entries) {
  const auto names = arguments.values("name");
  std::vector<std::string> states;
  for (const std::string &given : arguments.values("state")) {
    for (std::string &state : text::split(given, ',')) states.push_back(std::move(state));
  }
  const std::vector<std::string> known = text::split(kStates, ',');
  for (const std::string &state : states) {
    if (std::find(known.begin(), known.end(), state) != known.end()) continue;
    const std::string near = text::did_you_mean(state, known);
    return Error{kBadValue,
                 text::cat("--state ", text::printable(state), ": no such state",
                           near.empty() ? "" : "; did you mean '" + near + "'?"),
                 text::cat("states: ", text::join(known, ", "))};
  }
  std::erase_if(entries, [&](const instance::Entry &entry) {
    const auto is = [&](const std::string &state) { return state == instance::state_text(entry.state); };
    const auto fits = [&](const std::string &glob) {
      return ::fnmatch(glob.c_str(), entry.record.name.c_str(), 0) == 0;
    };
    return (!states.empty() && std::none_of(states.begin(), states.end(), is)) ||
           (!names.empty() && std::none_of(names.begin(), names.end(), fits));
  });
  return {};
}

Result<Outcome> list(Session &session) {
  const auto fields = report::instance_fields(session.args().value("fields"));
  if (!fields) return fields.error();
  auto entries = instance::Catalog(session.settings()).list();
  if (!entries) return entries.error();
  instance::see_live(session.manager(), *entries);
  if (auto kept = keep_wanted(session.args(), *entries); !kept) return kept.error();
  report::ListLook look{*fields, session.args().has("no-headers"), session.args().value("separator"),
                        session.color()};
  return report::instances(session.json(), *entries, look);
}

report::DiskView view_of(Session &session, const instance::Entry &entry, const DiskRecord &disk) {
  report::DiskView view{
      {disk.driver, disk.filetype, text::cat(entry.record.directory, "/", disk.file)}, {}, {}, {}};
  // A hanging directory would hang us; another's files say nothing about this instance.
  if (entry.state == instance::State::unreachable || entry.state == instance::State::foreign) return view;
  const auto allowed = sys::resolve_allowed(session.settings().allowed_dirs);
  const auto fd = sys::open_image_below(view.id.path, allowed, sys::Access::read);
  if (!fd) {
    view.problem = fd.error().message();
    return view;
  }
  if (const auto info = sys::file_info(fd->get())) view.allocated = info->allocated;
  const auto status = device::query(session.device(), view.id);
  if (!status) {
    view.problem = status.error().message();
  } else if (status->state == device::Status::State::attached) {
    if (!status->attachment.node.empty()) view.device = status->attachment.node;
  } else if (status->state == device::Status::State::broken) {
    view.problem = status->reason;
  }
  return view;
}

Result<Outcome> info(Session &session) {
  auto found = instance::Catalog(session.settings()).find(session.args().value("NAME"));
  if (!found) return found.error();
  std::vector<instance::Entry> entry{*std::move(found)};
  instance::see_live(session.manager(), entry);
  std::vector<report::DiskView> disks;
  for (const DiskRecord &disk : entry[0].record.disks) disks.push_back(view_of(session, entry[0], disk));
  return report::instance(session.json(), entry[0], disks);
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
  const auto steps = instance::remove(session.manager(), spec, true);
  if (!steps) return steps.error();
  for (const std::string &step : *steps) write_stderr(text::printable(step) + "\n");
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
  const auto steps = instance::remove(session.manager(), spec, session.dry_run());
  if (!steps) return steps.error();
  return report::plan(session.json(), *steps, session.dry_run(),
                      text::cat("instance ", spec.name, ": removed"));
}

Result<Outcome> config(Session &session) {
  const std::string name = session.args().value("NAME");
  auto text = instance::config_file(session.manager(), name);
  if (!text) return text.error();
  if (!session.json()) return Outcome{*std::move(text), {}};
  json::Value value;
  value.set("schema", "vbdkit.instance-config/1").set("name", name);
  value.set("hypervisor", session.settings().hypervisor).set("config", *std::move(text));
  return Outcome{{}, std::move(value)};
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

constexpr OptionSpec kListOptions[] = {
    {"-o,--fields", Takes::value, "FIELD,...",
     "name, state, node, secondary, os, disks, size, directory, uuid, created, reason, memory, vcpus, "
     "disk.size/N, be/KEY, hv/KEY, os/KEY; +FIELD adds to the usual ones"},
    {"--no-headers", Takes::nothing, "", "print no line of headers"},
    {"--state", Takes::values, "STATE,...",
     "only instances that are running, stopped, error, unreachable, foreign or interrupted"},
    {"--name", Takes::values, "PATTERN", "only instances with such a name: * and ? as a shell has them"},
    {"--separator", Takes::value, "TEXT", "between fields, instead of aligning them"},
};
constexpr std::string_view kListExamples[] = {
    "vbd instance list",
    "vbd instance list --state error,unreachable --name 'web*'",
    "vbd instance list -o name,memory,disk.size/0,hv/kernel",
    "vbd instance list --no-headers --separator=: -o name,state",
    "vbd instance list --output json",
};
constexpr std::string_view kInfoExamples[] = {"vbd instance info web1",
                                              "vbd instance info web1 --output json"};

constexpr OptionSpec kRemoveOptions[] = {
    {"-y,--yes", Takes::nothing, "", "do not ask"},
    {"-f,--force", Takes::nothing, "", "the same as --yes"},
    {"--keep-files", Takes::nothing, "", "forget the instance, leave its images"},
    {"--assume-unused", Takes::nothing, "", "go on when not all processes can be looked at (without root)"},
};
constexpr std::string_view kRemoveExamples[] = {"vbd instance remove web1",
                                                "vbd instance remove --yes --keep-files web1",
                                                "vbd instance remove --dry-run web1"};
constexpr std::string_view kConfigExamples[] = {"vbd instance config web1 > /etc/xen/web1.cfg"};

constexpr VerbSpec kVerbs[] = {
    {"add", "add an instance: make its images, or take those that are there",
     "Adds an instance: makes its images, or with reuse takes those that its directory holds.\n"
     "SIZE: a number of MiB, or with a suffix m, g, t. The images are DIR/sda, DIR/sdb, ...;\n"
     "DIR is path= or FILE_STORAGE_DIR/NAME.",
     kAddOptions, kNewName, kAddExamples, true, false, add},
    {"list", "list instances", "", kListOptions, {}, kListExamples, false, false, list},
    {"info", "show an instance with its disks", "", {}, kName, kInfoExamples, false, false, info},
    {"remove", "remove an instance and its images",
     "Removes an instance and the images that it lists, reused ones too. Asks on a terminal; elsewhere --yes "
     "is needed.",
     kRemoveOptions, kName, kRemoveExamples, true, false, remove},
    {"config",
     "print the guest's config file for the configured hypervisor",
     "",
     {},
     kName,
     kConfigExamples,
     false,
     false,
     config},
};

}  // namespace
}  // namespace instance_file

std::span<const VerbSpec> instance_verbs() {
  static const std::vector<VerbSpec> verbs = [] {
    std::vector<VerbSpec> all(std::begin(instance_file::kVerbs), std::end(instance_file::kVerbs));
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
