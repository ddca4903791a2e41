// SPDX-License-Identifier: MIT
// vbd instance info, config
#include <vector>

#include "cli/instance_verbs.hpp"
#include "cli/parser.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/storage.hpp"

namespace vbd::cli {
namespace instance_show_file {
namespace {

report::DiskView view_of(Session &session, const instance::Entry &entry, const DiskRecord &disk) {
  report::DiskView view{
      {disk.driver, disk.filetype, text::cat(entry.record.directory, "/", disk.file)}, {}, {}, {}};
  // A hanging directory would hang us; another's files say nothing about this instance.
  if (entry.state == instance::State::unreachable || entry.state == instance::State::foreign) return view;
  const auto allowed = instance::allowed_for(session.settings(), view.id.path);
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

/// NAME, or with --all everything that the catalog has.
Result<std::vector<instance::Entry>> entries_of(Session &session) {
  const instance::Catalog catalog(session.settings());
  const std::string name = session.args().value("NAME");
  if (session.args().has("all") != name.empty()) return Error{kBadValue, "give either NAME or --all"};
  if (name.empty()) return catalog.list();
  auto found = catalog.find(name);
  if (!found) return found.error();
  return std::vector<instance::Entry>{*std::move(found)};
}

Result<Outcome> info(Session &session) {
  VBD_TRY_ASSIGN(auto entries, entries_of(session));
  instance::see_live(session.manager(), entries);
  std::vector<Outcome> shown;
  for (const auto &entry : entries) {
    std::vector<report::DiskView> disks;
    for (const DiskRecord &disk : entry.record.disks) disks.push_back(view_of(session, entry, disk));
    shown.push_back(report::instance(session.json(), entry, disks));
  }
  if (!session.args().has("all")) return shown.front();
  Outcome all;
  json::Array list;
  for (auto &one : shown) {
    if (!all.text.empty()) all.text += "\n";
    all.text += one.text;
    if (session.json()) list.push_back(std::move(one.json));
  }
  if (session.json()) all.json.set("schema", "vbdkit.instance-all/1").set("instances", std::move(list));
  return all;
}

/// A device that is not there yet has no name: said on stderr, for it stands in what goes to stdout.
void say_missing(const std::string &name, const instance::ConfigFile &config) {
  if (config.missing.empty()) return;
  std::string stand_ins;
  for (const auto &vdev : config.missing)
    stand_ins += text::cat(stand_ins.empty() ? "" : ", ", instance::stand_in(vdev));
  log::warn(text::cat("instance ", name, ": ", stand_ins,
                      " stands for a device that the disk gets when it is attached"));
}

json::Value config_json(const std::string &name, const instance::ConfigFile &config) {
  json::Value value;
  value.set("name", name).set("config", config.text);
  return value.set("missing", report::to_json(config.missing));
}

Result<Outcome> config_of_all(Session &session) {
  VBD_TRY_ASSIGN(auto entries, entries_of(session));
  Outcome all;
  json::Array list;
  for (const auto &entry : entries) {
    const std::string &name = entry.record.name;
    const auto config = instance::config_file(session.manager(), name);
    if (!config) {
      if (all.exit == Exit::done) all.exit = config.error().exit();
      if (!session.json()) write_stderr(report::error_text(config.error(), false));
      json::Value value;
      value.set("name", name).set("config", json::Value()).set("missing", json::Array());
      list.push_back(value.set("error", report::error_value(config.error())));
      continue;
    }
    if (!session.json()) say_missing(name, *config);
    all.text += text::cat(all.text.empty() ? "" : "\n", "# ", text::printable(name), "\n", config->text);
    list.push_back(config_json(name, *config).set("error", json::Value()));
  }
  if (!session.json()) return all;
  all.text.clear();
  all.json.set("schema", "vbdkit.instance-configs/1").set("hypervisor", session.settings().hypervisor);
  all.json.set("instances", std::move(list));
  return all;
}

Result<Outcome> config(Session &session) {
  if (session.args().has("all")) return config_of_all(session);
  VBD_TRY(entries_of(session));
  const std::string name = session.args().value("NAME");
  const auto config = instance::config_file(session.manager(), name);
  if (!config) return config.error();
  if (!session.json()) {
    say_missing(name, *config);
    return Outcome{config->text, {}};
  }
  json::Value value;
  value.set("schema", "vbdkit.instance-config/1").set("name", name);
  value.set("hypervisor", session.settings().hypervisor).set("config", config->text);
  return Outcome{{}, value.set("missing", report::to_json(config->missing))};
}

constexpr ArgumentSpec kName[] = {{"NAME", "an instance; or give --all", false, Meaning::instance}};
constexpr OptionSpec kOptions[] = {{"--all", Takes::nothing, "", "every instance"}};
constexpr std::string_view kInfoExamples[] = {"vbd instance info web1", "vbd instance info --all",
                                              "vbd instance info web1 --output json"};
constexpr std::string_view kConfigExamples[] = {"vbd instance config web1 > /etc/xen/web1.cfg",
                                                "vbd instance config --all"};

}  // namespace
}  // namespace instance_show_file

VerbSpec instance_info_verb() {
  using namespace instance_show_file;
  return {"info", "show an instance with its disks", "", kOptions, kName, kInfoExamples, false, false, info};
}

VerbSpec instance_config_verb() {
  using namespace instance_show_file;
  return {
      "config",
      "print the guest's config file for the configured hypervisor",
      "Prints what 'start' would give to the hypervisor. Where a disk gets its device only then, "
      "/dev/NODE-OF-\n"
      "and the disk's name stand for it, which is said on stderr. With --all a line '# NAME' is above each.",
      kOptions,
      kName,
      kConfigExamples,
      false,
      false,
      config};
}

}  // namespace vbd::cli
