// SPDX-License-Identifier: MIT
// vbd lease
#include "manager/instance/lease.hpp"
#include "cli/nouns.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "core/base/text.hpp"

namespace vbd::cli {
namespace lease_file {
namespace {

using instance::LeaseTarget;

Result<LeaseTarget> target_of(Session &session) {
  return instance::find_lease_target(session.manager(), session.args().value("TARGET"));
}

/// "free", "here": this node since this boot, "earlier-boot": this node before, "elsewhere": another node.
Result<const char *> state_of(const Lease &lease, const config::Settings &settings) {
  if (!lease.held()) return "free";
  if (device::is_elsewhere(lease, settings)) return "elsewhere";
  VBD_TRY_ASSIGN(const auto ours, device::is_ours(lease, settings));
  return ours ? "here" : "earlier-boot";
}

std::string text_of(const LeaseTarget &target, const device::SeenLease &seen, const std::string &state) {
  const Lease &lease = seen.lease;
  const char *const who = state == "here"           ? " (this host)"
                          : state == "earlier-boot" ? " (this host, before its last boot)"
                                                    : "";
  std::vector<std::pair<std::string, std::string>> pairs = {
      {"target", text::printable(target.shown)},
      {"instance", seen.instance ? text::printable(seen.instance->name) : ""},
      {"lease", lease.held() ? "held" : "free"},
      {"node", lease.held() ? text::printable(lease.node) + who : ""},
      {"holder", text::printable(lease.holder)},
      {"since", text::printable(lease.time)},
      {"generation", std::to_string(lease.generation)},
      {"in", text::printable(seen.where)}};
  if (seen.instance && seen.instance->operation) {
    const auto &operation = *seen.instance->operation;
    pairs.emplace_back("operation",
                       text::printable(text::cat(operation.verb, " since ", operation.started,
                                                 operation.node.empty() ? "" : " on node ", operation.node)));
  }
  if (!seen.changing.empty())
    pairs.emplace_back("being written by", "node " + text::printable(seen.changing));
  return report::pairs_text(pairs);
}

json::Value json_of(const LeaseTarget &target, const device::SeenLease &seen, const std::string &state) {
  const Lease &lease = seen.lease;
  const auto known = [](const std::string &text) { return text.empty() ? json::Value() : json::Value(text); };
  json::Value value;
  value.set("schema", "vbdkit.lease/1").set("target", target.shown);
  value.set("instance", seen.instance ? json::Value(seen.instance->name) : json::Value());
  value.set("state", state).set("node", known(lease.node)).set("boot_id", known(lease.boot_id));
  value.set("holder", known(lease.holder)).set("time", known(lease.time));
  value.set("generation", lease.generation).set("file", known(seen.where));
  json::Value operation;
  if (seen.instance && seen.instance->operation) {
    const auto &record = *seen.instance->operation;
    operation.set("verb", record.verb).set("started", record.started).set("node", known(record.node));
  }
  return value.set("operation", std::move(operation)).set("being_written_by", known(seen.changing));
}

Result<Outcome> show(Session &session) {
  VBD_TRY_ASSIGN(const auto target, target_of(session));
  VBD_TRY_ASSIGN(const auto seen, device::see_lease(target.spot(), session.settings(), true));
  if (!target.file.empty() && !seen.lease.held() && seen.lease.generation == 0) {
    if (auto there = sys::file_info_at(target.directory.get(), target.file); !there)
      return there.error().at(text::printable(target.path));
  }
  VBD_TRY_ASSIGN(const auto state, state_of(seen.lease, session.settings()));
  if (session.json()) return Outcome{{}, json_of(target, seen, state)};
  return Outcome{text_of(target, seen, state), {}};
}

/// On a terminal the plan is shown and confirmed; without one --yes must have been given.
Result<void> confirm(Session &session, const LeaseTarget &target) {
  if (session.args().has("yes")) return {};
  const std::string what = text::cat("lease break ", text::printable(target.shown));
  if (!can_ask()) {
    return Error{instance::kConfirm, text::cat(what, ": not confirmed, for there is no terminal to ask on"),
                 "make sure that the node which has the lease is off, then add --yes"};
  }
  VBD_TRY_ASSIGN(const auto steps, instance::break_lease(session.manager(), target, true));
  if (steps.empty()) return {};
  for (const std::string &step : steps) write_stderr(text::printable(step) + "\n");
  write_stderr("Two nodes that write one image destroy it: is that node off, or has it let go?\n");
  if (ask("Break the lease? [y/N] ")) return {};
  return Error{instance::kConfirm, text::cat(what, ": not confirmed, nothing was changed")};
}

Result<Outcome> break_it(Session &session) {
  VBD_TRY_ASSIGN(const auto target, target_of(session));
  if (!session.dry_run()) {
    if (auto confirmed = confirm(session, target); !confirmed) return confirmed.error();
  }
  VBD_TRY_ASSIGN(const auto steps, instance::break_lease(session.manager(), target, session.dry_run()));
  const std::string done =
      text::cat(target.shown, steps.empty() ? ": nobody has its lease" : ": lease broken");
  return report::plan(session.json(), steps, session.dry_run(), done);
}

constexpr OptionSpec kBreakOptions[] = {{"-y,--yes", Takes::nothing, "", "do not ask"}};
constexpr ArgumentSpec kTarget[] = {
    {"TARGET", "an instance's name, the path of an image or of an instance's directory, or a logical_id",
     true, Meaning::instance}};
constexpr std::string_view kShowExamples[] = {"vbd lease show web1", "vbd lease show /srv/images/disk.img"};
constexpr std::string_view kBreakExamples[] = {
    "vbd lease break web1", "vbd lease break --yes /srv/images/disk.img", "vbd lease break --dry-run web1"};

constexpr VerbSpec kVerbs[] = {
    {"show",
     "show which node may write an image or an instance's disks",
     "A path needs a slash, as in ./disk.img. One lease stands for all disks of an instance.",
     {},
     kTarget,
     kShowExamples,
     false,
     false,
     show},
    {"break", "take a lease from a node that is dead",
     "Also makes an operation which that node began and did not finish this node's to finish or undo. Asks "
     "on a\n"
     "terminal; elsewhere --yes is needed. Refused while this host uses the image. Make sure that the other "
     "node\n"
     "is off, or has let go of the image: two nodes that write one image destroy it.",
     kBreakOptions, kTarget, kBreakExamples, true, false, break_it},
};

}  // namespace
}  // namespace lease_file

std::span<const VerbSpec> lease_verbs() {
  return lease_file::kVerbs;
}

}  // namespace vbd::cli
