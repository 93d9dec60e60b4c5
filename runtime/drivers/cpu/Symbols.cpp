#include "drivers/cpu/Symbols.h"
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace heddle::runtime;

// gdb's interface, by name: it puts a breakpoint into the function and reads the descriptor. Weak, because a
// program may hold another just-in-time compiler that defines them; gdb looks at every copy.
extern "C" {

enum JitAction : uint32_t { JitNothing = 0, JitRegister = 1, JitUnregister = 2 };

struct JitEntry {
  JitEntry *next, *previous;
  const char *file;
  uint64_t size;
};

struct JitDescriptor {
  uint32_t version, action;
  JitEntry *relevant, *first;
};

[[gnu::weak, gnu::used, gnu::visibility("default")]] JitDescriptor __jit_debug_descriptor = {
    1, JitNothing, nullptr, nullptr};
[[gnu::weak, gnu::used, gnu::noinline, gnu::visibility("default")]] void __jit_debug_register_code() {
  __asm__ volatile("" ::: "memory");
}
}

namespace heddle::runtime {

static pthread_mutex_t jitLock = PTHREAD_MUTEX_INITIALIZER;

void writePerfMap(const heddle_program &program, uint32_t code, const Image &image) {
  uint64_t count = program.header->functions.count;
  const uint64_t *offsets = program.offsets + code * count;
  char line[320];
  snprintf(line, sizeof(line), "/tmp/perf-%d.map", static_cast<int>(syscall(SYS_getpid)));
  int file = open(line, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  for (uint64_t i = 0; i < count; ++i) {
    if (offsets[i] == HEDDLE_NO_FUNCTION)
      continue;
    uint64_t end = image.textEnd; // a function ends where the next one starts
    for (uint64_t j = 0; j < count; ++j)
      if (offsets[j] > offsets[i])
        end = smaller(end, offsets[j]);
    int size = snprintf(line, sizeof(line), "%" PRIx64 " %" PRIx64 " %.256s\n",
                        reinterpret_cast<uintptr_t>(image.base) + offsets[i], end - offsets[i],
                        program.strings + program.functions[i].name);
    if (write(file, line, size) != size)
      break; // perf shows addresses instead of names
  }
  close(file);
}

/// Moves the addresses in section headers and symbols by `base`. What is out of range is left alone.
static void relocateSymbols(uint8_t *bytes, uint64_t size, uint64_t base) {
  Elf64_Ehdr *header = reinterpret_cast<Elf64_Ehdr *>(bytes); // checked when it was loaded
  header->e_phnum = 0;                                        // the segments' addresses would contradict
  if (header->e_shoff % 8 || !inRange(header->e_shoff, header->e_shnum * sizeof(Elf64_Shdr), size))
    return;
  Elf64_Shdr *section = reinterpret_cast<Elf64_Shdr *>(bytes + header->e_shoff);
  for (uint32_t i = 0; i < header->e_shnum; ++i, ++section) {
    if (section->sh_flags & SHF_ALLOC)
      section->sh_addr += base;
    if ((section->sh_type != SHT_SYMTAB && section->sh_type != SHT_DYNSYM) || section->sh_offset % 8 ||
        !inRange(section->sh_offset, section->sh_size, size))
      continue;
    Elf64_Sym *symbol = reinterpret_cast<Elf64_Sym *>(bytes + section->sh_offset);
    for (uint64_t left = section->sh_size / sizeof(Elf64_Sym); left; --left, ++symbol)
      if (symbol->st_shndx != SHN_UNDEF)
        symbol->st_value += base;
  }
}

void registerWithGdb(const heddle_host &host, const Image &image, DebugSymbols &out) {
  JitEntry *entry = static_cast<JitEntry *>(host.allocate(host.context, sizeof(JitEntry), 64));
  uint8_t *copy = static_cast<uint8_t *>(host.allocate(host.context, image.size, 64));
  out = {entry, copy, image.size};
  if (!entry || !copy) {
    unregisterWithGdb(host, out); // gdb shows addresses instead of names
    return;
  }
  memcpy(copy, image.base, image.size);
  relocateSymbols(copy, image.size, reinterpret_cast<uintptr_t>(image.base));
  pthread_mutex_lock(&jitLock);
  *entry = {__jit_debug_descriptor.first, nullptr, reinterpret_cast<const char *>(copy), image.size};
  if (entry->next)
    entry->next->previous = entry;
  __jit_debug_descriptor.first = __jit_debug_descriptor.relevant = entry;
  __jit_debug_descriptor.action = JitRegister;
  __jit_debug_register_code();
  pthread_mutex_unlock(&jitLock);
}

void unregisterWithGdb(const heddle_host &host, DebugSymbols &symbols) {
  JitEntry *entry = static_cast<JitEntry *>(symbols.entry);
  if (entry && symbols.copy) {
    pthread_mutex_lock(&jitLock);
    (entry->previous ? entry->previous->next : __jit_debug_descriptor.first) = entry->next;
    if (entry->next)
      entry->next->previous = entry->previous;
    __jit_debug_descriptor.relevant = entry;
    __jit_debug_descriptor.action = JitUnregister;
    __jit_debug_register_code();
    pthread_mutex_unlock(&jitLock);
  }
  if (symbols.copy)
    host.release(host.context, symbols.copy, symbols.size);
  if (entry)
    host.release(host.context, entry, sizeof(JitEntry));
  symbols = {};
}

} // namespace heddle::runtime
