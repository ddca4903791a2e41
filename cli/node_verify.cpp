// SPDX-License-Identifier: MIT
// vbd node verify
#include "cli/node_verbs.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "core/base/text.hpp"
#include "manager/hypervisor/guest.hpp"
#include "manager/hypervisor/profile.hpp"
#include "manager/node/check.hpp"

namespace vbd::cli {
namespace node_verify_file {
namespace {

inline constexpr ErrorKind kOtherHost{"node.other_host", Exit::refused};

node::Check check_hypervisor(Session &session) {
  const std::string &name = session.settings().hypervisor;
  node::Check check{text::cat("hypervisor ", name), {}};
  const auto profile = hypervisor::load_profile(name, session.profile_dirs());
  if (!profile) {
    check.problem = profile.error().message();
  } else if (const auto present = hypervisor::check_present(*profile); !present) {
    check.problem = present.error().message();
    check.is_note = true;
  }
  return check;
}

Result<Outcome> verify(Session &session) {
  const config::Settings &settings = session.settings();
  const std::string name = session.args().value("NODE", settings.node);
  if (name != settings.node) {
    const auto found = settings.nodes.find(name);
    if (found == settings.nodes.end()) {
      return Error{instance::kNoNode, text::cat("node ", text::printable(name), ": not known"),
                   "vbd node list shows all"};
    }
    return Error{kOtherHost, text::cat("node ", name, ": is another host; a host is verified by itself"),
                 text::cat("ssh ", found->second.ssh, " vbd node verify")};
  }
  std::string out;
  std::uint64_t left = 0;
  json::Array array;
  std::vector<node::Check> checks = node::check_host(settings, session.registry());
  checks.push_back(check_hypervisor(session));
  for (const node::Check &check : checks) {
    const bool good = check.problem.empty();
    const char *level = good ? "good" : check.is_note ? "note" : "problem";
    if (!good && !check.is_note) ++left;
    out += text::cat(level, ": ", text::printable(check.what), good ? "" : ": ",
                     text::printable(check.problem), "\n");
    array.push_back(json::Object{{"what", check.what},
                                 {"level", level},
                                 {"problem", good ? json::Value{} : json::Value{check.problem}}});
  }
  json::Value value;
  value.set("schema", "vbdkit.node-verify/1")
      .set("name", name)
      .set("checks", std::move(array))
      .set("left", left);
  return Outcome{std::move(out), std::move(value), left == 0 ? Exit::done : Exit::failed};
}

constexpr ArgumentSpec kNode[] = {{"NODE", "this host, which is the default", false}};
constexpr std::string_view kExamples[] = {"vbd node verify", "ssh root@node2 vbd node verify --output json"};

}  // namespace
}  // namespace node_verify_file

VerbSpec node_verify_verb() {
  return {
      "verify",
      "say whether this host can do what its configuration says",
      "Loads every plugin with its configured options, and looks at the directories of images and at the\n"
      "hypervisor. Exit code 1 with any problem; that guests can't be started here is only a note.",
      {},
      node_verify_file::kNode,
      node_verify_file::kExamples,
      false,
      false,
      node_verify_file::verify};
}

}  // namespace vbd::cli
