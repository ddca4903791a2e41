// SPDX-License-Identifier: MIT
// vbd instance start, stop, reboot
#include <algorithm>
#include <charconv>
#include <memory>

#include "cli/each.hpp"
#include "cli/instance_verbs.hpp"
#include "cli/parser.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "cli/vet_words.hpp"
#include "core/base/text.hpp"
#include "core/sys/interrupt.hpp"
#include "manager/instance/live.hpp"

namespace vbd::cli {
namespace instance_live_file {
namespace {

using instance::Entry;
using instance::Plan;

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr std::uint32_t kMaxTimeout = 86400;  // seconds
constexpr std::uint32_t kParallel = 8, kMaxParallel = 256;

/// NAME, or with --all those that `wanted` takes.
Result<std::vector<std::string>> names_of(Session &session, bool (*wanted)(const Entry &)) {
  const std::string name = session.args().value("NAME");
  const bool all = session.args().has("all");
  if (all != name.empty()) return Error{kBadValue, "give either NAME or --all"};
  if (!all) return std::vector<std::string>{name};
  VBD_TRY_ASSIGN(auto entries, instance::Catalog(session.settings()).list());
  instance::see_live(session.manager(), entries);
  std::vector<std::string> names;
  for (const Entry &entry : entries) {
    if (entry.record.node == session.settings().node && wanted(entry)) names.push_back(entry.record.name);
  }
  return names;
}

/// The number that an option was given, or `fallback`.
Result<std::uint32_t> number(const Session &session, std::string_view option, std::uint32_t fallback,
                             std::uint32_t least, std::uint32_t most) {
  if (!session.args().has(option)) return fallback;
  const std::string text = session.args().value(option);
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && value >= least && value <= most)
    return value;
  return Error{kBadValue, text::cat("--", option, " ", shown(text), ": not a number, ", least, "..", most)};
}

/// What only means something for several.
Result<void> check_with_all(const Session &session, std::string_view option) {
  if (!session.args().has(option) || session.args().has("all")) return {};
  return Error{kBadValue, text::cat("--", option, " goes with --all")};
}

/// One after `act`, or with --all several at the same time.
Result<Outcome> for_each(Session &session, bool (*wanted)(const Entry &), std::string_view done,
                         EachSpec spec, const EachAct &act) {
  VBD_TRY(check_with_all(session, "parallel"));
  VBD_TRY_ASSIGN(const auto most, number(session, "parallel", kParallel, 1, kMaxParallel));
  VBD_TRY_ASSIGN(auto names, names_of(session, wanted));
  if (!session.args().has("all")) {
    const Result<Plan> plan = act(names.front());
    if (!plan) return plan.error();
    return report::plan(session.json(), *plan, session.dry_run(),
                        text::cat("instance ", names.front(), ": ", done, plan->empty() ? " already" : ""));
  }
  spec.most = most;
  const auto each = do_each(session, names, spec, act);
  for (const auto &one : each) {
    if (!one.done && !session.json()) write_stderr(report::error_text(one.done.error(), false));
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
  VBD_TRY(check_with_all(session, "timeout"));
  VBD_TRY_ASSIGN(const auto timeout, number(session, "timeout", 0, 1, kMaxTimeout));
  EachSpec spec{"start", sys::kHelperCancelled, "not started"};
  spec.limit = seconds(timeout);
  spec.ends_at_limit = true;
  return for_each(session, should_start, "running", spec, [&](const std::string &name) {
    return instance::start(session.vetting_manager(), {name, session.args().has("paused")},
                           session.dry_run());
  });
}

Result<instance::StopSpec> stop_spec(Session &session) {
  instance::StopSpec spec;
  spec.force = session.args().has("force");
  spec.remember = !session.args().has("no-remember");
  if (spec.force) spec.timeout = seconds(0);
  const auto given =
      number(session, "timeout", static_cast<std::uint32_t>(spec.timeout.count()), 0, kMaxTimeout);
  if (!given) return given.error();
  spec.timeout = seconds(*given);
  return spec;
}

/// Of one time-out for all, what is left for this one. Never 0, which would end it at once.
instance::StopSpec for_one(const instance::StopSpec &all, Clock::time_point deadline,
                           const std::string &name) {
  instance::StopSpec spec = all;
  spec.name = name;
  if (all.timeout.count() > 0)
    spec.timeout = std::max(seconds(1), std::chrono::ceil<seconds>(deadline - Clock::now()));
  return spec;
}

/// A signal ends the wait for one guest; do_each sees to that for several.
std::unique_ptr<sys::Interrupts> ends_waiting(const Session &session) {
  return session.args().has("all") ? nullptr : std::make_unique<sys::Interrupts>();
}

Result<Outcome> stop(Session &session) {
  VBD_TRY_ASSIGN(const auto given, stop_spec(session));
  const auto interrupts = ends_waiting(session);
  const auto deadline = Clock::now() + given.timeout;
  EachSpec spec{"stop", instance::kStillRunning, "not asked to shut down"};
  spec.limit = given.timeout;
  return for_each(session, may_run, "stopped", spec, [&](const std::string &name) {
    return instance::stop(session.manager(), for_one(given, deadline, name), session.dry_run());
  });
}

Result<Outcome> reboot(Session &session) {
  VBD_TRY_ASSIGN(const auto given, stop_spec(session));
  const auto interrupts = ends_waiting(session);
  const auto deadline = Clock::now() + given.timeout;
  const auto runs = [](const Entry &entry) { return entry.state == instance::State::running; };
  EachSpec spec{"reboot", instance::kStillRunning, "not rebooted"};
  spec.limit = given.timeout;
  return for_each(session, runs, "rebooted", spec, [&](const std::string &name) {
    return instance::reboot(session.manager(), for_one(given, deadline, name), session.dry_run());
  });
}

constexpr ArgumentSpec kName[] = {{"NAME", "an instance; or give --all", false, Meaning::instance}};
constexpr OptionSpec kParallelOption = {"--parallel", Takes::value, "N",
                                        "with --all: so many at the same time, 1..256; default: 8"};
constexpr OptionSpec kStartOptions[] = {
    {"--all", Takes::nothing, "",
     "every instance that was started and not stopped, as after a restart of the host"},
    kParallelOption,
    {"--timeout", Takes::value, "SECONDS",
     "with --all: what is not up by then is undone, and no more are begun; default: none"},
    {"--paused", Takes::nothing, "", "the guest waits; 'start' again lets it run"},
    kRepairTaken,
    kUnchecked,
};
constexpr OptionSpec kStopOptions[] = {
    {"--all", Takes::nothing, "", "every instance that runs"},
    kParallelOption,
    {"--timeout", Takes::value, "SECONDS",
     "how long it may take to shut down, with --all all of them (default: 120); 0: end it at once"},
    {"-f,--force", Takes::nothing, "", "end it at once, or when it has not shut down within --timeout"},
    {"--no-remember", Takes::nothing, "", "it shall run again: 'start --all' starts it"},
};
constexpr OptionSpec kRebootOptions[] = {
    {"--all", Takes::nothing, "", "every instance that runs"},
    kParallelOption,
    {"--timeout", Takes::value, "SECONDS",
     "how long it may take to shut down, with --all all of them (default: 120)"},
    {"-f,--force", Takes::nothing, "", "reset it at once"},
};
constexpr std::string_view kStartExamples[] = {"vbd instance start web1", "vbd instance start --all"};
constexpr std::string_view kStopExamples[] = {
    "vbd instance stop web1", "vbd instance stop --timeout 30 --force web1",
    "vbd instance stop --all --no-remember", "vbd instance stop --all --parallel 16 --timeout 300"};
constexpr std::string_view kRebootExamples[] = {"vbd instance reboot web1",
                                                "vbd instance reboot --force web1"};
constexpr std::string_view kStartDetails =
    "Gives the disks to the guest and starts it. Fine when it runs already; one that is paused goes on.\n"
    "An image that others changed meanwhile is checked first. When something fails all of it is undone.";
constexpr std::string_view kStopDetails =
    "Asks the guest to shut down and waits for it; then takes its disks back. Without --force a guest that "
    "does\n"
    "not shut down in time goes on. One that has ended by itself is cleaned up.\n"
    "With --all the time-out is that of all: each one is asked in time, for one that takes longer than its\n"
    "share of it no longer keeps the next. Ctrl-C ends the waiting and says what is left; the guests go on.";

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
