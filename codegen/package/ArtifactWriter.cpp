#include "codegen/package/ArtifactWriter.h"
#include "heddle/artifact.h"
#include "heddle/runtime.h"
#include "ir/Sha256.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CRC.h"
#include "llvm/Support/FileSystem.h"

namespace heddle {

static llvm::Error mistake(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), "artifact: " + message);
}

llvm::Expected<std::unique_ptr<ArtifactWriter>> ArtifactWriter::create(llvm::StringRef path,
                                                                       llvm::ArrayRef<std::string> inputs) {
  namespace fs = llvm::sys::fs;
  for (const std::string &input : inputs)
    if (fs::equivalent(path, input))
      return llvm::createStringError(std::make_error_code(std::errc::invalid_argument),
                                     "output '" + path + "' is an input; choose another name");
  fs::file_status status;
  if (!fs::status(path, status) && status.type() != fs::file_type::regular_file)
    return llvm::createStringError(std::make_error_code(std::errc::invalid_argument),
                                   "output '" + path + "' exists and is not a regular file");
  auto file = PendingFile::create(path);
  if (!file)
    return file.takeError();
  return std::unique_ptr<ArtifactWriter>(new ArtifactWriter(std::move(*file)));
}

llvm::Error ArtifactWriter::write(llvm::ArrayRef<uint8_t> bytes) {
  if (llvm::Error error = file.writeAt(bytes, position))
    return error;
  position += bytes.size();
  return llvm::Error::success();
}

llvm::Error ArtifactWriter::writeZeros(uint64_t count) {
  static const uint8_t zeros[4096] = {};
  for (; count; count -= std::min<uint64_t>(count, sizeof(zeros)))
    if (llvm::Error error = write({zeros, static_cast<size_t>(std::min<uint64_t>(count, sizeof(zeros)))}))
      return error;
  return llvm::Error::success();
}

llvm::Error ArtifactWriter::addMember(llvm::StringRef name, uint64_t size,
                                      llvm::function_ref<llvm::Error(ByteSink)> produce) {
  if (!heddle_zip_name_is_valid(name.data(), name.size()))
    return mistake("'" + name + "' is not a valid member name");
  for (const Member &member : members)
    if (member.name == name)
      return mistake("two members are called '" + name + "'");
  if (members.size() == HEDDLE_ZIP_MAX_MEMBERS)
    return mistake("more than " + llvm::Twine(HEDDLE_ZIP_MAX_MEMBERS) + " members");
  if (size == 0 || size > HEDDLE_ZIP_MAX_SIZE)
    return mistake("member '" + name + "' cannot have " + llvm::Twine(size) + " bytes");

  Member member{name.str(), llvm::alignTo(size, HEDDLE_ZIP_SIZE_MULTIPLE), position, 0, {}};
  uint32_t padding = heddle_zip_padding(name.size(), member.size, position);
  assert((padding == 0 || padding >= 4) && "sizes are multiples that make every padding expressible");
  // The header holds the checksum, so it is written last.
  uint8_t header[HEDDLE_ZIP_HEADER_BYTES];
  size_t length = heddle_zip_header(header, 0, member.name.c_str(), member.size, 0, position);
  if (llvm::Error error = writeZeros(length + (padding ? padding - 4 : 0)))
    return error;

  Sha256 hash;
  uint64_t written = 0;
  auto sink = [&](llvm::ArrayRef<uint8_t> bytes) -> llvm::Error {
    if (bytes.size() > member.size - written)
      return mistake("more than the announced " + llvm::Twine(size) + " bytes were written to member '" +
                     name + "'");
    hash.update(bytes);
    member.crc = llvm::crc32(member.crc, bytes);
    written += bytes.size();
    return write(bytes);
  };
  if (llvm::Error error = produce(sink))
    return error;
  if (written != size)
    return mistake("expected " + llvm::Twine(size) + " bytes for member '" + name + "', but " +
                   llvm::Twine(written) + " were written");
  static const uint8_t zeros[HEDDLE_ZIP_SIZE_MULTIPLE] = {};
  if (llvm::Error error = sink({zeros, static_cast<size_t>(member.size - size)}))
    return error;
  member.digest = hash.final();
  heddle_zip_header(header, 0, member.name.c_str(), member.size, member.crc, member.start);
  if (llvm::Error error = file.writeAt({header, length}, member.start))
    return error;
  members.push_back(std::move(member));
  return llvm::Error::success();
}

llvm::Error ArtifactWriter::addMember(llvm::StringRef name, llvm::ArrayRef<char> bytes) {
  return addMember(name, bytes.size(), [&](ByteSink sink) {
    return sink({reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()});
  });
}

/// Readers of artifacts take only what this lets through.
static llvm::Error checkManifest(const llvm::json::Value &value, int depth, size_t keys) {
  auto checkDepth = [&]() -> llvm::Error {
    return depth < 16 ? llvm::Error::success() : mistake("the manifest is nested deeper than 16");
  };
  if (const llvm::json::Array *array = value.getAsArray()) {
    if (llvm::Error error = checkDepth())
      return error;
    for (const llvm::json::Value &element : *array)
      if (llvm::Error error = checkManifest(element, depth + 1, keys))
        return error;
  } else if (const llvm::json::Object *object = value.getAsObject()) {
    if (llvm::Error error = checkDepth())
      return error;
    keys += object->size();
    if (keys > 1024)
      return mistake("the manifest has an object with too many keys; use an array");
    for (const auto &[key, element] : *object) {
      for (char c : llvm::StringRef(key))
        if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == 0x7f)
          return mistake("a key of the manifest needs an escape");
      if (llvm::Error error = checkManifest(element, depth + 1, keys))
        return error;
    }
  }
  return llvm::Error::success();
}

static std::string hex(const ArtifactWriter::Digest &digest) {
  return llvm::toHex(digest, /*LowerCase=*/true);
}

llvm::Error ArtifactWriter::writeDirectory() {
  uint64_t start = position;
  uint8_t header[HEDDLE_ZIP_HEADER_BYTES];
  for (const Member &member : members) {
    uint32_t padding = heddle_zip_padding(member.name.size(), member.size, member.start);
    size_t length = heddle_zip_header(header, 1, member.name.c_str(), member.size, member.crc, member.start);
    if (llvm::Error error = write({header, length}))
      return error;
    if (llvm::Error error = writeZeros(padding ? padding - 4 : 0))
      return error;
  }
  return write({header, heddle_zip_end(header, members.size(), position - start, start)});
}

llvm::Expected<ArtifactWriter::Digest> ArtifactWriter::finish(llvm::json::Object manifest, bool durable) {
  manifest["format"] = static_cast<int64_t>(HEDDLE_ARTIFACT_FORMAT);
  llvm::json::Array list;
  for (const Member &member : members)
    list.push_back(llvm::json::Object{{"name", member.name},
                                      {"sha256", hex(member.digest)},
                                      {"size_bytes", static_cast<int64_t>(member.size)}});
  manifest["members"] = std::move(list);
  llvm::json::Value value(std::move(manifest));
  if (llvm::Error error = checkManifest(value, 0, 0))
    return error;
  std::string text = llvm::formatv("{0:2}", value).str(); // keys come out sorted
  text.resize(llvm::alignTo(text.size() + 1, HEDDLE_ZIP_SIZE_MULTIPLE), '\n');
  if (llvm::Error error = addMember("manifest.json", llvm::ArrayRef<char>(text.data(), text.size())))
    return std::move(error);
  Digest digest = members.back().digest;
  if (llvm::Error error = writeDirectory())
    return error;
  if (llvm::Error error = file.keep(durable))
    return error;
  return digest;
}

} // namespace heddle
