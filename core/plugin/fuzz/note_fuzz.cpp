// SPDX-License-Identifier: MIT
// Identity notes: the input as the payload of a well-formed file, which must come back as it is; the same
// file with bytes of the input over it; and the input as the whole file.
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include <vbdkit/plugin.h>

#include "core/plugin/elf_note.hpp"
#include "core/plugin/note.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;

namespace {

/// One file in memory for all runs.
int file_of(std::string_view content) {
  static const int fd = ::memfd_create("note", 0);
  fuzz::require(::ftruncate(fd, 0) == 0 &&
                    ::pwrite(fd, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()),
                "no file in memory");
  return fd;
}

template <class T>
void put(std::string &out, const T &value) {
  out.append(reinterpret_cast<const char *>(&value), sizeof value);
}

std::string elf_with(std::string_view payload) {
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_ident[EI_DATA] = ELFDATA2LSB;
  head.e_type = ET_DYN;
  head.e_machine = EM_X86_64;
  head.e_phoff = sizeof head;
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_NOTE;
  segment.p_offset = sizeof head + sizeof segment;
  segment.p_align = 4;
  std::string note;
  put(note, Elf64_Nhdr{sizeof VBD_NOTE_OWNER, static_cast<Elf64_Word>(payload.size()), VBD_NOTE_TYPE});
  note.append(VBD_NOTE_OWNER, sizeof VBD_NOTE_OWNER);
  note.resize((note.size() + 3) & ~std::size_t{3});
  note += payload;
  segment.p_filesz = note.size();
  std::string out;
  put(out, head);
  put(out, segment);
  return out + note;
}

void read(std::string_view content) {
  const auto note = plugin::read_note(file_of(content), "/plugins/fd-null.so");
  if (fuzz::good(note)) fuzz::good(plugin::check_note(*note, "/plugins/fd-null.so"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  read(text);
  std::string file = elf_with(text);
  if (size < 60000) {
    const auto found = plugin::find_note(file_of(file), "/plugins/fd-null.so");
    fuzz::require(fuzz::good(found) && *found == text, "a note that is found as another");
  }
  const auto note = plugin::parse_note(text, "/plugins/fd-null.so");
  if (fuzz::good(note)) {
    fuzz::good(plugin::check_note(*note, "/plugins/fd-null.so"));
    fuzz::require(note->abi_major != VBD_ABI_MAJOR || Constant::parse(note->constant, note->kind).ok(),
                  "a constant that is none");
    (void)plugin::unmet_need(*note, *note, {});
  }
  // Three bytes of the input: a place within the headers, and what stands there.
  for (std::size_t at = 0; at + 3 <= size && at < 48; at += 3) {
    const std::size_t place = (data[at] + std::size_t{256} * data[at + 1]) % file.size();
    file[place] = static_cast<char>(data[at + 2]);
  }
  read(file);
  return 0;
}
