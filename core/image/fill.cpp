// SPDX-License-Identifier: MIT
// Threads take tasks one after the other. Those whose bytes are only moved from memory to memory are done by
// one thread, for more would only wait for each other's locks on the file; the first task that needs a
// processor, or a disk, brings the other threads.
#include "core/image/fill.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "core/image/copy_tasks.hpp"
#include "core/image/in_order.hpp"
#include "core/image/mover.hpp"
#include "core/image/read_ahead.hpp"

namespace vbd::image {
namespace {

constexpr std::uint64_t kCopyStep = std::uint64_t{1} << 20;
constexpr std::uint64_t kVerbatim = std::uint64_t{16} << 20;
constexpr std::uint64_t kFromDisk = std::uint64_t{4} << 20;
constexpr std::uint64_t kMostUnit = std::uint64_t{64} << 20;
constexpr std::uint64_t kZeroBlock =
    4096;  // what --detect-zeroes looks at: a block of nearly every filesystem

std::uint64_t unit_of(const OpenImage &target) {
  const std::uint64_t unit = target.unit();
  return unit <= kMostUnit && (unit & (unit - 1)) == 0 ? unit : std::uint64_t{4096};
}

class Filling {
 public:
  Filling(const OpenImage &source, OpenImage &target, const FillOptions &options, const std::string &what,
          const Watch &watch)
      : source_(source),
        target_(target),
        options_(options),
        what_(what),
        watch_(watch),
        unit_(unit_of(target)),
        mover_(target, options.write_early, [this] { return goes_on(); }),
        tasks_(source, unit_),
        ahead_(source, [this](const Piece &piece) { return !mover_.shares(piece); }) {
    // Where a chain needs one plugin inside another one, threads could wait for each other for ever.
    if (source.parallel_read() || !source.has_references()) most_threads_ = all_processors();
  }

  Result<void> run();

 private:
  Result<void> goes_on();
  std::optional<CopyTask> next();
  void work();
  bool takes_long(const CopyTask &task);
  void help();
  void fail(const Error &error);
  Result<void> do_task(const CopyTask &task, Buffer &buffer, Buffer &spare);
  Result<void> into_places(const CopyTask &task, Buffer &buffer);
  Result<void> make_space(const std::vector<vbd_extent> &places, const CopyTask &task);
  Result<void> place_part(const std::vector<vbd_extent> &places, const Piece &part, Buffer &buffer);
  Result<void> clear_gap(const std::vector<vbd_extent> &places, std::uint64_t begin, std::uint64_t end);
  Result<void> by_chunks(const CopyTask &task, Buffer &buffer, Buffer &spare);
  Result<void> read_chunk(const CopyTask &chunk, Buffer &buffer);
  Result<void> write_detected(const CopyTask &chunk, const Buffer &buffer, Buffer &spare);
  Result<void> write_run(const CopyTask &chunk, std::uint64_t begin, std::uint64_t end, const Buffer &buffer,
                         Buffer &spare);
  Result<void> put_blocks(const std::vector<vbd_extent> &places, const CopyTask &chunk, std::uint64_t begin,
                          std::uint64_t end, const Buffer &buffer, Buffer &spare);

  const OpenImage &source_;
  OpenImage &target_;
  const FillOptions options_;
  const std::string &what_;
  const Watch &watch_;
  const std::uint64_t unit_;
  Mover mover_;
  unsigned most_threads_ = 1;

  std::mutex mutex_;  // for all that follows
  CopyTasks tasks_;
  ReadAhead ahead_;
  std::vector<std::thread> threads_;
  std::optional<Error> error_;
  bool more_ = true;

  std::atomic<std::uint64_t> at_{0};
  std::atomic<bool> places_{true};  // the target offers reserve and commit
};

/// Somebody's wish to stop, or another thread's failure.
Result<void> Filling::goes_on() {
  if (!stopped(watch_, at_, source_.size())) return {};
  return cancelled(what_);
}

void Filling::fail(const Error &error) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!error_) error_ = error;
  more_ = false;
}

std::optional<CopyTask> Filling::next() {
  if (auto more = goes_on(); !more) {
    fail(more.error());
    return std::nullopt;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!more_) return std::nullopt;
  // The first task is a small one: it finds out what the target offers.
  const bool small = at_ == 0 || !places_ || options_.detect_zeroes;
  auto task = tasks_.next(small ? kCopyStep : ahead_.helps() ? kFromDisk : kVerbatim, kCopyStep);
  if (!task && !error_) error_ = task.error();
  more_ = task && *task;
  if (!more_) return std::nullopt;
  if (at_ != 0) ahead_.reach((*task)->begin);  // whether the files share their content is known by then
  at_ = (*task)->end;
  return **std::move(task);
}

bool Filling::takes_long(const CopyTask &task) {
  if (!task.verbatim() || !places_ || options_.detect_zeroes) return true;
  return ahead_.helps() && !mover_.shares(task.parts.front());
}

/// One more thread where there may be one; the caller is a thread of this.
void Filling::help() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (threads_.size() + 1 >= most_threads_ || !more_) return;
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error &) {
    most_threads_ = 1;  // fewer do as well
  }
}

void Filling::work() {
  try {
    Buffer buffer, spare;
    bool first = true;
    while (const auto task = next()) {
      if (takes_long(*task) && !(first && task->verbatim())) help();
      if (auto done = do_task(*task, buffer, spare); !done) return fail(done.error());
      first = false;
    }
  } catch (const std::bad_alloc &) {
    fail(Error(plugin::kInternal, text::cat(what_, ": out of memory")));
  }
}

Result<void> Filling::run() {
  work();
  // A thread begins others only before its own end, so the list is complete when its last one has ended.
  for (std::size_t i = 0;; ++i) {
    std::thread next;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (i == threads_.size()) break;
      next = std::move(threads_[i]);
    }
    next.join();
  }
  if (error_) return *error_;
  return {};
}

Result<void> Filling::do_task(const CopyTask &task, Buffer &buffer, Buffer &spare) {
  if (options_.detect_zeroes || !places_) return by_chunks(task, buffer, spare);
  if (auto done = into_places(task, buffer); !done || places_) return done;
  return by_chunks(task, buffer, spare);
}

/// body(guest offset, length, place) for what lies of [begin, end) in each place.
template <class Body>
Result<void> each_place(const std::vector<vbd_extent> &places, std::uint64_t begin, std::uint64_t end,
                        Body &&body) {
  auto place = std::partition_point(places.begin(), places.end(), [begin](const vbd_extent &one) {
    return one.offset + one.length <= begin;
  });
  for (; place != places.end() && begin < end; ++place) {
    const std::uint64_t stop = std::min(end, place->offset + place->length);
    VBD_TRY(body(begin, stop - begin, place->host_offset + (begin - place->offset)));
    begin = stop;
  }
  return {};
}

/// `places_` becomes false when the target has none.
Result<void> Filling::into_places(const CopyTask &task, Buffer &buffer) {
  VBD_TRY_ASSIGN(const auto places, target_.reserve(task.begin, task.end - task.begin));
  if (places.empty()) {
    places_ = false;
    return {};
  }
  VBD_TRY(make_space(places, task));
  std::uint64_t at = task.begin;
  for (const Piece &part : task.parts) {
    VBD_TRY(clear_gap(places, at, part.offset));
    VBD_TRY(place_part(places, part, buffer));
    at = part.offset + part.length;
  }
  VBD_TRY(clear_gap(places, at, task.end));
  return target_.commit(task.begin, task.end - task.begin);
}

/// For each stretch of parts that follow each other and are written wholly.
Result<void> Filling::make_space(const std::vector<vbd_extent> &places, const CopyTask &task) {
  for (auto part = task.parts.begin(); part != task.parts.end();) {
    const std::uint64_t begin = part->offset;
    std::uint64_t end = begin;
    for (; part != task.parts.end() && part->offset == end && mover_.fills(*part); ++part)
      end += part->length;
    if (begin == end) {
      ++part;
      continue;
    }
    VBD_TRY(each_place(places, begin, end, [&](std::uint64_t, std::uint64_t length, std::uint64_t host) {
      return mover_.make_space(host, length);
    }));
  }
  return {};
}

Result<void> Filling::place_part(const std::vector<vbd_extent> &places, const Piece &part, Buffer &buffer) {
  return each_place(places, part.offset, part.offset + part.length,
                    [&](std::uint64_t offset, std::uint64_t length, std::uint64_t host) {
                      Piece some = part;
                      some.offset = offset;
                      some.length = length;
                      if (part.kind == VBD_EXTENT_DATA) some.host_offset += offset - part.offset;
                      return mover_.move(some, host, buffer);
                    });
}

/// What nobody filled may be anything: it has to read as zeros.
Result<void> Filling::clear_gap(const std::vector<vbd_extent> &places, std::uint64_t begin,
                                std::uint64_t end) {
  if (begin >= end) return {};
  return each_place(places, begin, end, [&](std::uint64_t, std::uint64_t length, std::uint64_t host) {
    return mover_.clear(host, length);
  });
}

/// Read into memory, a chunk after the other, and written from there.
Result<void> Filling::by_chunks(const CopyTask &task, Buffer &buffer, Buffer &spare) {
  const std::uint64_t step = std::max(kCopyStep, unit_);
  for (std::uint64_t begin = task.begin; begin < task.end; begin += step) {
    VBD_TRY(goes_on());
    CopyTask chunk{begin, std::min(task.end, begin + step), {}};
    for (Piece part : task.parts) {
      const std::uint64_t from = std::max(part.offset, chunk.begin);
      const std::uint64_t to = std::min(part.offset + part.length, chunk.end);
      if (from >= to) continue;
      if (part.kind == VBD_EXTENT_DATA) part.host_offset += from - part.offset;
      part.offset = from;
      part.length = to - from;
      chunk.parts.push_back(part);
    }
    VBD_TRY(read_chunk(chunk, buffer));
    VBD_TRY(options_.detect_zeroes ? write_detected(chunk, buffer, spare)
                                   : target_.write(buffer.data(), chunk.end - chunk.begin, chunk.begin));
  }
  return {};
}

Result<void> Filling::read_chunk(const CopyTask &chunk, Buffer &buffer) {
  buffer.hold(chunk.end - chunk.begin);
  std::uint64_t at = chunk.begin;
  for (const Piece &part : chunk.parts) {
    unsigned char *to = buffer.data() + (part.offset - chunk.begin);
    std::memset(buffer.data() + (at - chunk.begin), 0, part.offset - at);
    const auto read =
        part.verbatim ? sys::read_at(part.image->fd(), part.image->path(), to, part.length, part.host_offset)
                      : part.image->read(to, part.length, part.offset);
    if (!read) return read;
    at = part.offset + part.length;
  }
  std::memset(buffer.data() + (at - chunk.begin), 0, chunk.end - at);
  return {};
}

/// The units that are not all zeros, those that follow each other together.
Result<void> Filling::write_detected(const CopyTask &chunk, const Buffer &buffer, Buffer &spare) {
  const auto is_zero = [&](std::uint64_t begin) {
    return all_zero(buffer.data() + (begin - chunk.begin), std::min(chunk.end, begin + unit_) - begin);
  };
  for (std::uint64_t begin = chunk.begin; begin < chunk.end;) {
    std::uint64_t end = begin;
    while (end < chunk.end && !is_zero(end)) end = std::min(chunk.end, end + unit_);
    if (end > begin) {
      if (auto done = write_run(chunk, begin, end, buffer, spare); !done) return done;
    }
    begin = std::min(chunk.end, end + unit_);  // the one at `end` is zero
  }
  return {};
}

Result<void> Filling::write_run(const CopyTask &chunk, std::uint64_t begin, std::uint64_t end,
                                const Buffer &buffer, Buffer &spare) {
  if (places_) {
    VBD_TRY_ASSIGN(const auto places, target_.reserve(begin, end - begin));
    if (!places.empty()) {
      VBD_TRY(put_blocks(places, chunk, begin, end, buffer, spare));
      return target_.commit(begin, end - begin);
    }
    places_ = false;
  }
  return target_.write(buffer.data() + (begin - chunk.begin), end - begin, begin);
}

/// Blocks that are all zeros become holes, also inside a unit.
Result<void> Filling::put_blocks(const std::vector<vbd_extent> &places, const CopyTask &chunk,
                                 std::uint64_t begin, std::uint64_t end, const Buffer &buffer,
                                 Buffer &spare) {
  const auto block_is_zero = [&](std::uint64_t at) {
    return all_zero(buffer.data() + (at - chunk.begin), std::min(end, at + kZeroBlock) - at);
  };
  const bool shared = chunk.parts.size() == 1 && mover_.shares(chunk.parts.front());
  while (begin < end) {
    const bool zero = block_is_zero(begin);
    std::uint64_t stop = std::min(end, begin + kZeroBlock);
    while (stop < end && block_is_zero(stop) == zero) stop = std::min(end, stop + kZeroBlock);
    const auto done =
        zero ? clear_gap(places, begin, stop)
             : each_place(
                   places, begin, stop, [&](std::uint64_t offset, std::uint64_t length, std::uint64_t host) {
                     const Piece &part = chunk.parts.front();
                     if (!shared || offset < part.offset || offset + length > part.offset + part.length)
                       return mover_.put(buffer.data() + (offset - chunk.begin), length, host);
                     Piece some = part;
                     some.host_offset += offset - part.offset;
                     some.offset = offset;
                     some.length = length;
                     return mover_.move(some, host, spare);
                   });
    if (!done) return done;
    begin = stop;
  }
  return {};
}

}  // namespace

Result<void> fill(const OpenImage &source, OpenImage &target, const FillOptions &options,
                  const std::string &what, const Watch &watch) {
  return Filling(source, target, options, what, watch).run();
}

}  // namespace vbd::image
