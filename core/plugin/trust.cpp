// SPDX-License-Identifier: MIT
#include "core/plugin/trust.hpp"

#include <optional>

#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"

namespace vbd::plugin {
namespace {

// The mode bits of inode(7).
constexpr std::uint32_t kTypeMask = 0170000, kRegular = 0100000, kDirectory = 0040000, kLink = 0120000;
constexpr std::uint32_t kSetId = 06000, kGroupWrites = 0020, kOthersWrite = 0002;

bool is_kind(const sys::FileInfo &info, std::uint32_t kind) {
  return (info.mode & kTypeMask) == kind;
}

/// The file that is looked at, and how a refusal is said.
struct Subject {
  const std::string &path;
  const TrustWords &words;
};

Error untrusted(const Subject &subject, const std::string &component, const std::string &why,
                const std::string &hint) {
  const std::string &path = subject.path;
  std::string message = text::cat(text::printable(path), ": ", subject.words.refused, ": ");
  if (component != path) message += text::cat(text::printable(component), " ");
  return Error(subject.words.kind, message + why, hint);
}

/// Closing a file is safe advice; closing a directory such as /tmp is not.
std::string close_it(const std::string &change, const Subject &subject, const std::string &component) {
  if (component == subject.path) return text::cat(change, " ", text::printable(component));
  return text::cat("put the ", subject.words.thing,
                   " into a directory that only root can change, with all directories above it");
}

/// What is wrong with the owner or the mode of `component`, if anything.
std::optional<Error> check_owner(const sys::FileInfo &st, const Subject &subject,
                                 const std::string &component) {
  if (st.uid != 0 && st.uid != sys::effective_uid()) {
    return untrusted(subject, component, text::cat("belongs to user ", st.uid, ", not to root"),
                     close_it("chown root", subject, component));
  }
  if ((st.mode & kOthersWrite) != 0) {
    return untrusted(subject, component, "is writable by others", close_it("chmod o-w", subject, component));
  }
  if ((st.mode & kGroupWrites) != 0 && st.gid != 0) {
    return untrusted(subject, component, text::cat("is writable by its group ", st.gid),
                     close_it("chmod g-w", subject, component));
  }
  return std::nullopt;
}

std::optional<Error> check_file(const sys::FileInfo &st, const Subject &subject) {
  if (is_kind(st, kLink)) {
    return untrusted(subject, subject.path, "is a symbolic link",
                     text::cat("put the ", subject.words.thing,
                               " itself there, or configure the directory that it lies in"));
  }
  if (!is_kind(st, kRegular)) return untrusted(subject, subject.path, "is not a regular file", "remove it");
  if ((st.mode & kSetId) != 0) {
    return untrusted(subject, subject.path, "has a set-id bit",
                     text::cat("chmod ug-s ", text::printable(subject.path)));
  }
  return check_owner(st, subject, subject.path);
}

bool is_normal(const std::string &path) {
  if (path.size() < 2 || path.front() != '/' || path.find('\0') != std::string::npos) return false;
  const std::string whole = path + "/";
  for (const char *bad : {"//", "/./", "/../"}) {
    if (whole.find(bad) != std::string::npos) return false;
  }
  return true;
}

/// The directory that holds the last component, after a check of it and all above it.
Result<sys::Fd> walk_to_parent(const Subject &subject) {
  const std::string &path = subject.path;
  auto at = sys::open_root();
  std::size_t from = 1;
  while (true) {
    const std::string here = from == 1 ? "/" : path.substr(0, from - 1);
    if (!at) return at.error();
    const auto info = sys::file_info(at->get());
    if (!info) return info.error().at(text::printable(here));
    const sys::FileInfo &st = *info;
    if (is_kind(st, kLink))
      return untrusted(subject, here, "is a symbolic link", "name the directory that it leads to");
    if (!is_kind(st, kDirectory)) return untrusted(subject, here, "is no directory", "name a directory");
    if (auto wrong = check_owner(st, subject, here)) return *wrong;
    const std::size_t end = path.find('/', from);
    if (end == std::string::npos) return at;
    const std::string name = path.substr(from, end - from);
    at = sys::open_component(at->get(), name, path.substr(0, end));
    from = end + 1;
  }
}

}  // namespace

Result<sys::Fd> open_trusted(const std::string &path, const TrustWords &words) {
  const Subject subject{path, words};
  if (!is_normal(path)) {
    return untrusted(subject, path, "is not an absolute path without . and ..", "write the whole path");
  }
  auto parent = walk_to_parent(subject);
  if (!parent) return parent.error();
  const std::string name = path.substr(path.rfind('/') + 1);
  // Looked at before it is opened: opening a FIFO or a device could block or act. Nobody but its owner, who
  // is trusted by now, can replace it in between.
  const auto component = sys::open_component(parent->get(), name, path);
  if (!component) return component.error();
  const auto info = sys::file_info(component->get());
  if (!info) return info.error().at(text::printable(path));
  if (auto wrong = check_file(*info, subject)) return *wrong;
  return sys::open_for_reading(parent->get(), name, path);
}

}  // namespace vbd::plugin
