// SPDX-License-Identifier: MIT
#include "host.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace vbdkit::testkit {
namespace {

std::vector<std::string> words(const char *const *argv) {
  std::vector<std::string> list;
  for (; argv != nullptr && *argv != nullptr; ++argv) list.emplace_back(*argv);
  return list;
}

std::string joined(const std::vector<std::string> &list) {
  std::string line;
  for (const std::string &word : list) line += (line.empty() ? "" : " ") + word;
  return line;
}

bool fits(const std::vector<std::string> &script, const std::vector<std::string> &argv) {
  return std::equal(
      script.begin(), script.end(), argv.begin(), argv.end(),
      [](const std::string &wanted, const std::string &got) { return wanted == "*" || wanted == got; });
}

std::int32_t fill(vbd_error *err, std::int32_t status, const std::string &text) {
  if (err != nullptr && err->msg != nullptr && err->msg_cap > 0) {
    std::snprintf(err->msg, err->msg_cap, "%s", text.c_str());
  }
  return status;
}

constexpr const char *kCut = "the test cut the driver here";

}  // namespace

struct ScriptedHost::Functions {
  static ScriptedHost &self(void *ctx) { return *static_cast<ScriptedHost *>(ctx); }

  static void log(void *ctx, std::uint32_t level, const char *text) noexcept {
    static constexpr const char *kLevels[] = {"error: ", "warn: ", "info: ", "debug: "};
    const std::lock_guard lock(self(ctx).log_mutex_);
    self(ctx).log_.push_back(std::string(kLevels[std::min(level, std::uint32_t{3})]) + text);
  }
  static std::int32_t progress(void *ctx, std::uint64_t, std::uint64_t) noexcept {
    ScriptedHost &host = self(ctx);
    return host.cancel_at_ != 0 && ++host.progress_calls_ >= host.cancel_at_ ? 1 : 0;
  }
  static const void *get_extension(void *ctx, const char *id) noexcept {
    const ScriptedHost &host = self(ctx);
    if (std::find(host.missing_.begin(), host.missing_.end(), id) != host.missing_.end()) return nullptr;
    if (std::strcmp(id, VBD_EXT_RUN) == 0) return &host.run_;
    if (std::strcmp(id, VBD_EXT_SPAWN) == 0) return &host.spawn_;
    if (std::strcmp(id, VBD_EXT_STATE) == 0) return &host.state_;
    if (std::strcmp(id, VBD_EXT_LOCK) == 0) return &host.lock_;
    return nullptr;
  }

  static std::int32_t run(void *ctx, vbd_run_args *args, vbd_error *err) noexcept {
    return self(ctx).run(args, err);
  }
  static std::int32_t spawn(void *ctx, vbd_spawn_args *args, vbd_error *err) noexcept {
    return self(ctx).spawn(args, err);
  }
  static std::int32_t alive(void *ctx, std::int64_t pid, std::uint64_t start_time) noexcept {
    const auto found = self(ctx).processes.find(pid);
    const bool same = start_time == static_cast<std::uint64_t>(pid) * 10;
    return found != self(ctx).processes.end() && found->second && same ? VBD_OK : VBD_E_NOENT;
  }
  static std::int32_t stop(void *ctx, std::int64_t pid, std::uint64_t start_time, std::uint32_t,
                           vbd_error *err) noexcept {
    if (self(ctx).cut("stop " + std::to_string(pid))) return fill(err, VBD_E_INTERNAL, kCut);
    if (alive(ctx, pid, start_time) == VBD_OK) self(ctx).processes[pid] = false;
    return VBD_OK;
  }

  static std::int32_t put(void *ctx, const char *key, const char *value, vbd_error *err) noexcept {
    const std::string name = key;
    const std::string entry = value == nullptr ? "state.forget " + name : "state.put " + name + "=" + value;
    if (self(ctx).cut(entry)) return fill(err, VBD_E_INTERNAL, kCut);
    if (value == nullptr) {
      self(ctx).state.erase(name);
    } else {
      self(ctx).state[name] = value;
    }
    return VBD_OK;
  }
  static const char *get(void *ctx, const char *key) noexcept {
    const auto found = self(ctx).state.find(key);
    return found == self(ctx).state.end() ? nullptr : found->second.c_str();
  }
  static const char *directory(void *ctx) noexcept { return self(ctx).state_directory.c_str(); }

  static std::int32_t release(void *ctx, vbd_error *err) noexcept {
    if (self(ctx).cut("lock.release")) return fill(err, VBD_E_INTERNAL, kCut);
    self(ctx).lock_held = false;
    return VBD_OK;
  }
  static std::int32_t held_by(void *ctx, std::int64_t pid, vbd_error *err) noexcept {
    if (self(ctx).cut("lock.held_by " + std::to_string(pid))) return fill(err, VBD_E_INTERNAL, kCut);
    if (self(ctx).lock_holder == pid) return VBD_OK;
    if (self(ctx).lock_holder == 0) return fill(err, VBD_E_NOENT, "nobody holds the lock");
    return fill(err, VBD_E_BUSY, "process " + std::to_string(self(ctx).lock_holder) + " holds the lock");
  }
  static std::int32_t restore(void *ctx, vbd_error *err) noexcept {
    if (self(ctx).cut("lock.restore")) return fill(err, VBD_E_INTERNAL, kCut);
    if (self(ctx).lock_holder != 0) return fill(err, VBD_E_BUSY, "somebody else holds the lock");
    self(ctx).lock_held = true;
    return VBD_OK;
  }
};

ScriptedHost::ScriptedHost()
    : run_{sizeof run_, 0, Functions::run},
      spawn_{sizeof spawn_, 0, Functions::spawn, Functions::alive, Functions::stop},
      state_{sizeof state_, 0, Functions::put, Functions::get, Functions::directory},
      lock_{sizeof lock_, 0, Functions::release, Functions::held_by, Functions::restore},
      host_{sizeof host_,   VBD_ABI_MAJOR,       VBD_ABI_MINOR,           this,
            Functions::log, Functions::progress, Functions::get_extension} {}

bool ScriptedHost::cut(std::string entry) {
  if (calls_left_ == 0) return true;
  if (calls_left_ != ~std::uint64_t{0}) --calls_left_;
  journal_.push_back(std::move(entry));
  return false;
}

void ScriptedHost::expect_spawn(std::vector<std::string> argv, std::int64_t pid, std::int32_t status,
                                std::function<void()> effect) {
  spawns_.push_back({std::move(argv), pid, status, std::move(effect)});
}

std::int32_t ScriptedHost::run(vbd_run_args *args, vbd_error *err) {
  const std::vector<std::string> argv = words(args->argv);
  if (cut("run " + joined(argv))) return fill(err, VBD_E_INTERNAL, kCut);
  if (runs_.empty() || !fits(runs_.front().argv, argv)) {
    unexpected_.push_back("run " + joined(argv));
    return fill(err, VBD_E_MISSING, "not scripted: " + joined(argv));
  }
  const ScriptedRun script = std::move(runs_.front());
  runs_.pop_front();
  if (script.effect) script.effect();
  if (script.status != VBD_OK) return fill(err, script.status, script.argv.front() + ": scripted failure");
  args->exit_status = script.exit_status;
  if (args->out != nullptr && args->out_cap > 0) {
    std::snprintf(args->out, args->out_cap, "%s", script.out.c_str());
  }
  return VBD_OK;
}

std::int32_t ScriptedHost::spawn(vbd_spawn_args *args, vbd_error *err) {
  const std::vector<std::string> argv = words(args->argv);
  const bool known = !spawns_.empty() && fits(spawns_.front().argv, argv);
  const std::string pid = known ? std::to_string(spawns_.front().pid) + " " : "";
  if (cut("spawn " + pid + joined(argv))) return fill(err, VBD_E_INTERNAL, kCut);
  if (!known) {
    unexpected_.push_back("spawn " + joined(argv));
    return fill(err, VBD_E_MISSING, "not scripted: " + joined(argv));
  }
  const ScriptedSpawn script = std::move(spawns_.front());
  spawns_.pop_front();
  if (script.status != VBD_OK) return fill(err, script.status, script.argv.front() + ": scripted failure");
  processes[script.pid] = true;
  if (script.effect) script.effect();
  args->pid = script.pid;
  args->start_time = static_cast<std::uint64_t>(script.pid) * 10;
  return VBD_OK;
}

std::vector<std::string> ScriptedHost::log() const {
  const std::lock_guard lock(log_mutex_);
  return log_;
}

std::string ScriptedHost::problems() const {
  std::string all;
  for (const std::string &entry : unexpected_) all += "not scripted: " + entry + "\n";
  for (const ScriptedRun &run : runs_) all += "not used: run " + joined(run.argv) + "\n";
  for (const ScriptedSpawn &spawn : spawns_) all += "not used: spawn " + joined(spawn.argv) + "\n";
  return all;
}

}  // namespace vbdkit::testkit
