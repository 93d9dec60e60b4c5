#include "frontends/gguf/GgufFile.h"

#include "frontends/common/ByteReader.h"
#include "frontends/common/InputError.h"
#include "frontends/gguf/GgufTypes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include <algorithm>
#include <map>
#include <tuple>

using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using llvm::Twine;

namespace heddle::gguf {

// Far above any real model, far below what would make the reader slow.
static constexpr uint64_t kMostMetadata = 1 << 16;
static constexpr uint64_t kMostTensors = 1 << 20;
static constexpr uint64_t kMostParts = 9999;
static constexpr uint64_t kLongestKey = 65535;
static constexpr uint64_t kLongestTensorName = 63;
static constexpr uint32_t kMostDimensions = 4;
static constexpr uint64_t kDefaultAlignment = 32;
static constexpr uint64_t kLargestAlignment = 1 << 20;

StringRef typeName(ValueType type) {
  static constexpr const char *names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                          "bool", "string", "array", "u64", "i64", "f64"};
  return names[static_cast<uint32_t>(type)];
}

/// Bytes of a number of this type; 0 for strings and arrays.
static uint64_t numberBytes(ValueType type) {
  static constexpr uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return bytes[static_cast<uint32_t>(type)];
}

std::string Value::describe() const { return ((isArray ? "array of " : "") + typeName(type)).str(); }

std::optional<StringRef> StringWalk::next() {
  if (left == 0)
    return std::nullopt;
  --left;
  ByteReader reader(bytes);
  std::optional<uint64_t> length = reader.read<uint64_t>();
  std::optional<llvm::ArrayRef<uint8_t>> text = length ? reader.take(*length) : std::nullopt;
  if (!text) // cannot happen for a value that the reader accepted
    return std::nullopt;
  bytes = bytes.drop_front(reader.offset());
  return asString(*text);
}

/// Reads the parts of one model, one after the other, into a File.
class Reader {
public:
  Reader(File &file, const ReadOptions &options) : file(file), memoryLeft(options.memoryLimit) {}

  Error readPart(std::shared_ptr<InputFile> input);
  Error finish();

  llvm::ArrayRef<Value> partValues() const { return values; }
  uint64_t tensorsRead() const { return names.size(); }

private:
  // The steps of readPart.
  Error readHeader();
  Error readMetadata();
  Error readValue(Value &value);
  Error readStringElements(Value &value);
  Error checkBooleans(const Value &value);
  Error readAlignment();
  Error readTensorInfos();
  Error readTensorInfo();
  Error placeTensors();

  Error invalid(const Twine &message) const { return invalidInput(label() + ": " + message); }
  Error cutOff(const Twine &where) const {
    return invalid("is cut off: byte " + Twine(bytes.size()) + " is the end of the file, in " + where);
  }
  std::string label() const { return part->name().str(); }
  Error charge(uint64_t amount) {
    if (amount > memoryLeft)
      return overLimit(
          label() + ": the tables of this file need more memory than the limit; raise it with --max-memory");
    memoryLeft -= amount;
    return Error::success();
  }

  struct PlacedTensor {
    Tensor tensor;
    std::optional<uint64_t> bytes; // nothing for types of unknown size
    uint32_t type;
    bool supported;
  };
  struct Unsupported {
    uint64_t count = 0;
    StringRef first;
  };

  File &file;
  uint64_t memoryLeft;
  // Of the part that is being read.
  std::shared_ptr<InputFile> part;
  llvm::ArrayRef<uint8_t> bytes;
  ByteReader reader{{}};
  uint64_t tensorCount = 0, metadataCount = 0, alignment = kDefaultAlignment;
  std::vector<Value> values;
  std::vector<PlacedTensor> placed;
  // Of all parts.
  std::vector<StringRef> names; // of tensors
  std::map<uint32_t, Unsupported> unsupportedTypes;
};

Error Reader::readPart(std::shared_ptr<InputFile> input) {
  part = std::move(input);
  bytes = part->bytes();
  reader = ByteReader(bytes);
  values.clear();
  placed.clear();
  file.parts.push_back(part);
  if (Error error = readHeader())
    return error;
  if (Error error = readMetadata())
    return error;
  if (Error error = readAlignment())
    return error;
  if (Error error = readTensorInfos())
    return error;
  if (Error error = placeTensors())
    return error;
  if (file.parts.size() == 1)
    file.values = std::move(values);
  return Error::success();
}

Error Reader::readHeader() {
  if (bytes.empty())
    return invalid("is empty, expected a GGUF file");
  std::optional<llvm::ArrayRef<uint8_t>> magic = reader.take(4);
  if (!magic)
    return invalid("has " + Twine(bytes.size()) + " bytes, too few for a GGUF file");
  if (asString(*magic) != "GGUF")
    return invalid("starts with " + quoted(asString(*magic)) + ", expected 'GGUF'");
  std::optional<uint32_t> version = reader.read<uint32_t>();
  if (!version)
    return cutOff("the header");
  if (*version != 0 && (*version & 0xffff) == 0)
    return unsupportedInput(label() + ": is a big-endian GGUF file, expected little-endian; convert it with "
                                      "gguf_convert_endian.py of the gguf package");
  if (*version == 1)
    return unsupportedInput(label() +
                            ": has GGUF version 1, expected 2 or 3; convert the model again from its source");
  if (*version != 2 && *version != 3)
    return unsupportedInput(label() + ": has GGUF version " + Twine(*version) + ", expected 2 or 3");
  if (file.parts.size() == 1)
    file.formatVersion = *version;
  std::optional<uint64_t> tensors = reader.read<uint64_t>(), pairs = reader.read<uint64_t>();
  if (!tensors || !pairs)
    return cutOff("the header");
  if (*tensors > kMostTensors)
    return invalid("claims " + Twine(*tensors) + " tensors, expected at most " + Twine(kMostTensors));
  if (*pairs > kMostMetadata)
    return invalid("claims " + Twine(*pairs) + " metadata entries, expected at most " + Twine(kMostMetadata));
  tensorCount = *tensors;
  metadataCount = *pairs;
  return Error::success();
}

/// Views of names become keys, symbols and messages, so they have to be text.
static bool isText(StringRef name) {
  const auto *begin = reinterpret_cast<const llvm::UTF8 *>(name.begin());
  return !name.contains('\0') && llvm::isLegalUTF8String(&begin, begin + name.size());
}

Error Reader::readMetadata() {
  for (uint64_t i = 0; i < metadataCount; ++i) {
    std::string where = ("metadata entry " + Twine(i) + " of " + Twine(metadataCount)).str();
    Value value;
    std::optional<uint64_t> length = reader.read<uint64_t>();
    if (!length)
      return cutOff(where);
    if (*length > kLongestKey)
      return invalid("the key of " + where + " has " + Twine(*length) + " bytes, expected at most " +
                     Twine(kLongestKey));
    std::optional<llvm::ArrayRef<uint8_t>> key = reader.take(*length);
    if (!key)
      return cutOff("the key of " + where);
    value.key = asString(*key);
    if (value.key.empty())
      return invalid("the key of " + where + " is empty");
    if (!isText(value.key))
      return invalid("the key " + quoted(value.key) + " of " + where + " is not UTF-8 text");
    if (Error error = readValue(value))
      return error;
    if (Error error = charge(2 * sizeof(Value))) // a vector may hold twice what it needs
      return error;
    values.push_back(value);
  }
  llvm::sort(values, [](const Value &a, const Value &b) { return a.key < b.key; });
  for (size_t i = 1; i < values.size(); ++i)
    if (values[i - 1].key == values[i].key)
      return invalid("metadata " + quoted(values[i].key) + " appears twice");
  return Error::success();
}

Error Reader::readValue(Value &value) {
  std::string where = "metadata " + quoted(value.key);
  std::optional<uint32_t> type = reader.read<uint32_t>();
  if (!type)
    return cutOff("the type of " + where);
  if (*type == static_cast<uint32_t>(ValueType::Array)) {
    value.isArray = true;
    type = reader.read<uint32_t>();
    std::optional<uint64_t> count = reader.read<uint64_t>();
    if (!type || !count)
      return cutOff("the array header of " + where);
    value.count = *count;
    if (*type == static_cast<uint32_t>(ValueType::Array))
      return unsupportedInput(label() + ": " + where +
                              " is an array of arrays, expected an array of numbers or strings");
  }
  if (*type > static_cast<uint32_t>(ValueType::F64))
    return invalid(where + " has the unknown value type " + Twine(*type) + ", expected 0 to 12");
  value.type = static_cast<ValueType>(*type);
  // An element takes its size in the file, a string at least the 8 bytes of its length.
  uint64_t least = value.type == ValueType::String ? 8 : numberBytes(value.type);
  std::optional<uint64_t> size = multiplyChecked(value.count, least);
  if (!size || *size > reader.left()) {
    if (!value.isArray)
      return cutOff(where);
    return invalid(where + " claims " + Twine(value.count) + " elements, but only " + Twine(reader.left()) +
                   " bytes are left in the file");
  }
  if (value.type == ValueType::String)
    return readStringElements(value);
  value.bytes = *reader.take(*size);
  return value.type == ValueType::Bool ? checkBooleans(value) : Error::success();
}

Error Reader::readStringElements(Value &value) {
  uint64_t start = reader.offset();
  llvm::ArrayRef<uint8_t> text;
  for (uint64_t i = 0; i < value.count; ++i) {
    std::optional<uint64_t> length = reader.read<uint64_t>();
    std::optional<llvm::ArrayRef<uint8_t>> taken = length ? reader.take(*length) : std::nullopt;
    if (!taken) {
      std::string where = value.isArray ? ("string " + Twine(i) + " of metadata ").str() : "metadata ";
      where += quoted(value.key);
      if (!length)
        return cutOff(where);
      return invalid(where + " claims " + Twine(*length) + " bytes, but only " + Twine(reader.left()) +
                     " are left in the file");
    }
    text = *taken;
  }
  value.bytes = value.isArray ? bytes.slice(start, reader.offset() - start) : text;
  return Error::success();
}

Error Reader::checkBooleans(const Value &value) {
  const uint8_t *wrong = llvm::find_if(value.bytes, [](uint8_t byte) { return byte > 1; });
  if (wrong == value.bytes.end())
    return Error::success();
  return invalid("metadata " + quoted(value.key) + " has the boolean " + Twine(unsigned(*wrong)) +
                 ", expected 0 or 1");
}

static const Value *findValue(llvm::ArrayRef<Value> values, StringRef key) {
  auto at = llvm::lower_bound(values, key, [](const Value &value, StringRef key) { return value.key < key; });
  return at != values.end() && at->key == key ? &*at : nullptr;
}

static std::optional<uint64_t> asUnsigned(const Value &value) {
  if (value.isArray)
    return std::nullopt;
  switch (value.type) {
  case ValueType::U8:
  case ValueType::I8:
  case ValueType::U16:
  case ValueType::I16:
  case ValueType::U32:
  case ValueType::I32:
  case ValueType::U64:
  case ValueType::I64:
    break;
  default:
    return std::nullopt;
  }
  int64_t number = elementAsInteger(value, 0);
  if (number < 0 && value.type != ValueType::U64)
    return std::nullopt;
  return static_cast<uint64_t>(number);
}

Error Reader::readAlignment() {
  alignment = kDefaultAlignment;
  const Value *value = findValue(values, "general.alignment");
  if (!value)
    return Error::success();
  std::optional<uint64_t> number = asUnsigned(*value);
  if (!number)
    return invalid("metadata 'general.alignment' is a " + value->describe() +
                   ", expected a positive integer");
  if (!llvm::isPowerOf2_64(*number) || *number > kLargestAlignment)
    return invalid("metadata 'general.alignment' is " + Twine(*number) + ", expected a power of two up to " +
                   Twine(kLargestAlignment));
  alignment = *number;
  return Error::success();
}

Error Reader::readTensorInfos() {
  for (uint64_t i = 0; i < tensorCount; ++i) {
    if (Error error = charge(2 * (sizeof(PlacedTensor) + sizeof(Tensor) + sizeof(StringRef))))
      return error;
    if (Error error = readTensorInfo())
      return error;
  }
  return Error::success();
}

Error Reader::readTensorInfo() {
  std::string where =
      ("the description of tensor " + Twine(placed.size()) + " of " + Twine(tensorCount)).str();
  std::optional<uint64_t> length = reader.read<uint64_t>();
  if (!length)
    return cutOff(where);
  if (*length == 0 || *length > kLongestTensorName)
    return invalid("the name in " + where + " has " + Twine(*length) + " bytes, expected 1 to " +
                   Twine(kLongestTensorName));
  std::optional<llvm::ArrayRef<uint8_t>> nameBytes = reader.take(*length);
  std::optional<uint32_t> rank = nameBytes ? reader.read<uint32_t>() : std::nullopt;
  if (!rank)
    return cutOff(where);
  StringRef name = asString(*nameBytes);
  std::string tensor = "tensor " + quoted(name);
  if (!isText(name))
    return invalid("the name of " + tensor + " is not UTF-8 text");
  if (*rank == 0 || *rank > kMostDimensions)
    return invalid(tensor + " has " + Twine(*rank) + " dimensions, expected 1 to " + Twine(kMostDimensions));

  PlacedTensor result;
  result.tensor.name = name;
  result.tensor.file = file.parts.size() - 1;
  uint64_t elements = 1;
  for (uint32_t d = 0; d < *rank; ++d) {
    std::optional<uint64_t> size = reader.read<uint64_t>();
    if (!size)
      return cutOff(where);
    if (*size == 0 || *size > INT64_MAX)
      return invalid(tensor + " has dimension " + Twine(d) + " of size " + Twine(int64_t(*size)) +
                     ", expected a positive size");
    std::optional<uint64_t> product = multiplyChecked(elements, *size);
    if (!product || *product > INT64_MAX)
      return invalid(tensor + " has dimensions whose product does not fit in 63 bits");
    elements = *product;
    result.tensor.shape.push_back(*size);
  }
  uint64_t row = result.tensor.shape.front(); // the file has the innermost dimension first
  std::reverse(result.tensor.shape.begin(), result.tensor.shape.end());

  std::optional<uint32_t> type = reader.read<uint32_t>();
  std::optional<uint64_t> offset = reader.read<uint64_t>();
  if (!type || !offset)
    return cutOff(where);
  result.type = *type;
  result.tensor.offset = *offset;
  std::optional<StorageFormat> format = formatByGgufType(*type);
  result.supported = format.has_value();
  if (format)
    result.tensor.format = *format;
  if (std::optional<TensorType> stored = tensorType(*type)) {
    if (row % stored->blockElements != 0)
      return invalid(tensor + " has rows of " + Twine(row) + " elements, expected a multiple of " +
                     Twine(stored->blockElements) + ", the block size of " + stored->name);
    result.bytes = multiplyChecked(elements / stored->blockElements, stored->blockBytes);
    if (!result.bytes)
      return invalid(tensor + " has a size in bytes that does not fit in 64 bits");
  }
  placed.push_back(std::move(result));
  return Error::success();
}

/// Turns offsets into places in the file: aligned, inside it, apart from each other.
Error Reader::placeTensors() {
  if (placed.empty())
    return Error::success();
  uint64_t dataStart = llvm::alignTo(reader.offset(), alignment);
  for (PlacedTensor &each : placed) {
    std::string tensor = "tensor " + quoted(each.tensor.name);
    if (each.tensor.offset % alignment != 0)
      return invalid(tensor + " is at offset " + Twine(each.tensor.offset) + ", expected a multiple of " +
                     Twine(alignment) + ", the alignment of the file");
    std::optional<uint64_t> start = addChecked(dataStart, each.tensor.offset);
    std::optional<uint64_t> end = start ? addChecked(*start, each.bytes.value_or(0)) : std::nullopt;
    if (!end)
      return invalid(tensor + " is at offset " + Twine(each.tensor.offset) +
                     ", which does not fit in 64 bits");
    if (*end > bytes.size())
      return invalid(tensor + " ends at byte " + Twine(*end) + ", past the end of the file (" +
                     Twine(bytes.size()) + ")");
    each.tensor.offset = *start;
    each.tensor.bytes = each.bytes.value_or(0);
  }
  llvm::sort(placed, [](const PlacedTensor &a, const PlacedTensor &b) {
    return std::tie(a.tensor.offset, a.tensor.name) < std::tie(b.tensor.offset, b.tensor.name);
  });
  for (size_t i = 1; i < placed.size(); ++i) {
    const Tensor &before = placed[i - 1].tensor, &tensor = placed[i].tensor;
    if (tensor.offset < before.offset + before.bytes)
      return invalid("tensor " + quoted(tensor.name) + " starts at byte " + Twine(tensor.offset) +
                     ", inside tensor " + quoted(before.name) + " (bytes " + Twine(before.offset) + " to " +
                     Twine(before.offset + before.bytes) + ")");
  }
  for (PlacedTensor &each : placed) {
    names.push_back(each.tensor.name);
    if (each.supported) {
      file.tensorTable.push_back(std::move(each.tensor));
      continue;
    }
    Unsupported &entry = unsupportedTypes[each.type];
    if (entry.count++ == 0)
      entry.first = each.tensor.name;
  }
  return Error::success();
}

static std::string describeUnsupported(uint32_t id, uint64_t count, StringRef first) {
  std::optional<TensorType> type = tensorType(id);
  std::string text =
      count == 1 ? "tensor " + quoted(first) + " is stored as "
                 : std::to_string(count) + " tensors (the first is " + quoted(first) + ") are stored as ";
  text += type                  ? quoted(type->name)
          : isWithdrawnType(id) ? "type " + std::to_string(id) + ", which ggml has withdrawn"
                                : "type " + std::to_string(id) + ", which is not known";
  bool wide = type && type->blockElements == 1; // integers and f64
  return text +
         (wide ? "; expected a float or block format"
               : "; requantize the model from its source, for example with 'llama-quantize IN OUT q4_k_m'");
}

Error Reader::finish() {
  llvm::sort(file.tensorTable, [](const Tensor &a, const Tensor &b) { return a.name < b.name; });
  llvm::sort(names);
  auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    return invalidInput(file.name() + ": tensor " + quoted(*twice) + " appears twice");
  for (const auto &[id, entry] : unsupportedTypes)
    file.unsupportedThings.push_back(describeUnsupported(id, entry.count, entry.first));
  return Error::success();
}

/// "model-00002-of-00003.gguf" for part 1 (from 0) of 3.
static std::string partName(StringRef stem, uint64_t part, uint64_t count) {
  return llvm::formatv("{0}-{1,0+5}-of-{2,0+5}.gguf", stem, part + 1, count).str();
}

/// Checks what a part says about the split, and gives the number of parts (1 without a split).
static Expected<uint64_t> checkSplit(StringRef label, llvm::ArrayRef<Value> values, uint64_t part) {
  auto number = [&](StringRef key) -> Expected<std::optional<uint64_t>> {
    const Value *value = findValue(values, key);
    if (!value)
      return std::nullopt;
    std::optional<uint64_t> result = asUnsigned(*value);
    if (!result)
      return invalidInput(label + ": metadata '" + key + "' is a " + value->describe() +
                          ", expected an integer that is not negative");
    return result;
  };
  Expected<std::optional<uint64_t>> count = number("split.count"), no = number("split.no");
  if (!count)
    return llvm::joinErrors(count.takeError(), no ? Error::success() : no.takeError());
  if (!no)
    return no.takeError();
  if (!*count || **count <= 1)
    return 1;
  if (**count > kMostParts)
    return invalidInput(label + ": metadata 'split.count' is " + Twine(**count) + ", expected at most " +
                        Twine(kMostParts));
  if (!*no || **no >= **count)
    return invalidInput(label + ": metadata 'split.no' is " + (*no ? Twine(**no) : Twine("missing")) +
                        ", expected a number below 'split.count' (" + Twine(**count) + ")");
  if (**no != part)
    return invalidInput(label + ": is part " + Twine(**no + 1) + " of " + Twine(**count) +
                        ", expected part " + Twine(part + 1) +
                        (part == 0 ? "; give the first part of a split model" : ""));
  return **count;
}

Expected<File> File::open(StringRef path, const ReadOptions &options) {
  Expected<std::shared_ptr<InputFile>> first = InputFile::open(path);
  if (!first)
    return first.takeError();
  return read(*first, path, options);
}

Expected<File> File::read(std::shared_ptr<InputFile> first, StringRef path, const ReadOptions &options) {
  File file;
  Reader reader(file, options);
  if (Error error = reader.readPart(std::move(first)))
    return error;
  Expected<uint64_t> count = checkSplit(file.name(), file.values, 0);
  if (!count)
    return count.takeError();
  if (*count > 1) {
    StringRef stem = llvm::sys::path::filename(path);
    if (!stem.consume_back(partName("", 0, *count)))
      return invalidInput(file.name() + ": is part 1 of " + Twine(*count) +
                          ", expected a name that ends with '" + partName("", 0, *count) + "'");
    Expected<ModelFolder> folder = ModelFolder::of(path, options.allowedFolders);
    if (!folder)
      return folder.takeError();
    for (uint64_t part = 1; part < *count; ++part) {
      Expected<std::shared_ptr<InputFile>> next = folder->open(partName(stem, part, *count));
      if (!next)
        return next.takeError();
      if (Error error = reader.readPart(*next))
        return error;
      Expected<uint64_t> theirs = checkSplit((*next)->name(), reader.partValues(), part);
      if (!theirs)
        return theirs.takeError();
      if (*theirs != *count)
        return invalidInput((*next)->name() + ": metadata 'split.count' is " + Twine(*theirs) +
                            ", expected " + Twine(*count) + " as in the first part");
    }
    const Value *total = findValue(file.values, "split.tensors.count");
    std::optional<uint64_t> expected = total ? asUnsigned(*total) : std::nullopt;
    if (total && expected != reader.tensorsRead())
      return invalidInput(file.name() + ": the parts have " + Twine(reader.tensorsRead()) +
                          " tensors, expected as many as metadata 'split.tensors.count' says (" +
                          (expected ? Twine(*expected) : Twine("no number")) + ")");
  }
  if (Error error = reader.finish())
    return error;
  return file;
}

const Value *File::find(StringRef key) const { return findValue(values, key); }

const Tensor *File::findTensor(StringRef name) const {
  auto at =
      llvm::lower_bound(tensorTable, name, [](const Tensor &t, StringRef name) { return t.name < name; });
  return at != tensorTable.end() && at->name == name ? &*at : nullptr;
}

static Error wrongType(const File &file, const Value &value, StringRef expected) {
  return invalidInput(file.name() + ": metadata " + quoted(value.key) + " is a " + value.describe() +
                      ", expected " + expected);
}

Expected<std::optional<uint64_t>> File::unsignedValue(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (std::optional<uint64_t> number = asUnsigned(*value))
    return number;
  return wrongType(*this, *value, "an integer that is not negative");
}

Expected<std::optional<double>> File::floatValue(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->isArray && (value->type == ValueType::F32 || value->type == ValueType::F64))
    return elementAsDouble(*value, 0);
  return wrongType(*this, *value, "a float");
}

Expected<std::optional<bool>> File::boolValue(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->isArray && value->type == ValueType::Bool)
    return value->bytes[0] != 0;
  return wrongType(*this, *value, "a bool");
}

Expected<std::optional<StringRef>> File::stringValue(StringRef key) const {
  const Value *value = find(key);
  if (!value)
    return std::nullopt;
  if (!value->isArray && value->type == ValueType::String)
    return asString(value->bytes);
  return wrongType(*this, *value, "a string");
}

Expected<const Value *> File::arrayValue(StringRef key, ValueType type) const {
  const Value *value = find(key);
  if (!value || (value->isArray && value->type == type))
    return value;
  return wrongType(*this, *value, ("an array of " + typeName(type)).str());
}

template <typename T> static T elementAt(const Value &value, uint64_t index) {
  return *ByteReader(value.bytes.slice(index * sizeof(T), sizeof(T))).read<T>();
}

double elementAsDouble(const Value &array, uint64_t index) {
  if (array.type == ValueType::F32)
    return elementAt<float>(array, index);
  if (array.type == ValueType::F64)
    return elementAt<double>(array, index);
  return static_cast<double>(elementAsInteger(array, index));
}

int64_t elementAsInteger(const Value &array, uint64_t index) {
  switch (array.type) {
  case ValueType::U8:
  case ValueType::Bool:
    return elementAt<uint8_t>(array, index);
  case ValueType::I8:
    return elementAt<int8_t>(array, index);
  case ValueType::U16:
    return elementAt<uint16_t>(array, index);
  case ValueType::I16:
    return elementAt<int16_t>(array, index);
  case ValueType::U32:
    return elementAt<uint32_t>(array, index);
  case ValueType::I32:
    return elementAt<int32_t>(array, index);
  case ValueType::U64:
    return static_cast<int64_t>(elementAt<uint64_t>(array, index));
  case ValueType::I64:
    return elementAt<int64_t>(array, index);
  default:
    return 0;
  }
}

} // namespace heddle::gguf
