// SPDX-License-Identifier: MIT
#include "core/sys/trusted.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <optional>
#include <vector>

#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/writers.hpp"

namespace vbd::sys {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel, path_resolution(7)

/// What is looked at, and how a refusal of it is said.
struct Subject {
  const std::string &path;
  const TrustWords &words;

  [[nodiscard]] Error untrusted(const std::string &component, const std::string &why,
                                const std::string &hint) const {
    std::string message = text::cat(text::printable(path), ": ", words.refused, ": ");
    if (component != path) message += text::cat(text::printable(component), " ");
    return Error(words.kind, message + why, hint);
  }

  /// Closing a file is safe advice; closing a directory such as /tmp is not.
  [[nodiscard]] std::string mend(const std::string &change, const std::string &component) const {
    if (component == path) return text::cat(change, " ", text::printable(component));
    return text::cat("put the ", words.thing,
                     " into a directory that only root can change, with all directories above it");
  }

  [[nodiscard]] Result<void> check_writers(int fd, const std::string &component) const {
    const auto writer = other_writer(fd);
    if (!writer) return {};
    return untrusted(component, writer->says, mend(writer->mend, component));
  }

  [[nodiscard]] Result<void> check_file(int fd, const FileInfo &info, const std::string &shown) const {
    if (info.is_link()) {
      return untrusted(
          shown, "is a symbolic link",
          text::cat("put the ", words.thing, " itself there, or configure the directory that it lies in"));
    }
    if (!info.is_regular()) return untrusted(shown, "is not a regular file", "remove it");
    if ((info.mode & (S_ISUID | S_ISGID)) != 0)
      return untrusted(shown, "has a set-id bit", text::cat("chmod ug-s ", text::printable(shown)));
    return check_writers(fd, shown);
  }
};

bool is_absolute(const std::string &path) {
  return path.size() >= 2 && path.front() == '/' && path.find('\0') == std::string::npos;
}

bool is_normal(const std::string &path) {
  const std::string whole = path + "/";
  for (const char *bad : {"//", "/./", "/../"}) {
    if (whole.find(bad) != std::string::npos) return false;
  }
  return true;
}

/// For reading, so that it can be listed and synced; without the right to read it, as it is.
Result<Fd> readable(const Fd &at, const std::string &path) {
  Fd fd(::openat(at.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == EACCES) return duplicate(at.get());
  if (!fd) return errno_error(text::cat("open ", text::printable(path)), errno);
  return fd;
}

class Walk {
 public:
  explicit Walk(const Subject &subject) : subject_(subject) {}

  /// To the directory `path`; with `make` a missing one is made with that mode.
  Result<void> to_directory(const std::string &path, std::optional<std::uint32_t> make = std::nullopt) {
    make_ = make;
    VBD_TRY(begin(path));
    while (!todo_.empty()) {
      if (auto done = step(); !done) return done;
    }
    return {};
  }

  /// To the directory that holds the file, whose own name is last() then: what links at the end lead to.
  Result<void> to_parent(const std::string &path) {
    VBD_TRY(begin(path));
    for (;;) {
      while (todo_.size() > 1) {
        if (auto done = step(); !done) return done;
      }
      if (todo_.empty() || !subject_.words.follow_links) return {};
      VBD_TRY_ASSIGN(const auto component, open_component(at_.get(), todo_.back(), shown(todo_.back())));
      const auto info = file_info(component.get());
      if (!info) return info.error().at(text::printable(shown(todo_.back())));
      if (!info->is_link()) return {};
      if (auto followed = follow(component.get(), *info); !followed) return followed;
    }
  }

  [[nodiscard]] std::string last() const { return todo_.empty() ? "." : todo_.back(); }
  [[nodiscard]] std::string shown(const std::string &name) const {
    return here_ == "/" ? "/" + name : text::cat(here_, "/", name);
  }
  [[nodiscard]] const Fd &at() const { return at_; }
  [[nodiscard]] const std::string &here() const { return here_; }

 private:
  Result<void> begin(const std::string &path) {
    push(path);
    return restart();
  }

  Result<void> restart() {
    VBD_TRY_ASSIGN(auto root, open_root());
    here_ = "/";
    return arrive(std::move(root));
  }

  void push(const std::string &path) {
    auto names = text::split(path, '/');
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
      if (!name->empty() && *name != ".") todo_.push_back(std::move(*name));
    }
  }

  /// The next directory of the way, or what a link in its place leads to.
  Result<void> step() {
    const std::string name = todo_.back();
    const std::string path = name == ".." ? dir_name(here_) : shown(name);
    auto component = open_component(at_.get(), name, path);
    if (!component && component.error().is(kNotFound) && make_) component = make(name, path);
    if (!component) return component.error();
    const auto info = file_info(component->get());
    if (!info) return info.error().at(text::printable(path));
    if (info->is_link()) {
      if (!subject_.words.follow_links)
        return subject_.untrusted(path, "is a symbolic link", "name the directory that it leads to");
      return follow(component->get(), *info);
    }
    if (!info->is_directory()) return subject_.untrusted(path, "is no directory", "name a directory");
    todo_.pop_back();
    here_ = path;
    return arrive(std::move(*component));
  }

  Result<Fd> make(const std::string &name, const std::string &path) {
    VBD_TRY_ASSIGN(const auto parent, readable(at_, here_));
    auto made = make_dir_at(parent.get(), name, *make_);
    if (!made && !made.error().is(kExists)) return made.error().at(text::printable(path));
    return open_component(at_.get(), name, path);
  }

  /// A directory that others can write to ends the walk before anything in it is looked at.
  Result<void> arrive(Fd directory) {
    const auto info = file_info(directory.get());
    if (!info) return info.error().at(text::printable(here_));
    at_ = std::move(directory);
    const bool on_the_way = !todo_.empty();
    const bool sticky = subject_.words.sticky && on_the_way && (info->mode & S_ISVTX) != 0 &&
                        (info->uid == 0 || info->uid == effective_uid());
    open_ = false;
    if (!sticky) return subject_.check_writers(at_.get(), here_);
    open_ = other_writer(at_.get()).has_value();
    return {};
  }

  /// The link at the end of todo_ is replaced by what it says.
  Result<void> follow(int link, const FileInfo &info) {
    const std::string path = shown(todo_.back());
    if (open_ && info.uid != 0 && info.uid != effective_uid()) {
      return subject_.untrusted(path, text::cat("is a link of user ", info.uid),
                                "name what it leads to, when that is meant");
    }
    if (++links_ > kMaxLinks) return errno_error(text::cat("open ", text::printable(path)), ELOOP);
    std::string target(PATH_MAX, '\0');
    const ssize_t length = ::readlinkat(link, "", target.data(), target.size());
    if (length < 0) return errno_error(text::cat("read the link ", text::printable(path)), errno);
    target.resize(static_cast<std::size_t>(length));
    todo_.pop_back();
    push(target);
    return target.starts_with('/') ? restart() : Result<void>();
  }

  const Subject &subject_;
  std::optional<std::uint32_t> make_;
  std::vector<std::string> todo_;  // names still to go, the next one last
  Fd at_;
  std::string here_;
  bool open_ = false;  // at_ is sticky, and others can put entries into it
  int links_ = 0;
};

/// Looked at before it is opened: opening a FIFO or a device could block or act. Nobody but its owner, who is
/// trusted by now, can replace it in between.
Result<Fd> open_checked(const Subject &subject, int directory, const std::string &name,
                        const std::string &shown) {
  VBD_TRY_ASSIGN(const auto component, open_component(directory, name, shown));
  const auto info = file_info(component.get());
  if (!info) return info.error().at(text::printable(shown));
  VBD_TRY(subject.check_file(component.get(), *info, shown));
  return open_for_reading(directory, name, shown);
}

Result<std::string> read_whole(const Result<Fd> &file, const std::string &shown, std::size_t limit) {
  if (!file) return file.error();
  std::string content(limit + 1, '\0');
  const auto length = read_at(file->get(), content.data(), content.size(), 0);
  if (!length) return length.error().at(text::printable(shown));
  if (*length > limit)
    return Error{kIo, text::cat("read ", text::printable(shown), ": is larger than ", limit, " bytes")};
  content.resize(*length);
  return content;
}

Result<void> check_path(const Subject &subject) {
  const std::string &path = subject.path;
  const bool strict = !subject.words.follow_links;
  if (is_absolute(path) && (!strict || is_normal(path))) return {};
  return subject.untrusted(path, "is not an absolute path without . and ..", "write the whole path");
}

Result<Fd> walk_directory(const std::string &path, std::optional<std::uint32_t> make,
                          const TrustWords &words) {
  const Subject subject{path, words};
  VBD_TRY(check_path(subject));
  Walk walk(subject);
  VBD_TRY(walk.to_directory(path, make));
  return readable(walk.at(), path);
}

}  // namespace

Result<Fd> open_trusted_file(const std::string &path, const TrustWords &words) {
  const Subject subject{path, words};
  VBD_TRY(check_path(subject));
  Walk walk(subject);
  VBD_TRY(walk.to_parent(path));
  const std::string name = walk.last();
  return open_checked(subject, walk.at().get(), name, name == "." ? walk.here() : walk.shown(name));
}

Result<std::string> read_trusted_file(const std::string &path, std::size_t limit, const TrustWords &words) {
  return read_whole(open_trusted_file(path, words), path, limit);
}

Result<Fd> open_trusted_directory(const std::string &path, const TrustWords &words) {
  return walk_directory(path, std::nullopt, words);
}

Result<Fd> make_trusted_directory(const std::string &path, std::uint32_t mode, const TrustWords &words) {
  return walk_directory(path, mode, words);
}

Result<Fd> open_trusted_at(int directory, const std::string &name, const std::string &shown,
                           const TrustWords &words) {
  const Subject subject{shown, words};
  // At once: in such a directory nobody else has put a FIFO or a device, and a list of thousands reads each.
  auto file = open_for_reading(directory, name, shown);
  if (!file && file.error().is(kSymlink))
    return subject.untrusted(shown, "is a symbolic link", "put the file itself there");
  if (!file) return file;
  const auto info = file_info(file->get());
  if (!info) return info.error().at(text::printable(shown));
  VBD_TRY(subject.check_file(file->get(), *info, shown));
  return file;
}

Result<std::string> read_trusted_at(int directory, const std::string &name, const std::string &shown,
                                    std::size_t limit, const TrustWords &words) {
  return read_whole(open_trusted_at(directory, name, shown, words), shown, limit);
}

Result<Fd> open_trusted_directory_at(int directory, const std::string &name, const std::string &shown,
                                     const TrustWords &words) {
  auto opened = open_directory_at(directory, name, shown);
  if (!opened) return opened;
  VBD_TRY(Subject{shown, words}.check_writers(opened->get(), shown));
  return opened;
}

}  // namespace vbd::sys
