// SPDX-License-Identifier: MIT
// A small grammar for the tests.
#pragma once

#include "cli/grammar.hpp"

namespace toy {

using namespace vbd::cli;

inline constexpr OptionSpec kAddOptions[] = {
    {"-t,--template", Takes::value, "WORDS", "what to make"}, {"--disk", Takes::values, "N:WORDS", "a disk"},
    {"-y,--yes", Takes::nothing, "", "do not ask"},           {"--access", Takes::value, "w|r", "how", "w|r"},
    {"--dialect", Takes::value, "NAME", "which", "", true},
};
inline constexpr ArgumentSpec kAddArguments[] = {{"NAME", "a name"}, {"SIZE", "a size", false}};
inline constexpr ArgumentSpec kId[] = {{"LOGICAL_ID", "a disk"}};
inline constexpr std::string_view kExamples[] = {"vbd thing add x"};
inline constexpr VerbSpec kThingVerbs[] = {
    {"add", "add a thing", "", kAddOptions, kAddArguments, kExamples, true},
    {"list", "list things", "", {}, {}, kExamples},
};
inline constexpr VerbSpec kDiskVerbs[] = {{"attach", "attach it", "", {}, kId, kExamples, true}};
inline constexpr NounSpec kNouns[] = {{"thing", "things", kThingVerbs}, {"disk", "disks", kDiskVerbs}};

}  // namespace toy
