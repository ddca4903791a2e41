// SPDX-License-Identifier: MIT
// The words about images that come from outside, the same for every verb that takes or uses one.
#pragma once

#include "cli/grammar.hpp"

namespace vbd::cli {

inline constexpr OptionSpec kRepairTaken = {
    "--repair", Takes::nothing, "",
    "mend an image that is damaged (as image check --repair=all does) instead of refusing it"};
inline constexpr OptionSpec kUnchecked = {"--unchecked", Takes::nothing, "",
                                          "take an image as it is, damaged or not"};

}  // namespace vbd::cli
