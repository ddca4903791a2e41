// SPDX-License-Identifier: MIT
#include "manager/os/definition.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/trusted.hpp"

namespace vbd::os {
namespace {

using text::cat;

constexpr std::array<unsigned, 3> kApis = {20, 15, 10};
constexpr unsigned kApiVariants = 15, kApiParameters = 20;
constexpr std::size_t kFileLimit = 65536;
constexpr const char *kVersionFile = "ganeti_api_version";
constexpr std::uint32_t kOwnerExecutes = 0100;  // inode(7)

/// Links are followed, for packages keep lists in /etc: what they lead to must be trusted all the same.
constexpr sys::TrustWords kWords{kOsUntrusted, "guest OS definition", "not used", true, false};

bool is_name(const std::string &text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !text.empty() && text.size() <= 200 && text.front() != '.' && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), allowed);
}

std::vector<std::string> lines_of(const std::string &content) {
  std::vector<std::string> lines;
  for (std::string &line : text::split(content, '\n')) {
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r'))
      line.pop_back();
    line.erase(0, line.find_first_not_of(" \t"));
    if (!line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

/// Reads a directory that find_definition found.
class Reader {
 public:
  explicit Reader(Definition &definition) : definition_(definition) {}

  Result<void> read() {
    VBD_TRY(check_entries());
    VBD_TRY(read_versions());
    for (const char *name : {"create", "export", "import", "rename"}) {
      if (auto good = check_script(name); !good) return good;
    }
    if (definition_.api >= kApiVariants) {
      if (auto done = read_variants(); !done) return done;
    }
    if (definition_.api < kApiParameters) return {};
    VBD_TRY(check_script("verify"));
    return read_parameters();
  }

 private:
  [[nodiscard]] Error unusable(const std::string &why, const std::string &hint = {}) const {
    return {
        kOsUnusable,
        cat("guest OS definition ", definition_.name, " in ", text::printable(definition_.path), ": ", why),
        hint};
  }

  Result<sys::Fd> open(const std::string &name) {
    return sys::open_trusted_file(definition_.script(name), kWords);
  }

  /// Scripts read what lies beside them (common.sh, hooks): all of it must be trusted, not only what vbd
  /// runs.
  Result<void> check_entries() {
    VBD_TRY_ASSIGN(auto directory, sys::open_trusted_directory(definition_.path, kWords));
    auto names = sys::list_dir(directory.get());
    if (!names) return names.error().at(definition_.path);
    for (const auto &name : *names) {
      auto file = open(name);
      if (file || file.error().is(sys::kNotFound)) continue;  // a link to a list that is not installed
      if (!sys::open_directory(definition_.script(name))) return file.error();
      VBD_TRY(sys::open_trusted_directory(definition_.script(name), kWords));
    }
    return {};
  }

  Result<std::string> read_text(const std::string &name) {
    VBD_TRY_ASSIGN(auto file, open(name));
    std::string content(kFileLimit + 1, '\0');
    auto length = sys::read_at(file.get(), content.data(), content.size(), 0);
    if (!length) return length.error().at(definition_.script(name));
    if (*length > kFileLimit) return unusable(cat(name, " is larger than 64 KiB"));
    content.resize(*length);
    return content;
  }

  Result<void> check_script(const std::string &name) {
    auto file = open(name);
    if (!file && file.error().is(sys::kNotFound)) {
      if (name == "create" && sys::path_exists(definition_.script("create_untrusted"))) {
        return unusable("it has create_untrusted only, which wants a helper VM to run in",
                        "use a definition with a create script; vbd starts no VM to install another");
      }
      return unusable(cat("the script ", name, " is missing"));
    }
    if (!file) return file.error();
    VBD_TRY_ASSIGN(auto info, sys::file_info(file->get()));
    if ((info.mode & kOwnerExecutes) == 0) return unusable(cat("the script ", name, " is not executable"));
    return {};
  }

  Result<void> read_versions() {
    auto content = read_text(kVersionFile);
    if (!content && content.error().is(sys::kNotFound))
      return unusable(cat(kVersionFile, " is missing"), "is it a guest OS definition?");
    if (!content) return content.error();
    std::set<unsigned> versions;
    for (const auto &line : lines_of(*content)) {
      unsigned version = 0;
      const auto [end, why] = std::from_chars(line.data(), line.data() + line.size(), version);
      if (why != std::errc{} || end != line.data() + line.size())
        return unusable(cat(kVersionFile, ": '", text::printable(line.substr(0, 40)), "' is no number"));
      versions.insert(version);
    }
    for (const unsigned known : kApis) {
      if (!versions.contains(known)) continue;
      definition_.api = known;
      return {};
    }
    std::string found;
    for (const unsigned version : versions) found += cat(found.empty() ? "" : ", ", version);
    return unusable(cat("its versions of the interface are ", found.empty() ? "none" : found,
                        "; vbd knows 10, 15 and 20"));
  }

  Result<void> read_variants() {
    auto content = read_text("variants.list");
    if (!content) return content.error().is(sys::kNotFound) ? Result<void>() : content.error();
    for (auto &line : lines_of(*content)) {
      if (line.front() == '#') continue;
      if (!is_name(line))
        return unusable(cat("variants.list: '", text::printable(line.substr(0, 40)), "' is no name"));
      definition_.variants.push_back(std::move(line));
    }
    return {};
  }

  Result<void> read_parameters() {
    auto content = read_text("parameters.list");
    if (!content && content.error().is(sys::kNotFound)) return unusable("parameters.list is missing");
    if (!content) return content.error();
    for (const auto &line : lines_of(*content)) {
      const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
      const std::size_t text = std::min(line.find_first_not_of(" \t", end), line.size());
      definition_.parameters.push_back({line.substr(0, end), line.substr(text)});
    }
    return {};
  }

  Definition &definition_;
};

Error not_found(const config::Settings &settings, const std::string &name) {
  const auto names = installed(settings);
  const std::string path = text::join(settings.os_search_path, ":");
  const std::string near = text::did_you_mean(name, names);
  std::string hint = near.empty() ? std::string() : cat("did you mean ", near, "? ");
  hint += names.empty() ? std::string(
                              "none is installed; Debian has them in ganeti-instance-debootstrap "
                              "and ganeti-os-noop")
                        : cat("there are: ", text::join(text::nearest_first(name, names), ", "));
  return {kOsNotFound,
          cat("guest OS definition ", text::printable(name), ": not found in ", text::printable(path)), hint};
}

}  // namespace

Result<OsName> parse_os_name(const std::string &text) {
  const std::size_t plus = text.find('+');
  OsName name{text.substr(0, plus), plus == std::string::npos ? "" : text.substr(plus + 1)};
  if (is_name(name.name) && (plus == std::string::npos || is_name(name.variant))) return name;
  return Error(kBadOsName,
               cat("-o ", text::printable(text.substr(0, 80)), ": not a name of a guest OS definition"),
               "write OS or OS+VARIANT");
}

Result<Definition> find_definition(const config::Settings &settings, const std::string &name) {
  for (const auto &directory : settings.os_search_path) {
    const std::string path = cat(directory, "/", name);
    auto real = sys::canonical_path(path);
    if (!real && real.error().is(sys::kNotFound)) continue;
    if (!real) return real.error();
    if (!sys::open_directory(*real)) continue;
    // By the path as it was found: whoever can change a link on the way chooses what runs.
    VBD_TRY(sys::open_trusted_directory(path, kWords));
    Definition definition{name, *real, 0, {}, {}};
    VBD_TRY(Reader(definition).read());
    return definition;
  }
  return not_found(settings, name);
}

Result<void> check_variant(const Definition &definition, const OsName &name) {
  const auto &variants = definition.variants;
  const std::string choice = cat("its variants are ", text::join(variants, ", "));
  if (variants.empty()) {
    if (name.variant.empty()) return {};
    return Error(kVariantNotFound,
                 cat("guest OS definition ", name.name, ": has no variants, '", name.variant, "' was given"),
                 cat("-o ", name.name));
  }
  if (name.variant.empty()) {
    return Error(kNoVariant, cat("guest OS definition ", name.name, ": needs a variant; ", choice),
                 cat("-o ", name.name, "+", variants.front()));
  }
  if (std::find(variants.begin(), variants.end(), name.variant) != variants.end()) return {};
  const std::string near = text::did_you_mean(name.variant, variants);
  return Error(kVariantNotFound,
               cat("guest OS definition ", name.name, ": no variant ", name.variant, "; ", choice),
               near.empty() ? "" : cat("did you mean ", name.name, "+", near, "?"));
}

Result<void> check_parameter_names(const Definition &definition,
                                   const std::map<std::string, std::string> &parameters) {
  if (parameters.empty()) return {};
  const std::string where = cat("guest OS definition ", definition.name);
  if (definition.api < kApiParameters) {
    return Error(kOsParameter,
                 cat(where, ": takes no parameters (-O): version ", definition.api, " of the interface"));
  }
  std::vector<std::string> names;
  for (const auto &parameter : definition.parameters) names.push_back(parameter.name);
  for (const auto &[name, value] : parameters) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    return Error(kOsParameter, cat(where, ": no parameter '", text::printable(name), "'"),
                 names.empty() ? "it takes none"
                               : cat("it takes ", text::join(text::nearest_first(name, names), ", ")));
  }
  return {};
}

std::vector<std::string> installed(const config::Settings &settings) {
  std::set<std::string> names;
  for (const auto &path : settings.os_search_path) {
    auto directory = sys::open_directory(path);
    if (!directory) continue;
    auto entries = sys::list_dir(directory->get());
    if (!entries) continue;
    for (const auto &entry : *entries) {
      if (is_name(entry) && sys::path_exists(cat(path, "/", entry, "/", kVersionFile))) names.insert(entry);
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace vbd::os
