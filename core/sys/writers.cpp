// SPDX-License-Identifier: MIT
#include "core/sys/writers.hpp"

#include <endian.h>
#include <linux/limits.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "core/base/text.hpp"

namespace vbd::sys {
namespace {

constexpr const char *kAccess = "system.posix_acl_access", *kNfs4 = "system.nfs4_acl";

struct ListEntry {
  std::uint16_t tag = 0, rights = 0;
  std::uint32_t id = 0;
};

/// Nothing when it is no list of version 2, the only one that there is.
std::optional<std::vector<ListEntry>> parse_list(std::string_view bytes) {
  posix_acl_xattr_header header{};
  if (bytes.size() < sizeof header || (bytes.size() - sizeof header) % sizeof(posix_acl_xattr_entry) != 0)
    return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (le32toh(header.a_version) != POSIX_ACL_XATTR_VERSION) return std::nullopt;
  std::vector<ListEntry> entries;
  for (std::size_t at = sizeof header; at < bytes.size(); at += sizeof(posix_acl_xattr_entry)) {
    posix_acl_xattr_entry raw{};
    std::memcpy(&raw, bytes.data() + at, sizeof raw);
    entries.push_back({le16toh(raw.e_tag), le16toh(raw.e_perm), le32toh(raw.e_id)});
  }
  return entries;
}

/// The rights that are left to the group and to named users and groups.
std::uint16_t mask_of(const std::vector<ListEntry> &entries) {
  for (const ListEntry &entry : entries) {
    if (entry.tag == ACL_MASK) return entry.rights;
  }
  return ACL_READ | ACL_WRITE | ACL_EXECUTE;
}

std::optional<OtherWriter> judge_entry(const ListEntry &entry, std::uint32_t group, std::uint32_t effective) {
  const auto listed = [&](const char *kind) {
    return OtherWriter{text::cat("is writable by ", kind, " ", entry.id, " through its access list"),
                       "setfacl -b"};
  };
  switch (entry.tag) {
    case ACL_USER:
      if (entry.id == 0 || entry.id == effective) return std::nullopt;
      return listed("user");
    case ACL_GROUP:
      if (entry.id == 0) return std::nullopt;
      return listed("group");
    case ACL_GROUP_OBJ:
      if (group == 0) return std::nullopt;
      return OtherWriter{text::cat("is writable by its group ", group), "chmod g-w"};
    case ACL_USER_OBJ:
    case ACL_MASK:
    case ACL_OTHER:  // the mode has said it
      return std::nullopt;
    default:
      return OtherWriter{text::cat("has an access list with an entry of an unknown kind, ", entry.tag),
                         "setfacl -b"};
  }
}

std::optional<OtherWriter> judge_list(std::string_view bytes, std::uint32_t group, std::uint32_t effective) {
  const auto entries = parse_list(bytes);
  if (!entries) return OtherWriter{"has an access list that is damaged", "setfacl -b"};
  const std::uint16_t mask = mask_of(*entries);
  for (const ListEntry &entry : *entries) {
    if ((entry.rights & mask & ACL_WRITE) == 0) continue;
    if (auto writer = judge_entry(entry, group, effective)) return writer;
  }
  return std::nullopt;
}

/// A descriptor that was opened with O_PATH can't be asked itself (EBADF).
ssize_t ask_list(int fd, const char *name, void *to, std::size_t room) {
  const ssize_t got = ::fgetxattr(fd, name, to, room);
  if (got >= 0 || errno != EBADF) return got;
  return ::getxattr(text::cat("/proc/self/fd/", fd).c_str(), name, to, room);
}

/// The list lies in `store`.
AccessList read_list(int fd, std::string &store) {
  store.resize(1024);  // 127 entries: seldom more
  ssize_t got = ask_list(fd, kAccess, store.data(), store.size());
  if (got < 0 && errno == ERANGE) {
    store.resize(XATTR_SIZE_MAX);
    got = ask_list(fd, kAccess, store.data(), store.size());
  }
  if (got >= 0) return {AccessList::State::read, {store.data(), static_cast<std::size_t>(got)}, false};
  const bool none = errno == ENODATA || errno == EOPNOTSUPP;
  return {none ? AccessList::State::none : AccessList::State::unreadable, {}, false};
}

}  // namespace

std::optional<OtherWriter> judge_writers(std::uint32_t mode, std::uint32_t owner, std::uint32_t group,
                                         std::uint32_t effective, const AccessList &list) {
  if (owner != 0 && owner != effective) {
    const std::string us = effective == 0 ? "" : text::cat(" or to user ", effective);
    return OtherWriter{text::cat("belongs to user ", owner, ", not to root", us), "chown root"};
  }
  if ((mode & S_IWOTH) != 0) return OtherWriter{"is writable by others", "chmod o-w"};
  if (list.state == AccessList::State::unreadable)
    return OtherWriter{"has an access list that can't be read", "setfacl -b"};
  if (list.state == AccessList::State::read) return judge_list(list.bytes, group, effective);
  if ((mode & S_IWGRP) == 0) return std::nullopt;
  if (group != 0) return OtherWriter{text::cat("is writable by its group ", group), "chmod g-w"};
  // The group bits of such a file show what its list gives to anybody.
  if (list.other_kind) return OtherWriter{"may be writable by others through its NFSv4 list", "chmod g-w"};
  return std::nullopt;
}

std::optional<OtherWriter> other_writer(int fd) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return OtherWriter{"can't be looked at", "look at"};
  std::string store;
  AccessList list = read_list(fd, store);
  if (list.state == AccessList::State::none && (st.st_mode & S_IWGRP) != 0 && st.st_gid == 0)
    list.other_kind = ask_list(fd, kNfs4, nullptr, 0) > 0;
  return judge_writers(st.st_mode, st.st_uid, st.st_gid, ::geteuid(), list);
}

}  // namespace vbd::sys
