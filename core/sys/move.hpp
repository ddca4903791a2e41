// SPDX-License-Identifier: MIT
// Bytes from one file into another, by the kernel where it can. Descriptors are the caller's; ranges are
// bytes of the files. Any thread. Errors say which file: `from` and `to` of a Way are for messages.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.hpp"

namespace vbd::sys {

/// What bytes can be moved by, found out by trying.
struct Way {
  int from = -1, to = -1;
  std::string from_name, to_name;
};

/// The whole content, its size included, shared until one of them is written (FICLONE of ioctl_ficlone(2)).
/// False: these files can't share; nothing was changed.
[[nodiscard]] Result<bool> clone_whole(int from, int to);
/// A range likewise (FICLONERANGE); offsets and length are multiples of the filesystem's block.
[[nodiscard]] Result<bool> clone_range(const Way &way, std::uint64_t from, std::uint64_t length,
                                       std::uint64_t to);
/// Copied inside the kernel (copy_file_range). How many bytes from the beginning of the range on: fewer than
/// `length` where it can't go on and the rest is to be read and written.
[[nodiscard]] Result<std::uint64_t> copy_range(const Way &way, std::uint64_t from, std::uint64_t length,
                                               std::uint64_t to);
/// Is it a filesystem whose server copies by itself, without the bytes coming here and going back? Everywhere
/// else copy_range() costs more than reading and writing large parts into allocated space.
[[nodiscard]] bool copies_remotely(int fd);
/// Exactly so many bytes; a file that ends before is kIo.
[[nodiscard]] Result<void> read_at(int fd, const std::string &name, void *to, std::uint64_t length,
                                   std::uint64_t offset);
[[nodiscard]] Result<void> write_at(int fd, const std::string &name, const void *from, std::uint64_t length,
                                    std::uint64_t offset);
/// Space for what is going to be written there, the file's size growing to it: written bytes then cost less
/// than those whose space is found one block after the other. False: this filesystem can't.
[[nodiscard]] Result<bool> allocate_at(int fd, const std::string &name, std::uint64_t offset,
                                       std::uint64_t length);
/// The range reads as zeros and takes no space, where the filesystem can do that.
[[nodiscard]] Result<void> punch_at(int fd, const std::string &name, std::uint64_t offset,
                                    std::uint64_t length);

/// Where the first hole or, `data`, the first byte that is no hole lies at or after `offset`; `end` where
/// there is none before it. A file that can't tell is all data.
[[nodiscard]] std::uint64_t next_hole(int fd, std::uint64_t offset, std::uint64_t end);
[[nodiscard]] std::uint64_t next_data(int fd, std::uint64_t offset, std::uint64_t end);

/// The unit of sharing: both files' filesystem block where they lie on the same filesystem, else 0.
[[nodiscard]] std::uint64_t shared_block(int from, int to);

/// Is what the file stores in memory already? Samples of it are looked at. False where the kernel can't say.
[[nodiscard]] bool is_cached(int fd);
/// The kernel begins to read a range, without anybody waiting.
void begin_reading(int fd, std::uint64_t offset, std::uint64_t length);
/// The kernel begins to write what is dirty in a range, likewise.
void begin_writing(int fd, std::uint64_t offset, std::uint64_t length);

}  // namespace vbd::sys
