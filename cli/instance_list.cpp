// SPDX-License-Identifier: MIT
// vbd instance list
#include <fnmatch.h>

#include <algorithm>
#include <functional>
#include <set>

#include "cli/instance_verbs.hpp"
#include "cli/parser.hpp"
#include "cli/report/instances.hpp"
#include "cli/report/piecewise.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "core/base/text.hpp"
#include "manager/instance/live.hpp"

namespace vbd::cli {
namespace instance_list_file {
namespace {

using Words = std::vector<std::string>;

Result<Words> wanted_states(const Arguments &arguments) {
  Words states;
  const Words known(instance::kStateWords.begin(), instance::kStateWords.end());
  for (const std::string &given : arguments.values("state")) {
    for (std::string &state : text::split(given, ',')) {
      if (std::find(known.begin(), known.end(), state) == known.end()) {
        const std::string near = text::did_you_mean(state, known);
        return Error{kBadValue,
                     text::cat("--state ", shown(state), ": no such state",
                               near.empty() ? "" : "; did you mean '" + near + "'?"),
                     text::cat("states: ", text::join(known, ", "))};
      }
      states.push_back(std::move(state));
    }
  }
  return states;
}

using Wanted = std::function<bool(const std::string &)>;

/// What NAME and --name want; each NAME must be there.
Result<Wanted> named(Session &session) {
  const Words given = session.args().values("NAME"), globs = session.args().values("name");
  const std::set<std::string> names(given.begin(), given.end());
  if (given.empty() && globs.empty()) return Wanted{};
  const auto fits = [names, globs](const std::string &name) {
    const auto matches = [&](const std::string &glob) {
      return ::fnmatch(glob.c_str(), name.c_str(), 0) == 0;
    };
    return (names.empty() || names.contains(name)) &&
           (globs.empty() || std::any_of(globs.begin(), globs.end(), matches));
  };
  const instance::Catalog catalog(session.settings());
  if (!names.empty()) {
    VBD_TRY_ASSIGN(const auto all, catalog.names());
    const std::set<std::string> known(all.begin(), all.end());
    for (const std::string &name : given) {
      if (!known.contains(name)) return catalog.not_found(name);
    }
  }
  return Wanted{fits};
}

report::Unit unit_of(const Arguments &arguments) {
  const std::string unit = arguments.value("units", arguments.has("separator") ? "m" : "h");
  return unit == "b"   ? report::Unit::bytes
         : unit == "m" ? report::Unit::mebi
         : unit == "g" ? report::Unit::gibi
         : unit == "t" ? report::Unit::tebi
                       : report::Unit::human;
}

/// Hands what is wanted to `take`, with what is known of it, a few hundred at a time.
template <class Take>
Result<void> walk(Session &session, const Wanted &wanted, const Words &states, bool with_usage,
                  const Take &take) {
  instance::LiveView live(session.manager());
  instance::Silent silent;
  const auto see = [&](std::vector<instance::Entry> entries) -> Result<void> {
    live.see(entries);
    if (!states.empty()) {
      std::erase_if(entries, [&](const instance::Entry &entry) {
        return std::find(states.begin(), states.end(), instance::state_text(entry.state)) == states.end();
      });
    }
    std::vector<instance::Usage> usage(entries.size());
    if (with_usage) usage = instance::see_usage(session.settings(), entries, &silent);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (auto taken = take(entries[i], usage[i]); !taken) return taken;
    }
    return {};
  };
  return instance::Catalog(session.settings()).each(wanted, see, silent);
}

Result<Outcome> json_list(Session &session, const Wanted &wanted, const Words &states) {
  report::Piecewise document(json::Object{{"schema", "vbdkit.instances/1"}}, "instances");
  const auto walked =
      walk(session, wanted, states, true, [&](const instance::Entry &entry, const instance::Usage &usage) {
        return document.add(report::list_json(entry, usage));
      });
  if (!walked) return document.end({}, walked.error());
  return document.end({});
}

Result<Outcome> list(Session &session) {
  const bool given = session.args().has("fields");
  const auto fields =
      report::instance_fields(given ? std::optional(session.args().value("fields")) : std::nullopt);
  if (!fields) return fields.error();
  if (session.args().has("separator") && session.args().value("separator").empty())
    return Error{kBadValue, "--separator '': fields could not be told apart"};
  VBD_TRY_ASSIGN(const auto states, wanted_states(session.args()));
  VBD_TRY_ASSIGN(const auto wanted, named(session));
  if (session.json()) return json_list(session, wanted, states);
  report::Table table = report::list_table(*fields, session.args().has("no-headers"));
  table.separator = session.args().value("separator");
  table.bold = session.color();
  const report::Unit unit = unit_of(session.args());
  VBD_TRY(walk(session, wanted, states, report::needs_usage(*fields),
               [&](const instance::Entry &entry, const instance::Usage &usage) -> Result<void> {
                 table.rows.push_back(report::list_row(*fields, entry, usage, unit));
                 return {};
               }));
  return Outcome{report::table_text(std::move(table)), {}};
}

constexpr OptionSpec kOptions[] = {
    {"-o,--fields", Takes::value, "FIELD,...",
     "name, state (status), node (pnode), secondary (snodes), os, disks (disk.count), size, allocated, "
     "directory, "
     "uuid, created, reason, memory, vcpus, disk.sizes, nic.count, nic.macs; of disk N: disk.size/N, "
     "disk.allocated/N, disk.path/N, disk.driver/N, disk.filetype/N, disk.vdev/N; of card N: nic.mac/N, "
     "nic.ip/N, "
     "...; be/KEY, hv/KEY, os/KEY; +FIELD adds to the usual ones"},
    {"--no-headers", Takes::nothing, "", "print no line of headers"},
    {"--separator", Takes::value, "TEXT", "between fields, instead of aligning them; sizes are in MiB then"},
    {"--units", Takes::value, "UNIT",
     "of sizes: h for people, b bytes, m MiB (rounded up), g GiB, t TiB (one decimal)", "h|b|m|g|t"},
    {"--state", Takes::values, "STATE,...",
     "only instances that are running, stopped, error, unreachable, foreign or interrupted"},
    {"--name", Takes::values, "PATTERN", "only instances with such a name: * and ? as a shell has them"},
};
constexpr ArgumentSpec kNames[] = {{"NAME", "only these instances", false, Meaning::instance, true}};
constexpr std::string_view kExamples[] = {
    "vbd instance list",
    "vbd instance list web1 web2",
    "vbd instance list --state error,unreachable --name 'web*'",
    "vbd instance list -o +allocated,disk.sizes",
    "vbd instance list --no-headers --separator=: --units b -o name,state,size",
    "vbd instance list --output json",
};

}  // namespace
}  // namespace instance_list_file

VerbSpec instance_list_verb() {
  return {"list",
          "list instances",
          "Lists the instances known on this host. One whose storage does not answer within two seconds is\n"
          "unreachable, and keeps none of the others; the exit code is 0 all the same. No plugin is loaded.",
          instance_list_file::kOptions,
          instance_list_file::kNames,
          instance_list_file::kExamples,
          false,
          false,
          instance_list_file::list};
}

}  // namespace vbd::cli
