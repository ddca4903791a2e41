// SPDX-License-Identifier: MIT
#include "manager/backup/ini.hpp"

#include <algorithm>

#include "core/base/text.hpp"

namespace vbd::backup {
namespace {

using text::cat;

constexpr std::string_view kBlank = " \t\r\f\v";

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::size_t indent_of(std::string_view line) {
  const auto first = line.find_first_not_of(kBlank);
  return first == std::string_view::npos ? line.size() : first;
}

/// %% -> %. Nothing for a lone % and for %(name)s.
std::optional<std::string> unescaped(std::string_view value) {
  std::string out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '%') {
      if (i + 1 == value.size() || value[i + 1] != '%') return std::nullopt;
      ++i;
    }
    out += value[i];
  }
  return out;
}

std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) out += c == '%' ? std::string("%%") : std::string(1, c);
  return out;
}

bool carries_key(std::string_view key) {
  return !key.empty() && key.front() != '#' && key.front() != ';' && key.front() != '[' &&
         key.find_first_of("=:") == std::string_view::npos && text::lower(key) == key &&
         trimmed(key) == key && text::is_printable_utf8(key);
}

bool carries_value(std::string_view value) {
  return trimmed(value) == value && text::is_printable_utf8(value);
}

/// Line by line, as Python does it.
class Reader {
 public:
  Reader(const std::string &file, std::vector<std::pair<std::string, Ini::Entries>> &sections)
      : file_(file), sections_(sections) {}

  Result<void> take(std::string_view line) {
    ++line_;
    const std::string_view content = trimmed(line);
    if (content.empty() || content.front() == '#' || content.front() == ';') return {};
    if (has_value_ && indent_of(line) > indent_) {
      sections_.back().second.back().second += cat("\n", content);
      return {};
    }
    indent_ = indent_of(line);
    has_value_ = false;
    return content.front() == '[' ? take_section(content) : take_entry(content);
  }

  [[nodiscard]] Result<void> finish() {
    for (auto &[section, entries] : sections_) {
      for (auto &[key, value] : entries) {
        auto plain = unescaped(value);
        if (!plain) {
          return Error(kDamaged, cat(file_, ": [", text::printable(section), "] ", text::printable(key),
                                     ": a '%' that is not written '%%'"));
        }
        value = *std::move(plain);
      }
    }
    return {};
  }

 private:
  [[nodiscard]] Error bad(std::string_view why) const {
    return {kDamaged, cat(file_, ":", line_, ": ", why)};
  }

  Result<void> take_section(std::string_view content) {
    const auto close = content.rfind(']');
    if (close == std::string_view::npos || close == 1) return bad("expected [SECTION]");
    std::string name(content.substr(1, close - 1));
    const bool twice = std::any_of(sections_.begin(), sections_.end(),
                                   [&](const auto &section) { return section.first == name; });
    if (twice) return bad(cat("a second section [", text::printable(name), "]"));
    sections_.emplace_back(std::move(name), Ini::Entries{});
    return {};
  }

  Result<void> take_entry(std::string_view content) {
    const auto sign = content.find_first_of("=:");
    if (sign == std::string_view::npos || sign == 0) return bad("expected KEY = VALUE");
    if (sections_.empty()) return bad("a value before the first [SECTION]");
    const std::string key = text::lower(trimmed(content.substr(0, sign)));
    auto &entries = sections_.back().second;
    const bool twice =
        std::any_of(entries.begin(), entries.end(), [&](const auto &entry) { return entry.first == key; });
    if (twice) return bad(cat("'", text::printable(key), "' stands twice"));
    entries.emplace_back(key, trimmed(content.substr(sign + 1)));
    has_value_ = true;
    return {};
  }

  const std::string &file_;
  std::vector<std::pair<std::string, Ini::Entries>> &sections_;
  std::size_t line_ = 0, indent_ = 0;
  bool has_value_ = false;
};

}  // namespace

Result<Ini> Ini::parse(std::string_view text, const std::string &file) {
  Ini ini;
  Reader reader(file, ini.sections_);
  for (const auto &line : text::split(text, '\n')) {
    if (auto taken = reader.take(line); !taken) return taken.error();
  }
  VBD_TRY(reader.finish());
  return ini;
}

const Ini::Entries *Ini::section(std::string_view name) const {
  for (const auto &[known, entries] : sections_) {
    if (known == name) return &entries;
  }
  return nullptr;
}

std::optional<std::string> Ini::get(std::string_view section_name, std::string_view key) const {
  const Entries *entries = section(section_name);
  if (entries == nullptr) return std::nullopt;
  for (const auto &[known, value] : *entries) {
    if (known == key && text::lower(value) != "none") return value;
  }
  return std::nullopt;
}

Ini::Entries &Ini::entries_of(std::string_view name) {
  for (auto &[known, entries] : sections_) {
    if (known == name) return entries;
  }
  return sections_.emplace_back(std::string(name), Entries{}).second;
}

void Ini::add_section(std::string_view name) {
  (void)entries_of(name);
}

void Ini::add(std::string_view section, std::string_view key, std::string_view value) {
  entries_of(section).emplace_back(key, value);
}

Result<std::string> Ini::str() const {
  std::string out;
  for (const auto &[section, entries] : sections_) {
    if (section.empty() || !text::is_printable_utf8(section)) {
      return Error(kCannotCarry,
                   cat("[", text::printable(section), "]: config.ini can't carry this section"));
    }
    out += cat("[", section, "]\n");
    for (const auto &[key, value] : entries) {
      if (!carries_key(key) || !carries_value(value)) {
        return Error(kCannotCarry, cat("[", section, "] ", text::printable(key), " = '",
                                       text::printable(value), "': config.ini can't carry it"));
      }
      out += cat(key, " = ", escaped(value), "\n");
    }
    out += "\n";
  }
  return out;
}

}  // namespace vbd::backup
