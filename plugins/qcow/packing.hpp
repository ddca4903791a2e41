// SPDX-License-Identifier: MIT
// Compressed clusters: raw deflate through libdeflate, or zstd. Contexts are kept for the next caller. Any
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "file.hpp"

struct libdeflate_compressor;
struct libdeflate_decompressor;
struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace vbdkit::qcow {

class Packing {
 public:
  /// `type` as in the header: 0 zlib, 1 zstd.
  explicit Packing(uint8_t type) : type_(type) {}
  ~Packing();
  Packing(const Packing &) = delete;
  Packing &operator=(const Packing &) = delete;

  /// Exactly `out_bytes` come out, or the image is damaged. `packed` may hold more than the stream.
  [[nodiscard]] Status unpack(const void *packed, std::size_t bytes, void *out, std::size_t out_bytes,
                              vbd_error *err);
  /// The packed size; 0 when it would not be below `room`.
  [[nodiscard]] std::size_t pack(const void *from, std::size_t bytes, void *out, std::size_t room);

 private:
  struct Contexts {
    libdeflate_compressor *deflate = nullptr;
    libdeflate_decompressor *inflate = nullptr;
    ZSTD_CCtx_s *zstd_pack = nullptr;
    ZSTD_DCtx_s *zstd_unpack = nullptr;
  };
  Contexts take();
  void give_back(const Contexts &contexts);

  uint8_t type_;
  std::mutex mutex_;
  std::vector<Contexts> idle_;
};

}  // namespace vbdkit::qcow
