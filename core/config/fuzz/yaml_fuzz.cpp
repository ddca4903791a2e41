// SPDX-License-Identifier: MIT
// The quick reader against the library: what it takes, the library takes and understands alike. And any text
// written as a scalar is read as that text, by both.
#include "core/config/plain_yaml.hpp"
#include "core/config/yaml_library.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;
using namespace vbd::config;

namespace {

void same(const Node &a, const Node &b) {
  fuzz::require(a.kind == b.kind && a.quoted == b.quoted, "another kind of node");
  fuzz::require(a.mark.line == b.mark.line && a.mark.column == b.mark.column, "another place");
  fuzz::require(a.key == b.key && a.scalar == b.scalar, "another text");
  fuzz::require(a.items.size() == b.items.size() && a.entries.size() == b.entries.size(), "another length");
  for (std::size_t i = 0; i < a.items.size(); ++i) same(a.items[i], b.items[i]);
  for (std::size_t i = 0; i < a.entries.size(); ++i) {
    same(a.entries[i].key, b.entries[i].key);
    same(a.entries[i].value, b.entries[i].value);
  }
}

unsigned depth_of(const Node &node) {
  unsigned most = 0;
  for (const Node &item : node.items) most = std::max(most, depth_of(item));
  for (const Entry &entry : node.entries) most = std::max(most, depth_of(entry.value));
  return most + 1;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  const auto quick = parse_plain_yaml(text, "f.yaml");
  const auto slow = parse_library_yaml(text, "f.yaml");
  if (fuzz::good(slow)) fuzz::require(depth_of(*slow) <= 17, "more levels than there may be");
  if (quick) {
    fuzz::require(slow.ok(), "the quick reader takes what the library refuses");
    same(*quick, *slow);
  }
  if (size > 4096) return 0;
  const std::string scalar = yaml_scalar(text);
  fuzz::require(text::is_printable_utf8(scalar), "a scalar that YAML can't hold");
  const auto read = parse_library_yaml(text::cat("key: ", scalar, "\n"), "f.yaml");
  fuzz::require(fuzz::good(read) && read->entries.size() == 1, "a scalar that is not read");
  const Node &value = read->entries.front().value;
  fuzz::require(value.kind == Node::Kind::scalar, "a scalar that is read as something else");
  // Bytes that are not UTF-8 are replaced; what is printable is not changed.
  if (text::is_printable_utf8(text)) fuzz::require(value.scalar == text, "a scalar that is read as another");
  return 0;
}
