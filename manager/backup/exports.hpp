// SPDX-License-Identifier: MIT
// The directory of exports: EXPORT_DIR/NAME for each, complete or not there at all. A new one is made as
// .NAME.new and takes its name, and the place of an older export of that name, in one step; what killed runs
// leave is known by its name and goes, or comes back, with the next change. Not thread-safe; safe against
// other processes.
//
//   state       names in EXPORT_DIR               left by
//   none        -                                 begin(): -> making
//   making      .NAME.new, its lock file locked   publish(): description, lock file gone, synced -> naming
//                                                 an error: the destructor deletes it -> none, or the older
//                                                 one
//   naming      .NAME.new [and NAME]              nothing there: rename; else the two exchange their names
//               without a lock file               -> there [.NAME.new is now the older one: deleted]
//   replacing   .NAME.old, .NAME.new              where names can't be exchanged: -> there, .NAME.old deleted
//   there       NAME                              remove: -> going
//   going       .NAME.gone                        its files are deleted: -> none
//
// Every change of a name is made under the shelf's lock, and whoever takes that lock first repairs what
// killed runs left (settle): .NAME.new that nobody has locked and .NAME.gone are deleted; .NAME.old comes
// back as NAME when there is none, else it is deleted. What the export did to the instance (a held guest,
// disks attached for scripts) is in the instance's own operation "export", which settle_export() ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/locks.hpp"
#include "manager/backup/description.hpp"

namespace vbd::backup {

inline constexpr ErrorKind kNoExport{"backup.not_found", Exit::not_found};
/// Files in it that its description does not name.
inline constexpr ErrorKind kForeignFiles{"backup.foreign_files", Exit::refused};

struct Export {
  std::string path;
  sys::Fd directory;
  Description description;
};
/// `word`: a name in EXPORT_DIR, or a directory's full path.
[[nodiscard]] Result<Export> open_export(const config::Settings &settings, const std::string &word);

struct Listed {
  std::string name, path;
  std::optional<Description> description;
  std::string problem;          ///< why there is no description
  std::uint64_t allocated = 0;  ///< bytes on disk of its files
};
/// By name; no directory of exports: none.
[[nodiscard]] Result<std::vector<Listed>> list_exports(const config::Settings &settings);

/// The names of the files of an export, the description last. kForeignFiles when there are others.
[[nodiscard]] Result<std::vector<std::string>> files_of(const Export &found);
/// In one step, then its files.
[[nodiscard]] Result<void> remove_export(const config::Settings &settings, const std::string &name);

/// Hidden directories in EXPORT_DIR that killed runs left, by their paths; removed, or given their names
/// back, with `repair`.
[[nodiscard]] Result<std::vector<std::string>> left_exports(const config::Settings &settings, bool repair);

/// One that is being made. Gone with this object unless published.
class NewExport {
 public:
  /// kLocked (sys) when another process is making one of that name.
  [[nodiscard]] static Result<NewExport> begin(const config::Settings &settings, const std::string &name);
  NewExport(NewExport &&) noexcept = default;
  NewExport &operator=(NewExport &&) = delete;
  ~NewExport();

  [[nodiscard]] int directory() const { return directory_.get(); }
  [[nodiscard]] const std::string &path() const { return path_; }  ///< as long as it is being made

  /// Writes the description and lets it take its name.
  [[nodiscard]] Result<void> publish(const std::string &description);

 private:
  NewExport() = default;
  [[nodiscard]] Result<void> take_name();
  std::string parent_path_, name_, path_;
  sys::Fd parent_, directory_;
  std::optional<sys::OperationLock> lock_;
};

}  // namespace vbd::backup
