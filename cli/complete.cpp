// SPDX-License-Identifier: MIT
#include "cli/complete.hpp"

#include <algorithm>

#include "cli/session.hpp"
#include "cli/words.hpp"
#include "core/base/text.hpp"
#include "core/sys/components.hpp"

namespace vbd::cli {
namespace {

using Candidates = std::vector<std::string>;

void add_names(const OptionSpec &option, Candidates &out) {
  for (std::string &name : text::split(option.names, ',')) out.push_back(std::move(name));
}

Candidates option_names(const Words &words) {
  Candidates out;
  for (const OptionSpec &option : global_options()) add_names(option, out);
  if (words.verb == nullptr) return out;
  if (words.verb->changes) add_names(dry_run_option(), out);
  for (const OptionSpec &option : words.verb->options) add_names(option, out);
  return out;
}

Candidates instance_names(const Session &session) {
  Candidates out;
  const auto directory = sys::open_parent(session.settings().state_dir + "/instances/*");
  if (!directory) return out;
  const auto names = sys::list_dir(directory->get());
  if (!names) return out;
  for (const std::string &name : *names) {
    if (name.ends_with(".yaml") && !name.starts_with('.')) out.push_back(name.substr(0, name.size() - 5));
  }
  return out;
}

Candidates export_names(const Session &session) {
  Candidates out;
  const auto directory = sys::open_directory(session.settings().export_dir);
  if (!directory) return out;
  const auto names = sys::list_dir(directory->get());
  if (!names) return out;
  for (const std::string &name : *names) {
    const auto info = sys::file_info_at(directory->get(), name);
    if (info && info->is_directory() && check_instance_name(name)) out.push_back(name);
  }
  return out;
}

Candidates constants(Session &session, bool filetypes_only) {
  Candidates out;
  for (const plugin::Listed &plugin : session.registry().list()) {
    if (!filetypes_only || plugin.constant.starts_with("FT_")) out.push_back(plugin.constant);
  }
  return out;
}

Candidates values_of(Meaning meaning, Arguments arguments) {
  if (meaning == Meaning::text || meaning == Meaning::file) return {};
  Session session(std::move(arguments));
  if (!session.load()) return {};
  if (meaning == Meaning::instance) return instance_names(session);
  if (meaning == Meaning::exported) return export_names(session);
  return constants(session, meaning == Meaning::filetype);
}

/// The two global options that say where to look.
Arguments places(const std::vector<std::string> &rest) {
  Arguments out;
  for (std::size_t i = 0; i + 1 < rest.size(); ++i) {
    if (rest[i] == "--config" || rest[i] == "--plugin-dir")
      out.add(std::string_view(rest[i]).substr(2), rest[i + 1]);
  }
  return out;
}

/// Words behind the verb that are neither options nor their values.
std::size_t count_arguments(std::span<const NounSpec> nouns, const Words &words) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < words.rest.size(); ++i) {
    const bool is_option = words.rest[i].size() > 1 && words.rest[i].front() == '-';
    if (!is_option) ++count;
    const OptionSpec *option = is_option ? find_option(nouns, words, words.rest[i]) : nullptr;
    if (option != nullptr && (option->takes == Takes::value || option->takes == Takes::values)) ++i;
  }
  return count;
}

/// As find_words, but a word that is missing is no error.
Words words_so_far(std::span<const NounSpec> nouns, std::vector<std::string> before) {
  before.insert(before.begin(), "--help");
  auto words = find_words(nouns, before);
  if (!words) return {};
  std::erase(words->rest, "--help");
  return *std::move(words);
}

Candidates candidates(std::span<const NounSpec> nouns, const std::vector<std::string> &before,
                      const std::string &prefix) {
  const Words words = words_so_far(nouns, before);
  const OptionSpec *waiting = before.empty() ? nullptr : find_option(nouns, words, before.back());
  if (waiting != nullptr && (waiting->takes == Takes::value || waiting->takes == Takes::values)) {
    if (!waiting->choices.empty()) return text::split(waiting->choices, '|');
    return values_of(waiting->meaning, places(words.rest));
  }
  if (prefix.starts_with('-')) return option_names(words);
  if (words.noun == nullptr) return noun_names(nouns);
  if (words.verb == nullptr) return verb_names(*words.noun);
  const auto &arguments = words.verb->arguments;
  std::size_t index = count_arguments(nouns, words);
  if (!arguments.empty() && arguments.back().many) index = std::min(index, arguments.size() - 1);
  if (index >= arguments.size()) return {};
  return values_of(arguments[index].meaning, places(words.rest));
}

}  // namespace

std::string complete(std::span<const NounSpec> nouns, std::vector<std::string> words) {
  const std::string prefix = words.empty() ? "" : words.back();
  if (!words.empty()) words.pop_back();
  std::string out;
  for (const std::string &candidate : candidates(nouns, words, prefix)) {
    if (candidate.starts_with(prefix)) out += candidate + "\n";
  }
  return out;
}

}  // namespace vbd::cli
