// SPDX-License-Identifier: MIT
#include "cli/parser.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <utility>

#include "core/base/text.hpp"

namespace vbd::cli {
namespace {

/// The library's objects for one verb, each beside its table entry.
struct Tree {
  CLI::App app;
  std::vector<std::pair<const OptionSpec *, CLI::Option *>> options;
  std::vector<std::pair<const ArgumentSpec *, CLI::Option *>> arguments;
};

std::vector<const OptionSpec *> options_of(const VerbSpec &verb) {
  std::vector<const OptionSpec *> all;
  for (const OptionSpec &option : verb.options) all.push_back(&option);
  if (verb.changes) all.push_back(&dry_run_option());
  for (const OptionSpec &option : global_options()) all.push_back(&option);
  return all;
}

CLI::Option *add_to(CLI::App &app, const OptionSpec &spec) {
  const std::string names(spec.names);
  if (spec.takes == Takes::nothing || spec.takes == Takes::count)
    return app.add_flag(names)->disable_flag_override();
  // One value a use, taken as it is: the library would take more words, and "[a,b]" for a list.
  return app.add_option(names)
      ->expected(1, CLI::detail::expected_max_vector_size)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void build(Tree &tree, const VerbSpec &verb) {
  tree.app.set_help_flag();
  tree.app.allow_extras();  // told below, in the order in which they were given and with the nearest name
  for (const OptionSpec *spec : options_of(verb)) tree.options.emplace_back(spec, add_to(tree.app, *spec));
  for (const ArgumentSpec &spec : verb.arguments) {
    if (!spec.many) tree.arguments.emplace_back(&spec, tree.app.add_option(std::string(spec.name)));
  }
}

std::string help_hint(const NounSpec &noun, const VerbSpec &verb) {
  return text::cat("see vbd ", noun.name, " ", verb.name, " --help");
}

Error unknown_option(const VerbSpec &verb, const std::string &given, const std::string &hint) {
  std::vector<std::string> known;
  for (const OptionSpec *spec : options_of(verb)) {
    for (const std::string &name : text::split(spec->names, ',')) known.push_back(name);
  }
  const std::string name = given.substr(0, given.find('='));
  const std::string near = text::did_you_mean(name, known);
  std::string message = text::cat("unknown option '", text::printable(name), "'");
  if (!near.empty()) message += text::cat("; did you mean '", near, "'?");
  return {kUnknownOption, std::move(message), hint};
}

/// What the library found no place for: the words of an argument that takes many; else none may be there.
Result<void> read_extras(const Tree &tree, const VerbSpec &verb, Arguments &out, const std::string &hint) {
  std::vector<std::string> words;
  bool options = true;
  for (std::string &word : tree.app.remaining()) {
    if (options && word == "--") {  // the library keeps it among them
      options = false;
    } else if (options && word.size() > 1 && word.front() == '-') {
      return unknown_option(verb, word, hint);
    } else {
      words.push_back(std::move(word));
    }
  }
  if (!verb.arguments.empty() && verb.arguments.back().many) {
    for (std::string &word : words) out.add(verb.arguments.back().name, std::move(word));
    return {};
  }
  if (words.empty()) return {};
  return Error{kBadArgument, text::cat("unexpected argument '", text::printable(words.front()), "'"), hint};
}

/// A script's variable that is not set must not become the working directory, or the usual configuration.
Error empty_path(std::string_view what, const std::string &hint) {
  return {kBadValue, text::cat(what, " '': no name of a file or directory"), hint};
}

Result<void> check_values(const OptionSpec &spec, const std::vector<std::string> &values,
                          const std::string &hint) {
  if (values.empty() && spec.required) {
    return Error{kBadArgument, text::cat("the option --", key_of(spec), " is missing"), hint};
  }
  if (spec.takes == Takes::value && values.size() > 1) {
    return Error{kBadValue, text::cat("--", key_of(spec), " is given more than once"), hint};
  }
  const bool nothing = std::find(values.begin(), values.end(), "") != values.end();
  const bool is_path = spec.meaning == Meaning::file || spec.meaning == Meaning::exported;
  if (nothing && is_path) return empty_path(text::cat("--", key_of(spec)), hint);
  if (spec.choices.empty()) return {};
  const std::vector<std::string> choices = text::split(spec.choices, '|');
  for (const std::string &value : values) {
    if (std::find(choices.begin(), choices.end(), value) != choices.end()) continue;
    const std::string near = text::did_you_mean(value, choices);
    std::string message =
        text::cat("--", key_of(spec), " ", shown(value), ": not one of ", text::join(choices, ", "));
    if (!near.empty()) message += text::cat("; did you mean '", near, "'?");
    return Error{kBadValue, std::move(message), hint};
  }
  return {};
}

Result<void> read_options(const Tree &tree, Arguments &out, const std::string &hint) {
  for (const auto &[spec, option] : tree.options) {
    const bool is_flag = spec->takes == Takes::nothing || spec->takes == Takes::count;
    if (is_flag) {
      for (std::size_t i = 0; i < option->count(); ++i) out.add(key_of(*spec), "");
      continue;
    }
    VBD_TRY(check_values(*spec, option->results(), hint));
    for (const std::string &value : option->results()) out.add(key_of(*spec), value);
  }
  return {};
}

Result<void> read_arguments(const Tree &tree, Arguments &out, const std::string &hint) {
  for (const auto &[spec, option] : tree.arguments) {
    if (option->count() == 0 && spec->required)
      return Error{kBadArgument, text::cat(spec->name, " is missing"), hint};
    for (const std::string &value : option->results()) {
      if (value.empty() && spec->meaning == Meaning::file) return empty_path(spec->name, hint);
      out.add(spec->name, value);
    }
  }
  return {};
}

/// "--name=" is a value, an empty one; the library would take the next word for it. "--flag=x" has no
/// meaning.
Result<std::vector<std::string>> normalize(const Tree &tree, const std::vector<std::string> &rest,
                                           const std::string &hint) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == "--") {
      out.insert(out.end(), rest.begin() + static_cast<std::ptrdiff_t>(i), rest.end());
      break;
    }
    const std::size_t equals = rest[i].starts_with("--") ? rest[i].find('=') : std::string::npos;
    const auto known = std::find_if(tree.options.begin(), tree.options.end(), [&](const auto &pair) {
      return equals != std::string::npos &&
             has_name(*pair.first, std::string_view(rest[i]).substr(0, equals));
    });
    if (known == tree.options.end()) {
      out.push_back(rest[i]);
    } else if (known->first->takes == Takes::nothing || known->first->takes == Takes::count) {
      return Error{kBadValue, text::cat("--", key_of(*known->first), " takes no value"), hint};
    } else {
      out.push_back(rest[i].substr(0, equals));
      out.push_back(rest[i].substr(equals + 1));
    }
  }
  return out;
}

bool wants_help(const Tree &tree) {
  return std::any_of(tree.options.begin(), tree.options.end(), [](const auto &pair) {
    return key_of(*pair.first) == "help" && pair.second->count() > 0;
  });
}

}  // namespace

std::string shown(std::string_view value) {
  return value.empty() ? "''" : text::printable(value);
}

Result<Arguments> parse_verb(const NounSpec &noun, const VerbSpec &verb,
                             const std::vector<std::string> &rest) {
  const std::string hint = help_hint(noun, verb);
  Tree tree;
  Arguments out;
  try {
    build(tree, verb);
    auto words = normalize(tree, rest, hint);
    if (!words) return words.error();
    std::reverse(words->begin(), words->end());  // the library takes them from the back
    tree.app.parse(*std::move(words));
  } catch (const CLI::ArgumentMismatch &) {  // only the last word can be an option without its value
    return Error{kBadArgument, text::cat(text::printable(rest.back()), ": its value is missing"), hint};
  } catch (const CLI::ParseError &e) {
    return Error{kBadArgument, text::printable(e.what()), hint};
  }
  if (wants_help(tree)) {
    out.add("help", "");
    return out;
  }
  VBD_TRY(read_extras(tree, verb, out, hint));
  VBD_TRY(read_options(tree, out, hint));
  VBD_TRY(read_arguments(tree, out, hint));
  return out;
}

}  // namespace vbd::cli
