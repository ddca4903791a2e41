// SPDX-License-Identifier: MIT
#include "core/image/compare.hpp"

#include <algorithm>
#include <cstring>

#include "core/image/buffer.hpp"
#include "core/image/in_order.hpp"
#include "core/image/pieces.hpp"
#include "core/image/read_ahead.hpp"

namespace vbd::image {

void Differences::append(const Difference &difference) {
  const std::uint64_t begin = difference.offset / granularity_ * granularity_;
  const std::uint64_t end = std::min(
      end_, (difference.offset + difference.length + granularity_ - 1) / granularity_ * granularity_);
  if (!ranges_.empty() && begin <= ranges_.back().offset + ranges_.back().length) {
    ranges_.back().length = std::max(ranges_.back().length, end - ranges_.back().offset);
  } else {
    ranges_.push_back({begin, end - begin});
  }
}

void Differences::add(const Difference &difference) {
  if (none()) first_ = difference.offset / kSectorSize * kSectorSize;
  bytes_ += difference.length;
  append(difference);
  if (ranges_.size() <= most_) return;
  while (ranges_.size() > most_ / 2) {
    granularity_ *= 2;
    std::vector<Difference> exact;
    exact.swap(ranges_);
    for (const Difference &range : exact) append(range);
  }
}

namespace {

constexpr std::uint64_t kWindow = std::uint64_t{1} << 20;
/// Of both images this fits into the processor's cache.
constexpr std::uint64_t kChunk = std::uint64_t{1} << 17;

/// A window of the guest's disk of which at least one image stores something.
struct Window {
  std::uint64_t begin = 0;
  std::vector<Stored::Stretch> a, b;
};

class Comparer final : public InOrder<Window, std::vector<Difference>> {
 public:
  Comparer(const OpenImage &a, const OpenImage &b, const Watch &watch)
      : a_(a),
        b_(b),
        watch_(watch),
        end_(std::max(a.size(), b.size())),
        stored_a_(a),
        stored_b_(b),
        ahead_a_(a),
        ahead_b_(b),
        found_(end_) {}

  Result<Differences> compare() {
    VBD_TRY(run(a_.parallel_read() && b_.parallel_read() ? all_processors() : 1));
    return std::move(found_);
  }

 private:
  class Looker;
  Result<std::optional<Window>> next() override;
  std::unique_ptr<Worker> worker() override;
  Result<void> take(std::vector<Difference> differences) override {
    for (const Difference &difference : differences) found_.add(difference);
    return {};
  }

  const OpenImage &a_, &b_;
  const Watch &watch_;
  const std::uint64_t end_;
  Stored stored_a_, stored_b_;
  ReadAhead ahead_a_, ahead_b_;
  std::uint64_t at_ = 0;
  Differences found_;
};

Result<std::optional<Window>> Comparer::next() {
  if (stopped(watch_, std::min(at_, end_), end_)) return cancelled("compare");
  const auto a = stored_a_.from(at_), b = stored_b_.from(at_);
  if (!a) return a.error();
  if (!b) return b.error();
  if (!*a && !*b) return std::optional<Window>{};
  const std::uint64_t first =
      std::min(*a ? (*a)->begin : ~std::uint64_t{0}, *b ? (*b)->begin : ~std::uint64_t{0});
  Window window{std::max(first, at_) / kWindow * kWindow, {}, {}};
  const std::uint64_t begin = std::max(window.begin, at_), end = window.begin + kWindow;
  auto in_a = stored_a_.within(begin, end), in_b = stored_b_.within(begin, end);
  if (!in_a) return in_a.error();
  if (!in_b) return in_b.error();
  window.a = *std::move(in_a);
  window.b = *std::move(in_b);
  ahead_a_.reach(begin);
  ahead_b_.reach(begin);
  at_ = end;
  return std::optional<Window>(std::move(window));
}

/// What one image shows of a window, looked at from left to right.
class Side {
 public:
  Side(const OpenImage &image, const std::vector<Stored::Stretch> &stored) : image_(image), stored_(stored) {}

  /// Is `at` stored? And up to where is all the same as there?
  [[nodiscard]] bool stores(std::uint64_t at, std::uint64_t &until) {
    while (next_ < stored_.size() && stored_[next_].end <= at) ++next_;
    if (next_ == stored_.size()) return false;
    const bool inside = stored_[next_].begin <= at;
    until = std::min(until, inside ? stored_[next_].end : stored_[next_].begin);
    return inside;
  }
  [[nodiscard]] Result<void> read(Buffer &to, std::uint64_t begin, std::uint64_t end) const {
    return image_.read(to.data(), end - begin, begin);
  }

 private:
  const OpenImage &image_;
  const std::vector<Stored::Stretch> &stored_;
  std::size_t next_ = 0;
};

class Comparer::Looker final : public Worker {
 public:
  Looker(const OpenImage &a, const OpenImage &b) : a_(a), b_(b), bytes_a_(kChunk), bytes_b_(kChunk) {}

  Result<std::vector<Difference>> work(const Window &window) override {
    std::vector<Difference> found;
    Side a(a_, window.a), b(b_, window.b);
    std::uint64_t until = 0;
    for (std::uint64_t at = window.begin; at < window.begin + kWindow; at = until) {
      until = at / kChunk * kChunk + kChunk;
      const bool in_a = a.stores(at, until), in_b = b.stores(at, until);
      if (in_a) {
        if (auto done = a.read(bytes_a_, at, until); !done) return done.error();
      }
      if (in_b) {
        if (auto done = b.read(bytes_b_, at, until); !done) return done.error();
      }
      if (in_a && in_b) {
        look(at, until, found);
      } else if (in_a || in_b) {
        look_for_zeros(in_a ? bytes_a_ : bytes_b_, at, until, found);
      }
    }
    return found;
  }

 private:
  static void add(std::uint64_t offset, std::uint64_t length, std::vector<Difference> &found) {
    if (!found.empty() && found.back().offset + found.back().length == offset) {
      found.back().length += length;
    } else {
      found.push_back({offset, length});
    }
  }
  /// Calls differ(where, how long) for each sector, or all of them at once when it says no.
  template <class Differ>
  static void by_sector(std::uint64_t begin, std::uint64_t end, std::vector<Difference> &found,
                        Differ differ) {
    if (!differ(0, end - begin)) return;
    for (std::uint64_t i = 0, length = 0; i < end - begin; i += length) {
      length = std::min(kSectorSize - (begin + i) % kSectorSize, end - begin - i);
      if (differ(i, length)) add(begin + i, length, found);
    }
  }
  void look(std::uint64_t begin, std::uint64_t end, std::vector<Difference> &found) const {
    by_sector(begin, end, found, [&](std::uint64_t at, std::uint64_t length) {
      return std::memcmp(bytes_a_.data() + at, bytes_b_.data() + at, length) != 0;
    });
  }
  static void look_for_zeros(const Buffer &bytes, std::uint64_t begin, std::uint64_t end,
                             std::vector<Difference> &found) {
    by_sector(begin, end, found,
              [&](std::uint64_t at, std::uint64_t length) { return !all_zero(bytes.data() + at, length); });
  }

  const OpenImage &a_, &b_;
  Buffer bytes_a_, bytes_b_;
};

std::unique_ptr<Comparer::Worker> Comparer::worker() {
  return std::make_unique<Looker>(a_, b_);
}

}  // namespace

Result<Differences> compare(const OpenImage &a, const OpenImage &b, const Watch &watch) {
  return Comparer(a, b, watch).compare();
}

}  // namespace vbd::image
