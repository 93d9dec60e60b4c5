#include "frontends/common/SafetensorsFile.h"
#include "frontends/common/ByteReader.h"
#include "frontends/common/InputError.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/JSON.h"
#include <algorithm>

namespace heddle {

static constexpr uint64_t kMostHeaderBytes = 16 << 20;
static constexpr int kMostDepth = 8; // the format itself needs 3
static constexpr size_t kMostDimensions = 8;

/// Bytes of an element; 0 for types that are unknown.
static uint64_t elementBytes(llvm::StringRef type) {
  return llvm::StringSwitch<uint64_t>(type)
      .Cases("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", 1)
      .Cases("U16", "I16", "F16", "BF16", 2)
      .Cases("U32", "I32", "F32", 4)
      .Cases("U64", "I64", "F64", 8)
      .Default(0);
}

/// The parser recurses, so nesting is bounded before it runs.
static bool isTooDeep(llvm::StringRef json) {
  int depth = 0;
  bool inString = false;
  for (size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (inString) {
      if (c == '\\')
        ++i;
      inString = c != '"';
    } else if (c == '"') {
      inString = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMostDepth)
        return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

namespace {
/// Reads the header of one file; messages name it.
struct HeaderReader {
  const InputFile &file;
  uint64_t dataBegin, dataSize;

  llvm::Error fail(const llvm::Twine &what) const { return invalidInput(file.name() + ": " + what); }

  llvm::Expected<SafetensorsEntry> entry(llvm::StringRef name, const llvm::json::Value &value) const {
    auto wrong = [&](const llvm::Twine &what) { return fail("tensor " + quoted(name) + " " + what); };
    const llvm::json::Object *object = value.getAsObject();
    auto type = object ? object->getString("dtype") : std::nullopt;
    const llvm::json::Array *shape = object ? object->getArray("shape") : nullptr;
    const llvm::json::Array *range = object ? object->getArray("data_offsets") : nullptr;
    if (!type || !shape || !range || range->size() != 2)
      return wrong("has no 'dtype', 'shape' and two 'data_offsets'");
    SafetensorsEntry entry{name.str(), type->str(), {}, 0, 0};
    uint64_t size = elementBytes(*type);
    if (size == 0)
      return wrong("has unknown type " + quoted(*type));
    if (shape->size() > kMostDimensions)
      return wrong("has " + llvm::Twine(shape->size()) + " dimensions; at most " +
                   llvm::Twine(kMostDimensions) + " are known");
    for (const llvm::json::Value &dimension : *shape) {
      auto number = dimension.getAsInteger();
      auto product = number && *number >= 0 ? multiplyChecked(size, uint64_t(*number)) : std::nullopt;
      if (!product)
        return wrong("has a shape that is negative or too large");
      size = *product;
      entry.shape.push_back(*number);
    }
    auto begin = (*range)[0].getAsInteger(), end = (*range)[1].getAsInteger();
    if (!begin || !end || *begin < 0 || *end < *begin || uint64_t(*end) > dataSize)
      return wrong("does not lie in the " + llvm::Twine(dataSize) + " bytes of data");
    if (uint64_t(*end - *begin) != size)
      return wrong("has " + llvm::Twine(*end - *begin) + " bytes, but its type and shape need " +
                   llvm::Twine(size));
    entry.offset = dataBegin + uint64_t(*begin);
    entry.size = size;
    return entry;
  }
};
} // namespace

llvm::Expected<SafetensorsFile> SafetensorsFile::read(std::shared_ptr<InputFile> input) {
  SafetensorsFile result;
  result.source = input;
  ByteReader reader(input->bytes());
  HeaderReader header{*input, 0, 0};
  auto length = reader.read<uint64_t>();
  auto bytes = length && *length <= kMostHeaderBytes ? reader.take(*length) : std::nullopt;
  if (!bytes)
    return header.fail("is no safetensors file: it does not begin with a header of at most " +
                       llvm::Twine(kMostHeaderBytes) + " bytes and its length");
  header.dataBegin = reader.offset();
  header.dataSize = reader.left();
  llvm::StringRef text = asString(*bytes);
  if (isTooDeep(text))
    return header.fail("has a header that nests deeper than " + llvm::Twine(kMostDepth) + " levels");
  auto json = llvm::json::parse(text);
  if (!json) {
    llvm::consumeError(json.takeError());
    return header.fail("has a header that is no JSON");
  }
  const llvm::json::Object *object = json->getAsObject();
  if (!object)
    return header.fail("has a header that is no JSON object");
  for (const auto &[key, value] : *object) {
    if (key == "__metadata__") {
      if (const llvm::json::Object *texts = value.getAsObject())
        for (const auto &[name, content] : *texts)
          if (auto string = content.getAsString())
            result.texts.emplace_back(llvm::StringRef(name).str(), string->str());
      continue;
    }
    auto entry = header.entry(key, value);
    if (!entry)
      return entry.takeError();
    result.table.push_back(std::move(*entry));
  }
  // The order of a JSON object is nobody's promise: that of the bytes is.
  llvm::sort(result.table, [](const SafetensorsEntry &a, const SafetensorsEntry &b) {
    return std::tie(a.offset, a.name) < std::tie(b.offset, b.name);
  });
  for (size_t i = 1; i < result.table.size(); ++i)
    if (result.table[i].offset < result.table[i - 1].offset + result.table[i - 1].size)
      return header.fail("has tensors " + quoted(result.table[i - 1].name) + " and " +
                         quoted(result.table[i].name) + " that overlap");
  return result;
}

llvm::StringRef SafetensorsFile::metadata(llvm::StringRef key) const {
  for (const auto &[name, text] : texts)
    if (name == key)
      return text;
  return {};
}

} // namespace heddle
