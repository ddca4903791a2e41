// SPDX-License-Identifier: MIT
// Moving many bytes between files and pipes, sparsely. Thread-safe; several threads may write disjoint ranges
// of one file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"
#include "core/sys/fd.hpp"

namespace vbd::sys {

/// Less than `length` only at the end of the file or pipe.
[[nodiscard]] Result<std::size_t> read_full(int fd, void *to, std::size_t length);
/// All of it, at the descriptor's position: for pipes. A closed reader is an error, not a signal.
[[nodiscard]] Result<void> write_full(int fd, const void *from, std::size_t length);
/// The same; false when the reader is gone.
[[nodiscard]] Result<bool> write_to_reader(int fd, const void *from, std::size_t length);
[[nodiscard]] Result<void> write_at(int fd, const void *from, std::size_t length, std::uint64_t offset);
[[nodiscard]] Result<void> set_size(int fd, std::uint64_t bytes);
/// Begins to write a range to disk without waiting for it; never fails.
void start_writing(int fd, std::uint64_t offset, std::uint64_t length);
/// Waits until some bytes or the end of file can be read from one of two; false: only `other` can.
[[nodiscard]] Result<bool> wait_readable(int fd, int other);
/// What can be read from a pipe without waiting, at most 4 KiB; "" nothing, or its end.
[[nodiscard]] Result<std::string> read_ready(int fd);
/// Readable (poll(2)) as long as one of the two is, or its writer is gone; a negative one never is. Borrows
/// both.
[[nodiscard]] Result<Fd> either_readable(int a, int b);

/// What a file stores from `offset` on: its first stretch of data; empty, at the file's size, where none
/// follows. A filesystem without holes stores everything.
struct DataRange {
  std::uint64_t begin = 0, end = 0;
};
[[nodiscard]] Result<DataRange> next_data(int fd, std::uint64_t offset);

/// A new file without a name in a directory: it goes with its descriptor. False descriptor (none) where the
/// filesystem can't.
[[nodiscard]] Result<Fd> open_nameless(int directory);

/// Two names of one directory change what they stand for, in one step: false where the filesystem can't.
[[nodiscard]] Result<bool> exchange_at(int directory, const std::string &a, const std::string &b);

/// Both ends closed by exec.
struct BulkPipe {
  Fd read, write;
};
[[nodiscard]] Result<BulkPipe> make_bulk_pipe();

}  // namespace vbd::sys
