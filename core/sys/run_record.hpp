// SPDX-License-Identifier: MIT
// The record of what helpers were asked and what they answered: one format for the recording and the
// playing runner. See run_record.cpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/sys/run.hpp"

namespace vbd::sys::record {

inline constexpr std::string_view kFirstLine = "vbdkit-helpers 1";
using Words = std::vector<std::string>;

/// One request with its answer.
struct Exchange {
  Words request, answer;
};

[[nodiscard]] std::string to_line(const Words &words);
[[nodiscard]] Result<Words> from_line(std::string_view line);
[[nodiscard]] Result<std::vector<Exchange>> parse(std::string_view text);

[[nodiscard]] Words run_request(const RunSpec &spec);
[[nodiscard]] Words spawn_request(const SpawnSpec &spec);
[[nodiscard]] Words process_request(std::string_view verb, const Process &process);

[[nodiscard]] Words error_answer(const Error &error);
[[nodiscard]] Words run_answer(const Result<RunResult> &result);
[[nodiscard]] Words spawn_answer(const Result<Process> &result);
[[nodiscard]] Words alive_answer(bool alive);
[[nodiscard]] Words stop_answer(const Result<void> &result);

/// Back again; kPlayback when the words do not fit.
[[nodiscard]] Result<RunResult> to_run(const Words &answer);
[[nodiscard]] Result<Process> to_process(const Words &answer);
[[nodiscard]] Result<bool> to_alive(const Words &answer);
[[nodiscard]] Result<void> to_stop(const Words &answer);
/// What error_answer() made words of; kPlayback for any others.
[[nodiscard]] Error to_error(const Words &answer);

}  // namespace vbd::sys::record
