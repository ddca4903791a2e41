// SPDX-License-Identifier: MIT
// vbd.run/1 and vbd.spawn/1: helper programs for plugins, through sys::Runner.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/plugin/call.hpp"
#include "core/plugin/host_services.hpp"

namespace vbd::plugin {
namespace {

constexpr std::size_t kMaxArgs = 1024, kMaxFds = 64;
// Structs as of 1.0; a caller of a later minor may send longer ones.
constexpr uint32_t kRunSize = offsetof(vbd_run_args, reserved) + sizeof(uint32_t);
constexpr uint32_t kSpawnSize = offsetof(vbd_spawn_args, start_time) + sizeof(uint64_t);
constexpr std::size_t kMaxUnit = 100;

sys::Runner &runner(void *ctx) {
  return static_cast<HostServices *>(ctx)->runner();
}

/// What is wrong with the list, or "".
std::string read_argv(const char *const *argv, std::vector<std::string> &to) {
  if (argv == nullptr || argv[0] == nullptr || argv[0][0] == '\0') return "no program is named";
  for (std::size_t i = 0; argv[i] != nullptr; ++i) {
    if (i == kMaxArgs) return "more than 1024 arguments";
    to.emplace_back(argv[i]);
  }
  if (to.front().find('/') != std::string::npos)
    return "a program is named by its bare name, the host finds it";
  return {};
}

std::string read_fds(const vbd_fd_map *fds, uint32_t n, std::vector<sys::FdMap> &to) {
  if (n == 0) return {};
  if (fds == nullptr || n > kMaxFds) return "no table of descriptors, or more than 64";
  for (uint32_t i = 0; i < n; ++i) {
    const auto same = [&](const sys::FdMap &other) { return other.child_fd == fds[i].child_fd; };
    if (fds[i].parent_fd < 0 || fds[i].child_fd < 3 || fds[i].child_fd > 255 ||
        std::any_of(to.begin(), to.end(), same)) {
      return text::cat("descriptor ", fds[i].parent_fd, " as ", fds[i].child_fd, ": 3..255, each once");
    }
    to.push_back({fds[i].parent_fd, fds[i].child_fd});
  }
  return {};
}

std::string helper_line(const std::string &lines) {
  std::string line;
  for (const std::string &part : text::split(lines, '\n')) {
    if (!part.empty()) line += text::cat(line.empty() ? "" : "; ", text::printable(part));
  }
  return line;
}

void give_output(const std::string &output, vbd_run_args &args) {
  if (args.out == nullptr || args.out_cap == 0) return;
  const std::size_t n = std::min<std::size_t>(output.size(), args.out_cap - 1);
  std::memcpy(args.out, output.data(), n);
  args.out[n] = '\0';
}

int32_t run(void *ctx, vbd_run_args *args, vbd_error *err) noexcept {
  return shielded(err, [&] {
    if (args == nullptr || args->size < kRunSize)
      return give_text(VBD_E_INVAL, "vbd_run_args is too short", err);
    sys::RunSpec spec;
    std::string flaw = read_argv(args->argv, spec.argv);
    if (flaw.empty()) flaw = read_fds(args->fds, args->n_fds, spec.fds);
    if (!flaw.empty()) return give_text(VBD_E_INVAL, flaw, err);
    const auto program = static_cast<HostServices *>(ctx)->program(spec.argv.front());
    if (!program) return give_error(program.error(), err);
    spec.argv.front() = *program;
    if (args->stdin_text != nullptr) spec.input = args->stdin_text;
    if (args->timeout_ms != 0) spec.timeout = std::chrono::milliseconds(args->timeout_ms);
    if (args->out != nullptr) spec.output_limit = args->out_cap;
    const auto done = runner(ctx).run(spec);
    if (!done) return give_error(done.error(), err);
    args->exit_status = done->exit_status;
    give_output(done->output, *args);
    const std::string said = helper_line(done->last_lines);
    if (said.empty()) return static_cast<int32_t>(VBD_OK);
    const std::string &constant = static_cast<HostServices *>(ctx)->constant();
    log::debug(text::cat(constant, ": ", spec.argv.front(), ": ", said));
    return give_text(VBD_OK, text::cat(spec.argv.front(), ": ", said), err);
  });
}

bool is_unit(const char *unit) {
  if (unit == nullptr || unit[0] == '\0' || ::strnlen(unit, kMaxUnit + 1) > kMaxUnit) return false;
  return std::all_of(unit, unit + std::strlen(unit), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

int32_t spawn(void *ctx, vbd_spawn_args *args, vbd_error *err) noexcept {
  return shielded(err, [&] {
    if (args == nullptr || args->size < kSpawnSize)
      return give_text(VBD_E_INVAL, "vbd_spawn_args is too short", err);
    sys::SpawnSpec spec;
    std::string flaw = read_argv(args->argv, spec.argv);
    if (flaw.empty()) flaw = read_fds(args->fds, args->n_fds, spec.fds);
    if (flaw.empty() && !is_unit(args->unit)) flaw = "the unit's name is not [a-zA-Z0-9._-]{1,100}";
    if (!flaw.empty()) return give_text(VBD_E_INVAL, flaw, err);
    const auto program = static_cast<HostServices *>(ctx)->program(spec.argv.front());
    if (!program) return give_error(program.error(), err);
    spec.argv.front() = *program;
    spec.unit = args->unit;
    if (const char *directory = state_extension()->directory(ctx))
      spec.log_path = text::cat(directory, "/", spec.unit, ".log");
    const auto process = runner(ctx).spawn(spec);
    if (!process) return give_error(process.error(), err);
    args->pid = process->pid;
    args->start_time = process->start_time;
    return static_cast<int32_t>(VBD_OK);
  });
}

int32_t alive(void *ctx, int64_t pid, uint64_t start_time) noexcept {
  try {
    return runner(ctx).alive({pid, start_time}) ? VBD_OK : VBD_E_NOENT;
  } catch (...) {
    return VBD_E_INTERNAL;
  }
}

int32_t stop(void *ctx, int64_t pid, uint64_t start_time, uint32_t timeout_ms, vbd_error *err) noexcept {
  return shielded(err, [&] {
    const auto done = runner(ctx).stop({pid, start_time}, std::chrono::milliseconds(timeout_ms));
    return done ? static_cast<int32_t>(VBD_OK) : give_error(done.error(), err);
  });
}

constexpr vbd_ext_run kRun{sizeof(vbd_ext_run), 0, run};
constexpr vbd_ext_spawn kSpawn{sizeof(vbd_ext_spawn), 0, spawn, alive, stop};

}  // namespace

const vbd_ext_run *run_extension() {
  return &kRun;
}
const vbd_ext_spawn *spawn_extension() {
  return &kSpawn;
}

}  // namespace vbd::plugin
