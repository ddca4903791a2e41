// SPDX-License-Identifier: MIT
#include "core/plugin/note.hpp"

#include <charconv>
#include <optional>

#include <vbdkit/plugin.h>

#include "core/base/text.hpp"
#include "core/plugin/elf_note.hpp"

namespace vbd::plugin {
namespace {

constexpr std::size_t kMaxPairs = 256;
constexpr std::size_t kMaxValue = 1024;

using Pairs = std::map<std::string, std::string, std::less<>>;

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || value > 65535) return std::nullopt;
  return value;
}

class Parser {
 public:
  Parser(std::string_view payload, const std::string &path) : payload_(payload), path_(path) {}

  Result<Note> parse();

 private:
  Error bad(std::string_view why) const {
    return Error(kBadNote, text::cat(text::printable(path_), ": in its note, ", why));
  }
  Result<void> split_pairs();
  Result<void> read_versions();
  Result<void> read_identity();
  Result<void> read_lists();
  Result<std::string> required(std::string_view key) const;

  std::string_view payload_;
  const std::string &path_;
  Pairs pairs_;
  Note note_;
};

Result<void> Parser::split_pairs() {
  for (std::size_t at = 0; at < payload_.size();) {
    const std::size_t end = std::min(payload_.find('\0', at), payload_.size());
    const std::string_view pair = payload_.substr(at, end - at);
    at = end + 1;
    if (pair.empty()) continue;  // the padding
    const std::size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string_view::npos)
      return bad(text::cat("no key=value: ", text::printable(pair.substr(0, 40))));
    const std::string_view key = pair.substr(0, equals), value = pair.substr(equals + 1);
    if (!text::is_printable_utf8(pair) || value.size() > kMaxValue) {
      return bad(
          text::cat(text::printable(key.substr(0, 40)), " is not text of at most ", kMaxValue, " bytes"));
    }
    if (pairs_.size() == kMaxPairs) return bad(text::cat("more than ", kMaxPairs, " keys"));
    if (!pairs_.emplace(key, value).second) return bad(text::cat(key, " stands twice"));
  }
  return {};
}

Result<std::string> Parser::required(std::string_view key) const {
  const auto found = pairs_.find(key);
  if (found == pairs_.end() || found->second.empty()) return bad(text::cat(key, "= is missing"));
  return found->second;
}

Result<void> Parser::read_versions() {
  auto abi = required("abi");
  if (!abi) return abi.error();
  const std::size_t dot = abi->find('.');
  const auto major = number(abi->substr(0, dot));
  const auto minor = dot == std::string::npos ? std::nullopt : number(abi->substr(dot + 1));
  if (!major || !minor) return bad(text::cat("abi=", *abi, " is not MAJOR.MINOR"));
  note_.abi_major = *major;
  note_.abi_minor = *minor;
  if (note_.abi_major != VBD_ABI_MAJOR) return {};
  VBD_TRY_ASSIGN(auto least, required("min_host_minor"));
  const auto value = number(least);
  if (!value) return bad(text::cat("min_host_minor=", least, " is not a number"));
  note_.min_host_minor = *value;
  return {};
}

Result<void> Parser::read_identity() {
  auto kind = required("kind");
  if (!kind) return kind.error();
  if (*kind != "driver" && *kind != "filetype")
    return bad(text::cat("kind=", *kind, " is neither driver nor filetype"));
  note_.kind = *kind == "driver" ? PluginKind::driver : PluginKind::filetype;
  auto constant = required("constant");
  if (!constant) return constant.error();
  const auto parsed = Constant::parse(*constant, note_.kind);
  if (!parsed || parsed->str() != *constant || parsed->kind() != note_.kind) {
    return bad(text::cat("constant=", *constant, " is no constant of a ", *kind));
  }
  note_.constant = *constant;
  VBD_TRY_ASSIGN(auto name, required("name"));
  VBD_TRY_ASSIGN(auto version, required("version"));
  note_.name = name;
  note_.version = version;
  if (const auto summary = pairs_.find("summary"); summary != pairs_.end()) note_.summary = summary->second;
  return {};
}

Result<void> Parser::read_lists() {
  const auto ops = pairs_.find("ops");
  if (ops == pairs_.end()) return bad("ops= is missing");
  for (const std::string &op : text::split(ops->second, ',')) {
    if (op.empty()) continue;
    if (!note_.ops.insert(op).second) return bad(text::cat("ops= names ", op, " twice"));
  }
  for (const auto &[key, value] : pairs_) {
    if (key.starts_with("prop.")) note_.properties.emplace(key.substr(5), value);
    if (key.starts_with("need.")) note_.needs.emplace(key.substr(5), text::split(value, '|'));
    if (key == "requires" && !value.empty()) note_.requires_ = text::split(value, ',');
  }
  return {};
}

Result<Note> Parser::parse() {
  VBD_TRY(split_pairs());
  VBD_TRY(read_versions());
  if (note_.abi_major != VBD_ABI_MAJOR) return note_;
  VBD_TRY(read_identity());
  VBD_TRY(read_lists());
  return note_;
}

}  // namespace

Result<Note> parse_note(std::string_view payload, const std::string &path) {
  return Parser(payload, path).parse();
}

Result<Note> read_note(int fd, const std::string &path) {
  VBD_TRY_ASSIGN(auto payload, find_note(fd, path));
  return parse_note(payload, path);
}

Result<void> check_note(const Note &note, const std::string &path) {
  const std::string where = text::printable(path);
  if (note.abi_major != VBD_ABI_MAJOR) {
    return Error(
        kAbiMajor,
        text::cat(where, ": a plugin for ABI ", note.abi_major, ", this vbd has ABI ", VBD_ABI_MAJOR),
        "install a build of the plugin for this vbd");
  }
  if (note.min_host_minor > VBD_ABI_MINOR) {
    return Error(kTooNew,
                 text::cat(where, ": needs a host of ABI ", VBD_ABI_MAJOR, ".", note.min_host_minor,
                           " or later, this vbd has ", VBD_ABI_MAJOR, ".", VBD_ABI_MINOR),
                 "update vbd, or install an older version of the plugin");
  }
  const auto constant = Constant::parse(note.constant, note.kind);
  const std::string file = path.substr(path.rfind('/') + 1);
  if (!constant || constant->file_name() != file) {
    return Error(kWrongConstant,
                 text::cat(where, ": the plugin in it is ", note.constant, ", which belongs in ",
                           constant ? constant->file_name() : "another file"));
  }
  return {};
}

std::string unmet_need(const Note &driver, const Note &filetype,
                       const std::map<std::string, std::string> &properties) {
  for (const auto &[name, wanted] : driver.needs) {
    const bool any = wanted.size() == 1 && wanted.front() == "*";
    const std::string need = any ? name : text::cat(name, "=", text::join(wanted, "|"));
    auto has = properties.find(name);
    if (has == properties.end()) {
      has = filetype.properties.find(name);
      if (has == filetype.properties.end())
        return text::cat("needs ", need, ", ", filetype.constant, " has none");
    }
    bool met = any;
    for (const std::string &value : wanted) met = met || value == has->second;
    if (!met)
      return text::cat("needs ", need, ", ", filetype.constant, " has ", name, "=",
                       text::printable(has->second));
  }
  return {};
}

}  // namespace vbd::plugin
