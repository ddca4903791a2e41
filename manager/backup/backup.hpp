// SPDX-License-Identifier: MIT
// Exports and imports of instances. Each makes a plan, which a dry run prints; an export appears whole or not
// at all, and an instance that is imported likewise. Not thread-safe; safe against other processes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "manager/backup/exports.hpp"
#include "manager/backup/transfer.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::backup {

inline constexpr ErrorKind kRunning{"backup.running", Exit::busy};
inline constexpr ErrorKind kCannotSnapshot{"backup.snapshot", Exit::refused};
inline constexpr ErrorKind kNoDisks{"backup.no_disks", Exit::refused};
inline constexpr ErrorKind kNeedsOs{"backup.needs_os", Exit::refused};
inline constexpr ErrorKind kBackupUsage{"usage.backup", Exit::usage};

using instance::Manager;
using instance::Plan;

struct ExportSpec {
  std::string name;
  std::string node;                       ///< "" this one
  bool images = false;                    ///< the image files, not dumps
  std::optional<Constant> filetype = {};  ///< of these files; none: each its disk's
  bool raw = false;                       ///< the disks' bytes, also where a guest OS definition has a script

  bool zstd = false;
  bool live = false;
  bool assume_unused = false;
};

struct Exported {
  std::string path;
  Description description;  ///< of what was written; not in a dry run
  Plan plan;
};
[[nodiscard]] Result<Exported> export_instance(const Manager &manager, const ExportSpec &spec, bool dry_run,
                                               const Watch &watch = {});

struct ImportSpec {
  /// name, node, and what overrides the export: -t, --disk, --net, -B, -H, -O.
  instance::AddSpec add;
  std::string source;  ///< "" the export called `add.name`; a name, or a directory's full path
  bool no_nics = false;
  bool new_macs = false;
  bool raw = false;    ///< dumps are the disks' bytes, also where a guest OS definition is named
  bool trust = false;  ///< parameters that may name something of this host are taken too
};
[[nodiscard]] Result<instance::FromOutside> import_instance(const Manager &manager, const ImportSpec &spec,
                                                            bool dry_run, const Watch &watch = {});

/// Removes an export.
[[nodiscard]] Result<Plan> remove(const Manager &manager, const std::string &name, bool dry_run);

}  // namespace vbd::backup
