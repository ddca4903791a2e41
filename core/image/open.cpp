// SPDX-License-Identifier: MIT
#include "core/image/open.hpp"

#include <algorithm>
#include <array>

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/image/image_file.hpp"
#include "core/plugin/call.hpp"
#include "core/sys/locks.hpp"

namespace vbd::image {

/// What keeps a chain from being endless: its files so far.
struct OpenImage::Chain {
  plugin::Registry &registry;
  const config::Settings &settings;
  std::vector<sys::FileId> files;
};

struct OpenImage::Reference {
  std::uint32_t index = 0;
  std::string role, name;
  std::unique_ptr<OpenImage> image;  // role backing: the guest's bytes of it
  std::unique_ptr<ImageFile> bytes;
  sys::Fd fd;  // role data: the file's own bytes
  std::unique_ptr<sys::HostFile> plain;
};

namespace {

constexpr std::size_t kMostLinks = 16;
constexpr std::uint32_t kExtents = 64;

Error reference_error(const std::string &path, const ImageInfo::Reference &reference, std::string_view why) {
  return Error(kReference, text::cat(text::printable(path), ": its ", text::printable(reference.role),
                                     " file ", text::printable(reference.name), " is refused: ", why));
}

/// Relative names are relative to the directory of the image that says them.
Result<sys::Fd> open_reference(const config::Settings &settings, const std::string &path,
                               const ImageInfo::Reference &reference) {
  const std::string name = reference.name.starts_with('/')
                               ? reference.name
                               : text::cat(sys::dir_name(sys::absolute_path(path)), "/", reference.name);
  auto fd = sys::open_image_below(sys::absolute_path(name), sys::resolve_allowed(settings.allowed_dirs),
                                  sys::Access::read);
  if (!fd) return reference_error(path, reference, fd.error().message());
  VBD_TRY(sys::lock_image(fd->get(), sys::ImageLockMode::stable, name));
  return fd;
}

}  // namespace

OpenImage::OpenImage(plugin::Plugin &plugin, sys::Fd fd, std::uint32_t file_flags, std::string path)
    : plugin_(plugin), fd_(std::move(fd)), file_(fd_.get(), file_flags), path_(std::move(path)) {}

OpenImage::~OpenImage() {
  if (image_ == nullptr) return;
  plugin::ErrorBuffer error;
  bool thrown = false;
  (void)plugin::call_out(thrown, plugin_.filetype()->image->close, image_, error.get());
}

Result<std::unique_ptr<OpenImage>> OpenImage::open(plugin::Registry &registry,
                                                   const config::Settings &settings, const Constant &filetype,
                                                   sys::Fd fd, const std::string &path) {
  Chain chain{registry, settings, {}};
  return open_link(chain, filetype, std::move(fd), path);
}

Result<std::unique_ptr<OpenImage>> OpenImage::open_link(Chain &chain, const Constant &filetype, sys::Fd fd,
                                                        const std::string &path) {
  auto plugin = chain.registry.load(filetype);
  if (!plugin) return plugin.error();
  if ((*plugin)->filetype()->image == nullptr) {
    return Error(plugin::kNoOperation, text::cat(filetype.str(), " can't read the content of images"));
  }
  auto file = sys::file_info(fd.get());
  if (!file) return file.error().at(text::printable(path));
  if (std::find(chain.files.begin(), chain.files.end(), file->id) != chain.files.end())
    return Error(kReference, text::cat(text::printable(path), ": refers to itself through its references"));
  if (chain.files.size() == kMostLinks)
    return Error(kReference,
                 text::cat(text::printable(path), ": more than ", kMostLinks, " images refer to each other"));
  chain.files.push_back(file->id);
  VBD_TRY_ASSIGN(auto info, image::info(chain.registry, filetype, fd.get(), path));
  VBD_TRY(check_references(info, chain.settings, path));
  std::unique_ptr<OpenImage> image(new OpenImage(**plugin, std::move(fd), VBD_FILE_READONLY, path));
  VBD_TRY(image->open_references(chain, info));
  VBD_TRY(image->start(VBD_MUST_READONLY, {}));
  return image;
}

Result<void> OpenImage::open_references(Chain &chain, const ImageInfo &info) {
  for (std::uint32_t i = 0; i < info.references.size(); ++i) {
    const ImageInfo::Reference &named = info.references[i];
    auto fd = open_reference(chain.settings, path_, named);
    if (!fd) return fd.error();
    auto reference = std::make_unique<Reference>();
    reference->index = i;
    reference->role = named.role;
    reference->name = named.name;
    if (named.role == "data") {
      reference->fd = *std::move(fd);
      reference->plain = std::make_unique<sys::HostFile>(reference->fd.get(), VBD_FILE_READONLY);
    } else {
      if (named.format.empty())
        return reference_error(path_, named, "no format is named, and none is guessed");
      auto format = Constant::parse(named.format, PluginKind::filetype);
      if (!format) return reference_error(path_, named, format.error().message());
      auto image = open_link(chain, *format, *std::move(fd),
                             named.name.starts_with('/')
                                 ? named.name
                                 : text::cat(sys::dir_name(sys::absolute_path(path_)), "/", named.name));
      if (!image) return image.error();
      reference->image = *std::move(image);
      reference->bytes = std::make_unique<ImageFile>(*reference->image);
    }
    references_.push_back(std::move(reference));
  }
  return {};
}

Result<void> OpenImage::start(std::uint32_t must, const plugin::Values &params) {
  plugin::Request request;
  request.params = params;
  request.image = path_;
  request.file = file_.file();
  request.must = must;
  for (const auto &reference : references_) {
    const vbd_file *file = reference->bytes ? reference->bytes->file() : reference->plain->file();
    request.references.push_back(
        {sizeof(vbd_reference), reference->index, reference->role.c_str(), reference->name.c_str(), file});
  }
  const plugin::RawRequest raw(request);
  const vbd_image_ops &ops = *plugin_.filetype()->image;
  plugin::ErrorBuffer error;
  bool thrown = false;
  const std::int32_t opened =
      plugin::call_out(thrown, ops.open, plugin_.self(), raw.get(), &image_, error.get());
  if (thrown || opened != VBD_OK) {
    image_ = nullptr;
    return plugin::status_error(thrown ? std::int32_t{VBD_E_INTERNAL} : opened, error.read(),
                                plugin_.note().constant, text::cat("open ", text::printable(path_)));
  }
  return ask_geometry();
}

Result<void> OpenImage::ask_geometry() {
  plugin::ErrorBuffer error;
  bool thrown = false;
  plugin::Facts facts;
  vbd_sink sink = plugin::make_sink(facts);
  const std::int32_t status =
      plugin::call_out(thrown, plugin_.filetype()->image->geometry, image_, &sink, error.get());
  size_ = facts.number("virtual_size");
  unit_ = std::max<std::uint64_t>(512, facts.number("unit"));
  std::map<std::string, std::string> properties = plugin_.note().properties;
  for (const auto &[name, value] : facts.properties()) properties[name] = value;
  flat_ = properties["flat"] == "1";
  if (thrown || status != VBD_OK) {
    return plugin::status_error(thrown ? std::int32_t{VBD_E_INTERNAL} : status, error.read(), constant(),
                                text::cat("geometry ", text::printable(path_)));
  }
  return check_disk_size(path_, size_);
}

bool OpenImage::parallel_read() const {
  return (plugin_.filetype()->image->flags & VBD_IMAGE_PARALLEL_READ) != 0 &&
         std::all_of(references_.begin(), references_.end(),
                     [](const auto &one) { return !one->image || one->image->parallel_read(); });
}

plugin::Gate::Pass OpenImage::pass(std::uint32_t parallel) const {
  return plugin_.gate().enter((plugin_.filetype()->image->flags & parallel) == 0);
}

const OpenImage *OpenImage::reference(std::uint32_t index) const {
  return index < references_.size() ? references_[index]->image.get() : nullptr;
}

Result<void> OpenImage::read(void *to, std::uint64_t length, std::uint64_t offset) const {
  plugin::ErrorBuffer error;
  bool thrown = false;
  const auto pass = this->pass(VBD_IMAGE_PARALLEL_READ);
  const std::int32_t status =
      plugin::call_out(thrown, plugin_.filetype()->image->read, image_, to, length, offset, error.get());
  if (!thrown && status == VBD_OK) return {};
  return plugin::status_error(thrown ? std::int32_t{VBD_E_INTERNAL} : status, error.read(),
                              plugin_.note().constant, text::cat("read ", text::printable(path_)));
}

Result<std::vector<vbd_extent>> OpenImage::map(std::uint64_t offset, std::uint64_t length) const {
  std::array<vbd_extent, kExtents> extents{};
  std::uint32_t n = 0;
  plugin::ErrorBuffer error;
  bool thrown = false;
  const auto pass = this->pass(VBD_IMAGE_PARALLEL_READ);
  const std::int32_t status = plugin::call_out(thrown, plugin_.filetype()->image->map, image_, offset, length,
                                               extents.data(), kExtents, &n, error.get());
  if (thrown || status != VBD_OK) {
    return plugin::status_error(thrown ? std::int32_t{VBD_E_INTERNAL} : status, error.read(),
                                plugin_.note().constant, text::cat("map ", text::printable(path_)));
  }
  std::uint64_t at = offset;
  bool good = n >= 1 && n <= kExtents;
  for (std::uint32_t i = 0; good && i < n; ++i) {
    const vbd_extent &extent = extents[i];
    good = extent.offset == at && extent.length > 0 && extent.length <= offset + length - at &&
           extent.kind >= VBD_EXTENT_HOLE && extent.kind <= VBD_EXTENT_REFERENCE &&
           (extent.kind != VBD_EXTENT_REFERENCE || (extent.file >= 1 && extent.file <= references_.size()));
    at += extent.length;
  }
  if (good) return std::vector<vbd_extent>(extents.begin(), extents.begin() + n);
  return Error(kBadExtent,
               text::cat(text::printable(path_), ": ", plugin_.note().constant, " gave a map that is none"));
}

}  // namespace vbd::image
