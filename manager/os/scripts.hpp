// SPDX-License-Identifier: MIT
// A definition's scripts, run: with a complete and clean environment, in the definition's directory, without
// a shell or a terminal, everything that they start and mount ended with them. What they write is kept in
// log_dir, and its last lines are in the error. [call-thread]; several may run at once in threads.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/config/settings.hpp"
#include "core/sys/run.hpp"
#include "manager/os/definition.hpp"
#include "manager/os/environment.hpp"

namespace vbd::os {

inline constexpr ErrorKind kScriptFailed{"os.script", Exit::failed};

/// Where scripts run and what they hold on to.
struct Call {
  const config::Settings &settings;
  sys::Runner &runner;
  std::vector<int> held = {};  ///< locks that stay until a script is gone, also when vbd is killed
  int cancel = -1;             ///< ended when this descriptor becomes readable: sys::Signals
};

/// Checks the parameters by running `verify parameters`; fine below version 20, which has no such script.
[[nodiscard]] Result<void> run_verify(const Call &call, const Definition &definition,
                                      const std::string &variant,
                                      const std::map<std::string, std::string> &parameters);

/// Fills the disks. kScriptFailed names the log.
[[nodiscard]] Result<void> run_create(const Call &call, const Definition &definition, const Guest &guest,
                                      bool reinstall);

/// The instance was called `old_name`; the guest's files follow.
[[nodiscard]] Result<void> run_rename(const Call &call, const Definition &definition, const Guest &guest,
                                      const std::string &old_name);

/// One disk dumped by the definition's `export`.
struct ExportSpec {
  std::size_t index = 0;  ///< of record.disks
  std::string device;     ///< what is dumped: the disk's node, or that of a snapshot
  int output = -1;        ///< the dump goes here: a pipe's write end or a file
  int size = -1;  ///< the script may write "BYTES\n" here, as a forecast; -1: nobody wants to know. Pipe.
};
/// Returns when the script is done. The caller keeps `output` and `size`; close them to end a pipe.
[[nodiscard]] Result<void> run_export(const Call &call, const Definition &definition, const Guest &guest,
                                      const ExportSpec &spec);

/// One disk read back from a dump by the definition's `import`.
struct ImportSpec {
  std::size_t index = 0;  ///< of record.disks; the disk is guest.devices[index]
  int input = -1;         ///< the dump comes from here: a pipe's read end or a file
};
[[nodiscard]] Result<void> run_import(const Call &call, const Definition &definition, const Guest &guest,
                                      const ImportSpec &spec);

}  // namespace vbd::os
