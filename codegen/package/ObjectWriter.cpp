#include "codegen/package/ObjectWriter.h"
#include "codegen/package/PendingFile.h"
#include "heddle/artifact.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include <fcntl.h>
#include <unistd.h>
#include <vector>

namespace heddle {

using llvm::Twine;
namespace ELF = llvm::ELF;

namespace {

// What a program's code can reach in its usual code model, with room for the program itself.
constexpr uint64_t maxArtifact = 1ull << 30;
constexpr uint64_t sectionAlignment = 4096; // code is mapped in pages

llvm::Error systemError(const Twine &what, llvm::StringRef path, int code) {
  std::error_code error(code, std::generic_category());
  return llvm::createStringError(error, what + " '" + path + "': " + error.message());
}

/// A pending file that is written from its begin to its end.
class Output {
public:
  explicit Output(PendingFile file) : file(std::move(file)) {}

  llvm::Error write(llvm::StringRef bytes) {
    uint64_t offset = position;
    position += bytes.size();
    return file.writeAt(llvm::arrayRefFromStringRef(bytes), offset);
  }
  /// Replaces the file's first bytes.
  llvm::Error rewrite(const ELF::Elf64_Ehdr &header) {
    return file.writeAt({reinterpret_cast<const uint8_t *>(&header), sizeof(header)}, 0);
  }
  llvm::Error alignTo(uint64_t alignment) {
    return write(std::string(llvm::alignTo(position, alignment) - position, '\0'));
  }
  llvm::Error keep() { return file.keep(/*durable=*/true); }

  uint64_t position = 0;

private:
  PendingFile file;
};

struct Member {
  std::string name;
  uint64_t offset, size;
};

/// An artifact that this compiler has just written.
class Artifact {
public:
  explicit Artifact(llvm::StringRef path)
      : path(path.str()), descriptor(::open(this->path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Artifact() {
    if (descriptor >= 0)
      ::close(descriptor);
  }

  llvm::Error open() {
    uint64_t fileSize;
    if (descriptor < 0 || llvm::sys::fs::file_size(path, fileSize))
      return systemError("cannot read", path, errno);
    size = fileSize;
    char end[22];
    if (size < sizeof(end))
      return llvm::createStringError(llvm::inconvertibleErrorCode(), "'" + path + "' is not an artifact");
    if (size > maxArtifact)
      return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                     "'" + path + "' has " + Twine(size) + " bytes, but only " +
                                         Twine(maxArtifact) +
                                         " can be linked into a program; use the artifact as a file");
    if (llvm::Error error = read(size - sizeof(end), end, sizeof(end)))
      return error;
    uint64_t at = llvm::support::endian::read32le(end + 16), start = 0;
    for (unsigned left = llvm::support::endian::read16le(end + 10); left; --left) {
      // Below 4 GiB there are no zip64 fields; where data lies follows from names and sizes.
      heddle_zip_record record;
      char name[HEDDLE_ZIP_MAX_NAME];
      if (llvm::Error error = read(at, &record, sizeof(record)))
        return error;
      size_t length = std::min<size_t>(record.name_length, sizeof(name));
      if (llvm::Error error = read(at + sizeof(record), name, length))
        return error;
      uint64_t data = start + 30 + length + heddle_zip_padding(length, record.size, start);
      members.push_back({std::string(name, length), data, record.size});
      at += sizeof(record) + record.name_length + record.extra_length;
      start = data + record.size;
    }
    return llvm::Error::success();
  }

  llvm::Error read(uint64_t offset, void *to, size_t count) const {
    ssize_t got = ::pread(descriptor, to, count, offset);
    return got == static_cast<ssize_t>(count) ? llvm::Error::success()
                                              : systemError("cannot read", path, got < 0 ? errno : EIO);
  }
  llvm::Error copy(uint64_t offset, uint64_t count, Output &to) const {
    std::vector<char> buffer(std::min<uint64_t>(count, 1 << 20));
    for (uint64_t done = 0; done < count; done += buffer.size()) {
      buffer.resize(std::min<uint64_t>(buffer.size(), count - done));
      if (llvm::Error error = read(offset + done, buffer.data(), buffer.size()))
        return error;
      if (llvm::Error error = to.write({buffer.data(), buffer.size()}))
        return error;
    }
    return llvm::Error::success();
  }

  std::string path;
  uint64_t size = 0;
  std::vector<Member> members;

private:
  int descriptor;
};

/// A string table that grows.
struct Strings {
  std::string bytes = std::string(1, '\0');
  uint32_t add(const Twine &text) {
    uint32_t offset = bytes.size();
    bytes += text.str() + '\0';
    return offset;
  }
};

template <typename T> llvm::StringRef bytesOf(const std::vector<T> &records) {
  return {reinterpret_cast<const char *>(records.data()), records.size() * sizeof(T)};
}

/// Sections in the order of the file, each with one symbol, then the tables.
class ObjectFile {
public:
  ObjectFile(const Artifact &artifact, Output &out, llvm::StringRef name)
      : artifact(artifact), out(out), name(name) {}

  llvm::Error write() {
    ELF::Elf64_Ehdr header = {};
    if (llvm::Error error =
            out.write({reinterpret_cast<char *>(&header), sizeof(header)})) // again at the end
      return error;
    sections.push_back({});
    symbols.push_back({});
    if (llvm::Error error = addData(".rodata.heddle", "artifact", ELF::SHF_ALLOC, 0, artifact.size))
      return error;
    unsigned index = 0;
    for (const Member &member : artifact.members)
      if (llvm::StringRef(member.name).starts_with("code/")) {
        if (llvm::Error error = addData(".text.heddle." + Twine(index), "code_" + Twine(index),
                                        ELF::SHF_ALLOC | ELF::SHF_EXECINSTR, member.offset, member.size))
          return error;
        ++index;
      }
    sections.push_back({}); // says that the stack is not executable
    sections.back().sh_name = sectionNames.add(".note.GNU-stack");
    sections.back().sh_type = ELF::SHT_PROGBITS;
    sections.back().sh_offset = out.position;
    unsigned strings = sections.size() + 1;
    if (llvm::Error error = addTable(".symtab", ELF::SHT_SYMTAB, bytesOf(symbols)))
      return error;
    sections.back().sh_link = strings;
    sections.back().sh_info = 1; // the first global symbol
    sections.back().sh_entsize = sizeof(ELF::Elf64_Sym);
    if (llvm::Error error = addTable(".strtab", ELF::SHT_STRTAB, symbolNames.bytes))
      return error;
    uint32_t own = sectionNames.add(".shstrtab");
    if (llvm::Error error = addTable("", ELF::SHT_STRTAB, sectionNames.bytes))
      return error;
    sections.back().sh_name = own;
    if (llvm::Error error = out.alignTo(8))
      return error;
    sectionHeaders = out.position;
    return out.write(bytesOf(sections));
  }

  /// The file's first bytes, once everything else is known.
  ELF::Elf64_Ehdr header() const {
    ELF::Elf64_Ehdr header = {};
    memcpy(header.e_ident, ELF::ElfMagic, 4);
    header.e_ident[ELF::EI_CLASS] = ELF::ELFCLASS64;
    header.e_ident[ELF::EI_DATA] = ELF::ELFDATA2LSB;
    header.e_ident[ELF::EI_VERSION] = ELF::EV_CURRENT;
    header.e_type = ELF::ET_REL;
    header.e_machine = ELF::EM_X86_64;
    header.e_version = ELF::EV_CURRENT;
    header.e_shoff = sectionHeaders;
    header.e_ehsize = sizeof(header);
    header.e_shentsize = sizeof(ELF::Elf64_Shdr);
    header.e_shnum = sections.size();
    header.e_shstrndx = sections.size() - 1;
    return header;
  }

private:
  llvm::Error addData(const Twine &section, const Twine &symbol, uint64_t flags, uint64_t offset,
                      uint64_t size) {
    if (llvm::Error error = out.alignTo(sectionAlignment))
      return error;
    ELF::Elf64_Shdr record = {};
    record.sh_name = sectionNames.add(section);
    record.sh_type = ELF::SHT_PROGBITS;
    record.sh_flags = flags;
    record.sh_offset = out.position;
    record.sh_size = size;
    record.sh_addralign = sectionAlignment;
    ELF::Elf64_Sym entry = {};
    entry.st_name = symbolNames.add("heddle_" + name + "_" + symbol);
    entry.setBindingAndType(ELF::STB_GLOBAL, ELF::STT_OBJECT);
    entry.st_shndx = sections.size();
    entry.st_size = size;
    sections.push_back(record);
    symbols.push_back(entry);
    return artifact.copy(offset, size, out);
  }
  llvm::Error addTable(const Twine &section, unsigned type, llvm::StringRef bytes) {
    if (llvm::Error error = out.alignTo(8))
      return error;
    ELF::Elf64_Shdr record = {};
    if (!section.isTriviallyEmpty())
      record.sh_name = sectionNames.add(section);
    record.sh_type = type;
    record.sh_offset = out.position;
    record.sh_size = bytes.size();
    record.sh_addralign = 8;
    sections.push_back(record);
    return out.write(bytes);
  }

  const Artifact &artifact;
  Output &out;
  llvm::StringRef name;
  std::vector<ELF::Elf64_Shdr> sections;
  std::vector<ELF::Elf64_Sym> symbols;
  Strings sectionNames, symbolNames;
  uint64_t sectionHeaders = 0;
};

std::string makeHeader(const Artifact &artifact, llvm::StringRef name) {
  std::string externs, list;
  unsigned count = 0;
  for (const Member &member : artifact.members)
    if (llvm::StringRef(member.name).starts_with("code/")) {
      externs += llvm::formatv("extern const unsigned char heddle_{0}_code_{1}[];\n", name, count);
      list += llvm::formatv("      {{\"{0}\", heddle_{1}_code_{2}},\n", member.name, name, count++);
    }
  return llvm::formatv(
      R"(// Made by `heddle compile --emit obj`. Link the object file of the same name, and libheddle.
#ifndef HEDDLE_LINKED_{0}_H
#define HEDDLE_LINKED_{0}_H
#include <heddle/runtime.h>

#ifdef __cplusplus
extern "C" {{
#endif

extern const unsigned char heddle_{0}_artifact[];
{1}
// heddle_model_open() for the model in this program. `options` (NULL: defaults) gives everything but the trust, which
// the program vouches for, and the code. With HEDDLE_WEIGHTS_MAP the weights are used where they are.
static inline heddle_status heddle_{0}_open(const heddle_model_options *options, heddle_model **out_model,
                                            heddle_error *error) {{
  const heddle_linked_code code[] = {{
{2}  };
  heddle_source source = {{0};
  heddle_model_options with = {{0};
  if (options)
    with = *options;
  source.struct_size = sizeof source;
  source.kind = HEDDLE_SOURCE_MEMORY;
  source.memory = heddle_{0}_artifact;
  source.memory_size = {3}u;
  with.struct_size = sizeof with;
  with.trust = HEDDLE_TRUST_EMBEDDER_VOUCHES;
  with.linked_code = code;
  with.linked_code_count = {4};
  return heddle_model_open(&source, &with, out_model, error);
}

#ifdef __cplusplus
}
#endif
#endif
)",
      name, externs, list, artifact.size, count);
}

bool isIdentifierEnd(llvm::StringRef name) {
  return !name.empty() && llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; });
}

} // namespace

llvm::Error writeObject(llvm::StringRef artifactPath, llvm::StringRef objectPath, llvm::StringRef headerPath,
                        llvm::StringRef name) {
  if (!isIdentifierEnd(name))
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   "'" + name + "' cannot be part of a C identifier");
  Artifact artifact(artifactPath);
  if (llvm::Error error = artifact.open())
    return error;
  auto objectFile = PendingFile::create(objectPath);
  if (!objectFile)
    return objectFile.takeError();
  auto headerFile = PendingFile::create(headerPath);
  if (!headerFile)
    return headerFile.takeError();
  Output object(std::move(*objectFile)), header(std::move(*headerFile));
  ObjectFile file(artifact, object, name);
  if (llvm::Error error = file.write())
    return error;
  if (llvm::Error error = object.rewrite(file.header()))
    return error;
  if (llvm::Error error = header.write(makeHeader(artifact, name)))
    return error;
  if (llvm::Error error = object.keep())
    return error;
  return header.keep();
}

llvm::Error writeLibrary(llvm::StringRef artifactPath, llvm::StringRef libraryPath,
                         llvm::StringRef headerPath, llvm::StringRef name) {
  // The archive writer takes its members from files, under their names.
  llvm::SmallString<128> folder;
  if (std::error_code error = llvm::sys::fs::createUniqueDirectory(libraryPath + ".part", folder))
    return systemError("cannot create a folder beside", libraryPath, error.value());
  auto cleanUp = llvm::make_scope_exit([&] { llvm::sys::fs::remove_directories(folder); });
  std::string object = (folder + "/heddle_" + name + ".o").str();
  if (llvm::Error error = writeObject(artifactPath, object, headerPath, name))
    return error;
  auto member = llvm::NewArchiveMember::getFile(object, /*Deterministic=*/true);
  if (!member)
    return member.takeError();
  return llvm::writeArchive(libraryPath, *member, llvm::SymtabWritingMode::NormalSymtab,
                            llvm::object::Archive::K_GNU, /*Deterministic=*/true, /*Thin=*/false);
}

} // namespace heddle
