// SPDX-License-Identifier: MIT
// From fork to exec, for the real runner only. Everything that allocates is done before the fork: the child
// may call async-signal-safe functions alone, for another thread may hold any lock.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/sys/fd.hpp"
#include "core/sys/run.hpp"

namespace vbd::sys {

/// The file that argv[0] names: a bare name in kHelperPath, or an absolute path as it is. kHelperMissing.
[[nodiscard]] Result<std::string> find_program(const std::string &name);

/// What the child needs, ready to use without allocating.
class ChildPlan {
 public:
  ChildPlan(std::string program, const std::vector<std::string> &argv);
  ChildPlan(const ChildPlan &) = delete;
  ChildPlan &operator=(const ChildPlan &) = delete;

  /// Later maps to the same number win. Sources stay the caller's.
  void map(int parent_fd, int child_fd) { maps_.push_back({parent_fd, child_fd}); }
  /// Instead of the usual environment.
  void set_environment(const std::vector<std::string> &environment);
  /// Its working directory.
  void set_directory(std::string directory) { directory_ = std::move(directory); }

  /// In the child: descriptors as mapped, all others but `report` closed by exec, signals as at the start of
  /// a program; then exec. Writes errno to `report` and ends when that fails.
  [[noreturn]] void exec_in_child(int report);

 private:
  void place_descriptors(int &report);
  std::string program_;
  std::vector<std::string> words_;
  std::vector<char *> argv_;
  std::vector<std::string> variables_;
  std::vector<char *> environment_;
  std::string directory_;
  std::vector<FdMap> maps_;
};

/// A pipe, both ends O_CLOEXEC.
struct Pipe {
  Fd read, write;
};
[[nodiscard]] Result<Pipe> make_pipe();

/// Errno that a child wrote to its end of `report` before the end of file; 0: exec went well.
[[nodiscard]] int read_exec_error(int report);

/// The error for a failed exec.
[[nodiscard]] Error exec_error(const std::string &program, int error_number);

}  // namespace vbd::sys
