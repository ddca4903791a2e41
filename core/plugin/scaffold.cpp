// SPDX-License-Identifier: MIT
#include "core/plugin/scaffold.hpp"

#include <algorithm>

#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"

namespace vbd::plugin {
namespace {

constexpr std::size_t kTemplateLimit = 1u << 20;

void replace_all(std::string &content, const std::string &from, const std::string &to) {
  for (std::size_t at = 0; (at = content.find(from, at)) != std::string::npos; at += to.size())
    content.replace(at, from.size(), to);
}

/// The templates are written for FD_EXAMPLE and FT_EXAMPLE; words in code take no dash.
std::string renamed(std::string content, const Constant &constant) {
  const std::string &whole = constant.str();
  const std::string file = constant.file_name();
  const std::string stem = file.substr(0, file.size() - 3);
  std::string word = stem.substr(3);
  std::replace(word.begin(), word.end(), '-', '_');
  replace_all(content, whole.substr(0, 3) + "EXAMPLE", whole);
  replace_all(content, stem.substr(0, 3) + "example", stem);
  replace_all(content, "example", word);
  return content;
}

}  // namespace

Result<std::vector<NewFile>> plan_scaffold(const ScaffoldSpec &spec) {
  const bool driver = spec.constant.str().starts_with("FD_");
  const std::string from = text::cat(spec.templates, "/", driver ? "driver-" : "filetype-", spec.language);
  auto directory = sys::open_directory(from);
  if (!directory) return directory.error().at(from);
  auto names = sys::list_dir(directory->get());
  if (!names) return names.error().at(from);
  std::vector<NewFile> files;
  for (const std::string &name : *names) {
    auto content = sys::read_file_at(directory->get(), name, kTemplateLimit);
    if (!content) return content.error().at(text::cat(from, "/", name));
    files.push_back({renamed(name, spec.constant), renamed(*std::move(content), spec.constant)});
  }
  return files;
}

Result<void> create_scaffold(const ScaffoldSpec &spec, const std::vector<NewFile> &files) {
  VBD_TRY_ASSIGN(auto parent, sys::open_parent(spec.directory));
  const std::string name = sys::base_name(spec.directory);
  if (auto made = sys::make_dir_at(parent.get(), name, 0755); !made)
    return made.error().at(text::printable(spec.directory));
  VBD_TRY_ASSIGN(auto directory, sys::open_directory(spec.directory));
  for (const NewFile &file : files) {
    if (auto written = sys::create_file_at(directory.get(), file.path, file.content, 0644); !written)
      return written.error().at(text::printable(spec.directory));
  }
  return {};
}

}  // namespace vbd::plugin
