// SPDX-License-Identifier: MIT
#include "manager/hypervisor/guest.hpp"

#include <algorithm>
#include <thread>

#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/exec.hpp"
#include "core/sys/files.hpp"
#include "core/sys/interrupt.hpp"
#include "manager/hypervisor/qmp.hpp"

namespace vbd::hypervisor {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using text::cat;
using Values = std::map<std::string, std::string>;
using Words = std::vector<std::string>;

constexpr int kGuardFd = 3;
/// A process without a monitor that lives this long has started.
constexpr milliseconds kSettleTime{250};
constexpr milliseconds kPoll{100}, kAnswer{5000}, kProgram{60000};
constexpr milliseconds kAskAgain{5000};
constexpr milliseconds kTerm{10000}, kLastBreath{1000};
constexpr std::size_t kLogLimit = 1u << 20, kLogLines = 5;

Values values_of(const Guest &guest) {
  return {{"name", guest.name},
          {"run_dir", guest.directory},
          {"config", cat(guest.directory, "/", kConfigFile)},
          {"control", cat(guest.directory, "/", kControlSocket)},
          {"pid", std::to_string(guest.process.pid)}};
}

/// {key} by its value; all other braces stay.
std::string filled(const std::string &word, const Values &values) {
  std::string out;
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t end = word[at] == '{' ? word.find('}', at) : std::string::npos;
    const auto found =
        end == std::string::npos ? values.end() : values.find(word.substr(at + 1, end - at - 1));
    if (found == values.end()) {
      out += word[at++];
    } else {
      out += found->second;
      at = end + 1;
    }
  }
  return out;
}

Words filled(const Words &words, const Values &values) {
  Words out;
  for (const auto &word : words) out.push_back(filled(word, values));
  return out;
}

Error cannot_run(const Profile &profile) {
  return Error(kCannotRun, cat("hypervisor ", profile.name, ": the profile only writes config files"),
               "give it 'commands', or choose another hypervisor in the configuration");
}

Result<Words> start_words(const Guest &guest, const std::string &config, bool paused) {
  const Commands &commands = guest.profile.commands;
  const Values values = values_of(guest);
  if (paused && commands.paused.empty()) {
    return Error(kCannotRun,
                 cat("hypervisor ", guest.profile.name, ": the profile can't start a guest paused"));
  }
  Words out;
  for (const auto &word : commands.start) {
    if (word != "{arguments}") {
      out.push_back(filled(word, values));
      continue;
    }
    VBD_TRY_ASSIGN(auto arguments, split_arguments(config));
    out.insert(out.end(), arguments.begin(), arguments.end());
  }
  if (!paused) return out;
  for (const auto &word : commands.paused) out.push_back(filled(word, values));
  return out;
}

std::string end_of_log(const Guest &guest) {
  auto log = sys::read_file(cat(guest.directory, "/", kLogFile), kLogLimit);
  if (!log) return {};
  Words lines;
  for (const auto &line : text::split(*log, '\n')) {
    if (!line.empty()) lines.push_back(text::printable(line));
  }
  if (lines.size() > kLogLines)
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(kLogLines));
  return text::join(lines, "; ");
}

Error ended_error(const Guest &guest) {
  const std::string log = end_of_log(guest);
  return Error(kStartFailed,
               cat("instance ", guest.name, ": ", text::printable(guest.profile.commands.start[0]),
                   " ended at once", log.empty() ? "" : ": ", log));
}

std::string socket_of(const Guest &guest) {
  return cat(guest.directory, "/", kControlSocket);
}

/// Until its monitor answers, or it has lived for a moment.
Result<void> wait_up(const Guest &guest) {
  const auto begin = Clock::now();
  for (;;) {
    if (!guest.runner.alive(guest.process)) return ended_error(guest);
    if (guest.profile.commands.qmp) {
      if (qmp_status(socket_of(guest), kAnswer)) return {};
    } else if (Clock::now() - begin >= kSettleTime) {
      return {};
    }
    if (sys::Interrupts::came() != 0)
      return Error(sys::kHelperCancelled,
                   cat("instance ", guest.name, ": vbd was told to end before it was up"));
    if (Clock::now() - begin > guest.profile.commands.start_timeout) {
      return Error(kStartFailed,
                   cat("instance ", guest.name, ": ", guest.profile.name, " did not come up within ",
                       guest.profile.commands.start_timeout.count(), " s"));
    }
    std::this_thread::sleep_for(kPoll / 2);
  }
}

Result<void> start_process(Guest &guest, const Words &words, int guard) {
  sys::SpawnSpec spec;
  spec.argv = words;
  if (guard >= 0) spec.fds = {{guard, kGuardFd}};
  spec.unit = "vbdkit-instance-" + guest.name;
  spec.role = sys::SpawnRole::guest;
  spec.log_path = cat(guest.directory, "/", kLogFile);
  VBD_TRY_ASSIGN(auto process, guest.runner.spawn(spec));
  guest.process = process;
  return wait_up(guest);
}

/// A table that names no word for running says what the others are; one that does knows all of them.
bool knows_all(const Commands &commands) {
  return std::any_of(commands.states.begin(), commands.states.end(), [](const auto &entry) {
    return GuestStatus::of_word(entry.second.substr(0, entry.second.find(':'))) ==
           GuestStatus::State::running;
  });
}

GuestStatus judge(const Commands &commands, const std::string &word) {
  GuestStatus status;
  status.state = GuestStatus::State::running;
  const auto found = commands.states.find(word);
  if (found == commands.states.end()) {
    if (!knows_all(commands)) return status;
    status.state = GuestStatus::State::error;
    status.reason = cat("the hypervisor calls its state '", text::printable(word),
                        "', which the profile's states don't name");
    return status;
  }
  const std::size_t colon = found->second.find(':');
  status.state = GuestStatus::of_word(found->second.substr(0, colon)).value_or(status.state);
  if (colon != std::string::npos) {
    status.reason =
        found->second.substr(std::min(found->second.find_first_not_of(' ', colon + 1), found->second.size()));
  }
  return status;
}

bool is_number(std::string_view word) {
  return !word.empty() && word.find_first_not_of("0123456789") == std::string_view::npos;
}

Words words_of_line(const std::string &line) {
  Words words;
  for (const auto &word : text::split(line, ' ')) {
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

bool says(const Words &words, std::string_view what) {
  return std::any_of(words.begin(), words.end(),
                     [what](const std::string &word) { return word.find(what) != std::string::npos; });
}

/// The number by which the toolstack knows it now; never its name, which may be another guest's number.
Result<std::string> look_up_id(const Guest &guest) {
  VBD_TRY_ASSIGN(auto all, toolstack_status(guest.profile, guest.runner));
  const GuestStatus status = find_guest(all, guest.name, guest.uuid);
  if (status.there()) return status.id;
  return Error(kNoGuest, cat("instance ", guest.name, ": ", guest.profile.name,
                             " lists no guest of this name", guest.uuid.empty() ? "" : " and UUID"));
}

Result<void> run_program(const Guest &guest, const Words &words, Values values) {
  if (says(words, "{name}")) {
    if (auto plain = check_guest_name(guest.profile, guest.name); !plain) return plain;
  }
  if (says(words, "{id}") && !values.contains("id")) {
    auto id = look_up_id(guest);
    if (!id) return id.error();
    values["id"] = *std::move(id);
  }
  sys::RunSpec spec;
  spec.argv = filled(words, values);
  spec.timeout = kProgram;
  auto done = sys::run_checked(guest.runner, spec);
  return done ? Result<void>() : done.error();
}

}  // namespace

std::optional<GuestStatus::State> GuestStatus::of_word(std::string_view word) {
  for (const auto &[known, state] : kWords) {
    if (known == word) return state;
  }
  return std::nullopt;
}

Result<void> check_present(const Profile &profile) {
  if (profile.commands.kind == Commands::Kind::none) return cannot_run(profile);
  for (const auto &path : profile.commands.needs) {
    if (!sys::path_exists(path)) {
      return Error(kAbsent, cat("hypervisor ", profile.name, ": this host has none: there is no ", path),
                   "'hypervisor' in the configuration chooses another");
    }
  }
  auto program = sys::find_program(profile.commands.start.front());
  if (program) return {};
  return Error(kAbsent, cat("hypervisor ", profile.name, ": this host has none: ", program.error().message()),
               program.error().hint());
}

Result<void> start_guest(Guest &guest, const std::string &config, bool paused, int guard) {
  const Commands &commands = guest.profile.commands;
  if (commands.kind == Commands::Kind::none) return cannot_run(guest.profile);
  VBD_TRY_ASSIGN(auto words, start_words(guest, config, paused));
  if (commands.kind == Commands::Kind::process) return start_process(guest, words, guard);
  VBD_TRY(check_guest_name(guest.profile, guest.name));
  sys::RunSpec spec;
  spec.argv = words;
  spec.timeout = commands.start_timeout;
  if (guard >= 0) spec.fds = {{guard, kGuardFd}};
  auto done = sys::run_checked(guest.runner, spec);
  if (!done) return Error(kStartFailed, cat("instance ", guest.name, ": ", done.error().message()));
  return {};
}

Result<Guests> toolstack_status(const Profile &profile, sys::Runner &runner) {
  sys::RunSpec spec;
  spec.argv = profile.commands.status;
  spec.timeout = kAnswer;
  VBD_TRY_ASSIGN(auto done, sys::run_checked(runner, spec));
  return read_toolstack_status(profile.commands, done.output);
}

Guests read_toolstack_status(const Commands &commands, std::string_view answer) {
  Guests found;
  std::size_t number = 0;
  for (const auto &line : text::split(answer, '\n')) {
    if (number++ < commands.status_skip) continue;
    const Words words = words_of_line(line);
    if (words.empty()) continue;
    const auto word = [&words](std::size_t at) { return at >= 1 && at <= words.size() ? words[at - 1] : ""; };
    GuestStatus status = judge(commands, word(commands.status_word));
    status.id = word(commands.status_id);
    status.uuid = word(commands.status_uuid);
    // Not a line of a guest, or one whose name has blanks in it.
    if (commands.status_id != 0 && !is_number(status.id)) continue;
    found.emplace(words[0], std::move(status));
  }
  return found;
}

GuestStatus find_guest(const Guests &guests, const std::string &name, const std::string &uuid) {
  const auto [begin, end] = guests.equal_range(name);
  for (auto it = begin; it != end; ++it) {
    if (uuid.empty() || it->second.uuid.empty() || it->second.uuid == uuid) return it->second;
  }
  return {};
}

Result<GuestStatus> guest_status(const Guest &guest, milliseconds patience) {
  const Commands &commands = guest.profile.commands;
  if (commands.kind == Commands::Kind::none) return cannot_run(guest.profile);
  if (commands.kind == Commands::Kind::toolstack) {
    VBD_TRY_ASSIGN(auto all, toolstack_status(guest.profile, guest.runner));
    return find_guest(all, guest.name, guest.uuid);
  }
  if (!guest.runner.alive(guest.process)) return GuestStatus{};
  GuestStatus running;
  running.state = GuestStatus::State::running;
  if (!commands.qmp) return running;
  auto word = qmp_status(socket_of(guest), patience);
  if (word) return judge(commands, *word);
  if (!guest.runner.alive(guest.process)) return GuestStatus{};
  running.reason = "its monitor does not answer";
  return running;
}

Result<bool> tell_guest(const Guest &guest, const Words &commands, const Values &more,
                        std::chrono::milliseconds patience) {
  if (commands.empty()) return false;
  Values values = values_of(guest);
  values.insert(more.begin(), more.end());
  if (!guest.profile.commands.qmp) {
    VBD_TRY(run_program(guest, commands, values));
    return true;
  }
  VBD_TRY_ASSIGN(auto qmp, Qmp::open(socket_of(guest), kAnswer));
  for (const auto &command : commands) {
    VBD_TRY(qmp.execute(filled(command, values), patience));
  }
  return true;
}

Result<void> ask_stop(const Guest &guest) {
  auto told = tell_guest(guest, guest.profile.commands.stop);
  if (told && *told) return {};
  if (!told) {
    // One that is gone before it has answered has done what it was asked.
    if (told.error().is(kNoGuest)) return {};
    const bool process = guest.profile.commands.kind == Commands::Kind::process;
    for (const auto deadline = Clock::now() + kLastBreath; process && guest.runner.alive(guest.process);) {
      if (Clock::now() >= deadline) return told.error();
      std::this_thread::sleep_for(kPoll / 10);
    }
    return process ? Result<void>() : told.error();
  }
  return guest.runner.stop(guest.process, kTerm);
}

Result<void> destroy_guest(const Guest &guest) {
  const Commands &commands = guest.profile.commands;
  if (commands.kind == Commands::Kind::process) {
    if (!commands.qmp && !commands.destroy.empty()) {
      VBD_TRY(tell_guest(guest, commands.destroy));
    }
    return guest.runner.stop(guest.process, kTerm);
  }
  auto status = guest_status(guest, kAnswer);
  if (!status) return status.error();
  if (!status->there()) return {};
  VBD_TRY(tell_guest(guest, commands.destroy, {{"id", status->id}}));
  for (const auto deadline = Clock::now() + kProgram;;) {
    status = guest_status(guest, kAnswer);
    if (!status) return status.error();
    if (!status->there()) return {};
    if (Clock::now() > deadline) {
      return Error(sys::kHelperTimeout,
                   cat("instance ", guest.name, ": it is still there after it was destroyed"));
    }
    std::this_thread::sleep_for(kPoll);
  }
}

Result<bool> wait_down(const Guest &guest, milliseconds patience) {
  for (const auto deadline = Clock::now() + patience;;) {
    VBD_TRY_ASSIGN(auto status, guest_status(guest, kAnswer));
    if (!status.there() || status.state == GuestStatus::State::stopped) return true;
    if (Clock::now() >= deadline || sys::Interrupts::came() != 0) return false;
    std::this_thread::sleep_for(kPoll);
  }
}

Result<bool> stop_orderly(const Guest &guest, milliseconds patience) {
  VBD_TRY(ask_stop(guest));
  for (const auto deadline = Clock::now() + patience;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    auto down = wait_down(guest, std::min(left, kAskAgain));
    if (!down || *down || left <= kAskAgain || sys::Interrupts::came() != 0) return down;
    // Its hypervisor may be too busy to take it; the first request was heard by that.
    if (auto again = ask_stop(guest); !again) continue;
  }
}

Result<Words> split_arguments(const std::string &config) {
  Words words;
  std::string word;
  bool within = false, quoted = false;
  for (std::size_t i = 0; i < config.size(); ++i) {
    const char c = config[i];
    if (quoted) {
      quoted = c != '\'';
      if (quoted) word += c;
    } else if (c == '\'') {
      within = quoted = true;
    } else if (c == '\\' && i + 1 < config.size()) {
      within = true;
      word += config[++i];
    } else if (c == ' ' || c == '\n' || c == '\t') {
      if (within) words.push_back(std::move(word));
      word.clear();
      within = false;
    } else {
      within = true;
      word += c;
    }
  }
  if (quoted) return Error(kBadProfile, "the config's arguments: a quote that is not closed");
  if (within) words.push_back(std::move(word));
  return words;
}

}  // namespace vbd::hypervisor
