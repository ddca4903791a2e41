// SPDX-License-Identifier: MIT
#pragma once

#include <vbdkit/plugin.hpp>

namespace vbdkit::qcow {
extern const vbd_image_ops kImage;
}
