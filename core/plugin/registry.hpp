// SPDX-License-Identifier: MIT
// Finds plugins by constant, and loads them: FD_LOOP -> fd-loop.so in the configured directories, then in the
// installation's. Lookup opens only the file it wants; its cost does not grow with the number of plugins.
// Loaded plugins stay for the life of the process. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/model/logical_id.hpp"
#include "core/plugin/note.hpp"
#include "core/plugin/plugin.hpp"
#include "core/sys/run.hpp"

namespace vbd::plugin {

inline constexpr ErrorKind kPluginNotFound{"plugin.not_found", Exit::not_found};
inline constexpr ErrorKind kNotPaired{"plugin.not_paired", Exit::refused};
inline constexpr ErrorKind kBadDirectory{"plugin.bad_directory", Exit::usage};

/// "fd-my-loop.so" -> FD_MY_LOOP; "" when it is no plugin's file name.
[[nodiscard]] std::string constant_of_file(const std::string &file);

struct Found {
  std::string path;
  Note note;
};
/// A file that looks like a plugin (fd-*.so, ft-*.so), for listing; nothing of it was loaded.
struct Listed {
  std::string path;
  std::string constant;             ///< from the file's name
  Note note;                        ///< when problem is empty
  std::string problem_id, problem;  ///< why it can't be used
  bool shadowed = false;            ///< an earlier directory has one of that name
};

class Registry {
 public:
  /// `extra_dirs` (--plugin-dir) stand before the configured ones; the installation's last.
  Registry(const config::Settings &settings, std::vector<std::string> extra_dirs, std::string builtin_dir,
           sys::Runner &runner);
  ~Registry();

  [[nodiscard]] const std::vector<std::string> &directories() const { return directories_; }
  /// Trusted and note checked, not loaded. A directory that is not there is passed over; one that is relative
  /// (kBadDirectory) or not trusted (kUntrusted) ends the search, for it may hide the file that was meant.
  /// kPluginNotFound names the file, the directories and the installed constants, nearest first.
  [[nodiscard]] Result<Found> find(const Constant &constant) const;
  [[nodiscard]] std::vector<Listed> list() const;
  /// Loads (once) and initialises with the configured options.
  [[nodiscard]] Result<Plugin *> load(const Constant &constant);
  /// From the notes alone: kNotPaired when the driver can't use the filetype.
  [[nodiscard]] Result<void> check_pairing(const LogicalId &id) const;
  [[nodiscard]] sys::Runner &runner() const { return runner_; }

 private:
  [[nodiscard]] Result<Found> look_up(const Constant &constant) const;
  [[nodiscard]] Error not_found(const Constant &constant) const;

  std::vector<std::string> directories_;
  const config::Settings &settings_;
  sys::Runner &runner_;
  mutable std::vector<Found> found_;  // of this process: pairing and loading look at a file once
  std::vector<std::unique_ptr<Plugin>> loaded_;
};

}  // namespace vbd::plugin
