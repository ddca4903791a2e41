// SPDX-License-Identifier: MIT
// The grammar of --net, which is that of gnt-instance(8).
#include <charconv>
#include <set>

#include "core/base/text.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::instance {
namespace {

using text::cat;

Error bad_net(const std::string &where, std::string_view why, std::string hint = {}) {
  return {kGrammar, cat(where, ": ", why), std::move(hint)};
}

Result<void> take_net_word(const std::string &piece, const std::string &where, NicSpec &spec,
                           std::set<std::string> &seen) {
  const auto equals = piece.find('=');
  const std::string key = piece.substr(0, equals);
  std::string *field = nic_field(spec.nic, key);
  if (field == nullptr) {
    const std::string near = text::did_you_mean(key, nic_fields());
    return bad_net(
        where, cat("unknown word '", text::printable(key), "'"),
        near.empty() ? cat("there are ", text::join(nic_fields(), ", ")) : cat("did you mean '", near, "'?"));
  }
  if (!seen.insert(key).second) return bad_net(where, cat("'", key, "' stands twice"));
  if (equals == std::string::npos || equals + 1 == piece.size())
    return bad_net(where, cat("'", key, "' needs a value: ", key, "=..."));
  std::string value = piece.substr(equals + 1);
  if (key == "mac") value = text::lower(value);
  if (key == "mac" && (value == "auto" || value == "generate")) return {};
  if (key != "mac" && key != "mode" && text::lower(value) == "none") return {};
  if (auto good = check_nic_field(key, value); !good) return good.error().at(where);
  *field = std::move(value);
  return {};
}

}  // namespace

Result<NicSpec> parse_net(const std::string &text) {
  const std::string where = cat("--net ", text::printable(text));
  const auto colon = text.find(':');
  const std::string number = text.substr(0, colon);
  NicSpec spec;
  spec.nic.mode = nic_modes().front();
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), spec.index);
  if (error != std::errc{} || end != number.data() + number.size())
    return bad_net(where, "expected a card's number first", "write --net 0:mode=bridged,link=br0");
  if (spec.index >= kMaxNics) return bad_net(where, cat("network cards are numbered 0 to ", kMaxNics - 1));
  if (colon == std::string::npos || colon + 1 == text.size()) return spec;
  std::set<std::string> seen;
  for (const auto &piece : text::split(text.substr(colon + 1), ',')) {
    if (auto taken = take_net_word(piece, where, spec, seen); !taken) return taken.error();
  }
  return spec;
}

}  // namespace vbd::instance
