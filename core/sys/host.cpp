// SPDX-License-Identifier: MIT
#include "core/sys/host.hpp"

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <ctime>

#include "core/sys/files.hpp"
#include "core/sys/proc.hpp"

namespace vbd::sys {

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

Result<std::string> boot_id() {
  auto content = read_file("/proc/sys/kernel/random/boot_id", 4096);
  if (!content) return content;
  content->erase(content->find_last_not_of('\n') + 1);
  return content;
}

Result<std::string> new_uuid() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return errno_error("random numbers for a UUID", errno);
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);  // version 4, RFC 4122 section 4.4
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string uuid;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) uuid += '-';
    uuid += kHex[bytes[i] >> 4];
    uuid += kHex[bytes[i] & 15];
  }
  return uuid;
}

std::string now_rfc3339() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

bool is_root() {
  return ::geteuid() == 0;
}

std::string install_prefix() {
  std::array<char, PATH_MAX> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length <= 0) return "/usr";
  return dir_name(dir_name(std::string_view(path.data(), static_cast<std::size_t>(length))));
}

std::optional<std::uint64_t> process_start_time(std::int64_t pid) {
  const auto state = process_state(pid);
  if (!state) return std::nullopt;
  return state->start_time;
}

}  // namespace vbd::sys
