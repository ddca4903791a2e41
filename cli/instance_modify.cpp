// SPDX-License-Identifier: MIT
// vbd instance modify, register
#include <algorithm>

#include "cli/instance_verbs.hpp"
#include "cli/instance_words.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "cli/vet_words.hpp"
#include "core/base/text.hpp"
#include "manager/instance/disks.hpp"

namespace vbd::cli {
namespace instance_modify_file {
namespace {

/// Data goes only when somebody said so: on a terminal after the plan was shown, elsewhere with --yes.
Result<void> confirm_loss(Session &session, const instance::ModifySpec &spec) {
  const bool loses = std::any_of(spec.changes.begin(), spec.changes.end(), [](const auto &change) {
    return change.what == instance::DiskChange::What::remove;
  });
  if (!loses || session.args().has("yes") || session.args().has("force")) return {};
  const std::string what = text::cat("instance modify ", text::printable(spec.name));
  if (!can_ask()) {
    return Error{
        instance::kConfirm,
        text::cat(what, ": a disk would be deleted; not confirmed, for there is no terminal to ask on"),
        "add --yes"};
  }
  VBD_TRY_ASSIGN(const auto steps, instance::modify(session.vetting_manager(), spec, true));
  for (const std::string &step : steps) write_stderr(text::printable(step) + "\n");
  if (ask(text::cat("Change instance ", text::printable(spec.name), "? [y/N] "))) return {};
  return Error{instance::kConfirm, text::cat(what, ": not confirmed, nothing was changed")};
}

Result<Outcome> modify(Session &session) {
  instance::ModifySpec spec{session.args().value("NAME"), {}, session.args().has("assume-unused")};
  for (const std::string &text : session.args().values("disk")) {
    auto change = instance::parse_disk_change(text);
    if (!change) return change.error();
    spec.changes.push_back(*std::move(change));
  }
  if (!session.dry_run()) {
    if (auto confirmed = confirm_loss(session, spec); !confirmed) return confirmed.error();
  }
  VBD_TRY_ASSIGN(const auto steps, instance::modify(session.vetting_manager(), spec, session.dry_run()));
  return report::plan(session.json(), steps, session.dry_run(),
                      text::cat("instance ", spec.name, ": changed"));
}

Result<Outcome> register_directory(Session &session) {
  const Arguments &args = session.args();
  instance::RegisterSpec spec{
      args.value("DIRECTORY"), args.value("as"), {}, args.has("no-nics"), args.has("trust-parameters")};
  VBD_TRY(parameters(args, session.settings(), spec.given));
  VBD_TRY_ASSIGN(const auto steps,
                 instance::register_directory(session.vetting_manager(), spec, session.dry_run()));
  return report::from_outside(
      session.json(), steps, session.dry_run(),
      steps.plan.empty() ? "known already" : text::cat(session.args().value("DIRECTORY"), ": registered"));
}

constexpr ArgumentSpec kName[] = {{"NAME", "an instance", true, Meaning::instance}};
constexpr OptionSpec kModifyOptions[] = {
    {"--disk", Takes::values, "CHANGE",
     "[N:]add:WORDS (the words of add's --disk), [N:]remove or remove:N, N:mode=ro|rw, N:size=actual; may "
     "be repeated"},
    {"-y,--yes", Takes::nothing, "", "do not ask before a disk is deleted"},
    {"-f,--force", Takes::nothing, "", "the same as --yes"},
    {"--assume-unused", Takes::nothing, "", "go on when not all processes can be looked at (without root)"},
    kRepairTaken,
    kUnchecked,
};
constexpr std::string_view kModifyExamples[] = {
    "vbd instance modify --disk add:size=10G web1",
    "vbd instance modify --disk 1:add:size=4G,filetype=qcow web1",
    "vbd instance modify --disk add:adopt=/srv/ganeti/file-storage/old/data.img web1",
    "vbd instance modify --yes --disk remove:1 web1",
    "vbd instance modify --disk 0:mode=ro web1",
    "vbd instance modify --disk 0:size=actual web1"};

constexpr ArgumentSpec kDirectory[] = {
    {"DIRECTORY", "a directory with an instance.yaml, below allowed_dirs", true, Meaning::file}};
constexpr OptionSpec kRegisterOptions[] = {
    {"--as", Takes::value, "NAME", "the name of the new instance, which also gets a new UUID"},
    {"-B,--backend-parameters", Takes::values, "KEY=VALUE,...",
     "instead of those that its instance.yaml has"},
    {"-H,--hypervisor-parameters", Takes::values, "[HV:]KEY=VALUE,...",
     "instead of those that its instance.yaml has"},
    {"-O,--os-parameters", Takes::values, "KEY=VALUE,...", "instead of those that its instance.yaml has"},
    {"--net", Takes::values, "N:KEY=VALUE,...", "network cards instead of those that its instance.yaml has"},
    {"--no-nics", Takes::nothing, "", "no network card"},
    {"--trust-parameters", Takes::nothing, "",
     "take all parameters and cards of its instance.yaml, also those that may name things of this host"},
    kRepairTaken,
    kUnchecked,
};
constexpr std::string_view kRegisterExamples[] = {
    "vbd instance register /srv/ganeti/file-storage/web1",
    "vbd instance register --as web2 /srv/ganeti/file-storage/web2"};

}  // namespace
}  // namespace instance_modify_file

VerbSpec instance_modify_verb() {
  return {
      "modify",
      "add and remove disks of an instance",
      "Adds, removes and changes disks; all of it or nothing. Changes are made in the order given, and each\n"
      "counts the disks as those before it left them. Disks that stay keep their names; a new one gets the\n"
      "first free one (sda, sdb, ...), and driver and filetype of the first disk unless it says others.\n"
      "With adopt= an image that is there is taken: where it lies, or as a clone that shares its blocks\n"
      "(then the original stays), or, where the filesystem can't do that, moved. An instance that runs gets\n"
      "new disks at its next start.\n"
      "An image that has become shorter is refused by every verb that would use it: size=actual takes it as\n"
      "it is, when what lay behind its end may be lost.",
      instance_modify_file::kModifyOptions,
      instance_modify_file::kName,
      instance_modify_file::kModifyExamples,
      true,
      false,
      instance_modify_file::modify};
}

VerbSpec instance_register_verb() {
  return {
      "register",
      "make a copied or moved directory an instance of this host",
      "A directory that was copied, moved, or not known here becomes an instance: its instance.yaml says\n"
      "where it is now, and under which name. A copy gets a new UUID; while the original is known, it needs\n"
      "a new name (--as). Images are checked whole first. Parameters that may name something of this host (a "
      "program,\n"
      "a file, a bridge) are left out, and told, unless they are given, or the directory is trusted.",
      instance_modify_file::kRegisterOptions,
      instance_modify_file::kDirectory,
      instance_modify_file::kRegisterExamples,
      true,
      false,
      instance_modify_file::register_directory};
}

}  // namespace vbd::cli
