// SPDX-License-Identifier: MIT
#include <algorithm>

#include "cli/report/report.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {
namespace {

using plugin::Listed;
using plugin::Note;

const char *kind_word(PluginKind kind) {
  return kind == PluginKind::driver ? "driver" : "filetype";
}
std::string abi_of(const Note &note) {
  return text::cat(note.abi_major, ".", note.abi_minor);
}
PluginKind kind_of(const Listed &plugin) {
  return plugin.constant.starts_with("FT_") ? PluginKind::filetype : PluginKind::driver;
}

std::vector<std::string> list_of(const std::set<std::string> &set) {
  return {set.begin(), set.end()};
}

json::Value needs_json(const Note &note) {
  json::Object needs;
  for (const auto &[name, values] : note.needs) needs.emplace_back(name, to_json(values));
  return needs;
}

void add_note(json::Value &value, const Note &note) {
  value.set("name", note.name).set("version", note.version).set("abi", abi_of(note));
  value.set("min_host_minor", std::uint64_t{note.min_host_minor}).set("summary", note.summary);
  value.set("operations", to_json(list_of(note.ops))).set("properties", to_json(note.properties));
  value.set("needs", needs_json(note)).set("requires", to_json(note.requires_));
}

json::Value listed_json(const Listed &plugin) {
  json::Value value;
  value.set("constant", plugin.constant).set("kind", kind_word(kind_of(plugin))).set("path", plugin.path);
  value.set("usable", plugin.problem.empty() && !plugin.shadowed).set("shadowed", plugin.shadowed);
  if (plugin.problem.empty()) {
    value.set("problem", nullptr);
    add_note(value, plugin.note);
  } else {
    value.set("problem", json::Object{{"id", plugin.problem_id}, {"message", plugin.problem}});
    for (const char *unknown : {"name", "version", "abi", "min_host_minor", "summary", "operations",
                                "properties", "needs", "requires"}) {
      value.set(unknown, nullptr);
    }
  }
  return value;
}

json::Value option_json(const plugin::OptionInfo &option) {
  json::Value value;
  value.set("name", option.name).set("type", option.type_text()).set("help", option.help);
  const bool shown = option.has_default && !option.secret;
  value.set("default", shown ? json::Value{option.default_value} : json::Value{})
      .set("required", option.required);
  value.set("secret", option.secret)
      .set("per_image", option.per_image)
      .set("create_only", option.create_only);
  return value;
}

std::string needs_text(const Note &note) {
  std::vector<std::string> words;
  for (const auto &[name, values] : note.needs)
    words.push_back(text::cat(name, "=", text::join(values, "|")));
  return text::join(words, ", ");
}

std::string properties_text(const Note &note) {
  std::vector<std::string> words;
  for (const auto &[name, value] : note.properties) words.push_back(text::cat(name, "=", value));
  return text::join(words, ", ");
}

std::string where_used(const plugin::OptionInfo &option) {
  if (option.create_only) return "at create";
  return option.per_image ? "per image" : "configuration";
}

std::string options_text(const std::vector<plugin::OptionInfo> &options) {
  if (options.empty()) return "options: none\n";
  Table table;
  table.headers = {"OPTION", "TYPE", "DEFAULT", "GIVEN", "HELP"};
  for (const plugin::OptionInfo &option : options) {
    const std::string fallback = option.secret ? "(secret)" : option.default_value;
    table.rows.push_back({option.name, option.type_text(), fallback, where_used(option), option.help});
  }
  return "\n" + table_text(table);
}

std::vector<const Listed *> usable(const std::vector<Listed> &list, PluginKind kind) {
  std::vector<const Listed *> out;
  for (const Listed &plugin : list) {
    if (plugin.problem.empty() && !plugin.shadowed && plugin.note.kind == kind) out.push_back(&plugin);
  }
  std::sort(out.begin(), out.end(),
            [](const Listed *a, const Listed *b) { return a->constant < b->constant; });
  return out;
}

std::string unmet(const Listed &driver, const Listed &filetype) {
  return plugin::unmet_need(driver.note, filetype.note, filetype.note.properties);
}

json::Value matrix_json(const std::vector<const Listed *> &drivers,
                        const std::vector<const Listed *> &filetypes) {
  json::Array pairs, driver_names, filetype_names;
  for (const Listed *filetype : filetypes) filetype_names.emplace_back(filetype->constant);
  for (const Listed *driver : drivers) {
    driver_names.emplace_back(driver->constant);
    for (const Listed *filetype : filetypes) {
      const std::string reason = unmet(*driver, *filetype);
      json::Value pair;
      pair.set("driver", driver->constant).set("filetype", filetype->constant).set("works", reason.empty());
      pairs.push_back(pair.set("reason", reason.empty() ? json::Value{} : json::Value{reason}));
    }
  }
  json::Value value;
  value.set("schema", "vbdkit.matrix/1").set("drivers", std::move(driver_names));
  return value.set("filetypes", std::move(filetype_names)).set("pairs", std::move(pairs));
}

}  // namespace

Outcome plugins(bool json, const std::vector<Listed> &list, bool color) {
  if (json) {
    json::Array array;
    for (const Listed &plugin : list) array.push_back(listed_json(plugin));
    return {{}, json::Object{{"schema", "vbdkit.plugins/1"}, {"plugins", std::move(array)}}};
  }
  Table table;
  table.headers = {"CONSTANT", "KIND", "VERSION", "ABI", "STATUS", "PATH"};
  table.bold = color;
  std::string problems;
  for (const Listed &plugin : list) {
    const bool good = plugin.problem.empty();
    const std::string status = !good ? plugin.problem_id : plugin.shadowed ? "shadowed" : "ok";
    table.rows.push_back({plugin.constant, kind_word(kind_of(plugin)), good ? plugin.note.version : "",
                          good ? abi_of(plugin.note) : "", status, plugin.path});
    if (!good)
      problems += text::cat("\n", text::printable(plugin.path), ": ", text::printable(plugin.problem));
  }
  return {table_text(table) + (problems.empty() ? "" : problems + "\n"), {}};
}

Outcome plugin(bool json, const plugin::Found &found, const std::vector<plugin::OptionInfo> &options) {
  const Note &note = found.note;
  if (json) {
    json::Value value;
    value.set("schema", "vbdkit.plugin/1").set("constant", note.constant).set("kind", kind_word(note.kind));
    value.set("path", found.path);
    add_note(value, note);
    json::Array array;
    for (const plugin::OptionInfo &option : options) array.push_back(option_json(option));
    value.set("options", std::move(array));
    return {{}, std::move(value)};
  }
  std::string out = pairs_text({{"constant", note.constant},
                                {"kind", kind_word(note.kind)},
                                {"name", note.name},
                                {"version", note.version},
                                {"summary", note.summary},
                                {"abi", abi_of(note)},
                                {"path", found.path},
                                {"operations", text::join(list_of(note.ops), ", ")},
                                {"properties", properties_text(note)},
                                {"needs", needs_text(note)},
                                {"requires", text::join(note.requires_, ", ")}});
  return {out + options_text(options), {}};
}

Outcome plugin_check(bool json, const plugin::Checked &checked) {
  const bool usable = checked.usable();
  const Exit exit = usable ? Exit::done : Exit::refused;
  if (json) {
    json::Array findings;
    for (const plugin::Finding &finding : checked.findings) {
      findings.push_back(json::Object{{"severity", finding.error ? "error" : "warning"},
                                      {"id", finding.id},
                                      {"message", finding.message}});
    }
    json::Value value;
    value.set("schema", "vbdkit.plugin-check/1").set("constant", checked.constant).set("path", checked.path);
    return {{}, value.set("usable", usable).set("findings", std::move(findings)), exit};
  }
  std::string out;
  for (const plugin::Finding &finding : checked.findings)
    out += text::cat(finding.error ? "error[" : "warning[", finding.id,
                     "]: ", text::printable(finding.message), "\n");
  return {out + text::cat(checked.constant, ": ", usable ? "usable" : "not usable", "\n"), {}, exit};
}

Outcome matrix(bool json, const std::vector<Listed> &list, bool color) {
  const auto drivers = usable(list, PluginKind::driver);
  const auto filetypes = usable(list, PluginKind::filetype);
  if (json) return {{}, matrix_json(drivers, filetypes)};
  Table table;
  table.headers = {""};
  table.bold = color;
  std::string notes;
  for (const Listed *filetype : filetypes) table.headers.push_back(filetype->constant);
  for (const Listed *driver : drivers) {
    std::vector<std::string> row = {driver->constant};
    for (const Listed *filetype : filetypes) {
      const std::string reason = unmet(*driver, *filetype);
      row.push_back(reason.empty() ? "yes" : "no");
      if (!reason.empty()) {
        notes +=
            text::cat(driver->constant, " with ", filetype->constant, ": ", text::printable(reason), "\n");
      }
    }
    table.rows.push_back(std::move(row));
  }
  return {table_text(table) + (notes.empty() ? "" : "\n" + notes), {}};
}

}  // namespace vbd::cli::report
