// SPDX-License-Identifier: MIT
// vbd: finds the verb, runs it, prints what it gives.
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cli/build_info.hpp"
#include "cli/complete.hpp"
#include "cli/help.hpp"
#include "cli/manual.hpp"
#include "cli/nouns.hpp"
#include "cli/parser.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "cli/words.hpp"
#include "core/base/log.hpp"
#include "core/sys/file_limit.hpp"
#include "core/sys/interrupt.hpp"

namespace vbd::cli {
namespace {

using Nouns = std::array<NounSpec, 9>;

Nouns all_nouns() {
  return {{
      {"instance", "virtual machines: their disks and parameters", instance_verbs()},
      {"backup", "exports of instances, in Ganeti's format", backup_verbs()},
      {"node", "this host and the others of the configuration", node_verbs()},
      {"disk", "disks as block devices and as hypervisors' strings", disk_verbs()},
      {"lease", "which node may write an image, on storage that several reach", lease_verbs()},
      {"image", "image files", image_verbs()},
      {"plugin", "installed drivers and filetypes", plugin_verbs()},
      {"cluster", "this installation: directories, state, leftovers", cluster_verbs()},
      {"config", "the configuration", config_verbs()},
  }};
}

/// --output json and --color as far as they can be seen, for errors that come before or from the parser.
struct Looks {
  bool json = false;
  std::string color = "auto";
};
Looks looks_of(const std::vector<std::string> &args) {
  Looks looks;
  for (std::size_t i = 0; i < args.size() && args[i] != "--"; ++i) {
    const std::string next = i + 1 < args.size() ? args[i + 1] : "";
    if (args[i] == "--output=json" || (args[i] == "--output" && next == "json")) looks.json = true;
    if (args[i].starts_with("--color=")) looks.color = args[i].substr(8);
    if (args[i] == "--color") looks.color = next;
  }
  return looks;
}

int print(std::string_view text, Exit exit) {
  const auto written = write_stdout(text);
  if (written) return static_cast<int>(exit);
  if (!written.error().is(kNoReader)) write_stderr(report::error_text(written.error(), false));
  return static_cast<int>(Exit::failed);
}

int fail(const Error &error, const Looks &looks) {
  if (error.is(kNoReader)) return static_cast<int>(error.exit());
  if (looks.json) return print(report::error_json(error), error.exit());
  write_stderr(report::error_text(error, wants_color(looks.color, kStderr)));
  return static_cast<int>(error.exit());
}

std::string help_for(const Nouns &nouns, const Words &words) {
  if (words.verb != nullptr) return help_text(*words.noun, *words.verb);
  if (words.noun != nullptr) return help_text(*words.noun);
  return help_text(nouns);
}

void set_log_level(const Arguments &arguments) {
  const std::size_t verbose = arguments.values("verbose").size();
  if (verbose > 0) log::set_level(verbose == 1 ? log::Level::info : log::Level::debug);
}

Result<Outcome> run_verb(const VerbSpec &verb, Arguments arguments) {
  set_log_level(arguments);
  Session session(std::move(arguments));
  if (!verb.own_settings) {
    if (auto loaded = session.load(); !loaded) return loaded.error();
  }
  return verb.run(session);
}

int run(const std::vector<std::string> &args) {
  const Nouns nouns = all_nouns();
  if (!args.empty() && args[0] == "__complete")
    return print(complete(nouns, {args.begin() + 1, args.end()}), Exit::done);
  if (!args.empty() && args[0] == "__manual") return print(manual(nouns), Exit::done);
  const Looks looks = looks_of(args);
  const auto words = find_words(nouns, args);
  if (!words) return fail(words.error(), looks);
  if (words->help) return print(help_for(nouns, *words), Exit::done);
  auto arguments = parse_verb(*words->noun, *words->verb, words->rest);
  if (!arguments) return fail(arguments.error(), looks);
  if (arguments->has("help")) return print(help_for(nouns, *words), Exit::done);
  const auto outcome = run_verb(*words->verb, *std::move(arguments));
  if (!outcome) return fail(outcome.error(), looks);
  const bool as_json = looks.json && !outcome->json.is_null();
  return print(as_json ? json::dump(outcome->json) + "\n" : outcome->text, outcome->exit);
}

}  // namespace
}  // namespace vbd::cli

int main(int argc, char **argv) {
  using namespace vbd::cli;
  guard_standard_descriptors();
  if (argc > 1 && (std::string_view(argv[1]) == "--version" || std::string_view(argv[1]) == "-V")) {
    return print(report::version_text(), vbd::Exit::done);
  }
  vbd::sys::take_file_limit_as_error();
  const int status = run({argv + 1, argv + argc});
  vbd::sys::end_as_asked();
  return status;
}
