// SPDX-License-Identifier: MIT
// Command lines, one word between NUL bytes: whatever they are, an answer or an error of usage.
#include "cli/parser.hpp"
#include "cli/tests/toy.hpp"
#include "cli/words.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;
using namespace vbd::cli;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const auto args = fuzz::words_of(data, size);
  const auto words = find_words(toy::kNouns, args);
  if (!fuzz::good(words)) {
    fuzz::require(words.error().exit() == Exit::usage, "a wrong command that is no error of usage");
    return 0;
  }
  fuzz::require(words->rest.size() <= args.size(), "more words than were given");
  if (words->verb == nullptr) {
    fuzz::require(words->help, "no verb, and no help");
    return 0;
  }
  fuzz::require(words->noun != nullptr, "a verb without a noun");
  const auto parsed = parse_verb(*words->noun, *words->verb, words->rest);
  if (!fuzz::good(parsed)) {
    fuzz::require(parsed.error().exit() == Exit::usage, "a wrong word that is no error of usage");
    return 0;
  }
  if (parsed->has("help")) return 0;
  for (const ArgumentSpec &argument : words->verb->arguments)
    fuzz::require(!argument.required || parsed->has(argument.name), "an argument that is missing");
  for (const OptionSpec &option : words->verb->options) {
    const auto values = parsed->values(key_of(option));
    fuzz::require(!option.required || !values.empty(), "an option that is missing");
    fuzz::require(option.takes != Takes::value || values.size() <= 1, "an option that is given twice");
    // Each value is a word of the command line, or the end of one.
    for (const std::string &value : values) {
      bool given = value.empty();
      for (const std::string &word : args) given = given || word.ends_with(value);
      fuzz::require(given, "a value that nobody gave");
    }
  }
  return 0;
}
