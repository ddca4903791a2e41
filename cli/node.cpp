// SPDX-License-Identifier: MIT
// vbd node: this host, and those that the configuration names
#include <vector>

#include "cli/node_verbs.hpp"
#include "cli/nouns.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "core/base/text.hpp"

namespace vbd::cli {
namespace node_file {
namespace {

inline constexpr ErrorKind kNoCopy{"node.no_copy", Exit::refused};

struct NodeView {
  std::string name, ssh;
  bool local = false;
  std::uint64_t primary = 0, secondary = 0;  ///< instances known on this host
};

Result<std::vector<NodeView>> nodes_of(Session &session) {
  const config::Settings &settings = session.settings();
  VBD_TRY_ASSIGN(const auto entries, instance::Catalog(settings).list());
  std::vector<NodeView> nodes{{settings.node, {}, true}};
  for (const auto &[name, node] : settings.nodes) {
    if (name != settings.node) nodes.push_back({name, node.ssh});
  }
  for (const instance::Entry &entry : entries) {
    for (NodeView &node : nodes) {
      if (entry.record.node == node.name) ++node.primary;
      if (entry.record.secondary == node.name) ++node.secondary;
    }
  }
  return nodes;
}

Result<NodeView> find_node(Session &session) {
  const std::string name = session.args().value("NODE", session.settings().node);
  VBD_TRY_ASSIGN(const auto nodes, nodes_of(session));
  std::vector<std::string> known;
  for (const NodeView &node : nodes) {
    if (node.name == name) return node;
    known.push_back(node.name);
  }
  return Error{instance::kNoNode, text::cat("node ", text::printable(name), ": not known"),
               text::cat("known: ", text::join(text::nearest_first(name, known), ", "))};
}

json::Value node_json(const NodeView &node) {
  json::Value value;
  value.set("name", node.name).set("local", node.local);
  value.set("ssh", node.ssh.empty() ? json::Value{} : json::Value{node.ssh});
  return value.set("primary", node.primary).set("secondary", node.secondary);
}

Result<Outcome> list(Session &session) {
  const auto nodes = nodes_of(session);
  if (!nodes) return nodes.error();
  report::Table table;
  table.bold = session.color();
  table.headers = {"NODE", "SSH", "PRIMARY", "SECONDARY"};
  json::Array array;
  for (const NodeView &node : *nodes) {
    table.rows.push_back({node.name, node.local ? "this host" : node.ssh, std::to_string(node.primary),
                          std::to_string(node.secondary)});
    array.push_back(node_json(node));
  }
  json::Value value;
  value.set("schema", "vbdkit.nodes/1").set("nodes", std::move(array));
  return Outcome{report::table_text(table), std::move(value)};
}

Result<Outcome> info(Session &session) {
  VBD_TRY_ASSIGN(const auto node, find_node(session));
  json::Value value;
  value.set("schema", "vbdkit.node/1");
  const json::Value members = node_json(node);
  for (const auto &[key, member] : *members.as_object()) value.set(key, member);
  return Outcome{report::pairs_text({{"name", node.name},
                                     {"reached", node.local ? "this host" : node.ssh},
                                     {"primary of", text::cat(node.primary, " instances")},
                                     {"secondary of", text::cat(node.secondary, " instances")}}),
                 std::move(value)};
}

Result<Outcome> evacuate(Session &session) {
  const auto node = find_node(session);
  if (!node) return node.error();
  return Error{
      kNoCopy,
      text::cat("node ", node->name,
                ": its instances can't be evacuated: their disks are files, and vbd keeps no second copy "
                "of them elsewhere"),
      "export each (vbd backup export) and import it on the other node, or keep the files on shared "
      "storage"};
}

constexpr ArgumentSpec kNode[] = {{"NODE", "a node of the configuration; default: this host", false}};
constexpr ArgumentSpec kNodeNeeded[] = {{"NODE", "a node of the configuration"}};
constexpr OptionSpec kEvacuateOptions[] = {
    {"-f,--force", Takes::nothing, "", "do not ask"},
    {"-p,--primary-only", Takes::nothing, "", "instances of which it is the primary node"},
    {"-s,--secondary-only", Takes::nothing, "", "instances of which it is the secondary node"},
    {"-n,--new-secondary", Takes::value, "NODE", "where they go"},
    {"-I,--iallocator", Takes::value, "NAME", "who chooses where they go"},
};
constexpr std::string_view kListExamples[] = {"vbd node list"};
constexpr std::string_view kInfoExamples[] = {"vbd node info", "vbd node info node2 --output json"};
constexpr std::string_view kEvacuateExamples[] = {"vbd node evacuate node1"};

constexpr VerbSpec kVerbs[] = {
    {"list",
     "list this host and the nodes of the configuration",
     "Lists this host and the nodes of the configuration, with the instances known here. No node is asked.",
     {},
     {},
     kListExamples,
     false,
     false,
     list},
    {"info", "show a node", "", {}, kNode, kInfoExamples, false, false, info},
    {"evacuate", "refused: a disk here is one file, without a copy on another node",
     "Refused, for clusters' scripts: vbd keeps no copies of disks on other nodes. Export and import move "
     "an\n"
     "instance; on shared storage its files are on the other node already.",
     kEvacuateOptions, kNodeNeeded, kEvacuateExamples, false, false, evacuate},
};

}  // namespace
}  // namespace node_file

std::span<const VerbSpec> node_verbs() {
  static const std::vector<VerbSpec> verbs = [] {
    std::vector<VerbSpec> all(std::begin(node_file::kVerbs), std::end(node_file::kVerbs));
    all.insert(all.begin() + 2, node_verify_verb());
    return all;
  }();
  return verbs;
}

}  // namespace vbd::cli
