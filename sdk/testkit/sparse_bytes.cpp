// SPDX-License-Identifier: MIT
#include "sparse_bytes.hpp"

#include <algorithm>
#include <cstring>

namespace vbdkit::testkit {

SparseBytes::Page &SparseBytes::writable(std::uint64_t index) {
  std::shared_ptr<Page> &page = pages_[index];
  if (!page) {
    page = std::make_shared<Page>(Page{});
  } else if (page.use_count() > 1) {
    page = std::make_shared<Page>(*page);
  }
  return *page;
}

void SparseBytes::clear_inside(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t index = offset / kPage;
  if (length == 0 || pages_.find(index) == pages_.end()) return;
  Page &page = writable(index);
  std::memset(page.data() + offset % kPage, 0, length);
}

void SparseBytes::resize(std::uint64_t bytes) {
  if (bytes < size_) {
    pages_.erase(pages_.lower_bound((bytes + kPage - 1) / kPage), pages_.end());
    if (bytes % kPage != 0) clear_inside(bytes, kPage - bytes % kPage);
  }
  size_ = bytes;
}

std::uint64_t SparseBytes::read(void *to, std::uint64_t length, std::uint64_t offset) const {
  if (offset >= size_) return 0;
  const std::uint64_t total = std::min(length, size_ - offset);
  auto *out = static_cast<unsigned char *>(to);
  for (std::uint64_t done = 0; done < total;) {
    const std::uint64_t at = offset + done;
    const std::uint64_t n = std::min(kPage - at % kPage, total - done);
    const auto page = pages_.find(at / kPage);
    if (page == pages_.end()) {
      std::memset(out + done, 0, n);
    } else {
      std::memcpy(out + done, page->second->data() + at % kPage, n);
    }
    done += n;
  }
  return total;
}

void SparseBytes::write(const void *from, std::uint64_t length, std::uint64_t offset) {
  const auto *in = static_cast<const unsigned char *>(from);
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t at = offset + done;
    const std::uint64_t n = std::min(kPage - at % kPage, length - done);
    std::memcpy(writable(at / kPage).data() + at % kPage, in + done, n);
    done += n;
  }
  if (length > 0) size_ = std::max(size_, offset + length);
}

void SparseBytes::punch(std::uint64_t offset, std::uint64_t length) {
  if (offset >= size_ || length == 0) return;
  const std::uint64_t end = length > size_ - offset ? size_ : offset + length;
  const std::uint64_t first = (offset + kPage - 1) / kPage;
  // The page that the end of the file cuts goes as a whole too.
  const std::uint64_t last = end == size_ ? (end + kPage - 1) / kPage : end / kPage;
  if (first > last || (first == last && offset % kPage != 0 && end < first * kPage)) {
    clear_inside(offset, end - offset);
    return;
  }
  if (offset % kPage != 0) clear_inside(offset, std::min(end, first * kPage) - offset);
  if (first < last) pages_.erase(pages_.lower_bound(first), pages_.lower_bound(last));
  if (last * kPage < end && last >= first) clear_inside(last * kPage, end - last * kPage);
}

void SparseBytes::allocate(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return;
  const auto zeros = std::make_shared<Page>(Page{});
  for (std::uint64_t i = offset / kPage; i <= (offset + length - 1) / kPage; ++i)
    pages_.try_emplace(i, zeros);
  size_ = std::max(size_, offset + length);
}

std::uint64_t SparseBytes::extent(std::uint64_t offset, bool &hole) const {
  auto page = pages_.lower_bound(offset / kPage);
  std::uint64_t end = size_;
  hole = page == pages_.end() || page->first != offset / kPage;
  if (hole) {
    if (page != pages_.end()) end = page->first * kPage;
  } else {
    std::uint64_t next = page->first;
    while (page != pages_.end() && page->first == next) {
      ++page;
      ++next;
    }
    end = next * kPage;
  }
  return std::min(end, size_) - offset;
}

std::vector<unsigned char> SparseBytes::bytes() const {
  std::vector<unsigned char> all(size_);
  read(all.data(), all.size(), 0);
  return all;
}

SparseBytes SparseBytes::of(const std::vector<unsigned char> &bytes) {
  SparseBytes made;
  made.write(bytes.data(), bytes.size(), 0);
  return made;
}

bool operator==(const SparseBytes &a, const SparseBytes &b) {
  if (a.size_ != b.size_) return false;
  static constexpr SparseBytes::Page kZeros{};
  const auto content = [](const SparseBytes &s, std::uint64_t index) {
    const auto page = s.pages_.find(index);
    return page == s.pages_.end() ? kZeros.data() : page->second->data();
  };
  const auto covered_by = [&](const SparseBytes &one, const SparseBytes &other) {
    return std::all_of(one.pages_.begin(), one.pages_.end(), [&](const auto &entry) {
      const unsigned char *there = content(other, entry.first);
      return there == entry.second->data() ||
             std::memcmp(there, entry.second->data(), SparseBytes::kPage) == 0;
    });
  };
  return covered_by(a, b) && covered_by(b, a);
}

}  // namespace vbdkit::testkit
