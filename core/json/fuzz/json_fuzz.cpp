// SPDX-License-Identifier: MIT
// What is read, written and read again is the same, and a member is the one that the text writes again.
#include "core/json/json.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;

namespace {

void same(const json::Value &a, const json::Value &b) {
  fuzz::require(a.storage().index() == b.storage().index() || a.as_object() == nullptr,
                "another kind of value");
  if (const json::Array *list = a.as_array()) {
    fuzz::require(b.as_array() != nullptr && list->size() == b.as_array()->size(), "another list");
    for (std::size_t i = 0; i < list->size(); ++i) same((*list)[i], (*b.as_array())[i]);
  } else if (const json::Object *object = a.as_object()) {
    fuzz::require(b.as_object() != nullptr && object->size() == b.as_object()->size(), "another object");
    for (const auto &[key, value] : *object) {
      fuzz::require(b.find(key) != nullptr, "a member that is gone");
      same(*a.find(key), *b.find(key));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const auto value = json::parse(fuzz::text_of(data, size));
  if (!fuzz::good(value)) return 0;
  for (const int indent : {0, 2}) {
    const std::string text = json::dump(*value, indent);
    const auto again = json::parse(text);
    fuzz::require(fuzz::good(again), "JSON that is written and not read");
    fuzz::require(json::dump(*again, indent) == text, "JSON that changes when it is written again");
    same(*value, *again);
  }
  std::uint64_t whole = 0;
  std::int64_t number = 0;
  if (value->get_u64(whole) && value->get_i64(number))
    fuzz::require(number >= 0 && static_cast<std::uint64_t>(number) == whole, "two readings of a number");
  return 0;
}
