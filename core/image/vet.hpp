// SPDX-License-Identifier: MIT
// What comes from outside is checked whole before it counts: O(metadata), by the filetype. What was checked
// is remembered in STATE_DIR/checked, by the file's identity and times, so that using it again costs nothing
// as long as nobody but us has changed it. Formats that are the guest's bytes have nothing to check. Not
// thread-safe; safe against other processes.
#pragma once

#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/image/image.hpp"

namespace vbd::image {

inline constexpr ErrorKind kDamagedImage{"image.damaged", Exit::damaged};

/// What the operator says about images that come from outside, or that changed while nobody of ours had them.
struct Vetting {
  enum class Word { check, repair, unchecked };
  Word word = Word::check;
  bool dry_run = false;  ///< nothing is repaired or remembered
};

/// kDamagedImage with the reasons; lost space is only a warning. `fd`: locked by the caller against writers;
/// with Word::repair writable, and locked exclusively.
[[nodiscard]] Result<void> vet(plugin::Registry &registry, const config::Settings &settings,
                               const Constant &filetype, int fd, const std::string &path,
                               const Vetting &vetting);

/// The image was ours until now: what was known of it before goes on to count. For images that were vetted.
void keep_vetted(const config::Settings &settings, int fd, const std::string &path);

/// What is remembered of images that are gone, by its path.
[[nodiscard]] Result<std::vector<std::string>> stale_vettings(const config::Settings &settings, bool remove);

}  // namespace vbd::image
