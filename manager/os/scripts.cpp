// SPDX-License-Identifier: MIT
#include "manager/os/scripts.hpp"

#include <chrono>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "core/sys/trusted.hpp"

namespace vbd::os {
namespace {

using text::cat;
using Variables = std::map<std::string, std::string>;

// As long as Ganeti gives them; a dump of any size takes what it takes.
constexpr std::chrono::milliseconds kCreateTimeout = std::chrono::hours(24);
constexpr std::chrono::milliseconds kRenameTimeout = std::chrono::hours(1);
constexpr std::chrono::milliseconds kVerifyTimeout = std::chrono::minutes(1);
constexpr std::chrono::milliseconds kNoTimeout{0};

/// Of one digit, for dash takes no other as a number of a descriptor.
constexpr int kSizeFd = 9;

/// LOG_DIR/add-debootstrap+default-web1-2026-01-31T12_00_00Z.log, its directory made.
Result<std::string> log_path(const Call &call, const std::string &verb, const InstanceRecord &record) {
  const std::string &directory = call.settings.log_dir;
  VBD_TRY(sys::make_trusted_directory(directory, 0750, sys::kLogDirectory));
  std::string time = sys::now_rfc3339();
  for (char &c : time) {
    if (c == ':') c = '_';
  }
  return cat(directory, "/", verb, "-", record.os, "-", record.name, "-", time, ".log");
}

struct Run {
  std::string script;  ///< "create"
  std::string verb;    ///< "add": begins the log's name
  std::chrono::milliseconds timeout;
  Variables more;
  std::vector<sys::FdMap> fds;
};

Error failed(const Definition &definition, const Run &run, const std::string &log, const std::string &how,
             const std::string &last_lines) {
  std::string message = cat("guest OS definition ", definition.name, ": ", run.script, " ", how);
  if (!last_lines.empty()) message += ": " + text::join(text::split(last_lines, '\n'), "; ");
  return {kScriptFailed, message, cat("the whole of what it wrote is in ", text::printable(log))};
}

Result<void> run_script(const Call &call, const Definition &definition, const Guest &guest, const Run &run) {
  VBD_TRY_ASSIGN(auto name, parse_os_name(guest.record.os));
  auto log = log_path(call, run.verb, guest.record);
  if (!log) return log.error();
  sys::RunSpec spec;
  spec.argv = {definition.script(run.script)};
  spec.timeout = run.timeout;
  spec.fds = run.fds;
  spec.directory = definition.path;
  spec.environment = instance_environment(definition, name.variant, guest, run.more);
  spec.log_path = *log;
  spec.supervised = true;
  spec.held = call.held;
  spec.cancel = call.cancel;
  log::info(cat("running ", definition.script(run.script), ", log in ", *log));
  auto result = call.runner.run(spec);
  if (!result) return result.error().with_hint(cat("the whole of what it wrote is in ", *log));
  if (result->exit_status == 0) return {};
  const std::string how = result->exit_status > 128 ? cat("was ended by signal ", result->exit_status - 128)
                                                    : cat("failed with exit status ", result->exit_status);
  return failed(definition, run, *log, how, result->last_lines);
}

}  // namespace

Result<void> run_verify(const Call &call, const Definition &definition, const std::string &variant,
                        const std::map<std::string, std::string> &parameters) {
  VBD_TRY(check_parameter_names(definition, parameters));
  if (definition.api < 20) return {};
  sys::RunSpec spec;
  spec.argv = {definition.script("verify"), "parameters"};
  spec.timeout = kVerifyTimeout;
  spec.directory = definition.path;
  spec.environment = core_environment(definition, variant, parameters);
  spec.supervised = true;
  spec.cancel = call.cancel;
  VBD_TRY_ASSIGN(auto result, call.runner.run(spec));
  if (result.exit_status == 0) return {};
  std::string message =
      cat("guest OS definition ", definition.name, ": its verify script refuses the parameters (exit status ",
          result.exit_status, ")");
  const std::string said = result.last_lines.empty() ? result.output : result.last_lines;
  const auto lines = text::split(said, '\n');
  for (const auto &line : lines) {
    if (!line.empty()) message += cat(&line == &lines.front() ? ": " : "; ", text::printable(line));
  }
  return Error(kOsParameter, message);
}

Result<void> run_create(const Call &call, const Definition &definition, const Guest &guest, bool reinstall) {
  Run run{"create", reinstall ? "reinstall" : "add", kCreateTimeout, {}, {}};
  if (reinstall) run.more["INSTANCE_REINSTALL"] = "1";
  return run_script(call, definition, guest, run);
}

Result<void> run_rename(const Call &call, const Definition &definition, const Guest &guest,
                        const std::string &old_name) {
  return run_script(call, definition, guest,
                    {"rename", "rename", kRenameTimeout, {{"OLD_INSTANCE_NAME", old_name}}, {}});
}

Result<void> run_export(const Call &call, const Definition &definition, const Guest &guest,
                        const ExportSpec &spec) {
  // A script that tells the size must not fail because nobody listens.
  VBD_TRY_ASSIGN(auto nobody, spec.size < 0 ? sys::open_null() : Result<sys::Fd>(sys::Fd()));
  const int size = spec.size < 0 ? nobody.get() : spec.size;
  return run_script(call, definition, guest,
                    {"export",
                     cat("export-disk", spec.index),
                     kNoTimeout,
                     {{"EXPORT_INDEX", std::to_string(spec.index)},
                      {"EXPORT_DEVICE", spec.device},
                      {"EXPORT_DISK_PATH", spec.device},
                      {"EXP_SIZE_FD", std::to_string(kSizeFd)}},
                     {{spec.output, 1}, {size, kSizeFd}}});
}

Result<void> run_import(const Call &call, const Definition &definition, const Guest &guest,
                        const ImportSpec &spec) {
  const std::string &device = guest.devices.at(spec.index);
  return run_script(call, definition, guest,
                    {"import",
                     cat("import-disk", spec.index),
                     kNoTimeout,
                     {{"IMPORT_INDEX", std::to_string(spec.index)},
                      {"IMPORT_DEVICE", device},
                      {"IMPORT_DISK_PATH", device}},
                     {{spec.input, 0}}});
}

}  // namespace vbd::os
