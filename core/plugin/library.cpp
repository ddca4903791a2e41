// SPDX-License-Identifier: MIT
// std::filesystem instead of Boost.Filesystem, or two Boost libraries would be linked (BOOST_DLL_USE_STD_FS
// is a compiler argument of this room).
#include "core/plugin/library.hpp"

#include <dlfcn.h>

#include <boost/dll/shared_library.hpp>

#include "core/base/text.hpp"
#include "core/plugin/call.hpp"

namespace vbd::plugin {
namespace {

using EntryFunction = const vbd_plugin *() noexcept;
struct Entry {
  EntryFunction *function;
};
constexpr const char *kSymbol = "vbd_plugin_v1";

/// Boost's error code is the same for every failure; the linker's own words are still there after it.
std::string linker_text() {
  const char *text = ::dlerror();
  return text == nullptr ? std::string("the dynamic linker gives no reason") : text::printable(text);
}

Result<Entry> entry_of(const std::string &path) {
  namespace dll = boost::dll;
  // RTLD_NODELETE: the object stays although `library` ends here. RTLD_NOW: a missing symbol shows now, not
  // in a call.
  const auto mode =
      static_cast<dll::load_mode::type>(static_cast<int>(dll::load_mode::rtld_now) |
                                        static_cast<int>(dll::load_mode::rtld_local) | RTLD_NODELETE);
  try {
    dll::shared_library library;
    std::error_code error;
    library.load(path, error, mode);
    if (error || !library.is_loaded()) {
      return Error(kLoadFailed,
                   text::cat(text::printable(path), ": the dynamic linker refuses it: ", linker_text()));
    }
    if (!library.has(kSymbol)) {
      return Error(kNoSymbol, text::cat(text::printable(path), ": does not export ", kSymbol),
                   "see plugin.h: VBD_EXPORT");
    }
    return Entry{&library.get<EntryFunction>(kSymbol)};
  } catch (const std::exception &caught) {
    return Error(kLoadFailed,
                 text::cat(text::printable(path), ": not loaded: ", text::printable(caught.what())));
  } catch (...) {  // a static constructor of the plugin
    return Error(kLoadFailed, text::cat(text::printable(path), ": threw an exception while it was loaded"));
  }
}

}  // namespace

Result<const vbd_plugin *> load_library(const std::string &path) {
  VBD_TRY_ASSIGN(auto entry, entry_of(path));
  bool thrown = false;
  const vbd_plugin *plugin = call_out(thrown, entry.function);
  if (thrown)
    return Error(kLoadFailed, text::cat(text::printable(path), ": ", kSymbol, " threw an exception"));
  if (plugin == nullptr)
    return Error(kNullStruct, text::cat(text::printable(path), ": ", kSymbol, " returned NULL"));
  return plugin;
}

}  // namespace vbd::plugin
