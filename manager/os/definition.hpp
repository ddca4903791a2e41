// SPDX-License-Identifier: MIT
// Guest OS definitions: directories with scripts that fill a disk, dump it, read a dump back, and rename what
// is in it. The interface is Ganeti's (ganeti-os-interface(7)), versions 10, 15 and 20: docs/guest-os.md.
// Reads only; thread-safe.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"

namespace vbd::os {

inline constexpr ErrorKind kBadOsName{"usage.os", Exit::usage};
inline constexpr ErrorKind kOsNotFound{"os.not_found", Exit::not_found};
/// Not complete, of no version that vbd knows, or for an installation in a helper VM.
inline constexpr ErrorKind kOsUnusable{"os.unusable", Exit::refused};
inline constexpr ErrorKind kOsUntrusted{"os.untrusted", Exit::refused};
inline constexpr ErrorKind kNoVariant{"os.variant", Exit::usage};
inline constexpr ErrorKind kVariantNotFound{"os.variant_not_found", Exit::not_found};
inline constexpr ErrorKind kOsParameter{"os.parameter", Exit::usage};

/// "debootstrap+default".
struct OsName {
  std::string name, variant;  ///< variant: "" none
};
/// kBadOsName for what can't be the name of a directory and a variant. "" is no name.
[[nodiscard]] Result<OsName> parse_os_name(const std::string &text);

struct Parameter {
  std::string name, description;
};

struct Definition {
  std::string name;
  std::string path;                   ///< its directory, without links
  unsigned api = 0;                   ///< the highest version that it and vbd know: 10, 15 or 20
  std::vector<std::string> variants;  ///< empty: it has none
  std::vector<Parameter> parameters;  ///< from version 20 on

  [[nodiscard]] std::string script(const std::string &what) const { return path + "/" + what; }
};

/// The first hit along os_search_path, complete and trusted. kOsNotFound names the nearest one and what there
/// is; a first hit that is not usable is an error, for a later one of the same name is not meant.
[[nodiscard]] Result<Definition> find_definition(const config::Settings &settings, const std::string &name);

/// A variant must be given when the definition has variants, and be one of them.
[[nodiscard]] Result<void> check_variant(const Definition &definition, const OsName &name);
/// Each is in the definition's parameters.list.
[[nodiscard]] Result<void> check_parameter_names(const Definition &definition,
                                                 const std::map<std::string, std::string> &parameters);

/// Names along os_search_path, sorted, usable or not.
[[nodiscard]] std::vector<std::string> installed(const config::Settings &settings);

}  // namespace vbd::os
