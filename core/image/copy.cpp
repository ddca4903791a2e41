// SPDX-License-Identifier: MIT
#include "core/image/copy.hpp"

#include "core/base/text.hpp"
#include "core/image/fill.hpp"
#include "core/image/new_file.hpp"
#include "core/sys/move.hpp"

namespace vbd::image {
namespace {

/// Both files are nothing but the same guest's bytes, and the new one has no space of its own yet.
Result<bool> are_alike(const OpenImage &source, const OpenImage &target) {
  if (!source.flat() || !target.flat() || source.constant() != target.constant() || source.has_references())
    return false;
  const auto from = sys::file_info(source.fd());
  const auto to = sys::file_info(target.fd());
  if (!from) return from.error();
  if (!to) return to.error();
  return from->size == source.size() && to->size == from->size && to->allocated == 0;
}

Result<bool> share_all(const OpenImage &source, const OpenImage &target) {
  const auto alike = are_alike(source, target);
  if (!alike || !*alike) return alike;
  auto shared = sys::clone_whole(source.fd(), target.fd());
  if (!shared) return shared.error().at(text::printable(target.path()));
  return shared;
}

/// A writer that keeps to no lock.
Result<void> refuse_change(const OpenImage &source, const sys::FileInfo &before) {
  VBD_TRY_ASSIGN(const auto now, sys::file_info(source.fd()));
  if (now.size == before.size) return {};
  return Error(sys::kIo, text::cat(text::printable(source.path()), ": its size changed while it was copied"),
               "stop what writes to it");
}

Result<void> fill_new(const OpenImage &source, NewFile &file, const std::string &path, const CopySpec &spec,
                      const std::string &what, const Watch &watch) {
  auto fd = sys::duplicate(file.temp.fd());
  if (!fd) return fd.error();
  VBD_TRY_ASSIGN(auto target, OpenImage::open_new(*file.filetype, *std::move(fd), path, file.params));
  if (target->size() != source.size()) {
    return Error(kBadSizeInImage,
                 text::cat(text::printable(path), ": ", file.filetype->note().constant, " made an image of ",
                           target->size(), " bytes, not of ", source.size()));
  }
  if (!spec.detect_zeroes) {
    VBD_TRY_ASSIGN(const auto shared, share_all(source, *target));
    if (shared) return target->close();
  }
  const FillOptions options{spec.detect_zeroes, spec.target.sync};
  VBD_TRY(fill(source, *target, options, what, watch));
  VBD_TRY(target->flush());
  return target->close();
}

}  // namespace

Result<void> copy(plugin::Registry &registry, const OpenImage &source, int directory, const std::string &name,
                  const std::string &path, const CopySpec &spec, const Watch &watch) {
  const std::string where = text::printable(path);
  const std::string what = text::cat("copy ", text::printable(source.path()), " to ", where);
  VBD_TRY_ASSIGN(const auto before, sys::file_info(source.fd()));
  if (const auto taken = sys::file_info_at(directory, name); taken && taken->id == before.id)
    return Error(sys::kExists, text::cat(what, ": both are the same file"), "name another file for the copy");

  CreateSpec target = spec.target;
  target.size = source.size();
  target.sync = false;  // until it is complete
  VBD_TRY_ASSIGN(auto file, make_new_file(registry, directory, name, path, target));
  VBD_TRY(fill_new(source, file, path, spec, what, watch));
  VBD_TRY(refuse_change(source, before));
  if (spec.target.sync) {
    if (auto synced = sys::sync_fd(file.temp.fd()); !synced) return synced.error().at(where);
  }
  if (stopped(watch, source.size(), source.size())) return cancelled(what);
  auto published = std::move(file.temp).publish_new(spec.target.sync);
  if (!published) return published.error().at(where);
  return {};
}

}  // namespace vbd::image
