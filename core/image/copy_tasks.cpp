// SPDX-License-Identifier: MIT
#include "core/image/copy_tasks.hpp"

#include <algorithm>

namespace vbd::image {
namespace {

/// The first `length` bytes of a piece, which keeps the rest.
Piece cut(Piece &piece, std::uint64_t length) {
  Piece first = piece;
  first.length = length;
  piece.offset += length;
  piece.length -= length;
  if (piece.kind == VBD_EXTENT_DATA) piece.host_offset += length;
  return first;
}

}  // namespace

CopyTasks::CopyTasks(const OpenImage &source, std::uint64_t unit)
    : pieces_(source), size_(source.size()), unit_(unit) {}

std::uint64_t CopyTasks::up(std::uint64_t offset) const {
  return std::min(size_, (offset + unit_ - 1) / unit_ * unit_);
}

Result<bool> CopyTasks::fetch() {
  while (!held_ || held_->length == 0) {
    held_.reset();
    VBD_TRY_ASSIGN(auto piece, pieces_.next());
    if (!piece) return false;
    if (piece->kind != VBD_EXTENT_HOLE && piece->kind != VBD_EXTENT_ZERO) held_ = *piece;
  }
  return true;
}

Result<std::optional<CopyTask>> CopyTasks::next(std::uint64_t longest_verbatim, std::uint64_t longest) {
  auto more = fetch();
  if (!more) return more.error();
  if (!*more) return std::optional<CopyTask>{};
  CopyTask task;
  task.begin = task.end = held_->offset / unit_ * unit_;
  std::uint64_t limit = up(task.begin + std::max(unit_, held_->verbatim ? longest_verbatim : longest));
  while (*more && held_->offset < limit && (task.parts.empty() || held_->offset <= task.end)) {
    // Another kind of work begins a task of its own, unless it is about the same unit.
    if (!task.parts.empty() && held_->verbatim != task.verbatim()) {
      limit = task.end;
      if (held_->offset == task.end) break;
    }
    task.parts.push_back(cut(*held_, std::min(held_->length, limit - held_->offset)));
    task.end = std::max(task.end, up(task.parts.back().offset + task.parts.back().length));
    if (more = fetch(); !more) return more.error();
  }
  return std::optional<CopyTask>(std::move(task));
}

}  // namespace vbd::image
