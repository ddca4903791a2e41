// SPDX-License-Identifier: MIT
// The parts of FT_TOY's plugin; the format is described in store.hpp.
#pragma once

#include "store.hpp"

namespace toy {

extern const vbd_image_ops kImageOps;

}  // namespace toy
