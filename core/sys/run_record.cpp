// SPDX-License-Identifier: MIT
// The record format. Text, one request or answer a line, easy to write and to change by hand:
//
//   vbdkit-helpers 1                                   first line: name and version of the format
//   # anything                                         comment; empty lines are skipped too
//   run [in=TEXT] [dir=PATH] [env=NAME=VALUE]... [fd=N]... -- ARG...
//                                                      in: stdin; dir: working directory; env: the
//                                                      environment, where it is not the usual one; fd: a
//                                                      number given to it
//   = exit STATUS OUTPUT LAST_LINES
//   spawn [unit=NAME] [log=PATH] [fd=N]... -- ARG...
//   = process PID START_TIME
//   alive PID START_TIME
//   = yes            or  = no
//   stop PID START_TIME
//   = done
//
// Any answer but alive's may be "= error ID EXIT_CODE MESSAGE HINT". Words are separated by one blank. In a
// word, a byte that is a blank, a backslash, below 0x20 or above 0x7e is written \xNN; the empty word is \e.
#include "core/sys/run_record.hpp"

#include <charconv>

#include "core/base/text.hpp"

namespace vbd::sys::record {
namespace {

std::string escape(std::string_view word) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  if (word.empty()) return "\\e";
  std::string out;
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '\\') {
      out += c;
    } else {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

std::optional<std::string> unescape(std::string_view word) {
  if (word == "\\e") return std::string{};
  std::string out;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word[i] != '\\') {
      out += word[i];
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = word.substr(i + 1).substr(0, 3);
    if (digits.size() != 3 || digits[0] != 'x') return std::nullopt;
    const auto [end, why] = std::from_chars(digits.data() + 1, digits.data() + 3, value, 16);
    if (why != std::errc{} || end != digits.data() + 3) return std::nullopt;
    out += static_cast<char>(value);
    i += 3;
  }
  if (out.empty()) return std::nullopt;
  return out;
}

template <class N>
bool number(const std::string &word, N &out) {
  const auto [end, why] = std::from_chars(word.data(), word.data() + word.size(), out);
  return why == std::errc{} && end == word.data() + word.size();
}

Error misfit(const Words &answer) {
  return {kPlayback, text::cat("the recorded answer \"", to_line(answer), "\" does not fit the request")};
}

void add_fds(Words &words, const std::vector<FdMap> &fds) {
  for (const FdMap &map : fds) words.push_back(text::cat("fd=", map.child_fd));
}

void add_argv(Words &words, const std::vector<std::string> &argv) {
  words.emplace_back("--");
  words.insert(words.end(), argv.begin(), argv.end());
}

}  // namespace

std::string to_line(const Words &words) {
  std::string line;
  for (const std::string &word : words) line += (line.empty() ? "" : " ") + escape(word);
  return line;
}

Result<Words> from_line(std::string_view line) {
  Words words;
  for (const std::string &word : text::split(line, ' ')) {
    auto plain = unescape(word);
    if (!plain)
      return Error{kPlayback, text::cat("\"", text::printable(word), "\" is not a word of a record")};
    words.push_back(std::move(*plain));
  }
  return words;
}

Result<std::vector<Exchange>> parse(std::string_view text) {
  std::vector<Exchange> exchanges;
  std::size_t number_of_line = 0;
  bool answered = true;
  const auto bad = [&](std::string_view why) {
    return Error{kPlayback, text::cat("record, line ", number_of_line, ": ", why)};
  };
  for (const std::string &line : text::split(text, '\n')) {
    ++number_of_line;
    if (number_of_line == 1) {
      if (line != kFirstLine) return bad(text::cat("does not begin with \"", kFirstLine, "\""));
      continue;
    }
    if (line.empty() || line.front() == '#') continue;
    const bool is_answer = line.starts_with("= ");
    const auto words = from_line(is_answer ? std::string_view(line).substr(2) : std::string_view(line));
    if (!words) return bad(words.error().message());
    if (is_answer == answered)
      return bad(answered ? "an answer without a request" : "a request without an answer");
    answered = is_answer;
    if (is_answer) {
      exchanges.back().answer = *words;
    } else {
      exchanges.push_back({*words, {}});
    }
  }
  if (!answered) return bad("the last request has no answer");
  return exchanges;
}

Words run_request(const RunSpec &spec) {
  Words words{"run"};
  if (!spec.input.empty()) words.push_back("in=" + spec.input);
  if (!spec.directory.empty()) words.push_back("dir=" + spec.directory);
  for (const std::string &variable : spec.environment) words.push_back("env=" + variable);
  add_fds(words, spec.fds);
  add_argv(words, spec.argv);
  return words;
}

Words spawn_request(const SpawnSpec &spec) {
  Words words{"spawn"};
  if (!spec.unit.empty()) words.push_back("unit=" + spec.unit);
  if (!spec.log_path.empty()) words.push_back("log=" + spec.log_path);
  add_fds(words, spec.fds);
  add_argv(words, spec.argv);
  return words;
}

Words process_request(std::string_view verb, const Process &process) {
  return {std::string(verb), std::to_string(process.pid), std::to_string(process.start_time)};
}

Words error_answer(const Error &error) {
  return {"error", std::string(error.id()), std::to_string(static_cast<int>(error.exit())), error.message(),
          error.hint()};
}

Words run_answer(const Result<RunResult> &result) {
  if (!result) return error_answer(result.error());
  return {"exit", std::to_string(result->exit_status), result->output, result->last_lines};
}

Words spawn_answer(const Result<Process> &result) {
  return result ? process_request("process", *result) : error_answer(result.error());
}

Words alive_answer(bool alive) {
  return {alive ? "yes" : "no"};
}

Words stop_answer(const Result<void> &result) {
  return result ? Words{"done"} : error_answer(result.error());
}

Error to_error(const Words &answer) {
  int exit_code = 0;
  if (answer.size() != 5 || answer[0] != "error" || !number(answer[2], exit_code) || exit_code < 1 ||
      exit_code > 6)
    return misfit(answer);
  return {ErrorKind{answer[1], static_cast<Exit>(exit_code)}, answer[3], answer[4]};
}

Result<RunResult> to_run(const Words &answer) {
  RunResult result;
  if (answer.size() != 4 || answer[0] != "exit" || !number(answer[1], result.exit_status))
    return to_error(answer);
  result.output = answer[2];
  result.last_lines = answer[3];
  return result;
}

Result<Process> to_process(const Words &answer) {
  Process process;
  const bool fits = answer.size() == 3 && answer[0] == "process" && number(answer[1], process.pid) &&
                    number(answer[2], process.start_time);
  if (!fits) return to_error(answer);
  return process;
}

Result<bool> to_alive(const Words &answer) {
  if (answer.size() != 1 || (answer[0] != "yes" && answer[0] != "no")) return misfit(answer);
  return answer[0] == "yes";
}

Result<void> to_stop(const Words &answer) {
  if (answer.size() == 1 && answer[0] == "done") return {};
  return to_error(answer);
}

}  // namespace vbd::sys::record
