// SPDX-License-Identifier: MIT
#include "core/json/json.hpp"

#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/text.hpp"

namespace vbd::json {
namespace {

using Library = nlohmann::ordered_json;

constexpr std::size_t kMaxDepth = 16;
constexpr std::size_t kMaxText = std::size_t{64} << 20;

Library to_library(const Value &value);

struct ToLibrary {
  Library operator()(std::monostate) const { return nullptr; }
  Library operator()(const Array &array) const {
    Library out = Library::array();
    for (const Value &item : array) out.push_back(to_library(item));
    return out;
  }
  Library operator()(const Object &object) const {
    Library out = Library::object();
    for (const auto &[key, value] : object) out[key] = to_library(value);
    return out;
  }
  template <class Plain>
  Library operator()(const Plain &plain) const {
    return plain;
  }
};

Library to_library(const Value &value) {
  return std::visit(ToLibrary{}, value.storage());
}

/// Builds values from the library's events, so that depth is bounded before anything is built.
class Builder {
 public:
  bool null() { return add(Value{}); }
  bool boolean(bool b) { return add(Value{b}); }
  bool number_integer(std::int64_t n) { return add(Value{n}); }
  bool number_unsigned(std::uint64_t n) { return add(Value{n}); }
  bool number_float(double n, const std::string &) { return add(Value{n}); }
  bool string(std::string &s) { return add(Value{std::move(s)}); }
  bool binary(Library::binary_t &) { return false; }
  bool start_object(std::size_t) { return open(Value{Object{}}); }
  /// The first of two members of one name would be found, the last one written: whoever reads it next sees
  /// another document.
  bool key(std::string &k) {
    if (!seen_.back().insert(k).second) {
      problem_ = text::cat("the member \"", text::printable(k), "\" is there twice");
      return false;
    }
    keys_.back() = std::move(k);
    return true;
  }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(Value{Array{}}); }
  bool end_array() { return close(); }
  bool parse_error(std::size_t position, const std::string &, const Library::exception &) {
    problem_ = text::cat("not JSON at byte ", position);
    return false;
  }

  [[nodiscard]] const std::string &problem() const { return problem_; }
  [[nodiscard]] Value take() { return std::move(root_); }

 private:
  bool add(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().as_array() != nullptr) {
      open_.back().push(std::move(value));
    } else {
      open_.back().set(std::move(keys_.back()), std::move(value));
    }
    return true;
  }
  bool open(Value value) {
    if (open_.size() == kMaxDepth) {
      problem_ = text::cat("more than ", kMaxDepth, " levels");
      return false;
    }
    open_.push_back(std::move(value));
    keys_.emplace_back();
    seen_.emplace_back();
    return true;
  }
  bool close() {
    Value done = std::move(open_.back());
    open_.pop_back();
    keys_.pop_back();
    seen_.pop_back();
    return add(std::move(done));
  }

  Value root_;
  std::vector<Value> open_;                  // containers that are not closed yet, outermost first
  std::vector<std::string> keys_;            // of each open object: the key that waits for its value
  std::vector<std::set<std::string>> seen_;  // and all of its keys so far
  std::string problem_;
};

}  // namespace

bool Value::get_u64(std::uint64_t &out) const {
  if (const auto *u = std::get_if<std::uint64_t>(&v_)) {
    out = *u;
    return true;
  }
  const auto *i = std::get_if<std::int64_t>(&v_);
  if (i == nullptr || *i < 0) return false;
  out = static_cast<std::uint64_t>(*i);
  return true;
}

bool Value::get_i64(std::int64_t &out) const {
  if (const auto *i = std::get_if<std::int64_t>(&v_)) {
    out = *i;
    return true;
  }
  const auto *u = std::get_if<std::uint64_t>(&v_);
  if (u == nullptr || *u > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return false;
  out = static_cast<std::int64_t>(*u);
  return true;
}

const Value *Value::find(std::string_view key) const {
  const Object *object = as_object();
  if (object == nullptr) return nullptr;
  for (const auto &[name, value] : *object) {
    if (name == key) return &value;
  }
  return nullptr;
}

Value &Value::set(std::string key, Value value) {
  if (!std::holds_alternative<Object>(v_)) v_ = Object{};
  std::get<Object>(v_).emplace_back(std::move(key), std::move(value));
  return *this;
}

Value &Value::push(Value value) {
  if (!std::holds_alternative<Array>(v_)) v_ = Array{};
  std::get<Array>(v_).push_back(std::move(value));
  return *this;
}

std::string dump(const Value &value, int indent) {
  const int library_indent = indent > 0 ? indent : -1;
  return to_library(value).dump(library_indent, ' ', false, Library::error_handler_t::replace);
}

Result<Value> parse(std::string_view text) {
  if (text.size() > kMaxText) return Error{kBadJson, "more than 64 MiB of JSON"};
  Builder builder;
  bool done = false;
  try {
    done = Library::sax_parse(text.begin(), text.end(), &builder);
  } catch (const Library::exception &) {  // a number out of range is thrown past the handler
    done = false;
  }
  if (!done) return Error{kBadJson, builder.problem().empty() ? "not JSON" : builder.problem()};
  return builder.take();
}

}  // namespace vbd::json
