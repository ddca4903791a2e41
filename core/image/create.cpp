// SPDX-License-Identifier: MIT
#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/image/new_file.hpp"
#include "core/sys/host_file.hpp"

namespace vbd::image {
namespace {

/// Loads the filetype and completes the options: what create and check_create share.
struct Prepared {
  plugin::Plugin *filetype;
  plugin::Values params;
};
Result<Prepared> prepare(plugin::Registry &registry, const CreateSpec &spec, const std::string &where) {
  VBD_TRY(check_image_size(spec.size, where));
  VBD_TRY_ASSIGN(auto filetype, registry.load(spec.filetype));
  if (filetype->filetype()->create == nullptr) {
    return Error(plugin::kNoOperation, text::cat(where, ": ", spec.filetype.str(), " can't create images"));
  }
  VBD_TRY_ASSIGN(auto params, filetype->image_params(spec.options, where));
  return Prepared{filetype, std::move(params)};
}

/// What killed runs left of this very image.
void drop_stale(int directory, const std::string &name) {
  auto stale = sys::stale_temp_files(directory);
  if (!stale) return;
  for (const std::string &left : *stale) {
    if (!left.starts_with(text::cat(".vbd-", name, "."))) continue;
    if (auto gone = sys::unlink_at(directory, left); !gone) log::warn(gone.error().message());
  }
}

Result<void> refuse_taken(int directory, const std::string &name, const std::string &where) {
  const auto taken = sys::file_info_at(directory, name);
  if (taken)
    return Error(sys::kExists, where + ": exists already", "choose another name, or remove it first");
  if (taken.error().is(sys::kNotFound)) return {};
  return taken.error().at(where);
}

}  // namespace

Result<void> check_image_size(std::uint64_t size, const std::string &where) {
  if (size >= kSectorSize && size <= kMaxImageSize && size % kSectorSize == 0) return {};
  return Error(kBadSize, text::cat(where, ": size ", size, " bytes: must be a multiple of 512 from 512 to ",
                                   kMaxImageSize));
}

Result<void> check_create(plugin::Registry &registry, const CreateSpec &spec, const std::string &where) {
  VBD_TRY(prepare(registry, spec, where));
  return {};
}

Result<NewFile> make_new_file(plugin::Registry &registry, int directory, const std::string &name,
                              const std::string &path, const CreateSpec &spec) {
  const std::string where = text::printable(path);
  VBD_TRY_ASSIGN(auto prepared, prepare(registry, spec, where));
  VBD_TRY(refuse_taken(directory, name, where));
  drop_stale(directory, name);

  auto temp = sys::TempFile::create(directory, name, spec.ownership);
  if (!temp) return temp.error().at(where);
  const sys::HostFile file(temp->fd(), spec.sync ? 0u : std::uint32_t{VBD_FILE_NO_SYNC});
  plugin::Request request;
  request.image = path;
  request.file = file.file();
  request.bytes = spec.size;
  request.params = prepared.params;
  auto made = prepared.filetype->call(prepared.filetype->filetype()->create, "create", request);
  if (!made) return made.error().at(where);
  return NewFile{prepared.filetype, std::move(prepared.params), *std::move(temp)};
}

Result<void> create(plugin::Registry &registry, int directory, const std::string &name,
                    const std::string &path, const CreateSpec &spec) {
  VBD_TRY_ASSIGN(auto file, make_new_file(registry, directory, name, path, spec));
  auto published = std::move(file.temp).publish_new(spec.sync);
  if (!published) return published.error().at(text::printable(path));
  return {};
}

}  // namespace vbd::image
