// SPDX-License-Identifier: MIT
#include "core/json/json.hpp"

namespace vbd::json {

Value::Value() = default;
Value::Value(std::nullptr_t) {}
Value::Value(bool b) : v_(b) {}
Value::Value(std::int64_t n) : v_(n) {}
Value::Value(std::uint64_t n) : v_(n) {}
Value::Value(int n) : v_(std::int64_t{n}) {}
Value::Value(double n) : v_(n) {}
Value::Value(const char *s) : v_(std::string(s)) {}
Value::Value(std::string s) : v_(std::move(s)) {}
Value::Value(std::string_view s) : v_(std::string(s)) {}
Value::Value(Array a) : v_(std::move(a)) {}
Value::Value(Object o) : v_(std::move(o)) {}
Value::Value(const Value &other) = default;
Value::Value(Value &&other) noexcept = default;
Value &Value::operator=(const Value &other) = default;
Value &Value::operator=(Value &&other) noexcept = default;
Value::~Value() = default;

}  // namespace vbd::json
