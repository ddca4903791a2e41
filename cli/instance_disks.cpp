// SPDX-License-Identifier: MIT
// vbd instance grow-disk, activate-disks, deactivate-disks, replace-disks
#include "cli/instance_verbs.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/vet_words.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "manager/instance/disks.hpp"

namespace vbd::cli {
namespace instance_disks_file {
namespace {

inline constexpr ErrorKind kNoMirror{"instance.no_mirror", Exit::refused};

Result<Outcome> grow_disk(Session &session) {
  VBD_TRY_ASSIGN(const auto amount, parse_size(session.args().value("AMOUNT"), SizeStyle::instance));
  const instance::GrowSpec spec{session.args().value("NAME"), session.args().value("DISK"), amount,
                                session.args().has("absolute"), session.args().has("assume-unused")};
  VBD_TRY_ASSIGN(const auto steps, instance::grow_disk(session.manager(), spec, session.dry_run()));
  return report::plan(session.json(), steps, session.dry_run(),
                      steps.empty()
                          ? text::cat("instance ", spec.name, ": disk ", spec.disk, " has that size")
                          : text::cat("instance ", spec.name, ": disk ", spec.disk, " grown"));
}

json::Value activated_json(const std::string &name, const instance::Activated &active) {
  json::Array disks;
  for (const instance::ActiveDisk &disk : active.disks) {
    json::Value value;
    value.set("index", std::uint64_t{disk.index}).set("logical_id", report::to_json(disk.id));
    disks.push_back(value.set("device", disk.node));
  }
  json::Value value;
  value.set("schema", "vbdkit.activated/1").set("name", name).set("node", active.node);
  return value.set("disks", std::move(disks));
}

Result<Outcome> activate_disks(Session &session) {
  const std::string name = session.args().value("NAME");
  VBD_TRY_ASSIGN(const auto active,
                 instance::activate_disks(session.vetting_manager(), name, session.dry_run()));
  if (session.dry_run()) return report::plan(session.json(), active.plan, true, "");
  std::string out;
  for (const instance::ActiveDisk &disk : active.disks) {
    out += text::cat(active.node, ":disk/", disk.index, ":", text::printable(disk.node), "\n");
  }
  return Outcome{std::move(out), activated_json(name, active)};
}

Result<Outcome> deactivate_disks(Session &session) {
  VBD_TRY_ASSIGN(const auto steps,
                 instance::deactivate_disks(session.manager(), session.args().value("NAME"),
                                            session.args().has("force"), session.dry_run()));
  return report::plan(session.json(), steps, session.dry_run(), "");
}

Result<Outcome> replace_disks(Session &session) {
  VBD_TRY_ASSIGN(const auto entry, instance::Catalog(session.settings()).find(session.args().value("NAME")));
  return Error{kNoMirror,
               text::cat("instance ", entry.record.name,
                         ": there is nothing to replace its disks from: each is one file, and no other copy "
                         "is kept"),
               "look for damage with vbd image check; put a saved copy in the place of a lost image"};
}

constexpr ArgumentSpec kName[] = {{"NAME", "an instance", true, Meaning::instance}};
constexpr ArgumentSpec kGrowArguments[] = {
    {"NAME", "an instance", true, Meaning::instance},
    {"DISK", "a disk: its number, or its name as in sda"},
    {"AMOUNT", "a number of MiB, or with a suffix m, g, t: what is added"},
};
constexpr OptionSpec kGrowOptions[] = {
    {"--absolute", Takes::nothing, "", "AMOUNT is the new size"},
    {"--no-wait-for-sync", Takes::nothing, "", "accepted; a file has no copies to wait for"},
    {"--assume-unused", Takes::nothing, "", "go on when not all processes can be looked at (without root)"},
};
constexpr std::string_view kGrowExamples[] = {"vbd instance grow-disk web1 0 5G",
                                              "vbd instance grow-disk --absolute web1 sdb 100G"};
constexpr OptionSpec kActivateOptions[] = {kRepairTaken, kUnchecked};
constexpr std::string_view kActivateExamples[] = {"vbd instance activate-disks web1"};
constexpr OptionSpec kDeactivateOptions[] = {
    {"-f,--force", Takes::nothing, "",
     "also while the instance runs, or can't be asked: what its guest has open stays"},
};
constexpr std::string_view kDeactivateExamples[] = {"vbd instance deactivate-disks web1"};

constexpr OptionSpec kReplaceOptions[] = {
    {"-p,--on-primary", Takes::nothing, "", "on the primary node"},
    {"-s,--on-secondary", Takes::nothing, "", "on the secondary node"},
    {"-a,--auto", Takes::nothing, "", "where disks are broken"},
    {"-n,--new-secondary", Takes::value, "NODE", "another secondary node"},
    {"--disks", Takes::value, "N,...", "these disks only"},
};
constexpr std::string_view kReplaceExamples[] = {"vbd instance replace-disks -p web1"};

}  // namespace
}  // namespace instance_disks_file

VerbSpec instance_grow_disk_verb() {
  return {
      "grow-disk",
      "make a disk larger",
      "Makes a disk larger; what is added reads as zeros. A disk that is attached as a device grows under\n"
      "it, where the driver and the filetype can; else detach it first. A guest that runs is told of it. "
      "Disks\n"
      "do not shrink. When a run was killed, the same command finishes it.",
      instance_disks_file::kGrowOptions,
      instance_disks_file::kGrowArguments,
      instance_disks_file::kGrowExamples,
      true,
      false,
      instance_disks_file::grow_disk};
}

VerbSpec instance_activate_disks_verb() {
  return {
      "activate-disks",
      "attach the disks of an instance that does not run",
      "Attaches every disk, and prints NODE:disk/N:DEVICE for each. When one can't be attached, none of the\n"
      "others stays. An image that others changed meanwhile is checked first.",
      instance_disks_file::kActivateOptions,
      instance_disks_file::kName,
      instance_disks_file::kActivateExamples,
      true,
      false,
      instance_disks_file::activate_disks};
}

VerbSpec instance_deactivate_disks_verb() {
  return {"deactivate-disks",
          "detach what activate-disks attached",
          "Detaches every disk that is attached for the instance. A device that is in use is refused; what "
          "others\n"
          "attached stays. Refused while the instance runs.",
          instance_disks_file::kDeactivateOptions,
          instance_disks_file::kName,
          instance_disks_file::kDeactivateExamples,
          true,
          false,
          instance_disks_file::deactivate_disks};
}

VerbSpec instance_replace_disks_verb() {
  return {
      "replace-disks",
      "refused: a disk here is one file, without a mirror",
      "Refused, for clusters' scripts: a disk is one file, and vbd keeps no second copy from which it could\n"
      "be built again. Copies are the business of the storage below, or of backups.",
      instance_disks_file::kReplaceOptions,
      instance_disks_file::kName,
      instance_disks_file::kReplaceExamples,
      false,
      false,
      instance_disks_file::replace_disks};
}

}  // namespace vbd::cli
