// SPDX-License-Identifier: MIT
#include "packing.hpp"

#include <libdeflate.h>
#include <zstd.h>

#include <algorithm>

namespace vbdkit::qcow {

namespace {
// The fastest levels: a VM's disk is packed once and often waited for. Matches reach over the whole cluster;
// the 12 bit window that QEMU asks zlib for does not matter to a decoder whose output is one buffer.
constexpr int kDeflateLevel = 1;
constexpr int kZstdLevel = 1;
}  // namespace

Packing::~Packing() {
  for (const Contexts &one : idle_) {
    libdeflate_free_compressor(one.deflate);
    libdeflate_free_decompressor(one.inflate);
    ZSTD_freeCCtx(one.zstd_pack);
    ZSTD_freeDCtx(one.zstd_unpack);
  }
}

Packing::Contexts Packing::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return {};
  const Contexts last = idle_.back();
  idle_.pop_back();
  return last;
}

void Packing::give_back(const Contexts &contexts) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(contexts);
}

Status Packing::unpack(const void *packed, std::size_t bytes, void *out, std::size_t out_bytes,
                       vbd_error *err) {
  Contexts contexts = take();
  bool good = false;
  if (type_ == 0) {
    if (contexts.inflate == nullptr) contexts.inflate = libdeflate_alloc_decompressor();
    std::size_t used = 0, made = 0;
    good = contexts.inflate != nullptr &&
           libdeflate_deflate_decompress_ex(contexts.inflate, packed, bytes, out, out_bytes, &used, &made) ==
               LIBDEFLATE_SUCCESS &&
           made == out_bytes;
  } else {
    if (contexts.zstd_unpack == nullptr) contexts.zstd_unpack = ZSTD_createDCtx();
    const std::size_t frame = ZSTD_findFrameCompressedSize(packed, bytes);
    good = contexts.zstd_unpack != nullptr && ZSTD_isError(frame) == 0 &&
           ZSTD_decompressDCtx(contexts.zstd_unpack, out, out_bytes, packed, frame) == out_bytes;
  }
  give_back(contexts);
  if (good) return VBD_OK;
  return corrupt(err, "qcow.packed_garbage", "a compressed cluster does not decompress to one cluster");
}

std::size_t Packing::pack(const void *from, std::size_t bytes, void *out, std::size_t room) {
  Contexts contexts = take();
  std::size_t made = 0;
  if (type_ == 0) {
    if (contexts.deflate == nullptr) contexts.deflate = libdeflate_alloc_compressor(kDeflateLevel);
    if (contexts.deflate != nullptr)
      made = libdeflate_deflate_compress(contexts.deflate, from, bytes, out, room);
  } else {
    if (contexts.zstd_pack == nullptr) contexts.zstd_pack = ZSTD_createCCtx();
    if (contexts.zstd_pack != nullptr) {
      made = ZSTD_compressCCtx(contexts.zstd_pack, out, room, from, bytes, kZstdLevel);
      if (ZSTD_isError(made) != 0) made = 0;
    }
  }
  give_back(contexts);
  return made < room ? made : 0;
}

}  // namespace vbdkit::qcow
