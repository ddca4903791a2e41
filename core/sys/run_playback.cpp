// SPDX-License-Identifier: MIT
// The runners that write a record and that play it back.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/run_record.hpp"

namespace vbd::sys {
namespace {

using record::Words;

class RecordingRunner : public Runner {
 public:
  RecordingRunner(std::unique_ptr<Runner> inner, std::string path)
      : inner_(std::move(inner)), path_(std::move(path)) {}

  Result<RunResult> run(const RunSpec &spec) override {
    Result<RunResult> result = inner_->run(spec);
    note(record::run_request(spec), record::run_answer(result));
    return result;
  }
  Result<Process> spawn(const SpawnSpec &spec) override {
    Result<Process> result = inner_->spawn(spec);
    note(record::spawn_request(spec), record::spawn_answer(result));
    return result;
  }
  bool alive(const Process &process) override {
    const bool result = inner_->alive(process);
    note(record::process_request("alive", process), record::alive_answer(result));
    return result;
  }
  Result<void> stop(const Process &process, std::chrono::milliseconds patience) override {
    Result<void> result = inner_->stop(process, patience);
    note(record::process_request("stop", process), record::stop_answer(result));
    return result;
  }

 private:
  /// A record that can't be written is no reason to fail what was done.
  void note(const Words &request, const Words &answer) {
    std::string text = text::cat(record::to_line(request), "\n= ", record::to_line(answer), "\n");
    const Fd fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (fd && ::lseek(fd.get(), 0, SEEK_END) == 0) text.insert(0, text::cat(record::kFirstLine, "\n"));
    if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      log::warn(errno_error(text::cat("record helpers in ", path_), errno).message());
  }

  std::unique_ptr<Runner> inner_;
  std::string path_;
};

class RecordPlayer : public PlaybackRunner {
 public:
  explicit RecordPlayer(std::vector<record::Exchange> exchanges) : exchanges_(std::move(exchanges)) {}

  Result<RunResult> run(const RunSpec &spec) override {
    VBD_TRY_ASSIGN(const auto answer, answer_to(record::run_request(spec)));
    return kept(record::to_run(answer));
  }
  Result<Process> spawn(const SpawnSpec &spec) override {
    VBD_TRY_ASSIGN(const auto answer, answer_to(record::spawn_request(spec)));
    return kept(record::to_process(answer));
  }
  bool alive(const Process &process) override {
    const auto answer = answer_to(record::process_request("alive", process));
    if (!answer) return false;
    const auto alive = kept(record::to_alive(*answer));
    return alive && *alive;
  }
  Result<void> stop(const Process &process, std::chrono::milliseconds) override {
    VBD_TRY_ASSIGN(const auto answer, answer_to(record::process_request("stop", process)));
    return kept(record::to_stop(answer));
  }
  Result<void> finish() override {
    if (first_failure_) return *first_failure_;
    if (next_ == exchanges_.size()) return {};
    return Error{kPlayback, text::cat("never asked for: ", record::to_line(exchanges_[next_].request),
                                      " (and ", exchanges_.size() - next_ - 1, " more)")};
  }

 private:
  Result<Words> answer_to(const Words &request) {
    std::string wanted = "nothing more";
    if (next_ < exchanges_.size()) {
      if (exchanges_[next_].request == request) return exchanges_[next_++].answer;
      wanted = record::to_line(exchanges_[next_].request);
    }
    return *keep(
        Error{kPlayback, text::cat("asked: ", record::to_line(request), ", but recorded is: ", wanted)});
  }

  /// finish() reports the first failure too: a caller may have swallowed it.
  const std::optional<Error> &keep(const Error &error) {
    if (!first_failure_ && error.is(kPlayback)) first_failure_ = error;
    last_failure_ = error;
    return last_failure_;
  }
  template <class T>
  Result<T> kept(Result<T> result) {
    if (!result) keep(result.error());
    return result;
  }

  std::vector<record::Exchange> exchanges_;
  std::size_t next_ = 0;
  std::optional<Error> first_failure_, last_failure_;
};

}  // namespace

std::unique_ptr<Runner> make_recording_runner(std::unique_ptr<Runner> inner, std::string path) {
  return std::make_unique<RecordingRunner>(std::move(inner), std::move(path));
}

Result<std::unique_ptr<PlaybackRunner>> make_playback_runner(const std::string &record) {
  VBD_TRY_ASSIGN(auto exchanges, record::parse(record));
  return std::unique_ptr<PlaybackRunner>(std::make_unique<RecordPlayer>(std::move(exchanges)));
}

}  // namespace vbd::sys
