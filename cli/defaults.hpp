// SPDX-License-Identifier: MIT
// The built-in configuration, under every file: what vbd does with no file at all. docs/configuration.md
// lists it.
#pragma once

#include <string_view>

namespace vbd::cli {

inline constexpr std::string_view kDefaults = R"(file_storage_dir: /srv/ganeti/file-storage
state_dir: /var/lib/vbdkit
run_dir: /run/vbdkit
default_driver: FD_LOOP
default_filetype: FT_RAW
references: deny
hypervisor: xen
os_search_path: [/srv/ganeti/os, /usr/local/lib/ganeti/os, /usr/lib/ganeti/os, /usr/share/ganeti/os]
export_dir: /srv/ganeti/export
)";

}  // namespace vbd::cli
