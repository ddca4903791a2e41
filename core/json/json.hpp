// SPDX-License-Identifier: MIT
// JSON values in and out; the only place that sees nlohmann-json (json.cpp alone). Keys keep their order.
// Strings that are not UTF-8 are written with U+FFFD. Plain data, thread-safe per object.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/result.hpp"

namespace vbd::json {

inline constexpr ErrorKind kBadJson{"json.syntax", Exit::failed};

class Value;
using Array = std::vector<Value>;
using Object = std::vector<std::pair<std::string, Value>>;

class Value {
 public:
  // Out of line, all of them: inlined into long chains of set() they make every caller slow to compile.
  Value();  // null
  Value(std::nullptr_t);
  Value(bool b);
  Value(std::int64_t n);
  Value(std::uint64_t n);
  Value(int n);
  Value(double n);
  Value(const char *s);
  Value(std::string s);
  Value(std::string_view s);
  Value(Array a);
  Value(Object o);
  Value(const Value &other);
  Value(Value &&other) noexcept;
  Value &operator=(const Value &other);
  Value &operator=(Value &&other) noexcept;
  ~Value();

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::monostate>(v_); }
  [[nodiscard]] const bool *as_bool() const { return std::get_if<bool>(&v_); }
  [[nodiscard]] const std::string *as_string() const { return std::get_if<std::string>(&v_); }
  [[nodiscard]] const Array *as_array() const { return std::get_if<Array>(&v_); }
  [[nodiscard]] const Object *as_object() const { return std::get_if<Object>(&v_); }
  /// Any number that fits.
  [[nodiscard]] bool get_u64(std::uint64_t &out) const;
  [[nodiscard]] bool get_i64(std::int64_t &out) const;
  /// Member of an object, or nullptr.
  [[nodiscard]] const Value *find(std::string_view key) const;
  /// Appends to an object (a null becomes one).
  Value &set(std::string key, Value value);
  /// Appends to an array (a null becomes one).
  Value &push(Value value);

  using Storage =
      std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object>;
  [[nodiscard]] const Storage &storage() const { return v_; }

 private:
  Storage v_;
};

/// indent 0: one line.
[[nodiscard]] std::string dump(const Value &value, int indent = 2);
/// At most 16 levels and 64 MiB; no member twice.
[[nodiscard]] Result<Value> parse(std::string_view text);

}  // namespace vbd::json
