// SPDX-License-Identifier: MIT
// What a Xen disk string can carry, for drivers that write one. There is no escape in such a string, and what
// slips out of its field is run by root (a comma brings script=), so a value is taken as it is or refused.
// Rules: Xen 4.17, xl-disk-configuration(5), xen-vbd-interface(7), libxl__device_disk_dev_number; what its
// back ends then make of the path. Part of plugin.hpp: header only, compiled into the plugin.
#pragma once

#include <climits>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <vbdkit/plugin.hpp>

namespace vbdkit::xen {

namespace detail {

/// A decimal number without a leading zero, at most `max`.
inline std::optional<std::uint32_t> number(std::string_view text, std::uint32_t max,
                                           bool leading_zero = false) {
  if (text.empty() || text.size() > 10 || (!leading_zero && text.size() > 1 && text[0] == '0'))
    return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (value > max) return std::nullopt;
  return static_cast<std::uint32_t>(value);
}

struct Position {
  std::uint32_t disk = 0, partition = 0;
};

/// "a" is disk 0, "z" 25, "aa" 26; then nothing or a partition number from 1.
inline std::optional<Position> letters(std::string_view rest, std::uint32_t max_disk,
                                       std::uint32_t max_partition) {
  std::uint64_t disk = 0;
  std::size_t i = 0;
  for (; i < rest.size() && rest[i] >= 'a' && rest[i] <= 'z'; ++i) {
    disk = disk * 26 + static_cast<std::uint64_t>(rest[i] - 'a') + 1;
    if (disk > std::uint64_t{max_disk} + 1) return std::nullopt;
  }
  if (disk == 0) return std::nullopt;
  Position position{static_cast<std::uint32_t>(disk - 1), 0};
  if (i == rest.size()) return position;
  const auto partition = number(rest.substr(i), max_partition);
  if (!partition || *partition == 0) return std::nullopt;
  position.partition = *partition;
  return position;
}

inline std::uint32_t virtual_number(const Position &at) {
  if (at.disk <= 15 && at.partition <= 15) return (202u << 8) | (at.disk << 4) | at.partition;
  return (1u << 28) | (at.disk << 8) | at.partition;
}

/// "d0p1".
inline std::optional<Position> disk_and_partition(std::string_view text) {
  const std::size_t p = text.find('p');
  if (text.empty() || text[0] != 'd' || p == std::string_view::npos) return std::nullopt;
  const auto disk = number(text.substr(1, p - 1), (1u << 20) - 1);
  const auto partition = number(text.substr(p + 1), 255);
  if (!disk || !partition) return std::nullopt;
  return Position{*disk, *partition};
}

}  // namespace detail

/// The number that Xen gives a disk of this name; none when it knows no such name.
inline std::optional<std::uint32_t> vdev_number(std::string_view vdev) {
  constexpr std::uint32_t kMaxDisk = (1u << 20) - 1;
  if (const auto plain = detail::number(vdev, INT_MAX)) return plain;
  if (const auto at = detail::disk_and_partition(vdev)) return detail::virtual_number(*at);
  if (vdev.starts_with("xvd")) {
    const auto at = detail::letters(vdev.substr(3), kMaxDisk, 255);
    if (at) return detail::virtual_number(*at);
  }
  if (vdev.starts_with("hd")) {
    const auto at = detail::letters(vdev.substr(2), 3, 63);
    if (at) return ((at->disk < 2 ? 3u : 22u) << 8) | ((at->disk & 1u) << 6) | at->partition;
  }
  if (vdev.starts_with("sd")) {
    const auto at = detail::letters(vdev.substr(2), 15, 15);
    if (at) return (8u << 8) | (at->disk << 4) | at->partition;
  }
  return std::nullopt;
}

enum class Form {
  positional,  ///< "prefix:PATH,vdev,w": a comma or an equals sign ends the path
  target       ///< "...,target=PATH" at the end: only a comma as the last byte is lost
};
enum class Backend {
  phy,  ///< the path goes through the block script, which reads it with xenstore-read (it escapes) and splits
        ///< at tabs
  qdisk  ///< the path goes to QEMU, which cuts it at white space
};

/// Why the string can't carry the path (static text); null when it can.
inline const char *refuse_path(std::string_view path, Form form, Backend backend) {
  if (path.empty() || path[0] != '/') return "it is not absolute";
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == '\n') return "a newline would begin another parameter";
    if (byte < 0x20 || byte == 0x7f) return "it has a control character";
    if (form == Form::positional && byte == ',') return "a comma would begin another parameter";
    if (form == Form::positional && byte == '=') return "an equals sign is bad syntax there";
    if (backend == Backend::qdisk && byte == ' ') return "QEMU's Xen disk cuts the path at a space";
    if (backend == Backend::phy && byte == '\\') return "the block script can't find a path with a backslash";
    if (backend == Backend::phy && byte >= 0x80)
      return "the block script can't find a path with a byte outside ASCII";
  }
  if (path.back() == ',') return "a comma at the end is lost";
  return nullptr;
}

/// Checks vdev and path of a render request and says what is wrong; VBD_OK when both can be carried.
inline int32_t check_disk(const vbd_request *request, std::string_view path, Form form, Backend backend,
                          vbd_error *err) {
  const char *vdev = request->vdev == nullptr ? "" : request->vdev;
  if (!vdev_number(vdev)) {
    return fail(err, VBD_E_INVAL, "xen.vdev", 0,
                "\"%s\" is no disk name that Xen knows; use xvda, xvdb1, sda .. sdp15 or hda .. hdd63", vdev);
  }
  const char *why = refuse_path(path, form, backend);
  if (why == nullptr) return VBD_OK;
  return fail(err, VBD_E_REFUSED, "xen.path", 0,
              "%.*s: a Xen disk string of dialect %s can't carry this path: %s",
              static_cast<int>(path.size()), path.data(), request->dialect, why);
}

}  // namespace vbdkit::xen
