// SPDX-License-Identifier: MIT
// Writing config.ini. The keys and their order are those of Ganeti 3.0.2 (lib/backend.py, FinalizeExport).
#include "manager/backup/description.hpp"

#include <algorithm>
#include <array>

#include "core/base/text.hpp"

namespace vbd::backup {
namespace {

using text::cat;

/// What Ganeti's hypervisors take of our parameters; anything else would keep it from importing.
constexpr std::array<std::string_view, 4> kCommonParameters = {"kernel_path", "initrd_path", "root_path",
                                                               "kernel_args"};
constexpr std::uint64_t kDefaultMemory = 128;  // MiB; as our profiles have it

/// The guest OS definition that Ganeti is to hand the dumps to. Without one it would import empty disks and
/// say nothing (cmdlib/instance_create.py, CreateInstance's Exec), so raw dumps are for Debian's "noop",
/// whose import script writes what it reads; what no script of Ganeti's can read names one that no cluster
/// has, so that it refuses.
std::string os_for_ganeti(const Description &of) {
  if (of.compression == Compression::zstd) return "vbdkit-zstd";
  for (const auto &disk : of.disks) {
    if (disk.own->content == Content::image) return "vbdkit-image";
    if (disk.own->content == Content::script) return of.os;
  }
  return std::string(kRawOs);
}

std::string or_none(const std::string &value) {
  return value.empty() ? "None" : value;
}

void add_nics(Ini &ini, const std::vector<NicRecord> &nics) {
  for (std::size_t i = 0; i < nics.size(); ++i) {
    const NicRecord &nic = nics[i];
    const auto add = [&](std::string_view key, const std::string &value) {
      ini.add("instance", cat("nic", i, "_", key), value);
    };
    add("mac", nic.mac);
    add("ip", or_none(nic.ip));
    add("network", or_none(nic.network));
    add("name", or_none(nic.name));
    // Ganeti wants a link where there is no network; this is its own default.
    add("link", nic.link.empty() ? "br0" : nic.link);
    add("mode", nic.mode);
    add("vlan", nic.vlan);
  }
  ini.add("instance", "nic_count", std::to_string(nics.size()));
}

void add_disks(Ini &ini, const std::vector<ExportedDisk> &disks) {
  for (std::size_t i = 0; i < disks.size(); ++i) {
    const auto add = [&](std::string_view key, const std::string &value) {
      ini.add("instance", cat("disk", i, "_", key), value);
    };
    add("ivname", cat("disk/", i));
    add("dump", disks[i].dump);
    add("size", std::to_string(disks[i].mib));
    add("name", or_none(disks[i].name));
  }
  ini.add("instance", "disk_count", std::to_string(disks.size()));
}

void add_instance(Ini &ini, const Description &of) {
  const std::string memory = std::to_string(of.memory == 0 ? kDefaultMemory : of.memory);
  const std::string vcpus = std::to_string(of.vcpus == 0 ? 1 : of.vcpus);
  for (const auto &[key, value] : {std::pair<std::string, std::string>{"name", of.name},
                                   {"maxmem", memory},
                                   {"minmem", memory},
                                   {"memory", memory},
                                   {"vcpus", vcpus},
                                   {"disk_template", "file"},
                                   {"hypervisor", of.hypervisor},
                                   {"tags", ""}}) {
    ini.add("instance", key, value);
  }
  add_nics(ini, of.nics);
  add_disks(ini, of.disks);
  ini.add_section("hypervisor");
  for (const auto &[key, value] : of.hypervisor_parameters) {
    const bool common =
        std::find(kCommonParameters.begin(), kCommonParameters.end(), key) != kCommonParameters.end();
    if (common && !value.empty()) ini.add("hypervisor", key, value);
  }
  for (const auto &[key, value] : {std::pair<std::string, std::string>{"always_failover", "False"},
                                   {"auto_balance", "True"},
                                   {"maxmem", memory},
                                   {"minmem", memory},
                                   {"spindle_use", "1"},
                                   {"vcpus", vcpus}}) {
    ini.add("backend", key, value);
  }
}

void add_own_disk(Ini &ini, const OwnDisk &disk, std::size_t index) {
  const auto add = [&](std::string_view key, const std::string &value) {
    ini.add("vbdkit", cat("disk", index, "_", key), value);
  };
  add("driver", disk.driver.str());
  add("filetype", disk.filetype.str());
  add("file", disk.file);
  add("vdev", disk.vdev);
  add("mode", disk.mode == DiskMode::ro ? "ro" : "rw");
  add("bytes", std::to_string(disk.size));
  add("driver_options", join_pairs(disk.driver_options));
  add("filetype_options", join_pairs(disk.filetype_options));
  add("content", content_text(disk.content));
  add("length", std::to_string(disk.length));
  add("digest", disk.digest);
  if (disk.content == Content::image) add("image_filetype", disk.image_filetype.str());
}

void add_own(Ini &ini, const Description &of) {
  ini.add("vbdkit", "version", "1");
  ini.add("vbdkit", "compression", of.compression == Compression::zstd ? "zstd" : "none");
  ini.add("vbdkit", "os", of.os);
  ini.add("vbdkit", "backend", join_pairs(of.backend));
  ini.add("vbdkit", "hypervisor", join_pairs(of.hypervisor_parameters));
  ini.add("vbdkit", "os_parameters", join_pairs(of.os_parameters));
  ini.add("vbdkit", "nics", std::to_string(of.nics.size()));
  for (std::size_t i = 0; i < of.nics.size(); ++i) ini.add("vbdkit", cat("nic", i, "_link"), of.nics[i].link);
  for (std::size_t i = 0; i < of.disks.size(); ++i) add_own_disk(ini, *of.disks[i].own, i);
}

}  // namespace

const char *content_text(Content content) {
  switch (content) {
    case Content::script:
      return "script";
    case Content::raw:
      return "raw";
    case Content::image:
      return "image";
  }
  return "raw";
}

std::string join_pairs(const TextMap &map) {
  std::string out;
  const auto append = [&out](const std::string &word) {
    for (const char c : word) {
      if (c == ',' || c == '=' || c == '\\') out += '\\';
      out += c;
    }
  };
  for (const auto &[key, value] : map) {
    if (!out.empty()) out += ',';
    append(key);
    out += '=';
    append(value);
  }
  return out;
}

std::optional<TextMap> split_pairs(std::string_view text) {
  TextMap map;
  std::string key, word;
  bool in_value = false;
  const auto take = [&] {
    const bool good = in_value && !key.empty() && map.emplace(key, word).second;
    key.clear();
    word.clear();
    in_value = false;
    return good;
  };
  if (text.empty()) return map;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      if (++i == text.size()) return std::nullopt;
      word += text[i];
    } else if (text[i] == '=' && !in_value) {
      key = std::exchange(word, "");
      in_value = true;
    } else if (text[i] == ',') {
      if (!take()) return std::nullopt;
    } else {
      word += text[i];
    }
  }
  if (!take()) return std::nullopt;
  return map;
}

Result<std::string> write_description(const Description &of) {
  Ini ini;
  for (const auto &[key, value] : {std::pair<std::string, std::string>{"version", "0"},
                                   {"timestamp", std::to_string(of.timestamp)},
                                   {"source", of.source},
                                   {"os", os_for_ganeti(of)},
                                   {"compression", "none"}}) {
    ini.add("export", key, value);
  }
  add_instance(ini, of);
  ini.add_section("os");
  for (const auto &[key, value] : of.os_parameters) {
    if (text::lower(key) == key) ini.add("os", key, value);  // Ganeti's are lower case
  }
  ini.add_section("os_private");
  add_own(ini, of);
  return ini.str();
}

}  // namespace vbd::backup
