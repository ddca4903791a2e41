// SPDX-License-Identifier: MIT
#include "manager/instance/space.hpp"

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/sys/files.hpp"

namespace vbd::instance {

std::string space_warning(const config::Settings &settings, int directory, const std::string &path) {
  auto info = sys::filesystem_info(directory);
  if (!info || info->free_bytes >= settings.min_free) return {};
  return text::cat(path, ": ", format_size(info->free_bytes), " free on its filesystem, below min_free ",
                   format_size(settings.min_free));
}

}  // namespace vbd::instance
