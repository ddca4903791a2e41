// SPDX-License-Identifier: MIT
#include "model.hpp"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "files.hpp"

namespace vbdkit::testkit {
namespace {

std::string named(const WorkloadOptions &options, std::uint64_t step, const std::string &problem) {
  return "seed " + std::to_string(options.seed) + ", step " + std::to_string(step) + ": " + problem;
}

/// One thread's part of the image, with an oracle of its own.
struct Part {
  std::uint64_t offset = 0, length = 0;
  std::vector<unsigned char> expected;
  std::string failure;
  std::uint64_t operations = 0;
};

std::string status_text(const char *what, std::int32_t status, const ErrorBox &error) {
  return std::string(what) + " answered " + std::to_string(status) + ": " + error.all();
}

void write_some(const vbd_image_ops *ops, void *image, Part &part, Random &random,
                const ModelOptions &options) {
  const std::uint64_t at = random.below(part.length) / options.alignment * options.alignment;
  const std::uint64_t most = std::min(options.largest, part.length - at);
  std::uint64_t n = random.between(1, most);
  n = std::min((n + options.alignment - 1) / options.alignment * options.alignment, part.length - at);
  unsigned char *bytes = part.expected.data() + at;
  ErrorBox error;
  std::int32_t status = VBD_OK;
  if (random.chance(5) && ops->zero != nullptr) {
    std::memset(bytes, 0, n);
    status = ops->zero(image, part.offset + at, n, VBD_ZERO_MAY_PUNCH, error.get());
  } else {
    std::uint64_t word = random.next();
    for (std::uint64_t i = 0; i < n; ++i)
      bytes[i] = static_cast<unsigned char>((word += i * 2654435761u) >> 13);
    status = ops->write(image, bytes, n, part.offset + at, error.get());
  }
  if (status != VBD_OK) part.failure = status_text("write", status, error);
}

void read_all(const vbd_image_ops *ops, void *image, Part &part) {
  std::vector<unsigned char> got(part.length);
  ErrorBox error;
  const std::int32_t status = ops->read(image, got.data(), got.size(), part.offset, error.get());
  if (status != VBD_OK) part.failure = status_text("read", status, error);
  if (status == VBD_OK && got != part.expected) {
    part.failure = "the part at " + std::to_string(part.offset) + " reads wrongly";
  }
}

void work(const vbd_image_ops *ops, void *image, Part &part, std::uint64_t seed,
          const ModelOptions &options) {
  Random random(seed);
  for (std::uint64_t i = 0; i < options.steps && part.failure.empty(); ++i, ++part.operations) {
    if (random.chance(16) && (ops->flags & VBD_IMAGE_PARALLEL_READ) != 0) {
      read_all(ops, image, part);
    } else {
      write_some(ops, image, part, random, options);
    }
  }
}

std::vector<Part> parts_of(std::uint64_t bytes, std::uint64_t unit, unsigned n) {
  std::vector<Part> parts(n);
  const std::uint64_t each = std::max(unit, bytes / n / unit * unit);
  for (unsigned i = 0; i < n; ++i) {
    parts[i].offset = each * i;
    parts[i].length = i + 1 == n ? bytes - each * i : each;
    parts[i].expected.resize(parts[i].length);
  }
  return parts;
}

void run_threads(std::vector<Part> &parts, bool parallel,
                 const std::function<void(Part &, std::uint64_t)> &body) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parallel) {
      threads.emplace_back([&body, &parts, i] { body(parts[i], i); });
    } else {
      body(parts[i], i);
    }
  }
  for (std::thread &thread : threads) thread.join();
}

}  // namespace

TestResult model_test(Filetype filetype, const vbd_file *file, const ModelOptions &options) {
  TestResult result;
  Workload guest(filetype, file, options);
  std::string problem = guest.create();
  while (problem.empty() && result.operations < options.steps) {
    problem = guest.step();
    ++result.operations;
  }
  if (problem.empty()) problem = guest.finish();
  if (problem.empty() && filetype.ops->check != nullptr) problem = run_check(filetype, file);
  if (problem.empty() && options.inspect) problem = options.inspect(file, guest.expected());
  if (!problem.empty()) result.failure = named(options, result.operations, problem);
  return result;
}

TestResult model_test(Filetype filetype, std::uint64_t seed, std::uint64_t steps, ModelOptions options) {
  MemoryFile file;
  options.seed = seed;
  options.steps = steps;
  return model_test(filetype, file.file(), options);
}

TestResult parallel_test(Filetype filetype, const vbd_file *file, unsigned threads,
                         const ModelOptions &options) {
  TestResult result;
  Workload guest(filetype, file, options);
  result.failure = guest.create();
  if (!result.passed()) return result;
  Image &image = guest.image();
  const vbd_image_ops *ops = image.ops();
  std::vector<Part> parts = parts_of(options.bytes, image.unit(), threads);
  run_threads(parts, (ops->flags & VBD_IMAGE_PARALLEL_WRITE) != 0, [&](Part &part, std::uint64_t i) {
    work(ops, image.raw(), part, options.seed * 1000 + i, options);
  });
  std::int32_t status = image.close();
  if (status == VBD_OK) status = image.open(file, VBD_MUST_READONLY, options.params);
  if (status != VBD_OK) result.failure = status_text("reopen", status, image.error());
  if (!result.passed()) return result;
  run_threads(parts, (ops->flags & VBD_IMAGE_PARALLEL_READ) != 0, [&](Part &part, std::uint64_t) {
    if (part.failure.empty()) read_all(ops, image.raw(), part);
  });
  for (const Part &part : parts) {
    result.operations += part.operations;
    if (result.passed() && !part.failure.empty())
      result.failure = named(options, part.operations, part.failure);
  }
  image.close();
  if (result.passed() && filetype.ops->check != nullptr) result.failure = run_check(filetype, file);
  return result;
}

}  // namespace vbdkit::testkit
