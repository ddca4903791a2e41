// SPDX-License-Identifier: MIT
#include <optional>

#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/image/image.hpp"
#include "core/sys/block.hpp"
#include "core/sys/host_file.hpp"
#include "core/sys/locks.hpp"

namespace vbd::image {
namespace {

std::string quoted(const std::string &path) {
  return text::printable(path);
}

std::vector<ImageInfo::Reference> references_of(const plugin::Facts &facts) {
  std::vector<ImageInfo::Reference> references;
  for (std::size_t i = 0;; ++i) {
    const std::string prefix = text::cat("reference.", i, ".");
    if (facts.find(prefix + "role") == nullptr && facts.find(prefix + "name") == nullptr) break;
    references.push_back(
        {facts.text(prefix + "role"), facts.text(prefix + "name"), facts.text(prefix + "format")});
  }
  return references;
}

/// How sure a filetype is that the content is its own, and why.
struct Match {
  std::uint64_t percent = 0;
  std::string why;
};
Result<Match> probe(plugin::Plugin &filetype, const sys::HostFile &file, const std::string &path) {
  plugin::Request request;
  request.image = path;
  request.file = file.file();
  VBD_TRY_ASSIGN(auto facts, filetype.call(filetype.filetype()->probe, "probe", request));
  return Match{facts.number("match"), facts.text("why")};
}

/// The declared filetype's own word: content that it does not recognise at all is not its.
Result<void> refuse_unrecognised(plugin::Plugin &filetype, const std::string &constant,
                                 const sys::HostFile &file, const std::string &path) {
  if (filetype.filetype()->probe == nullptr) return {};
  VBD_TRY_ASSIGN(auto match, probe(filetype, file, path));
  if (match.percent > 0) return {};
  return Error(kWrongFiletype,
               text::cat(quoted(path), ": declared ", constant, ", but its content is not of that filetype",
                         match.why.empty() ? "" : ": ", text::printable(match.why)),
               "name the filetype that it really has, or leave the image out");
}

Result<void> refuse_claim_of_others(plugin::Registry &registry, const Constant &declared,
                                    const sys::HostFile &file, const std::string &path) {
  for (const plugin::Listed &listed : registry.list()) {
    if (!listed.problem.empty() || listed.shadowed || listed.note.kind != PluginKind::filetype) continue;
    if (listed.constant == declared.str() || !listed.note.ops.contains("probe")) continue;
    auto constant = Constant::parse(listed.constant, PluginKind::filetype);
    if (!constant) continue;
    auto other = registry.load(*constant);
    auto match = other ? probe(**other, file, path) : Result<Match>(other.error());
    if (!match) {
      log::warn(text::cat(quoted(path), ": not probed by ", listed.constant, ": ", match.error().message()));
      continue;
    }
    if (match->percent >= 100) {
      return Error(kWrongFiletype,
                   text::cat(quoted(path), ": declared ", declared.str(), ", but its content is ",
                             listed.constant, match->why.empty() ? "" : ": ", text::printable(match->why)),
                   text::cat("use filetype=", constant->short_name(), ", or leave the image out"));
    }
  }
  return {};
}

}  // namespace

Result<void> check_disk_size(const std::string &path, std::uint64_t bytes) {
  if (bytes <= kMaxImageSize) return {};
  return Error(kBadSizeInImage, text::cat(text::printable(path), ": its header says ", bytes,
                                          " bytes, more than any disk can have"));
}

Result<ImageInfo> info(plugin::Registry &registry, const Constant &filetype, int fd,
                       const std::string &path) {
  auto plugin = registry.load(filetype);
  if (!plugin) return plugin.error();
  auto file_info = sys::file_info(fd);
  if (!file_info) return file_info.error().at(quoted(path));

  const sys::HostFile file(fd, VBD_FILE_READONLY);
  plugin::Request request;
  request.image = path;
  request.file = file.file();
  auto facts = (*plugin)->call((*plugin)->filetype()->info, "info", request);
  if (!facts) return facts.error().at(quoted(path));

  ImageInfo result;
  result.virtual_size = facts->number("virtual_size");
  result.allocated = file_info->allocated;
  result.file_size = file_info->size;
  result.properties = (*plugin)->note().properties;
  for (auto &[name, value] : facts->properties()) result.properties[name] = value;
  result.references = references_of(*facts);
  result.facts = std::move(*facts);
  VBD_TRY(check_disk_size(path, result.virtual_size));
  return result;
}

Result<void> lock_to_look(int fd, const std::string &path, std::chrono::milliseconds patience) {
  using std::chrono::milliseconds;
  auto locked = sys::lock_image(fd, sys::ImageLockMode::inspect, path, milliseconds(0));
  if (locked || !locked.error().is(sys::kInUse)) return locked;
  // A device stays: it is not waited for.
  const auto file = sys::file_info(fd);
  const auto loops = file ? sys::loops_of(file->id) : Result<std::vector<sys::LoopDevice>>(file.error());
  if (loops && !loops->empty()) return {};
  return patience == milliseconds(0) ? locked
                                     : sys::lock_image(fd, sys::ImageLockMode::inspect, path, patience);
}

Result<ImageInfo> verify_declared(plugin::Registry &registry, const Constant &filetype, int fd,
                                  const std::string &path) {
  VBD_TRY_ASSIGN(auto plugin, registry.load(filetype));
  const sys::HostFile file(fd, VBD_FILE_READONLY);
  // The others first, for they can name the filetype; also when the declared one is sure of itself, because a
  // file that is two formats at once is made to deceive.
  VBD_TRY(refuse_claim_of_others(registry, filetype, file, path));
  VBD_TRY(refuse_unrecognised(*plugin, filetype.str(), file, path));
  auto result = info(registry, filetype, fd, path);
  if (!result) return result.error();
  const std::uint64_t size = result->virtual_size;
  if (size == 0 || size % kSectorSize != 0) {
    return Error(kBadSizeInImage,
                 text::cat(quoted(path), ": its size of ", size, " bytes is not a positive multiple of 512"));
  }
  return result;
}

Result<void> check_references(const ImageInfo &info, const config::Settings &settings,
                              const std::string &path) {
  if (info.references.empty()) return {};
  const auto &first = info.references.front();
  const std::string named = text::cat(quoted(path), ": it names a second file, ", text::printable(first.role),
                                      " \"", text::printable(first.name), "\"");
  if (settings.references == config::ReferencePolicy::deny) {
    return Error(kReference, named + ", which the configuration refuses",
                 "make one file of it, or set references: below-allowed-dirs");
  }
  const auto allowed = sys::resolve_allowed(settings.allowed_dirs);
  for (const auto &reference : info.references) {
    // Relative names are relative to the image's directory in every format that has them.
    const std::string target = reference.name.starts_with('/')
                                   ? reference.name
                                   : text::cat(sys::dir_name(path), "/", reference.name);
    auto checked = check_image_path(sys::absolute_path(target));
    auto opened = checked ? sys::open_image_below(sys::absolute_path(target), allowed, sys::Access::read)
                          : Result<sys::Fd>(checked.error());
    if (!opened) {
      return Error(kReference, text::cat(quoted(path), ": its ", text::printable(reference.role),
                                         " file is refused: ", opened.error().message()));
    }
  }
  return {};
}

}  // namespace vbd::image
