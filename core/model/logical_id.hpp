// SPDX-License-Identifier: MIT
// A disk's name: driver, filetype, full path. Pure data, thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.hpp"

namespace vbd {

inline constexpr ErrorKind kBadConstant{"usage.constant", Exit::usage};
inline constexpr ErrorKind kBadPath{"path.invalid", Exit::refused};

enum class PluginKind { driver, filetype };

/// A plugin's constant: FD_LOOP, FT_RAW. ^(FD|FT)_[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$, at most 40 bytes.
class Constant {
 public:
  /// The full constant, or the short form for `kind`: "loop" is FD_LOOP, "raw" is FT_RAW.
  [[nodiscard]] static Result<Constant> parse(std::string_view text, PluginKind kind);

  [[nodiscard]] const std::string &str() const { return text_; }
  [[nodiscard]] PluginKind kind() const {
    return text_[1] == 'D' ? PluginKind::driver : PluginKind::filetype;
  }
  /// "fd-loop.so"
  [[nodiscard]] std::string file_name() const;
  /// "loop"
  [[nodiscard]] std::string short_name() const;
  bool operator==(const Constant &) const = default;

 private:
  explicit Constant(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

/// Absolute, normal (no "." "..", no doubled or trailing slash), at most 4095 bytes, no control characters:
/// what the core accepts as an image's path. kBadPath names the byte.
[[nodiscard]] Result<void> check_image_path(std::string_view path);

struct LogicalId {
  Constant driver;
  Constant filetype;
  std::string path;  ///< passed check_image_path
  bool operator==(const LogicalId &) const = default;

  /// [FD_LOOP, FT_RAW, "/p/sda"]: YAML flow, and JSON but for the two unquoted words.
  [[nodiscard]] std::string str() const;
};

}  // namespace vbd
