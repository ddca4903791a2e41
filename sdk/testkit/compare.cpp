// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstring>

#include "workload.hpp"

namespace vbdkit::testkit {
namespace {

constexpr std::uint64_t kChunk = 256u << 10;

std::string byte_text(unsigned char byte) {
  return std::to_string(static_cast<unsigned>(byte));
}

/// The bytes that an extent claims to lie in the file, against the oracle.
std::string compare_data(const vbd_extent &extent, const vbd_file *file, const SparseBytes &expected) {
  std::vector<unsigned char> there(std::min(kChunk, extent.length)), wanted(there.size());
  for (std::uint64_t done = 0; done < extent.length;) {
    const std::uint64_t n = std::min<std::uint64_t>(there.size(), extent.length - done);
    expected.read(wanted.data(), n, extent.offset + done);
    const auto got = file->read(file->ctx, there.data(), n, extent.host_offset + done);
    if (got != static_cast<std::int64_t>(n) || std::memcmp(there.data(), wanted.data(), n) != 0) {
      return "map: the data extent at guest offset " + std::to_string(extent.offset) +
             " does not lie in the file at " + std::to_string(extent.host_offset);
    }
    done += n;
  }
  return "";
}

std::string compare_zeros(const vbd_extent &extent, const SparseBytes &expected) {
  std::vector<unsigned char> wanted(std::min(kChunk, extent.length));
  for (std::uint64_t done = 0; done < extent.length; done += wanted.size()) {
    const std::uint64_t n = expected.read(
        wanted.data(), std::min<std::uint64_t>(wanted.size(), extent.length - done), extent.offset + done);
    if (std::any_of(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(n),
                    [](unsigned char byte) { return byte != 0; })) {
      return "map: the extent at guest offset " + std::to_string(extent.offset) +
             " is said to be zero and is not";
    }
  }
  return "";
}

}  // namespace

std::string compare_content(Image &image, const SparseBytes &expected, std::uint64_t offset,
                            std::uint64_t length) {
  std::vector<unsigned char> got(std::min(kChunk, length)), wanted(got.size());
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t n = std::min<std::uint64_t>(got.size(), length - done);
    const std::int32_t status = image.read(got.data(), n, offset + done);
    if (status != VBD_OK) return "read answered " + std::to_string(status) + ": " + image.error().all();
    expected.read(wanted.data(), n, offset + done);
    const auto differs =
        std::mismatch(got.begin(), got.begin() + static_cast<std::ptrdiff_t>(n), wanted.begin());
    if (differs.first != got.begin() + static_cast<std::ptrdiff_t>(n)) {
      const auto at = static_cast<std::uint64_t>(differs.first - got.begin());
      return "guest offset " + std::to_string(offset + done + at) + " reads " + byte_text(*differs.first) +
             " instead of " + byte_text(*differs.second);
    }
    done += n;
  }
  return "";
}

std::string compare_map(Image &image, const vbd_file *file, const SparseBytes &expected) {
  std::vector<vbd_extent> extents;
  // Held back bytes are not in the file yet.
  if (const std::int32_t status = image.flush(); status != VBD_OK && status != VBD_E_PERM) {
    return "flush answered " + std::to_string(status) + ": " + image.error().all();
  }
  const std::int32_t status = image.map(0, expected.size(), extents);
  if (status != VBD_OK) return "map answered " + std::to_string(status) + ": " + image.error().all();
  for (const vbd_extent &extent : extents) {
    std::string problem;
    if (extent.kind == VBD_EXTENT_DATA && extent.file == 0) problem = compare_data(extent, file, expected);
    if (extent.kind == VBD_EXTENT_HOLE || extent.kind == VBD_EXTENT_ZERO)
      problem = compare_zeros(extent, expected);
    if (!problem.empty()) return problem;
  }
  return "";
}

std::string run_check(Filetype filetype, const vbd_file *file, std::uint32_t must) {
  Request request(file, 0, must);
  Results results;
  ErrorBox error;
  const std::int32_t status = filetype.ops->check(filetype.self, request.get(), results.sink(), error.get());
  if (status == VBD_OK && (results.number("errors") == 0 || (must & VBD_MUST_REPAIR_ALL) != 0)) return "";
  return "check answered " + std::to_string(status) + ": " + error.all() + ", " +
         std::to_string(results.number("errors")) + " errors, first: " + results.text("finding.0") +
         results.text("finding.1");
}

}  // namespace vbdkit::testkit
