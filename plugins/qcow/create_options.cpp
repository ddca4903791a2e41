// SPDX-License-Identifier: MIT
#include <bit>
#include <cstdlib>
#include <string_view>

#include "create.hpp"

namespace vbdkit::qcow {

namespace {

Status bad(vbd_error *err, const char *reason, const char *text) {
  return fail(err, VBD_E_INVAL, reason, 0, "%s", text);
}

/// A power of two in [min, max] as its exponent.
Status parse_power(const char *text, uint64_t min, uint64_t max, const char *option, uint32_t *bits,
                   vbd_error *err) {
  const uint64_t value = std::strtoull(text, nullptr, 10);
  if (!std::has_single_bit(value) || value < min || value > max)
    return fail(err, VBD_E_INVAL, "qcow.option", 0, "%s: %s is not a power of two from %llu to %llu", option,
                text, ull(min), ull(max));
  *bits = static_cast<uint32_t>(std::countr_zero(value));
  return VBD_OK;
}

Preallocation preallocation_of(std::string_view text) {
  if (text == "metadata") return Preallocation::metadata;
  if (text == "falloc") return Preallocation::falloc;
  return text == "full" ? Preallocation::full : Preallocation::off;
}

Status check_together(const CreateOptions &o, vbd_error *err) {
  if (o.version == 1 && o.cluster_bits > 16)
    return bad(err, "qcow.option", "cluster_size: version 1 takes 512 bytes to 64 KiB");
  if (o.version == 1 && o.preallocation != Preallocation::off)
    return bad(err, "qcow.option", "preallocation: version 1 has none");
  if (o.version < 3 && (o.lazy_refcounts || o.extended_l2 || o.refcount_order != 4 || o.compression != 0))
    return bad(err, "qcow.option",
               "lazy_refcounts, extended_l2, refcount_bits and compression=zstd need version 3");
  if (o.extended_l2 && o.cluster_bits < 14)
    return bad(err, "qcow.option", "extended_l2: needs clusters of at least 16 KiB");
  return VBD_OK;
}

}  // namespace

Status parse_create_options(const vbd_request *request, CreateOptions *o, vbd_error *err) {
  const std::string_view version = param(request, "version", "3");
  if (version != "1" && version != "2" && version != "3")
    return bad(err, "qcow.option", "version: 1, 2 or 3");
  o->version = static_cast<uint32_t>(version[0] - '0');
  o->cluster_bits = o->version == 1 ? 12 : 16;
  if (const char *text = param(request, "cluster_size"); text != nullptr) {
    if (const Status s = parse_power(text, 512, 2u << 20, "cluster_size", &o->cluster_bits, err); s != VBD_OK)
      return s;
  }
  if (const char *text = param(request, "refcount_bits"); text != nullptr) {
    if (const Status s = parse_power(text, 1, 64, "refcount_bits", &o->refcount_order, err); s != VBD_OK)
      return s;
  }
  const std::string_view compression = param(request, "compression", "none");
  o->compression = compression == "zstd" ? 1 : 0;
  o->lazy_refcounts = std::string_view(param(request, "lazy_refcounts", "false")) == "true";
  o->extended_l2 = std::string_view(param(request, "extended_l2", "false")) == "true";
  o->preallocation = preallocation_of(param(request, "preallocation", "off"));
  return check_together(*o, err);
}

}  // namespace vbdkit::qcow
