// SPDX-License-Identifier: MIT
// For tests of the guest's bytes: the filetypes of the tests beside the shipped ones, and images with a given
// content.
#pragma once

#include <algorithm>
#include <random>

#include "core/image/image.hpp"
#include "core/image/open.hpp"
#include "core/image/pieces.hpp"
#include "core/image/tests/bench.hpp"
#include "core/plugin/call.hpp"

namespace vbd::test {

/// With the filetypes of the tests beside the shipped ones.
struct ContentBench : Bench {
  ContentBench() {
    const char *built = std::getenv("VBD_TEST_FILETYPES");
    REQUIRE(built != nullptr);
    for (const char *file : {"toy/ft-toy.so", "meeting/ft-alone.so", "meeting/ft-social.so"}) {
      const fs::path to = fs::path(root) / "plugins" / fs::path(file).filename();
      fs::copy_file(fs::path(built) / file, to);
      ::chmod(to.c_str(), 0755);
    }
    directory = sys::Fd(::open(images().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }

  std::unique_ptr<image::OpenImage> open(const std::string &name, const char *filetype) {
    sys::Fd fd(::open(image(name).c_str(), O_RDONLY | O_CLOEXEC));
    auto opened = image::OpenImage::open(*registry, settings, constant(filetype), std::move(fd), image(name));
    REQUIRE_MESSAGE(opened.ok(), opened.error().message());
    return *std::move(opened);
  }
  /// An image with these bytes, through the filetype's own table; what is zero is not written.
  void make(const std::string &name, const char *filetype, const std::string &bytes) {
    const auto made = image::create(*registry, directory.get(), name, image(name),
                                    {constant(filetype), {}, bytes.size(), false, {}});
    REQUIRE_MESSAGE(made.ok(), made.error().message());
    auto plugin = registry->load(constant(filetype));
    REQUIRE(plugin.ok());
    const vbd_image_ops &ops = *(*plugin)->filetype()->image;
    const sys::Fd fd(::open(image(name).c_str(), O_RDWR | O_CLOEXEC));
    const sys::HostFile file(fd.get());
    plugin::Request request;
    request.image = image(name);
    request.file = file.file();
    const plugin::RawRequest raw(request);
    plugin::ErrorBuffer error;
    void *opened = nullptr;
    REQUIRE(ops.open((*plugin)->self(), raw.get(), &opened, error.get()) == VBD_OK);
    for (std::size_t at = 0; at < bytes.size(); at += 4096) {
      const std::size_t some = std::min<std::size_t>(4096, bytes.size() - at);
      const auto *from = reinterpret_cast<const unsigned char *>(bytes.data()) + at;
      if (!image::all_zero(from, some)) REQUIRE(ops.write(opened, from, some, at, error.get()) == VBD_OK);
    }
    REQUIRE(ops.close(opened, error.get()) == VBD_OK);
  }

  sys::Fd directory;
};

/// Stretches of random, repeated and zero bytes of many lengths.
inline std::string random_content(std::uint64_t seed, std::size_t length) {
  std::mt19937_64 random(seed);
  std::string bytes;
  while (bytes.size() < length) {
    const std::size_t some = 512 * (1 + random() % (random() % 4 == 0 ? 512 : 16));
    switch (random() % 4) {
      case 0:
        for (std::size_t i = 0; i < some; ++i) bytes += static_cast<char>(random());
        break;
      case 1:
        bytes.append(some, static_cast<char>(random() | 1));
        break;
      default:
        bytes.append(some, '\0');
    }
  }
  bytes.resize(length);
  return bytes;
}

inline constexpr const char *kFiletypes[] = {"FT_RAW", "FT_QCOW", "FT_TOY"};

}  // namespace vbd::test
