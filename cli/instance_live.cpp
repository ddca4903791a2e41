// SPDX-License-Identifier: MIT
// vbd instance start, stop, reboot
#include <charconv>

#include "cli/instance_verbs.hpp"
#include "cli/parser.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "cli/vet_words.hpp"
#include "core/base/text.hpp"
#include "manager/instance/live.hpp"

namespace vbd::cli {
namespace instance_live_file {
namespace {

using instance::Entry;
using instance::Plan;

constexpr std::uint32_t kMaxTimeout = 86400;  // seconds

/// NAME, or with --all those that `wanted` takes.
Result<std::vector<std::string>> names_of(Session &session, bool (*wanted)(const Entry &)) {
  const std::string name = session.args().value("NAME");
  const bool all = session.args().has("all");
  if (all != name.empty()) return Error{kBadValue, "give either NAME or --all"};
  if (!all) return std::vector<std::string>{name};
  auto entries = instance::Catalog(session.settings()).list();
  if (!entries) return entries.error();
  instance::see_live(session.manager(), *entries);
  std::vector<std::string> names;
  for (const Entry &entry : *entries) {
    if (entry.record.node == session.settings().node && wanted(entry)) names.push_back(entry.record.name);
  }
  return names;
}

/// One after the other; one that fails does not keep the others.
template <class Do>
Result<Outcome> for_each(Session &session, bool (*wanted)(const Entry &), std::string_view done,
                         const Do &act) {
  auto names = names_of(session, wanted);
  if (!names) return names.error();
  if (!session.args().has("all")) {
    const Result<Plan> plan = act(names->front());
    if (!plan) return plan.error();
    return report::plan(session.json(), *plan, session.dry_run(),
                        text::cat("instance ", names->front(), ": ", done, plan->empty() ? " already" : ""));
  }
  std::vector<report::Each> each;
  for (const std::string &name : *names) {
    each.push_back({name, act(name)});
    if (!each.back().done && !session.json())
      write_stderr(report::error_text(each.back().done.error(), false));
  }
  return report::each(session.json(), each, session.dry_run(), done);
}

/// A copied directory says of its original what should run.
bool should_start(const Entry &entry) {
  return entry.record.wanted_up && entry.state != instance::State::running &&
         entry.state != instance::State::foreign;
}
/// Also what a killed start has left.
bool may_run(const Entry &entry) {
  if (entry.state == instance::State::foreign) return false;
  const bool starting = entry.record.operation && entry.record.operation->verb == "start";
  return entry.record.wanted_up || starting || entry.state == instance::State::running;
}

Result<Outcome> start(Session &session) {
  return for_each(session, should_start, "running", [&](const std::string &name) {
    return instance::start(session.vetting_manager(), {name, session.args().has("paused")},
                           session.dry_run());
  });
}

Result<instance::StopSpec> stop_spec(Session &session) {
  instance::StopSpec spec;
  spec.force = session.args().has("force");
  spec.remember = !session.args().has("no-remember");
  if (spec.force) spec.timeout = std::chrono::seconds(0);
  if (!session.args().has("timeout")) return spec;
  const std::string text = session.args().value("timeout");
  std::uint32_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc{} || end != text.data() + text.size() || seconds > kMaxTimeout) {
    return Error{kBadValue,
                 text::cat("--timeout ", text::printable(text), ": not a number of seconds, 0..86400")};
  }
  spec.timeout = std::chrono::seconds(seconds);
  return spec;
}

Result<Outcome> stop(Session &session) {
  const auto given = stop_spec(session);
  if (!given) return given.error();
  return for_each(session, may_run, "stopped", [&](const std::string &name) {
    instance::StopSpec spec = *given;
    spec.name = name;
    return instance::stop(session.manager(), spec, session.dry_run());
  });
}

Result<Outcome> reboot(Session &session) {
  const auto given = stop_spec(session);
  if (!given) return given.error();
  const auto runs = [](const Entry &entry) { return entry.state == instance::State::running; };
  return for_each(session, runs, "rebooted", [&](const std::string &name) {
    instance::StopSpec spec = *given;
    spec.name = name;
    return instance::reboot(session.manager(), spec, session.dry_run());
  });
}

constexpr ArgumentSpec kName[] = {{"NAME", "an instance; or give --all", false, Meaning::instance}};
constexpr OptionSpec kStartOptions[] = {
    {"--all", Takes::nothing, "",
     "every instance that was started and not stopped, as after a restart of the host"},
    {"--paused", Takes::nothing, "", "the guest waits; 'start' again lets it run"},
    kRepairTaken,
    kUnchecked,
};
constexpr OptionSpec kStopOptions[] = {
    {"--all", Takes::nothing, "", "every instance that runs"},
    {"--timeout", Takes::value, "SECONDS",
     "how long it may take to shut down (default: 120); 0: end it at once"},
    {"-f,--force", Takes::nothing, "", "end it at once, or when it has not shut down within --timeout"},
    {"--no-remember", Takes::nothing, "", "it shall run again: 'start --all' starts it"},
};
constexpr OptionSpec kRebootOptions[] = {
    {"--all", Takes::nothing, "", "every instance that runs"},
    {"--timeout", Takes::value, "SECONDS", "how long it may take to shut down (default: 120)"},
    {"-f,--force", Takes::nothing, "", "reset it at once"},
};
constexpr std::string_view kStartExamples[] = {"vbd instance start web1", "vbd instance start --all"};
constexpr std::string_view kStopExamples[] = {"vbd instance stop web1",
                                              "vbd instance stop --timeout 30 --force web1",
                                              "vbd instance stop --all --no-remember"};
constexpr std::string_view kRebootExamples[] = {"vbd instance reboot web1",
                                                "vbd instance reboot --force web1"};
constexpr std::string_view kStartDetails =
    "Gives the disks to the guest and starts it. Fine when it runs already; one that is paused goes on.\n"
    "An image that others changed meanwhile is checked first. When something fails all of it is undone.";
constexpr std::string_view kStopDetails =
    "Asks the guest to shut down and waits for it; then takes its disks back. Without --force a guest that "
    "does\n"
    "not shut down in time goes on. One that has ended by itself is cleaned up.";

}  // namespace
}  // namespace instance_live_file

std::vector<VerbSpec> instance_live_verbs() {
  return {
      {"start", "start an instance", instance_live_file::kStartDetails, instance_live_file::kStartOptions,
       instance_live_file::kName, instance_live_file::kStartExamples, true, false, instance_live_file::start},
      {"startup", "the same as start", instance_live_file::kStartDetails, instance_live_file::kStartOptions,
       instance_live_file::kName, instance_live_file::kStartExamples, true, false, instance_live_file::start},
      {"stop", "stop an instance", instance_live_file::kStopDetails, instance_live_file::kStopOptions,
       instance_live_file::kName, instance_live_file::kStopExamples, true, false, instance_live_file::stop},
      {"shutdown", "the same as stop", instance_live_file::kStopDetails, instance_live_file::kStopOptions,
       instance_live_file::kName, instance_live_file::kStopExamples, true, false, instance_live_file::stop},
      {"reboot", "shut an instance down and start it again",
       "By the hypervisor where it can do that, else stopped and started.",
       instance_live_file::kRebootOptions, instance_live_file::kName, instance_live_file::kRebootExamples,
       true, false, instance_live_file::reboot},
  };
}

}  // namespace vbd::cli
