// SPDX-License-Identifier: MIT
// Reading config.ini, which may come from anywhere: everything is checked before it is used.
#include <algorithm>
#include <charconv>

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "manager/backup/description.hpp"

namespace vbd::backup {
namespace {

using text::cat;

constexpr std::size_t kGanetiDisks = 16;  // MAX_DISKS of its constants
constexpr std::size_t kMostDisks = 702;   // sda .. sdzz
constexpr std::uint64_t kMostMib = kMaxImageSize >> 20;
constexpr std::size_t kMostName = 255;  // NAME_MAX of linux/limits.h

class Reader {
 public:
  Reader(const Ini &ini, const std::string &file) : ini_(ini), file_(file) {}

  [[nodiscard]] Error bad(std::string_view section, std::string_view key, std::string_view why) const {
    return {kDamaged, cat(file_, ": [", section, "] ", key, ": ", why)};
  }
  [[nodiscard]] std::string text(std::string_view section, std::string_view key) const {
    return ini_.get(section, key).value_or("");
  }
  [[nodiscard]] Result<std::string> required(std::string_view section, std::string_view key) const {
    auto value = ini_.get(section, key);
    if (!value || value->empty()) return bad(section, key, "missing");
    return *value;
  }
  /// `fallback` when it is not there.
  [[nodiscard]] Result<std::uint64_t> number(std::string_view section, std::string_view key,
                                             std::uint64_t least, std::uint64_t most,
                                             std::optional<std::uint64_t> fallback = std::nullopt) const {
    const auto value = ini_.get(section, key);
    if (!value && fallback) return *fallback;
    if (!value) return bad(section, key, "missing");
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
    if (error != std::errc{} || end != value->data() + value->size() || number < least || number > most) {
      return bad(section, key,
                 cat("expected a number in ", least, "..", most, ", found '", shown(*value), "'"));
    }
    return number;
  }
  [[nodiscard]] Result<TextMap> pairs(std::string_view key) const {
    auto map = split_pairs(text("vbdkit", key));
    if (!map) return bad("vbdkit", key, "expected KEY=VALUE,...");
    return *std::move(map);
  }
  [[nodiscard]] TextMap whole(std::string_view section) const {
    const auto *entries = ini_.section(section);
    if (entries == nullptr) return {};
    TextMap map;
    for (const auto &[key, unused] : *entries) {
      if (auto value = ini_.get(section, key)) map.emplace(key, *value);
    }
    return map;
  }
  [[nodiscard]] bool has(std::string_view section) const { return ini_.section(section) != nullptr; }
  [[nodiscard]] bool has(std::string_view section, std::string_view key) const {
    return ini_.get(section, key).has_value();
  }
  static std::string shown(const std::string &value) { return text::printable(value.substr(0, 80)); }

 private:
  const Ini &ini_;
  const std::string &file_;
};

bool is_plain_name(const std::string &name) {
  return !name.empty() && name.size() <= kMostName && name.front() != '.' &&
         name.find('/') == std::string::npos && name != kDescriptionFile && text::is_printable_utf8(name);
}

Result<std::string> file_name(const Reader &in, std::string_view section, const std::string &key) {
  auto name = in.required(section, key);
  if (!name) return name;
  if (is_plain_name(*name)) return name;
  return in.bad(section, key, cat("'", Reader::shown(*name), "' is no name of a file in this directory"));
}

Result<std::vector<NicRecord>> read_nics(const Reader &in) {
  std::vector<NicRecord> nics;
  for (std::size_t i = 0; in.has("instance", cat("nic", i, "_mac")); ++i) {
    if (i == kMaxNics)
      return in.bad("instance", cat("nic", i, "_mac"), cat("more than ", kMaxNics, " network cards"));
    NicRecord nic;
    for (const auto &field : nic_fields()) {
      const std::string key = cat("nic", i, "_", field);
      std::string value = in.text("instance", key);
      if (field == "mac") value = text::lower(value);
      // Ganeti's cards with a network have their mode from there.
      if (field == "mode" && value.empty() && in.has("instance", cat("nic", i, "_network")))
        value = nic_modes().front();
      if (auto good = check_nic_field(field, value); !good)
        return in.bad("instance", key, good.error().message());
      *nic_field(nic, field) = std::move(value);
    }
    if (in.has("vbdkit", cat("nic", i, "_link"))) nic.link = in.text("vbdkit", cat("nic", i, "_link"));
    nics.push_back(std::move(nic));
  }
  return nics;
}

Result<Content> read_content(const Reader &in, const std::string &key) {
  const std::string text = in.text("vbdkit", key);
  for (const Content content : {Content::script, Content::raw, Content::image}) {
    if (text == content_text(content)) return content;
  }
  return in.bad("vbdkit", key, cat("expected script, raw or image, found '", Reader::shown(text), "'"));
}

Result<Constant> read_constant(const Reader &in, const std::string &key, PluginKind kind) {
  VBD_TRY_ASSIGN(auto text, in.required("vbdkit", key));
  auto constant = Constant::parse(text, kind);
  if (!constant) return in.bad("vbdkit", key, constant.error().message());
  return constant;
}

Result<void> read_places(const Reader &in, const std::string &prefix, OwnDisk &disk) {
  auto file = file_name(in, "vbdkit", prefix + "file");
  if (!file) return file.error();
  auto vdev = in.required("vbdkit", prefix + "vdev");
  if (!vdev) return vdev.error();
  const std::string mode = in.text("vbdkit", prefix + "mode");
  if (mode != "rw" && mode != "ro") return in.bad("vbdkit", prefix + "mode", "expected rw or ro");
  disk.file = *std::move(file);
  disk.vdev = *std::move(vdev);
  disk.mode = mode == "ro" ? DiskMode::ro : DiskMode::rw;
  for (const auto &[key, map] :
       {std::pair{"driver_options", &disk.driver_options}, {"filetype_options", &disk.filetype_options}}) {
    auto pairs = in.pairs(prefix + key);
    if (!pairs) return pairs.error();
    *map = *std::move(pairs);
  }
  return {};
}

bool is_digest(const std::string &text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Result<OwnDisk> read_own_disk(const Reader &in, std::size_t index) {
  const std::string prefix = cat("disk", index, "_");
  VBD_TRY_ASSIGN(auto driver, read_constant(in, prefix + "driver", PluginKind::driver));
  VBD_TRY_ASSIGN(auto filetype, read_constant(in, prefix + "filetype", PluginKind::filetype));
  VBD_TRY_ASSIGN(auto content, read_content(in, prefix + "content"));
  VBD_TRY_ASSIGN(const auto size, in.number("vbdkit", prefix + "bytes", kSectorSize, kMaxImageSize));
  if (size % kSectorSize != 0) return in.bad("vbdkit", prefix + "bytes", "expected a multiple of 512");
  const auto length = in.number("vbdkit", prefix + "length", 0, kMaxImageSize);
  if (!length) return length.error();
  if (content == Content::raw && *length != size)
    return in.bad("vbdkit", prefix + "length", cat("expected ", size, ", the disk's bytes"));
  OwnDisk disk{driver, filetype, {}, {}, DiskMode::rw, size, {}, {}, content, *length, {}, filetype};
  if (in.has("vbdkit", prefix + "image_filetype")) {
    auto image = read_constant(in, prefix + "image_filetype", PluginKind::filetype);
    if (!image) return image.error();
    disk.image_filetype = *std::move(image);
  }
  VBD_TRY(read_places(in, prefix, disk));
  disk.digest = in.text("vbdkit", prefix + "digest");
  if (!is_digest(disk.digest)) return in.bad("vbdkit", prefix + "digest", "expected 64 hex digits");
  return disk;
}

Result<std::vector<ExportedDisk>> read_disks(const Reader &in, bool ours) {
  std::vector<ExportedDisk> disks;
  // Ganeti looks at no count and stops at its own limit.
  const std::size_t most = ours ? kMostDisks : kGanetiDisks;
  for (std::size_t i = 0; i < most && in.has("instance", cat("disk", i, "_size")); ++i) {
    const std::string prefix = cat("disk", i, "_");
    ExportedDisk disk;
    VBD_TRY_ASSIGN(const auto mib, in.number("instance", prefix + "size", 1, kMostMib));
    disk.mib = mib;
    disk.name = in.text("instance", prefix + "name");
    if (in.has("instance", prefix + "dump")) {
      auto dump = file_name(in, "instance", prefix + "dump");
      if (!dump) return dump.error();
      disk.dump = *std::move(dump);
    }
    if (ours) {
      if (disk.dump.empty()) return in.bad("instance", prefix + "dump", "missing");
      auto own = read_own_disk(in, i);
      if (!own) return own.error();
      disk.own = *std::move(own);
    }
    disks.push_back(std::move(disk));
  }
  if (disks.empty()) return in.bad("instance", "disk0_size", "missing: the export has no disk");
  return disks;
}

Result<void> read_own(const Reader &in, Description &out) {
  const std::string version = in.text("vbdkit", "version");
  if (version != "1") {
    return Error(kDamaged,
                 in.bad("vbdkit", "version", cat("'", Reader::shown(version), "' is not known")).message(),
                 "use a newer vbd for this export");
  }
  const std::string compression = in.text("vbdkit", "compression");
  if (!compression.empty() && compression != "zstd")
    return in.bad("vbdkit", "compression", cat("'", Reader::shown(compression), "' is not known"));
  out.os = in.text("vbdkit", "os");
  out.compression = compression == "zstd" ? Compression::zstd : Compression::none;
  for (const auto &[key, map] : {std::pair{"backend", &out.backend},
                                 {"hypervisor", &out.hypervisor_parameters},
                                 {"os_parameters", &out.os_parameters}}) {
    auto pairs = in.pairs(key);
    if (!pairs) return pairs.error();
    *map = *std::move(pairs);
  }
  return {};
}

Result<void> read_head(const Reader &in, Description &out) {
  for (const char *section : {"export", "instance"}) {
    if (!in.has(section)) return in.bad(section, "", "the section is missing");
  }
  const auto version = in.number("export", "version", 0, UINT32_MAX);
  if (!version) return version.error();
  if (*version != 0) return in.bad("export", "version", cat(*version, " is not known, only 0 is"));
  VBD_TRY_ASSIGN(const auto timestamp, in.number("export", "timestamp", 0, std::uint64_t{1} << 40, 0));
  out.timestamp = timestamp;
  out.source = in.text("export", "source");
  out.os = in.text("export", "os");
  auto name = in.required("instance", "name");
  if (!name) return name.error();
  out.name = *std::move(name);
  out.hypervisor = in.text("instance", "hypervisor");
  return {};
}

Result<void> read_sizes(const Reader &in, Description &out) {
  const auto get = [&](const char *key) -> Result<std::uint64_t> {
    auto value = in.number("backend", key, 0, UINT32_MAX, 0);
    if (!value || *value != 0) return value;
    return in.number("instance", key, 0, UINT32_MAX, 0);
  };
  auto memory = get("maxmem");
  if (memory && *memory == 0) memory = get("memory");
  if (!memory) return memory.error();
  VBD_TRY_ASSIGN(const auto vcpus, get("vcpus"));
  out.memory = *memory;
  out.vcpus = vcpus;
  return {};
}

}  // namespace

Result<Description> parse_description(std::string_view text, const std::string &file) {
  VBD_TRY_ASSIGN(const auto ini, Ini::parse(text, file));
  const Reader in(ini, file);
  Description out;
  VBD_TRY(read_head(in, out));
  VBD_TRY(read_sizes(in, out));
  out.ours = in.has("vbdkit");
  if (out.ours) {
    if (auto read = read_own(in, out); !read) return read.error();
  } else {
    out.hypervisor_parameters = in.whole("hypervisor");
    out.os_parameters = in.whole("os");
    for (auto &[key, value] : in.whole("os_private")) out.os_parameters[key] = value;
  }
  auto nics = read_nics(in);
  if (!nics) return nics.error();
  out.nics = *std::move(nics);
  auto disks = read_disks(in, out.ours);
  if (!disks) return disks.error();
  out.disks = *std::move(disks);
  return out;
}

}  // namespace vbd::backup
