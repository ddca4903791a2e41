// SPDX-License-Identifier: MIT
// Filesystems by their magic numbers. Offsets are those of the on-disk structures in the headers and
// documents that are named at each.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "core/base/text.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/mount.hpp"

namespace vbd::sys {
namespace {

constexpr std::size_t kHead = 128u << 10;

std::string_view piece(const std::string &head, std::size_t at, std::size_t length) {
  return at + length <= head.size() ? std::string_view(head).substr(at, length) : std::string_view{};
}

std::uint32_t little32(const std::string &head, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(head[at + i]);
  return value;
}

/// Superblock at 1024 (Documentation/filesystems/ext4/super.rst): s_magic at 0x38, s_feature_compat 0x5c,
/// s_feature_incompat 0x60, s_feature_ro_compat 0x64.
std::string ext_version(const std::string &head) {
  constexpr std::size_t kSuper = 1024;
  if (head.size() < kSuper + 1024 || piece(head, kSuper + 0x38, 2) != "\x53\xef") return {};
  const bool journal = (little32(head, kSuper + 0x5c) & 0x4) != 0;
  const std::uint32_t incompat = little32(head, kSuper + 0x60), ro_compat = little32(head, kSuper + 0x64);
  // Beyond filetype, recover, journal_dev, meta_bg and sparse_super, large_file, btree_dir only ext4 goes.
  if ((incompat & ~0x1eu) != 0 || (ro_compat & ~0x7u) != 0) return "ext4";
  return journal ? "ext3" : "ext2";
}

/// Boot sector (Microsoft FAT specification 1.03): BS_FilSysType at 54, or at 82 for FAT32; signature at 510.
bool is_vfat(const std::string &head) {
  if (piece(head, 510, 2) != "\x55\xaa") return false;
  return piece(head, 82, 8) == "FAT32   " || piece(head, 54, 5) == "FAT12" || piece(head, 54, 5) == "FAT16";
}

/// SWAPSPACE2 at the end of the first page, whatever a page is (mkswap(8)).
bool is_swap(const std::string &head) {
  for (const std::size_t page : {4096u, 8192u, 16384u, 32768u, 65536u}) {
    if (piece(head, page - 10, 10) == "SWAPSPACE2") return true;
  }
  return false;
}

std::string type_of(const std::string &head) {
  if (piece(head, 0, 4) == "XFSB") return "xfs";              // fs/xfs/libxfs/xfs_format.h
  if (piece(head, 0, 4) == "hsqs") return "squashfs";         // fs/squashfs/squashfs_fs.h
  if (piece(head, 0x10040, 8) == "_BHRfS_M") return "btrfs";  // superblock at 64 KiB, linux/btrfs_tree.h
  if (std::string ext = ext_version(head); !ext.empty()) return ext;
  if (is_swap(head)) return "swap";
  if (piece(head, 32769, 5) == "CD001") return "iso9660";  // ECMA-119 section 8, sector 16
  return is_vfat(head) ? "vfat" : "";
}

}  // namespace

Result<std::string> filesystem_type(const std::string &node) {
  const Fd fd(::open(node.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd) return errno_error(text::cat("open ", text::printable(node)), errno);
  std::string head(kHead, '\0');
  std::size_t have = 0;
  while (have < head.size()) {
    const ssize_t got = ::pread(fd.get(), head.data() + have, head.size() - have, static_cast<off_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(text::cat("read ", text::printable(node)), errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  head.resize(have);
  return type_of(head);
}

}  // namespace vbd::sys
