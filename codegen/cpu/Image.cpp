#include "codegen/cpu/Image.h"
#include "lld/Common/Driver.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Object/ELF.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <mutex>

LLD_HAS_DRIVER(elf)

using llvm::object::ELF64LE;
using ElfFile = llvm::object::ELFFile<ELF64LE>;

namespace heddle::cpu {

static llvm::Error fail(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "cpu code image: " + message);
}

static llvm::Error writeFile(llvm::StringRef path, llvm::ArrayRef<char> bytes) {
  std::error_code error;
  llvm::raw_fd_ostream out(path, error);
  if (!error) {
    out.write(bytes.data(), bytes.size());
    out.close();
    error = out.error();
    out.clear_error();
  }
  if (error)
    return fail("cannot write '" + path + "': " + error.message());
  return llvm::Error::success();
}

/// Runs lld in this process. It keeps global state, so one link at a time; it also resets all cl::opts.
static llvm::Error runLinker(llvm::ArrayRef<std::string> arguments) {
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  std::vector<const char *> pointers;
  for (const std::string &argument : arguments)
    pointers.push_back(argument.c_str());
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  lld::Result result = lld::lldMain(pointers, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return fail("linking failed: " + llvm::StringRef(messages).trim());
  return llvm::Error::success();
}

static llvm::Expected<std::vector<uint64_t>> findFunctions(llvm::ArrayRef<char> image,
                                                           llvm::ArrayRef<std::string> functions) {
  auto elf = ElfFile::create({image.data(), image.size()});
  if (!elf)
    return elf.takeError();
  auto sections = elf->sections();
  if (!sections)
    return sections.takeError();
  llvm::StringMap<uint64_t> addresses;
  for (const ElfFile::Elf_Shdr &section : *sections) {
    if (section.sh_type != llvm::ELF::SHT_DYNSYM)
      continue;
    auto symbols = elf->symbols(&section);
    auto names = elf->getStringTableForSymtab(section);
    if (!symbols || !names)
      return fail("unreadable symbol table");
    for (const ElfFile::Elf_Sym &symbol : *symbols)
      if (symbol.getType() == llvm::ELF::STT_FUNC && symbol.isDefined())
        if (auto name = symbol.getName(*names))
          addresses[*name] = symbol.st_value;
  }
  std::vector<uint64_t> offsets;
  for (const std::string &name : functions) {
    auto found = addresses.find(name);
    if (found == addresses.end())
      return fail("function '" + name + "' is not in the linked image");
    offsets.push_back(found->second);
  }
  return offsets;
}

llvm::Expected<Image> linkImage(llvm::ArrayRef<const CompiledObject *> objects,
                                llvm::ArrayRef<std::string> functions) {
  // lld reads and writes files only.
  llvm::SmallString<128> folder;
  if (std::error_code error = llvm::sys::fs::createUniqueDirectory("heddle-link", folder))
    return fail("cannot make a temporary folder: " + error.message());
  auto cleanUp = llvm::make_scope_exit([&] { llvm::sys::fs::remove_directories(folder); });
  auto inFolder = [&](const llvm::Twine &name) {
    llvm::SmallString<128> path(folder);
    llvm::sys::path::append(path, name);
    return std::string(path);
  };

  std::string output = inFolder("image");
  std::vector<std::string> arguments = {"ld.lld",
                                        "-shared",
                                        "--no-undefined",
                                        "--build-id=none",
                                        "--hash-style=sysv",
                                        "--threads=1",
                                        "-z",
                                        "rodynamic",
                                        "-z",
                                        "norelro",
                                        "-z",
                                        "text",
                                        "-z",
                                        "max-page-size=4096",
                                        "-z",
                                        "separate-loadable-segments",
                                        "-o",
                                        output};
  for (size_t i = 0; i < objects.size(); ++i) {
    std::string path = inFolder("object" + llvm::Twine(i) + ".o");
    if (llvm::Error error = writeFile(path, objects[i]->bytes))
      return error;
    arguments.push_back(path);
  }
  if (llvm::Error error = runLinker(arguments))
    return error;

  auto buffer = llvm::MemoryBuffer::getFile(output, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return fail("cannot read '" + output + "': " + buffer.getError().message());
  Image image;
  image.bytes.assign((*buffer)->getBufferStart(), (*buffer)->getBufferEnd());
  if (llvm::Error error = checkImage(image.bytes))
    return error;
  auto offsets = findFunctions(image.bytes, functions);
  if (!offsets)
    return offsets.takeError();
  image.offsets = std::move(*offsets);
  return image;
}

static llvm::Error checkDynamicTable(const ElfFile &elf) {
  auto entries = elf.dynamicEntries();
  if (!entries)
    return entries.takeError();
  for (const ElfFile::Elf_Dyn &entry : *entries)
    switch (entry.getTag()) {
    case llvm::ELF::DT_NULL:
    case llvm::ELF::DT_SYMTAB:
    case llvm::ELF::DT_SYMENT:
    case llvm::ELF::DT_STRTAB:
    case llvm::ELF::DT_STRSZ:
    case llvm::ELF::DT_HASH:
      break;
    default:
      return fail("expected a dynamic table with symbols only, but found entry '" +
                  elf.getDynamicTagAsString(entry.getTag()) + "'");
    }
  return llvm::Error::success();
}

llvm::Error checkImage(llvm::ArrayRef<char> image) {
  auto elf = ElfFile::create({image.data(), image.size()});
  if (!elf)
    return elf.takeError();
  if (elf->getHeader().e_type != llvm::ELF::ET_DYN || elf->getHeader().e_machine != llvm::ELF::EM_X86_64)
    return fail("expected an x86-64 shared object");
  auto segments = elf->program_headers();
  if (!segments)
    return segments.takeError();
  for (const ElfFile::Elf_Phdr &segment : *segments) {
    if (segment.p_type == llvm::ELF::PT_INTERP || segment.p_type == llvm::ELF::PT_TLS)
      return fail("unexpected interpreter or thread-local segment");
    if (segment.p_type != llvm::ELF::PT_LOAD)
      continue;
    if (segment.p_flags != llvm::ELF::PF_R && segment.p_flags != (llvm::ELF::PF_R | llvm::ELF::PF_X))
      return fail("expected only R and R+X segments, but found flags " + llvm::Twine(segment.p_flags));
    if (segment.p_offset != segment.p_vaddr || segment.p_filesz != segment.p_memsz)
      return fail("expected segments to lie in memory as in the file");
  }
  auto sections = elf->sections();
  if (!sections)
    return sections.takeError();
  for (const ElfFile::Elf_Shdr &section : *sections) {
    if (section.sh_flags & llvm::ELF::SHF_WRITE)
      return fail("unexpected writable section");
    if (section.sh_type == llvm::ELF::SHT_RELA || section.sh_type == llvm::ELF::SHT_REL)
      return fail("unexpected relocations");
    if (section.sh_type != llvm::ELF::SHT_DYNSYM)
      continue;
    auto symbols = elf->symbols(&section);
    auto names = elf->getStringTableForSymtab(section);
    if (!symbols || !names)
      return fail("unreadable symbol table");
    for (const ElfFile::Elf_Sym &symbol : symbols->drop_front())
      if (!symbol.isDefined())
        return fail("unexpected import '" + llvm::cantFail(symbol.getName(*names)) + "'");
  }
  return checkDynamicTable(*elf);
}

} // namespace heddle::cpu
