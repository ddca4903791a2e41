// SPDX-License-Identifier: MIT
// FT_RAW: guest bytes are file bytes. No state besides the host's pointer; images may be used from several
// threads.
#pragma once

#include <vbdkit/plugin.hpp>

namespace raw {

struct Self {
  const vbd_host *host;
};

inline constexpr uint64_t kSector = 512;

/// The size of the file, or a failure.
int32_t file_size(const vbd_file *file, uint64_t &bytes, vbd_error *err) noexcept;
/// Writes zeros by hand, where the filesystem has no better way. `host`: null, or asked for progress.
int32_t write_zeros(const vbd_file *file, uint64_t offset, uint64_t length, const vbd_host *host,
                    vbd_error *err) noexcept;

int32_t probe(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept;
int32_t info(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept;
int32_t create(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept;
int32_t resize(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept;
int32_t check(void *self, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept;

extern const vbd_image_ops kImageOps;

}  // namespace raw
