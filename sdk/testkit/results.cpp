// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstring>

#include "plugin.hpp"

namespace vbdkit::testkit {

void ErrorBox::clear() {
  std::memset(text_, 0, sizeof text_);
  error_ = {};
  error_.size = sizeof error_;
  error_.msg = text_;
  error_.msg_cap = sizeof text_;
}

std::string ErrorBox::all() const {
  std::string line = reason().empty() ? text() : reason() + ": " + text();
  if (sys_errno() != 0) line += " (errno " + std::to_string(sys_errno()) + ")";
  return line;
}

struct Results::Functions {
  static std::int32_t text(void *ctx, const char *key, const char *value) noexcept {
    return static_cast<Results *>(ctx)->put(key, Value(std::string(value)));
  }
  static std::int32_t number(void *ctx, const char *key, std::uint64_t value) noexcept {
    return static_cast<Results *>(ctx)->put(key, Value(value));
  }
  static std::int32_t flag(void *ctx, const char *key, std::int32_t value) noexcept {
    return static_cast<Results *>(ctx)->put(key, Value(value != 0));
  }
};

Results::Results() : sink_{sizeof(vbd_sink), 0, this, Functions::text, Functions::number, Functions::flag} {}

std::int32_t Results::put(const char *key, Value value) {
  if (refusal_ != VBD_OK) return refusal_;
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const auto &entry) { return entry.first == key; });
  if (found != entries_.end()) {
    found->second = std::move(value);
  } else {
    entries_.emplace_back(key, std::move(value));
  }
  return VBD_OK;
}

const Results::Value *Results::find(std::string_view key) const {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const auto &entry) { return entry.first == key; });
  return found == entries_.end() ? nullptr : &found->second;
}

std::string Results::text(std::string_view key) const {
  const auto *value = find(key);
  const auto *text = value == nullptr ? nullptr : std::get_if<std::string>(value);
  return text == nullptr ? "" : *text;
}

std::uint64_t Results::number(std::string_view key) const {
  const auto *value = find(key);
  const auto *number = value == nullptr ? nullptr : std::get_if<std::uint64_t>(value);
  return number == nullptr ? 0 : *number;
}

bool Results::flag(std::string_view key) const {
  const auto *value = find(key);
  const auto *flag = value == nullptr ? nullptr : std::get_if<bool>(value);
  return flag != nullptr && *flag;
}

}  // namespace vbdkit::testkit
