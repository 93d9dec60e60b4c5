#include "drivers/cpu/Image.h"
#include "core/Sha256.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// From linux/fcntl.h and linux/memfd.h, which older C libraries do not carry.
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1u
#define MFD_ALLOW_SEALING 2u
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 16u
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_SEAL_SEAL 1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#define F_SEAL_WRITE 8
#endif

namespace heddle::runtime {

namespace {

constexpr uint64_t page = 4096, maxImage = 1ull << 30;
constexpr uint32_t maxSegments = 16;

class Mapper {
public:
  Mapper(const heddle_host &host, const char *member, heddle_error *error)
      : host(host), member(member), error(error) {}
  ~Mapper() {
    if (file >= 0)
      close(file);
  }

  heddle_status map(bool forPerf, Image &out);

private:
  const heddle_host &host;
  const char *member;
  heddle_error *error;
  int file = -1;
  uint64_t size = 0;
  Elf64_Phdr text = {}; // the executable segment

  heddle_status bad(const char *what) {
    return fail(error, HEDDLE_INVALID_FILE, "code '%s': %s", member, what);
  }
  heddle_status refused(const char *what) {
    return fail(error, HEDDLE_UNSUPPORTED,
                "this host does not allow %s (%m), so code cannot be loaded; link it with --emit obj", what);
  }
  heddle_status copy();
  heddle_status check(const uint8_t *bytes);
  heddle_status checkDynamic(const uint8_t *bytes, const Elf64_Phdr &segment);
  heddle_status mapFile(Image &out);
  heddle_status mapAnonymous(Image &out);
};

heddle_status Mapper::copy() {
  if (size > maxImage)
    return bad("it is larger than 1 GiB");
  file = syscall(SYS_memfd_create, "heddle", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (file < 0 && errno == EINVAL) // kernels before 6.3 do not know MFD_EXEC
    file = syscall(SYS_memfd_create, "heddle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0)
    return refused("memory files");
  uint8_t buffer[16384];
  for (uint64_t at = 0; at < size;) {
    size_t piece = smaller<uint64_t>(size - at, sizeof(buffer));
    HEDDLE_TRY(host.read_member(host.context, member, at, buffer, piece, error));
    for (size_t done = 0; done < piece;) {
      ssize_t written = write(file, buffer + done, piece - done);
      if (written < 0 && errno == EINTR)
        continue;
      if (written <= 0)
        return fail(error, HEDDLE_RESOURCE_LIMIT, "cannot copy code '%s' into memory: %m", member);
      done += written;
    }
    at += piece;
  }
  if (fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    return refused("sealed memory files");
  return HEDDLE_OK;
}

/// Symbols may be listed, for debuggers. Anything that a dynamic loader would have to act on is refused.
heddle_status Mapper::checkDynamic(const uint8_t *bytes, const Elf64_Phdr &segment) {
  for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= segment.p_filesz; at += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry;
    memcpy(&entry, bytes + segment.p_offset + at, sizeof(entry));
    switch (entry.d_tag) {
    case DT_NULL:
      return HEDDLE_OK;
    case DT_HASH:
    case DT_GNU_HASH:
    case DT_STRTAB:
    case DT_STRSZ:
    case DT_SYMTAB:
    case DT_SYMENT:
    case DT_SONAME:
      continue;
    default:
      return bad("expected no relocations, imports or constructors");
    }
  }
  return bad("its dynamic table does not end");
}

heddle_status Mapper::check(const uint8_t *bytes) {
  Elf64_Ehdr header;
  memcpy(&header, bytes, sizeof(header)); // members have 256 bytes at least
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN || header.e_machine != EM_X86_64 ||
      header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > maxSegments ||
      !inRange(header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr), size))
    return bad("expected a position-independent ELF image for x86-64");
  uint64_t end = 0;
  for (uint32_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    memcpy(&segment, bytes + header.e_phoff + i * sizeof(segment), sizeof(segment));
    if (segment.p_type == PT_GNU_STACK || segment.p_type == PT_PHDR)
      continue;
    // Memory is the file, byte for byte: then whatever lies between the segments does not matter.
    if (segment.p_offset != segment.p_vaddr || segment.p_filesz != segment.p_memsz ||
        segment.p_flags & PF_W || !inRange(segment.p_offset, segment.p_filesz, size))
      return bad("expected its segments to be read-only, and in memory as in the file");
    switch (segment.p_type) {
    case PT_LOAD:
      if (segment.p_offset % page || segment.p_offset < end || (segment.p_flags & PF_X && text.p_filesz))
        return bad("expected segments on pages of their own, in order, one of them executable");
      end = alignUp(segment.p_offset + segment.p_filesz, page);
      if (segment.p_flags & PF_X)
        text = segment;
      break;
    case PT_DYNAMIC:
      HEDDLE_TRY(checkDynamic(bytes, segment));
      break;
    case PT_NOTE:
    case PT_GNU_EH_FRAME:
      break;
    default:
      return bad("expected only segments to load, but found another kind");
    }
  }
  return text.p_filesz ? HEDDLE_OK : bad("expected an executable segment");
}

/// The whole file read-only, and over it the executable segment.
heddle_status Mapper::mapFile(Image &out) {
  void *at = const_cast<uint8_t *>(out.base) + text.p_offset;
  void *code = mmap(at, text.p_filesz, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, text.p_offset);
  return code == at ? HEDDLE_OK : refused("executable mappings");
}

heddle_status Mapper::mapAnonymous(Image &out) {
  void *at = const_cast<uint8_t *>(out.base) + text.p_offset;
  void *code =
      mmap(at, text.p_filesz, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  if (code != at)
    return refused("anonymous mappings");
  for (uint64_t done = 0; done < text.p_filesz;) {
    ssize_t got = pread(file, static_cast<char *>(code) + done, text.p_filesz - done, text.p_offset + done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return fail(error, HEDDLE_IO_ERROR, "cannot copy code '%s': %m", member);
    done += got;
  }
  return mprotect(code, text.p_filesz, PROT_READ | PROT_EXEC) == 0 ? HEDDLE_OK
                                                                   : refused("executable mappings");
}

heddle_status Mapper::map(bool forPerf, Image &out) {
  heddle_member_info info = {};
  info.struct_size = sizeof(info);
  HEDDLE_TRY(host.find_member(host.context, member, &info, error));
  size = out.size = info.size;
  for (uint64_t i = 0; i < host.linked_code_count; ++i)
    if (strcmp(host.linked_code[i].member, member) == 0)
      out.base = static_cast<const uint8_t *>(host.linked_code[i].image);
  out.isLinked = out.base;
  if (!out.isLinked) {
    HEDDLE_TRY(copy());
    void *mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (mapped == MAP_FAILED)
      return fail(error, HEDDLE_RESOURCE_LIMIT, "cannot map code '%s': %m", member);
    out.base = static_cast<const uint8_t *>(mapped);
  }
  uint8_t digest[32];
  sha256(out.base, size, digest); // of the sealed copy: it cannot change any more
  if (memcmp(digest, info.digest, sizeof(digest)) != 0)
    return bad("its bytes do not have the SHA-256 that the manifest lists");
  HEDDLE_TRY(check(out.base));
  if (!out.isLinked)
    HEDDLE_TRY(forPerf ? mapAnonymous(out) : mapFile(out));
  out.textBegin = text.p_offset;
  out.textEnd = text.p_offset + text.p_filesz;
  return HEDDLE_OK;
}

} // namespace

heddle_status mapImage(const heddle_host &host, const char *member, bool forPerf, Image &out,
                       heddle_error *error) {
  Mapper mapper(host, member, error);
  heddle_status status = mapper.map(forPerf, out);
  if (status)
    unmapImage(out);
  return status;
}

void unmapImage(Image &image) {
  if (image.base && !image.isLinked)
    munmap(const_cast<uint8_t *>(image.base), image.size);
  image = {};
}

} // namespace heddle::runtime
