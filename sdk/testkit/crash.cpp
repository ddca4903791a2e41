// SPDX-License-Identifier: MIT
#include "crash.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace vbdkit::testkit {
namespace {

/// What the guest may see, by the place in the file's log from which on it may.
class History {
 public:
  void change(std::size_t position, SparseBytes after) { states_.push_back({position, std::move(after)}); }
  void durable(std::size_t position, SparseBytes content) {
    durable_.push_back({position, states_.size()});
    states_.push_back({position, std::move(content)});
  }
  /// The states that a cut at this place allows, the durable one first. Cuts ascend.
  std::vector<const SparseBytes *> at(std::size_t cut) {
    while (next_ < durable_.size() && durable_[next_].position <= cut) first_ = durable_[next_++].state;
    std::vector<const SparseBytes *> allowed;
    for (std::size_t i = first_; i < states_.size() && (i == first_ || states_[i].position < cut); ++i) {
      allowed.push_back(&states_[i].content);
    }
    return allowed;
  }

 private:
  struct State {
    std::size_t position;
    SparseBytes content;
  };
  struct Mark {
    std::size_t position, state;
  };
  std::vector<State> states_;
  std::vector<Mark> durable_;
  std::size_t next_ = 0, first_ = 0;
};

using Allowed = std::vector<const SparseBytes *>;

bool allowed_byte(const Allowed &allowed, std::uint64_t offset, unsigned char got) {
  return std::any_of(allowed.begin(), allowed.end(), [&](const SparseBytes *state) {
    unsigned char wanted = 0;
    return state->read(&wanted, 1, offset) == 1 && wanted == got;
  });
}

/// One block of guest bytes: equal to the durable state as a rule, else byte by byte.
std::string compare_block(const Allowed &allowed, const std::vector<unsigned char> &got,
                          std::uint64_t offset) {
  std::vector<unsigned char> wanted(got.size());
  for (const SparseBytes *state : allowed) {
    if (state->read(wanted.data(), wanted.size(), offset) == wanted.size() && wanted == got) return "";
  }
  for (std::uint64_t i = 0; i < got.size(); ++i) {
    if (allowed_byte(allowed, offset + i, got[i])) continue;
    unsigned char safe = 0;
    allowed.front()->read(&safe, 1, offset + i);
    return "guest offset " + std::to_string(offset + i) + " reads " + std::to_string(unsigned{got[i]}) +
           ", flushed was " + std::to_string(unsigned{safe}) + ", and none of the " +
           std::to_string(allowed.size() - 1) + " changes since wrote that";
  }
  return "";
}

/// Compares all guest bytes; keeps them in `seen`.
std::string compare_allowed(Image &image, const Allowed &allowed, SparseBytes &seen) {
  const std::uint64_t size = image.virtual_size();
  if (std::none_of(allowed.begin(), allowed.end(),
                   [&](const SparseBytes *state) { return state->size() == size; })) {
    return "virtual size " + std::to_string(size) + ", flushed was " +
           std::to_string(allowed.front()->size());
  }
  seen.resize(size);
  std::vector<unsigned char> got;
  for (std::uint64_t at = 0; at < size; at += got.size()) {
    got.resize(std::min<std::uint64_t>(SparseBytes::kPage, size - at));
    const std::int32_t status = image.read(got.data(), got.size(), at);
    if (status != VBD_OK) return "read answered " + std::to_string(status) + ": " + image.error().all();
    if (std::string problem = compare_block(allowed, got, at); !problem.empty()) return problem;
    seen.write(got.data(), got.size(), at);
  }
  return "";
}

/// The image must go on working: writes to it, closes it, and compares everything.
std::string write_again(Filetype filetype, const SparseBytes &bytes, SparseBytes seen, Random &random,
                        const CrashOptions &options) {
  MemoryFile file(bytes);
  Image image(filetype);
  std::int32_t status = image.open(file.file(), 0, options.params);
  for (int i = 0; i < 3 && status == VBD_OK; ++i) {
    const std::uint64_t at = random.below(seen.size()) / options.alignment * options.alignment;
    std::vector<unsigned char> data(std::min<std::uint64_t>(seen.size() - at, options.largest));
    for (unsigned char &byte : data) byte = static_cast<unsigned char>(random.next());
    status = image.write(data.data(), data.size(), at);
    if (status == VBD_OK) seen.write(data.data(), data.size(), at);
  }
  if (status == VBD_OK) status = image.close();
  if (status != VBD_OK)
    return "written again: answered " + std::to_string(status) + ": " + image.error().all();
  if (filetype.ops->check != nullptr) {
    if (std::string problem = run_check(filetype, file.file()); !problem.empty())
      return "written again: " + problem;
  }
  status = image.open(file.file(), VBD_MUST_READONLY, options.params);
  if (status != VBD_OK) return "reopened: answered " + std::to_string(status) + ": " + image.error().all();
  const std::string problem = compare_content(image, seen, 0, seen.size());
  return problem.empty() ? problem : "written again: " + problem;
}

std::string examine(Filetype filetype, SparseBytes bytes, const Allowed &allowed, Random &random,
                    const CrashOptions &options) {
  if (options.inspect) {
    if (std::string problem = options.inspect(bytes); !problem.empty()) return problem;
  }
  if (options.repair != 0 && filetype.ops->check != nullptr) {
    MemoryFile file(bytes);
    if (std::string problem = run_check(filetype, file.file(), options.repair); !problem.empty())
      return problem;
    bytes = file.content();
  }
  const MemoryFile file(bytes, VBD_FILE_READONLY);
  if (filetype.ops->check != nullptr) {
    if (std::string problem = run_check(filetype, file.file()); !problem.empty()) return problem;
  }
  Image image(filetype);
  const std::int32_t status = image.open(file.file(), VBD_MUST_READONLY, options.params);
  if (status != VBD_OK) return "open answered " + std::to_string(status) + ": " + image.error().all();
  SparseBytes seen;
  if (std::string problem = compare_allowed(image, allowed, seen); !problem.empty()) return problem;
  if (std::string problem = compare_map(image, file.file(), seen); !problem.empty()) return problem;
  if (options.write_one_in == 0 || !random.chance(options.write_one_in)) return "";
  return write_again(filetype, bytes, seen, random, options);
}

/// The guest's life up to the cut, recorded.
struct Recording {
  FaultFile file;
  History history;
  std::uint64_t operations = 0;

  /// `at_start` runs when the image is made and the guest is about to begin.
  std::string run(Filetype filetype, const CrashOptions &options, const std::function<void()> &at_start) {
    Workload guest(filetype, file.file(), options);
    std::string problem = guest.create();
    if (!problem.empty()) return problem;
    file.settle();
    history.durable(0, guest.expected());
    guest.on_change = [this](const SparseBytes &after) { history.change(file.position(), after); };
    guest.on_durable = [this](const SparseBytes &content) { history.durable(file.position(), content); };
    at_start();
    for (; problem.empty() && operations < options.steps; ++operations) problem = guest.step();
    if (problem.empty()) problem = guest.finish();
    return problem;
  }
};

std::string describe(const std::vector<Operation> &log, std::size_t cut) {
  if (cut == 0) return "before the first change";
  const Operation &last = log[cut - 1];
  return "after change " + std::to_string(cut - 1) + " of " + std::to_string(log.size()) + " (" +
         name_of(last.call) + " " + std::to_string(last.length) + " at " + std::to_string(last.offset) + ")";
}

}  // namespace

TestResult crash_test(Filetype filetype, const CrashOptions &options) {
  TestResult result;
  const std::string seed = "seed " + std::to_string(options.seed) + ", ";
  Recording recording;
  const std::string problem = recording.run(filetype, options, [&] {
    if (options.ignored_syncs) recording.file.ignore_syncs(options.ignored_syncs);
  });
  result.operations = recording.operations;
  if (!problem.empty()) {
    result.failure = seed + "before any crash: " + problem;
    return result;
  }
  const std::vector<Operation> &log = recording.file.log();
  CrashImages images(recording.file.start(), log);
  Random random(options.seed ^ 0xc0ffee);
  for (std::size_t cut = 0; cut <= log.size() && result.passed() && result.images < options.max_images;
       ++cut) {
    images.seek(cut);
    const Allowed allowed = recording.history.at(cut);
    if (options.cut_one_in > 1 && !random.chance(options.cut_one_in)) continue;
    ++result.cuts;
    images.each(options.random_images, random, [&](const SparseBytes &image, const std::string &which) {
      ++result.images;
      const std::string wrong = examine(filetype, image, allowed, random, options);
      if (!wrong.empty()) result.failure = seed + "cut " + describe(log, cut) + ", " + which + ": " + wrong;
      return wrong.empty();
    });
  }
  return result;
}

TestResult fault_test(Filetype filetype, int error, std::uint64_t runs, const CrashOptions &options) {
  TestResult result;
  for (std::uint64_t nth = 1; nth <= runs && result.passed(); ++nth) {
    Recording recording;
    Random random(options.seed * 7919 + nth);
    const std::string problem =
        recording.run(filetype, options, [&] { recording.file.fail_change(nth, error, random.chance(2)); });
    result.operations += recording.operations;
    if (problem.empty()) continue;  // it lived through it, or the fault lay beyond the end
    recording.file.no_faults();
    ++result.cuts;
    ++result.images;
    const Allowed allowed = recording.history.at(recording.file.log().size() + 1);
    const std::string wrong = examine(filetype, recording.file.content(), allowed, random, options);
    if (wrong.empty()) continue;
    result.failure = "seed " + std::to_string(options.seed) + ", change " + std::to_string(nth) +
                     " failed with errno " + std::to_string(error) + " (" + problem + "), then: " + wrong;
  }
  return result;
}

}  // namespace vbdkit::testkit
