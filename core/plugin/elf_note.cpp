// SPDX-License-Identifier: MIT
// Layout: System V ABI, "ELF header", "Program header", "Note section"; <elf.h>.
#include "core/plugin/elf_note.hpp"

#include <elf.h>

#include <bit>
#include <cstring>
#include <optional>
#include <vector>

#include <vbdkit/plugin.h>

#include "core/base/text.hpp"
#include "core/plugin/note.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"

namespace vbd::plugin {
namespace {

constexpr std::size_t kMaxHeaders = 64;
constexpr std::uint64_t kMaxNotes = 65536;

#if defined(__x86_64__)
constexpr unsigned kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kMachine = EM_AARCH64;
#elif defined(__riscv)
constexpr unsigned kMachine = EM_RISCV;
#elif defined(__powerpc64__)
constexpr unsigned kMachine = EM_PPC64;
#elif defined(__s390x__)
constexpr unsigned kMachine = EM_S390;
#else
constexpr unsigned kMachine = EM_NONE;  // unknown here: left to the dynamic linker
#endif
constexpr unsigned char kByteOrder = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;

class Reader {
 public:
  Reader(int fd, const std::string &path) : fd_(fd), path_(path) {}

  Result<std::string> find();

 private:
  Error error(const ErrorKind &kind, std::string_view why) const {
    return Error(kind, text::cat(text::printable(path_), ": ", why));
  }
  Result<void> read(void *to, std::uint64_t length, std::uint64_t offset, std::string_view what) const;
  Result<void> check_header(const Elf64_Ehdr &header) const;
  Result<void> check_loadable(const std::vector<Elf64_Phdr> &headers) const;
  Result<void> scan(const std::string &notes, std::size_t alignment);

  int fd_;
  const std::string &path_;
  std::uint64_t size_ = 0;
  std::optional<std::string> payload_;
};

Result<void> Reader::read(void *to, std::uint64_t length, std::uint64_t offset, std::string_view what) const {
  if (offset > size_ || length > size_ - offset) {
    return error(kTruncated, text::cat("the file ends at ", size_, ", inside its ", what));
  }
  const auto n = sys::read_at(fd_, to, length, offset);
  if (!n) return n.error().at(text::printable(path_));
  if (*n != length) return error(kTruncated, text::cat("the file became shorter inside its ", what));
  return {};
}

Result<void> Reader::check_header(const Elf64_Ehdr &header) const {
  if (header.e_ident[EI_CLASS] != ELFCLASS64) {
    return error(kWrongMachine, header.e_ident[EI_CLASS] == ELFCLASS32
                                    ? "a 32-bit ELF file, this vbd is 64-bit"
                                    : "an ELF file of an unknown class");
  }
  if (header.e_ident[EI_DATA] != kByteOrder)
    return error(kWrongMachine, "an ELF file of the other byte order");
  if (kMachine != EM_NONE && header.e_machine != kMachine) {
    return error(kWrongMachine, text::cat("built for processor ", header.e_machine, ", this vbd for ",
                                          kMachine, " (e_machine)"));
  }
  if (header.e_type != ET_DYN) return error(kNotElf, text::cat("no shared object: ELF type ", header.e_type));
  if (header.e_phentsize != sizeof(Elf64_Phdr))
    return error(kNotElf, "a damaged ELF header: wrong size of program headers");
  if (header.e_phnum == 0) return error(kNotElf, "an ELF file without program headers");
  if (header.e_phnum > kMaxHeaders) {
    return error(kBadNote, text::cat(header.e_phnum, " program headers, at most ", kMaxHeaders, " are read"));
  }
  return {};
}

/// The dynamic linker maps without looking at the file's size; the first touch of what is missing is SIGBUS.
Result<void> Reader::check_loadable(const std::vector<Elf64_Phdr> &headers) const {
  for (const Elf64_Phdr &header : headers) {
    if (header.p_type != PT_LOAD && header.p_type != PT_NOTE && header.p_type != PT_DYNAMIC) continue;
    if (header.p_offset > size_ || header.p_filesz > size_ - header.p_offset) {
      return error(kTruncated, text::cat("the file ends at ", size_, ", a segment needs bytes from ",
                                         header.p_offset, " on, ", header.p_filesz, " long"));
    }
  }
  return {};
}

/// Notes of one segment: three words, the owner, the payload. Payload and next note begin at the alignment,
/// counted from the note's own begin.
Result<void> Reader::scan(const std::string &notes, std::size_t alignment) {
  const auto aligned = [alignment](std::size_t n) { return (n + alignment - 1) & ~(alignment - 1); };
  std::size_t at = 0;
  while (notes.size() - at >= sizeof(Elf64_Nhdr)) {
    const std::size_t room = notes.size() - at;
    Elf64_Nhdr head;
    std::memcpy(&head, notes.data() + at, sizeof head);
    const std::size_t payload_at = aligned(sizeof head + head.n_namesz);
    if (payload_at > room) return error(kBadNote, "an ELF note's owner runs over its segment");
    if (head.n_descsz > room - payload_at) return error(kBadNote, "an ELF note runs over its segment");
    const std::string_view owner(notes.data() + at + sizeof head, head.n_namesz);
    const std::string_view payload(notes.data() + at + payload_at, head.n_descsz);
    at += std::min(aligned(payload_at + head.n_descsz), room);
    if (owner != std::string_view(VBD_NOTE_OWNER, sizeof VBD_NOTE_OWNER) || head.n_type != VBD_NOTE_TYPE)
      continue;
    if (payload_) return error(kBadNote, "two vbdkit notes in one file");
    payload_ = std::string(payload);
  }
  return {};
}

Result<std::string> Reader::find() {
  const auto info = sys::file_info(fd_);
  if (!info) return info.error().at(text::printable(path_));
  size_ = info->size;
  Elf64_Ehdr header;
  char magic[SELFMAG] = {};
  if (size_ >= SELFMAG) {
    if (auto done = read(magic, SELFMAG, 0, "magic number"); !done) return done.error();
  }
  if (std::memcmp(magic, ELFMAG, SELFMAG) != 0)
    return error(kNotElf, size_ == 0 ? "an empty file" : "no ELF file");
  VBD_TRY(read(&header, sizeof header, 0, "ELF header"));
  VBD_TRY(check_header(header));
  std::vector<Elf64_Phdr> headers(header.e_phnum);
  if (auto done =
          read(headers.data(), headers.size() * sizeof(Elf64_Phdr), header.e_phoff, "program headers");
      !done) {
    return done.error();
  }
  VBD_TRY(check_loadable(headers));
  std::uint64_t total = 0;
  for (const Elf64_Phdr &segment : headers) {
    if (segment.p_type != PT_NOTE) continue;
    if (segment.p_filesz > kMaxNotes || (total += segment.p_filesz) > kMaxNotes) {
      return error(kBadNote, text::cat("over ", kMaxNotes, " bytes of ELF notes"));
    }
    std::string notes(segment.p_filesz, '\0');
    VBD_TRY(read(notes.data(), notes.size(), segment.p_offset, "notes"));
    // gABI says 8 for 64-bit notes, everybody writes 4; p_align tells (glibc reads it so, too).
    if (auto done = scan(notes, segment.p_align == 8 ? 8 : 4); !done) return done.error();
  }
  if (!payload_) return error(kNoNote, "no vbdkit plugin: it has no identity note");
  return *payload_;
}

}  // namespace

Result<std::string> find_note(int fd, const std::string &path) {
  return Reader(fd, path).find();
}

}  // namespace vbd::plugin
