// SPDX-License-Identifier: MIT
// The storage as it lies there: instance directories read without waiting for a dead server, and the allowed
// directories walked for what no pointer leads to. Reads only.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/sys/children.hpp"
#include "core/sys/files.hpp"

namespace vbd::instance {

/// The allowed directories that `path` lies below by its text, so that a dead one among the others is not
/// touched; else all.
[[nodiscard]] std::vector<sys::AllowedDir> allowed_for(const config::Settings &settings,
                                                       const std::string &path);

/// Parents of directories that did not answer: whoever asks for more directories later need not wait again.
using Silent = std::set<std::string>;

/// By directory, what `task` answers in a child that is abandoned after 2 s. Directories beside each other
/// share a child; where many of them are asked for and none answers, their parent is put into `silent`.
[[nodiscard]] std::vector<std::optional<std::string>> in_children(const std::vector<std::string> &directories,
                                                                  const sys::ChildTask &task,
                                                                  Silent *silent = nullptr);

/// allowed_for() of many directories, each parent's looked up once: for the task of one child.
class AllowedCache {
 public:
  explicit AllowedCache(const config::Settings &settings) : settings_(settings) {}
  [[nodiscard]] const std::vector<sys::AllowedDir> &of(const std::string &directory);

 private:
  const config::Settings &settings_;
  std::map<std::string, std::vector<sys::AllowedDir>> by_parent_;
};

/// What reading DIR/instance.yaml gave; nothing when its storage did not answer.
using FileText = std::optional<Result<std::string>>;
/// By directory, as in_children() does it.
[[nodiscard]] std::vector<FileText> read_instance_files(const config::Settings &settings,
                                                        const std::vector<std::string> &directories,
                                                        Silent *silent = nullptr);

struct Walk {
  std::vector<std::string> instances;  ///< directories that hold an instance.yaml
  std::vector<std::string>
      leftovers;  ///< directories of ours under a temporary name: what a killed add or remove left
  std::vector<std::string> files;       ///< temporary files that killed runs left outside of instances
  std::vector<std::string> locks_only;  ///< directories in which only our lock file is left
  std::vector<std::string> silent;      ///< allowed directories whose storage does not answer
};
/// Everything below the allowed directories, at most five levels, links not followed, not below an instance.
/// Each is looked at in a child, which is abandoned when its directory does not open within 2 s.
[[nodiscard]] Walk walk_storage(const config::Settings &settings);

/// ".vbd-UUID.tmp": the name of an instance's directory before it is complete and after it is gone.
[[nodiscard]] std::string temporary_name(const std::string &uuid);
[[nodiscard]] bool is_temporary_directory(const std::string &name);
/// instance.yaml, the lock and lease files, temporary files: what is ours in an instance's directory.
[[nodiscard]] bool is_own_file(const std::string &name);
/// Or what NFS (".nfs" and 24 hex digits) and FUSE (".fuse_hidden" and 16) call a removed file that somebody
/// has open. It goes by itself, or when a host is gone, never.
[[nodiscard]] bool is_own_or_ghost(const std::string &name);

}  // namespace vbd::instance
