// SPDX-License-Identifier: MIT
#include "core/base/log.hpp"

// Both header-only: their shared libraries would be loaded by every command, also one that logs nothing.
#ifndef FMT_HEADER_ONLY
#define FMT_HEADER_ONLY
#endif
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <syslog.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>

#include "core/base/text.hpp"

namespace vbd::log {
namespace {

constinit std::atomic<Level> level_wanted{Level::warn};

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::error:
      return spdlog::level::err;
    case Level::warn:
      return spdlog::level::warn;
    case Level::info:
      return spdlog::level::info;
    case Level::debug:
      break;
  }
  return spdlog::level::debug;
}

/// Made by the first message. No time stamps: a terminal needs none, journald and a calling daemon add their
/// own. Never destroyed, so that a message of a late destructor or thread finds it.
spdlog::logger &logger() {
  static spdlog::logger *const made = [] {
    auto *fresh = new spdlog::logger("vbd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    fresh->set_pattern("%n: %l: %v");
    fresh->set_level(spdlog::level::debug);
    fresh->flush_on(spdlog::level::debug);
    return fresh;
  }();
  return *made;
}

/// The user id at login, which sudo and su keep (audit(8)); "" where the kernel does not know it.
std::string login_uid() {
  std::string text;
  std::FILE *file = std::fopen("/proc/self/loginuid", "re");
  if (file == nullptr) return text;
  unsigned long uid = 0;
  if (std::fscanf(file, "%lu", &uid) == 1 && uid != 0xffffffffUL) text = std::to_string(uid);
  std::fclose(file);
  return text;
}

}  // namespace

void set_level(Level level) {
  level_wanted.store(level, std::memory_order_relaxed);
}

bool enabled(Level level) {
  return level <= level_wanted.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view text) {
  if (!enabled(level)) return;
  const std::string line = text::printable(text);
  logger().log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void audit(std::string_view what, std::string_view result) {
  std::string line = text::cat("uid=", geteuid());
  const std::string login = login_uid();
  if (!login.empty()) line += text::cat(" login=", login);
  line += text::cat(": ", text::printable(what), ": ", text::printable(result));
  openlog("vbd", LOG_PID, LOG_DAEMON);  // idempotent; connects with the first line
  syslog(LOG_NOTICE, "%s", line.c_str());
}

}  // namespace vbd::log
