// SPDX-License-Identifier: MIT
// vbd instance reinstall, rename
#include "cli/instance_verbs.hpp"
#include "cli/instance_words.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "core/base/text.hpp"
#include "manager/instance/reinstall.hpp"
#include "manager/instance/rename.hpp"

namespace vbd::cli {
namespace instance_os_file {
namespace {

/// On a terminal the plan is shown and confirmed; without one --yes must have been given.
Result<void> confirm_reinstall(Session &session, const instance::ReinstallSpec &spec) {
  if (session.args().has("yes") || session.args().has("force")) return {};
  const std::string what = text::cat("instance reinstall ", text::printable(spec.name));
  if (!can_ask()) {
    return Error{instance::kConfirm, what + ": not confirmed, for there is no terminal to ask on",
                 "add --yes"};
  }
  VBD_TRY_ASSIGN(const auto steps, instance::reinstall(session.manager(), spec, true));
  for (const std::string &step : steps) write_stderr(text::printable(step) + "\n");
  if (ask(text::cat("Reinstall instance ", text::printable(spec.name),
                    "? What is on its disks is lost. [y/N] ")))
    return {};
  return Error{instance::kConfirm, what + ": not confirmed, nothing was changed"};
}

Result<Outcome> reinstall(Session &session) {
  instance::ReinstallSpec spec{session.args().value("NAME"), session.args().value("os-type"), {}};
  VBD_TRY(os_parameters(session.args(), spec.os_parameters));
  if (!session.dry_run()) {
    if (auto confirmed = confirm_reinstall(session, spec); !confirmed) return confirmed.error();
  }
  VBD_TRY_ASSIGN(const auto steps, instance::reinstall(session.manager(), spec, session.dry_run()));
  return report::plan(session.json(), steps, session.dry_run(),
                      text::cat("instance ", spec.name, ": reinstalled"));
}

Result<Outcome> rename(Session &session) {
  const instance::RenameSpec spec{session.args().value("OLD"), session.args().value("NEW"),
                                  session.args().has("no-script")};
  VBD_TRY_ASSIGN(const auto steps, instance::rename(session.manager(), spec, session.dry_run()));
  return report::plan(session.json(), steps, session.dry_run(),
                      text::cat("instance ", spec.from, ": renamed to ", spec.to));
}

constexpr ArgumentSpec kName[] = {{"NAME", "an instance", true, Meaning::instance}};
constexpr ArgumentSpec kOldNew[] = {{"OLD", "an instance", true, Meaning::instance}, {"NEW", "its new name"}};
constexpr OptionSpec kReinstallOptions[] = {
    {"-y,--yes", Takes::nothing, "", "do not ask"},
    {"-f,--force", Takes::nothing, "", "the same as --yes"},
    {"-o,--os-type", Takes::value, "OS[+VARIANT]", "another guest OS definition than the recorded one"},
    {"-O,--os-parameters", Takes::values, "KEY=VALUE,...", "parameters of the guest OS definition"},
};
constexpr std::string_view kReinstallExamples[] = {
    "vbd instance reinstall web1",
    "vbd instance reinstall --yes -o debootstrap+default -O filesystem=ext4 web1",
};
constexpr OptionSpec kRenameOptions[] = {
    {"--no-script", Takes::nothing, "", "do not run the guest OS definition's rename script"},
    {"--no-name-check,--no-ip-check", Takes::nothing, "", "accepted; vbd looks up no names and no addresses"},
};
constexpr std::string_view kRenameExamples[] = {"vbd instance rename web1 www1",
                                                "vbd instance rename --no-script web1 www1"};

}  // namespace
}  // namespace instance_os_file

VerbSpec instance_reinstall_verb() {
  return {
      "reinstall",
      "install the guest OS anew",
      "Runs the create script of the guest OS definition on the instance's disks; what is on them is lost.\n"
      "Refused while a disk is in use. Asks on a terminal; elsewhere --yes is needed.",
      instance_os_file::kReinstallOptions,
      instance_os_file::kName,
      instance_os_file::kReinstallExamples,
      true,
      false,
      instance_os_file::reinstall};
}

VerbSpec instance_rename_verb() {
  return {
      "rename",
      "give an instance another name",
      "Renames the instance, its directory when that is FILE_STORAGE_DIR/OLD, and runs the rename script of\n"
      "its guest OS definition, so that the guest's own files follow. A definition that is not installed\n"
      "here is warned about. Refused while a disk is in use.",
      instance_os_file::kRenameOptions,
      instance_os_file::kOldNew,
      instance_os_file::kRenameExamples,
      true,
      false,
      instance_os_file::rename};
}

}  // namespace vbd::cli
