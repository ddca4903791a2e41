// SPDX-License-Identifier: MIT
#include "manager/hypervisor/commands_yaml.hpp"

#include "core/base/text.hpp"
#include "manager/hypervisor/guest.hpp"

namespace vbd::hypervisor {

bool says_word(const Commands &commands, std::string_view word) {
  for (const auto *list : {&commands.stop, &commands.destroy, &commands.reboot, &commands.reset,
                           &commands.pause, &commands.resume, &commands.grow}) {
    for (const auto &text : *list) {
      if (text.find(word) != std::string::npos) return true;
    }
  }
  return false;
}

namespace {

using text::cat;

constexpr std::uint64_t kMaxTimeout = 3600;  // seconds
const std::vector<std::string> kCommandKeys = {
    "guest",       "control",   "start",       "paused", "stop",        "destroy",      "reboot",
    "reset",       "pause",     "resume",      "status", "grow",        "needs",        "status_skip",
    "status_word", "status_id", "status_uuid", "states", "opens_files", "locks_images", "start_timeout"};

Error bad(const config::Node &node, const std::string &what) {
  return Error(config::kBadValue, cat(node.mark.str(), ": commands: ", what));
}

Result<void> read_lists(const config::Node &node, Commands &commands) {
  const std::pair<const char *, std::vector<std::string> *> lists[] = {
      {"start", &commands.start},     {"paused", &commands.paused}, {"stop", &commands.stop},
      {"destroy", &commands.destroy}, {"reboot", &commands.reboot}, {"reset", &commands.reset},
      {"pause", &commands.pause},     {"resume", &commands.resume}, {"status", &commands.status},
      {"grow", &commands.grow},       {"needs", &commands.needs}};
  for (const auto &[key, target] : lists) {
    const auto *found = node.find(key);
    if (found == nullptr) continue;
    auto words = config::as_text_list(*found);
    if (!words) return words.error();
    *target = *std::move(words);
  }
  return {};
}

Result<void> read_numbers(const config::Node &node, Commands &commands) {
  for (const auto &[key, target] :
       {std::pair{"status_skip", &commands.status_skip}, std::pair{"status_word", &commands.status_word},
        std::pair{"status_id", &commands.status_id}, std::pair{"status_uuid", &commands.status_uuid}}) {
    const auto *found = node.find(key);
    if (found == nullptr) continue;
    VBD_TRY_ASSIGN(auto number, config::as_u64(*found));
    if (number > 100) return bad(*found, cat(key, ": expected 0..100"));
    *target = static_cast<std::size_t>(number);
  }
  if (const auto *found = node.find("start_timeout")) {
    VBD_TRY_ASSIGN(auto number, config::as_u64(*found));
    if (number == 0 || number > kMaxTimeout) return bad(*found, "start_timeout: expected 1..3600 seconds");
    commands.start_timeout = std::chrono::seconds(static_cast<std::int64_t>(number));
  }
  return {};
}

Result<void> read_flags(const config::Node &node, Commands &commands) {
  for (const auto &[key, target] :
       {std::pair{"opens_files", &commands.opens_files}, std::pair{"locks_images", &commands.locks_images}}) {
    const auto *found = node.find(key);
    if (found == nullptr) continue;
    VBD_TRY_ASSIGN(auto flag, config::as_bool(*found));
    *target = flag;
  }
  return {};
}

Result<void> read_kind(const config::Node &node, Commands &commands) {
  const auto *guest = node.find("guest");
  if (guest == nullptr) return bad(node, "guest is missing: process or toolstack");
  VBD_TRY_ASSIGN(auto kind, config::as_text(*guest));
  if (kind != "process" && kind != "toolstack") return bad(*guest, "guest: expected process or toolstack");
  commands.kind = kind == "process" ? Commands::Kind::process : Commands::Kind::toolstack;
  const auto *control = node.find("control");
  if (control == nullptr) return {};
  VBD_TRY_ASSIGN(auto text, config::as_text(*control));
  if (text != "qmp" || commands.kind != Commands::Kind::process) {
    return bad(*control, "control: expected qmp, of a guest that is a process");
  }
  commands.qmp = true;
  return {};
}

Result<void> read_states(const config::Node &node, Commands &commands) {
  const auto *found = node.find("states");
  if (found == nullptr) return {};
  auto states = config::as_text_map(*found);
  if (!states) return states.error();
  for (const auto &[word, meaning] : *states) {
    if (!GuestStatus::of_word(meaning.substr(0, meaning.find(':')))) {
      return bad(*found,
                 cat("states: ", text::printable(word),
                     ": expected running, paused, stopped or error, perhaps with a colon and a reason"));
    }
  }
  commands.states = *std::move(states);
  return {};
}

Result<void> check_complete(const config::Node &node, const Commands &commands) {
  if (commands.start.empty()) return bad(node, "start is missing");
  if (commands.kind == Commands::Kind::process) {
    return commands.status_id == 0 && commands.status_uuid == 0
               ? Result<void>()
               : bad(node, "status_id, status_uuid: of a toolstack, which lists its guests");
  }
  if (says_word(commands, "{id}") && commands.status_id == 0)
    return bad(node, "status_id is missing: which word of the list {id} is");
  for (const auto &[key, list] : {std::pair{"stop", &commands.stop}, std::pair{"destroy", &commands.destroy},
                                  std::pair{"status", &commands.status}}) {
    if (list->empty()) return bad(node, cat(key, " is missing: a toolstack has to be told and asked"));
  }
  return {};
}

}  // namespace

Result<void> read_commands(const config::Node &node, Commands &commands) {
  if (node.kind != config::Node::Kind::map) return bad(node, "expected a map");
  VBD_TRY(config::check_keys(node, kCommandKeys));
  for (const auto &done :
       {read_kind(node, commands), read_lists(node, commands), read_numbers(node, commands),
        read_flags(node, commands), read_states(node, commands)}) {
    if (!done) return done;
  }
  return check_complete(node, commands);
}

}  // namespace vbd::hypervisor
