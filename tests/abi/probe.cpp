// SPDX-License-Identifier: MIT
// What the host makes of a plugin, for the tests of the ABI: finds it through the registry, loads it, calls
// one operation, and prints "ok" or the error's id, its message and its hint, a line each.
//   abi-probe find|load DIRECTORY CONSTANT [OPTION=VALUE...]
//   abi-probe call DIRECTORY CONSTANT OPERATION              attach or query; the keys and values follow
//   abi-probe note FILE
#include <cstdio>
#include <string>
#include <vector>

#include "core/plugin/registry.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"

namespace {

using namespace vbd;

int report(const Error &error) {
  std::printf("%s\n%s\n%s\n", std::string(error.id()).c_str(), error.message().c_str(), error.hint().c_str());
  return static_cast<int>(error.exit());
}

int note_of(const std::string &path) {
  const auto fd = sys::open_image_anywhere(path, sys::Access::read);
  if (!fd) return report(fd.error());
  const auto note = plugin::read_note(fd->get(), path);
  if (!note) return report(note.error());
  std::printf("ok\n%s\n", note->constant.c_str());
  return 0;
}

int call(plugin::Plugin &loaded, const std::string &operation) {
  const vbd_op op = loaded.driver() == nullptr ? nullptr
                    : operation == "attach"    ? loaded.driver()->attach
                                               : loaded.driver()->query;
  const auto facts = loaded.call(op, operation, {});
  if (!facts) return report(facts.error());
  std::puts("ok");
  for (const auto &fact : facts->all())
    std::printf("%s=%s\n", fact.first.c_str(), facts->text(fact.first).c_str());
  return 0;
}

int run(const std::vector<std::string> &args) {
  if (args.size() == 2 && args[0] == "note") return note_of(args[1]);
  if (args.size() < 3) return 2;
  const auto kind = args[2].starts_with("FD") ? PluginKind::driver : PluginKind::filetype;
  const auto constant = Constant::parse(args[2], kind);
  if (!constant) return report(constant.error());
  config::Settings settings;
  for (std::size_t i = 3; i < args.size() && args[0] == "load"; ++i) {
    const std::size_t equals = args[i].find('=');
    settings.plugins[args[2]][args[i].substr(0, equals)] = {args[i].substr(equals + 1),
                                                            {"vbdkit.yaml", 3, 14}};
  }
  const auto runner = sys::make_real_runner();
  plugin::Registry registry(settings, {args[1]}, "", *runner);
  if (args[0] == "find") {
    const auto found = registry.find(*constant);
    if (!found) return report(found.error());
    std::printf("ok\n%s\n", found->path.c_str());
    return 0;
  }
  const auto loaded = registry.load(*constant);
  if (!loaded) return report(loaded.error());
  if (args[0] == "call" && args.size() == 4) return call(**loaded, args[3]);
  std::printf("ok\n%s\n", (*loaded)->path().c_str());
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  return run({argv + 1, argv + argc});
}
