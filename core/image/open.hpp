// SPDX-License-Identifier: MIT
// An image open for reading, through its filetype, together with the files that it refers to where policy
// allows them: a chain with an explicit format at each link, below the allowed directories, of limited depth,
// without cycles. map and read from any thread: calls that the filetype does not take at once wait for each
// other, so parallel_read() only says whether several threads get further than one. An image with references
// that is not parallel_read() is for one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/image/image.hpp"
#include "core/plugin/registry.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/host_file.hpp"

namespace vbd::image {

inline constexpr ErrorKind kBadExtent{"plugin.bad_extent", Exit::failed};

class ImageFile;

class OpenImage {
 public:
  /// `fd`: readable, locked by the caller. References are opened here, and locked against writers.
  [[nodiscard]] static Result<std::unique_ptr<OpenImage>> open(plugin::Registry &registry,
                                                               const config::Settings &settings,
                                                               const Constant &filetype, sys::Fd fd,
                                                               const std::string &path);
  /// What the filetype's create made of `fd`, without references, to be filled before anybody else sees it.
  /// Its syncs do nothing: whoever gives it its name makes all of it durable at once. `params`: as for the
  /// create.
  [[nodiscard]] static Result<std::unique_ptr<OpenImage>> open_new(plugin::Plugin &plugin, sys::Fd fd,
                                                                   const std::string &path,
                                                                   const plugin::Values &params);
  OpenImage(const OpenImage &) = delete;
  ~OpenImage();

  [[nodiscard]] std::uint64_t size() const { return size_; }  ///< virtual, bytes
  [[nodiscard]] std::uint64_t unit() const { return unit_; }  ///< best multiple for writes, a power of two
  [[nodiscard]] bool flat() const { return flat_; }           ///< the guest's bytes are the file's
  [[nodiscard]] const std::string &path() const { return path_; }
  [[nodiscard]] const std::string &constant() const { return plugin_.note().constant; }
  [[nodiscard]] bool parallel_read() const;  ///< it and all that it refers to
  [[nodiscard]] Result<void> read(void *to, std::uint64_t length, std::uint64_t offset) const;
  /// At least one extent of the range, checked: ascending, without gaps, inside.
  [[nodiscard]] Result<std::vector<vbd_extent>> map(std::uint64_t offset, std::uint64_t length) const;
  /// What stands at reference `index`; null where it is a file of plain bytes.
  [[nodiscard]] const OpenImage *reference(std::uint32_t index) const;
  [[nodiscard]] bool has_references() const { return !references_.empty(); }
  /// The file of the image, where DATA extents lie; stays this object's.
  [[nodiscard]] int fd() const { return fd_.get(); }

  // Of an image from open_new alone. Any thread, disjoint ranges.
  [[nodiscard]] Result<void> write(const void *from, std::uint64_t length, std::uint64_t offset);
  [[nodiscard]] Result<void> zero(std::uint64_t offset, std::uint64_t length, std::uint32_t flags);
  /// Places of the file for all bytes of the range, ascending; what they hold is the guest's after commit of
  /// the range. None: the filetype does not offer it for this image, and bytes are to be written.
  [[nodiscard]] Result<std::vector<vbd_extent>> reserve(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] Result<void> commit(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] Result<void> flush();
  /// After it the object is only good for its destructor.
  [[nodiscard]] Result<void> close();

 private:
  struct Reference;
  struct Chain;
  OpenImage(plugin::Plugin &plugin, sys::Fd fd, std::uint32_t file_flags, std::string path);
  [[nodiscard]] static Result<std::unique_ptr<OpenImage>> open_link(Chain &chain, const Constant &filetype,
                                                                    sys::Fd fd, const std::string &path);
  [[nodiscard]] Result<void> open_references(Chain &chain, const ImageInfo &info);
  [[nodiscard]] Result<void> start(std::uint32_t must, const plugin::Values &params);
  [[nodiscard]] Result<void> ask_geometry();
  /// One call of the image table as a result.
  template <class Function, class... Args>
  [[nodiscard]] Result<void> call(const char *what, std::uint32_t parallel, Function function, Args... args);
  [[nodiscard]] Result<std::uint64_t> reserve_some(std::uint64_t offset, std::uint64_t length,
                                                   std::vector<vbd_extent> &extents);
  /// For one call of what `parallel` (VBD_IMAGE_PARALLEL_*) is about.
  [[nodiscard]] plugin::Gate::Pass pass(std::uint32_t parallel) const;

  plugin::Plugin &plugin_;
  sys::Fd fd_;
  sys::HostFile file_;
  std::string path_;
  std::vector<std::unique_ptr<Reference>> references_;
  void *image_ = nullptr;
  std::uint64_t size_ = 0, unit_ = 512;
  bool flat_ = false;
};

/// A piece of the guest's disk, and where it lies.
struct Piece {
  std::uint64_t offset = 0, length = 0;  ///< guest bytes
  std::uint32_t kind = 0;                ///< VBD_EXTENT_*, never REFERENCE
  std::uint64_t host_offset = 0;         ///< as vbd_extent's
  unsigned depth = 0;                    ///< 0: the image itself, 1: what it refers to, ...
  const OpenImage *image = nullptr;      ///< whose bytes they are
  bool verbatim = false;                 ///< DATA, with its bytes at host_offset of image->fd()
};
/// All pieces of the image in order, those of one kind that follow each other in the file as one, until
/// `visit` gives an error back.
[[nodiscard]] Result<void> for_each_piece(const OpenImage &image,
                                          const std::function<Result<void>(const Piece &)> &visit);

}  // namespace vbd::image
