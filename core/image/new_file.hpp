// SPDX-License-Identifier: MIT
// An image that its filetype has made and that has no name yet: what create and copy share.
#pragma once

#include <string>

#include "core/image/image.hpp"
#include "core/plugin/registry.hpp"
#include "core/sys/files.hpp"

namespace vbd::image {

struct NewFile {
  plugin::Plugin *filetype = nullptr;
  plugin::Values params;  ///< complete
  sys::TempFile temp;
};
/// Refuses a name that is taken, removes what killed runs left of it, and lets the filetype make the image.
[[nodiscard]] Result<NewFile> make_new_file(plugin::Registry &registry, int directory,
                                            const std::string &name, const std::string &path,
                                            const CreateSpec &spec);

}  // namespace vbd::image
