// SPDX-License-Identifier: MIT
#include "cli/words.hpp"

#include <algorithm>

#include "core/base/text.hpp"

namespace vbd::cli {
namespace {

const OptionSpec *find_in(std::span<const OptionSpec> options, std::string_view word) {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [&](const OptionSpec &option) { return has_name(option, word); });
  return found == options.end() ? nullptr : &*found;
}

const OptionSpec *find_in(const NounSpec &noun, std::string_view word) {
  for (const VerbSpec &verb : noun.verbs) {
    if (const OptionSpec *option = find_in(verb.options, word)) return option;
  }
  return nullptr;
}

bool is_option(std::string_view word) {
  return word.size() > 1 && word.front() == '-';
}

Error unknown(const ErrorKind &kind, std::string_view what, std::string_view word,
              const std::vector<std::string> &known) {
  const std::string near = text::did_you_mean(word, known);
  std::string message = text::cat("unknown ", what, " '", text::printable(word), "'");
  if (!near.empty()) message += text::cat("; did you mean '", near, "'?");
  return {kind, std::move(message), text::cat("one of: ", text::join(known, ", "))};
}

/// Takes the next word that is no option as noun, then as verb.
Result<void> take_word(std::span<const NounSpec> nouns, Words &words, const std::string &word) {
  if (!words.help && word == "help" && words.verb == nullptr) {
    words.help = true;
  } else if (words.noun == nullptr) {
    const auto found =
        std::find_if(nouns.begin(), nouns.end(), [&](const NounSpec &noun) { return noun.name == word; });
    if (found == nouns.end()) return unknown(kUnknownNoun, "noun", word, noun_names(nouns));
    words.noun = &*found;
  } else {
    const auto &verbs = words.noun->verbs;
    const auto found =
        std::find_if(verbs.begin(), verbs.end(), [&](const VerbSpec &verb) { return verb.name == word; });
    if (found == verbs.end()) {
      return unknown(kUnknownVerb, text::cat("verb of ", words.noun->name), word, verb_names(*words.noun));
    }
    words.verb = &*found;
  }
  return {};
}

Result<Words> check_complete(std::span<const NounSpec> nouns, Words words) {
  const auto wants_help = [](const std::string &word) { return word == "-h" || word == "--help"; };
  if (words.verb == nullptr && std::any_of(words.rest.begin(), words.rest.end(), wants_help))
    words.help = true;
  if (words.help || words.verb != nullptr) return words;
  if (words.noun == nullptr) {
    return Error{kUnknownNoun, "no noun given",
                 text::cat("vbd NOUN VERB; nouns: ", text::join(noun_names(nouns), ", "))};
  }
  return Error{kUnknownVerb, text::cat("no verb given for ", words.noun->name),
               text::cat("one of: ", text::join(verb_names(*words.noun), ", "))};
}

}  // namespace

std::vector<std::string> noun_names(std::span<const NounSpec> nouns) {
  std::vector<std::string> names;
  for (const NounSpec &noun : nouns) names.emplace_back(noun.name);
  return names;
}

std::vector<std::string> verb_names(const NounSpec &noun) {
  std::vector<std::string> names;
  for (const VerbSpec &verb : noun.verbs) names.emplace_back(verb.name);
  return names;
}

const OptionSpec *find_option(std::span<const NounSpec> nouns, const Words &words, std::string_view word) {
  if (const OptionSpec *option = find_in(global_options(), word)) return option;
  if (has_name(dry_run_option(), word)) return &dry_run_option();
  if (words.verb != nullptr) return find_in(words.verb->options, word);
  if (words.noun != nullptr) return find_in(*words.noun, word);
  for (const NounSpec &noun : nouns) {
    if (const OptionSpec *option = find_in(noun, word)) return option;
  }
  return nullptr;
}

Result<Words> find_words(std::span<const NounSpec> nouns, const std::vector<std::string> &args) {
  Words words;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string &word = args[i];
    if (word == "--" || words.verb != nullptr) {
      words.rest.insert(words.rest.end(), args.begin() + static_cast<std::ptrdiff_t>(i), args.end());
      break;
    }
    if (!is_option(word)) {
      VBD_TRY(take_word(nouns, words, word));
      continue;
    }
    words.rest.push_back(word);
    const OptionSpec *option = find_option(nouns, words, word);
    const bool takes_next =
        option != nullptr && (option->takes == Takes::value || option->takes == Takes::values);
    if (takes_next && i + 1 < args.size()) words.rest.push_back(args[++i]);
  }
  return check_complete(nouns, std::move(words));
}

}  // namespace vbd::cli
