// SPDX-License-Identifier: MIT
// Dumps moved on all processors: read, digested and written in one pass, zeros neither read where the source
// knows of them nor written. A source and a sink are put together; each is for one transfer. [call-thread]
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/image/open.hpp"
#include "core/image/pieces.hpp"
#include "core/image/watch.hpp"

namespace vbd::backup {

using image::Watch;

/// What is worked on at once: every part begins at a multiple of it.
inline constexpr std::uint64_t kPart = 1u << 20;  // bytes

struct Stretch {
  std::uint64_t begin = 0, end = 0;
};

struct Part {
  std::uint64_t offset = 0;
  std::size_t length = 0;            ///< kPart, but for the last one
  std::vector<unsigned char> bytes;  ///< of a stream: what was read
  std::vector<Stretch> stored;       ///< else: what is to be read, in order; the rest is zeros
};

class Source {
 public:
  virtual ~Source() = default;
  /// The next part that holds anything but zeros, for all that the source knows. One call at a time.
  virtual Result<std::optional<Part>> next() = 0;
  /// Its `length` bytes. Several threads.
  virtual Result<void> load(const Part &part, unsigned char *to) = 0;
  /// All of it, zeros at the end included; after the last part.
  [[nodiscard]] virtual std::uint64_t length() const = 0;
  /// What progress is measured against: bytes; 0: not known.
  [[nodiscard]] virtual std::uint64_t expected() const { return length(); }
};
/// All bytes of the parts that it still gives, none loaded.
[[nodiscard]] Result<std::uint64_t> stored_bytes(Source &source);
/// `image` must outlive it.
[[nodiscard]] std::unique_ptr<Source> image_source(const image::OpenImage &image);
/// A file's bytes; holes are not read. Borrows the descriptor.
[[nodiscard]] Result<std::unique_ptr<Source>> file_source(int fd);
/// A pipe, to its end. `size`: another one, to which its writer may say how many bytes it expects, in
/// decimal and with a newline; -1 none.
[[nodiscard]] std::unique_ptr<Source> pipe_source(int fd, int size = -1);
/// A file of frames as zstd_sink writes them; kDamaged for anything else, and for more than `length` bytes.
[[nodiscard]] std::unique_ptr<Source> zstd_source(int fd, std::uint64_t length, std::string name);

/// The pages of a part: bit by page of 4 KiB, whether it holds anything but zeros.
inline constexpr std::size_t kPage = 4096;
using Pages = std::vector<bool>;

class Sink {
 public:
  virtual ~Sink() = default;
  /// `bytes`: of the whole part. What is returned is given to take(). Several threads.
  virtual Result<std::vector<unsigned char>> encode(const Part &part, const unsigned char *bytes,
                                                    const Pages &pages) = 0;
  /// In order, for parts that hold anything but zeros.
  virtual Result<void> take(std::uint64_t offset, std::size_t length, std::vector<unsigned char> encoded) = 0;
  virtual Result<void> finish(std::uint64_t length) = 0;
};
/// Into a file that reads as zeros so far and gets `size` bytes, or, with 0, as many as come. Borrows the
/// descriptor; does not sync it.
[[nodiscard]] std::unique_ptr<Sink> file_sink(int fd, std::uint64_t size = 0);
/// Into an empty file: a frame of zstd (RFC 8878) for each part, so that zstd(1) reads it.
[[nodiscard]] std::unique_ptr<Sink> zstd_sink(int fd);
/// Into a pipe, every byte, as long as somebody reads: what nobody wants any more is only digested.
[[nodiscard]] std::unique_ptr<Sink> pipe_sink(int fd);
/// Into an image that reads as zeros so far, through its filetype; borrows the descriptor, flushes at the
/// end.
[[nodiscard]] Result<std::unique_ptr<Sink>> image_sink(plugin::Plugin &plugin, int fd,
                                                       const std::string &path);
/// Only digested.
[[nodiscard]] std::unique_ptr<Sink> no_sink();

struct Moved {
  std::uint64_t length = 0;
  std::string digest;  ///< as docs/digest.md has it, of these bytes
};
[[nodiscard]] Result<Moved> transfer(Source &source, Sink &sink, const Watch &watch = {});

}  // namespace vbd::backup
