#include "tools/heddle/Tensor.h"
#include <charconv>
#include <cmath>
#include <random>

namespace heddle::cli {

namespace {
struct TypeFacts {
  heddle_dtype type;
  const char *name;
  size_t bytes;
  const char *npy; // nullptr: numpy has none
};
constexpr TypeFacts kTypes[] = {
    {HEDDLE_DTYPE_F32, "f32", 4, "<f4"},     {HEDDLE_DTYPE_F16, "f16", 2, "<f2"},
    {HEDDLE_DTYPE_BF16, "bf16", 2, nullptr}, {HEDDLE_DTYPE_I32, "i32", 4, "<i4"},
    {HEDDLE_DTYPE_I64, "i64", 8, "<i8"},     {HEDDLE_DTYPE_I8, "i8", 1, "|i1"},
    {HEDDLE_DTYPE_U8, "u8", 1, "|u1"},
};

const TypeFacts &factsOf(heddle_dtype type) {
  for (const TypeFacts &facts : kTypes)
    if (facts.type == type)
      return facts;
  fail(ExitInternal, "unknown element type " + std::to_string(type));
}

constexpr int64_t kMostElements = int64_t(1) << 40;
constexpr uint64_t kLargestFile = uint64_t(1) << 40;

template <typename T> T load(const void *data, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char *>(data) + index * static_cast<int64_t>(sizeof(T)),
              sizeof value);
  return value;
}
template <typename T> void store(void *data, int64_t index, T value) {
  std::memcpy(static_cast<char *>(data) + index * static_cast<int64_t>(sizeof(T)), &value, sizeof value);
}
} // namespace

const char *dtypeName(heddle_dtype type) { return factsOf(type).name; }
size_t dtypeBytes(heddle_dtype type) { return factsOf(type).bytes; }

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string out;
  for (int64_t size : shape)
    out += (out.empty() ? "" : "x") + std::to_string(size);
  return out.empty() ? "scalar" : out;
}

int64_t Tensor::count() const {
  int64_t product = 1;
  for (int64_t size : shape) // sizes were checked when the shape was made
    product *= size;
  return product;
}

static void checkShape(const std::vector<int64_t> &shape, const std::string &name) {
  int64_t product = 1;
  if (shape.size() > HEDDLE_MAX_RANK)
    fail(ExitUsage, printable(name) + ": at most " + std::to_string(HEDDLE_MAX_RANK) +
                        " dimensions, but found " + std::to_string(shape.size()));
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(product, size, &product) || product > kMostElements)
      fail(ExitUsage, printable(name) + ": the shape " + shapeText(shape) + " has too many elements");
}

size_t Tensor::bytes() const { return static_cast<size_t>(count()) * dtypeBytes(type); }

void Tensor::allocate() { storage.assign(bytes() / 8 + 16, 0); }

void *Tensor::data() {
  uintptr_t address = reinterpret_cast<uintptr_t>(storage.data());
  return reinterpret_cast<void *>((address + 63) / 64 * 64);
}

double Tensor::at(int64_t index) const {
  switch (type) {
  case HEDDLE_DTYPE_F32:
    return load<float>(data(), index);
  case HEDDLE_DTYPE_F16:
    return static_cast<double>(load<_Float16>(data(), index));
  case HEDDLE_DTYPE_BF16: {
    uint32_t bits = uint32_t(load<uint16_t>(data(), index)) << 16;
    return load<float>(&bits, 0);
  }
  case HEDDLE_DTYPE_I32:
    return load<int32_t>(data(), index);
  case HEDDLE_DTYPE_I64:
    return static_cast<double>(load<int64_t>(data(), index));
  case HEDDLE_DTYPE_I8:
    return load<int8_t>(data(), index);
  case HEDDLE_DTYPE_U8:
    return load<uint8_t>(data(), index);
  }
  return 0;
}

void Tensor::set(int64_t index, double value) {
  switch (type) {
  case HEDDLE_DTYPE_F32:
    return store(data(), index, static_cast<float>(value));
  case HEDDLE_DTYPE_F16:
    return store(data(), index, static_cast<_Float16>(value));
  case HEDDLE_DTYPE_BF16: { // round to nearest even on the upper half
    float single = static_cast<float>(value);
    uint32_t bits = load<uint32_t>(&single, 0);
    bits += 0x7fff + (bits >> 16 & 1);
    return store(data(), index, static_cast<uint16_t>(bits >> 16));
  }
  case HEDDLE_DTYPE_I32:
    return store(data(), index, static_cast<int32_t>(value));
  case HEDDLE_DTYPE_I64:
    return store(data(), index, static_cast<int64_t>(value));
  case HEDDLE_DTYPE_I8:
    return store(data(), index, static_cast<int8_t>(value));
  case HEDDLE_DTYPE_U8:
    return store(data(), index, static_cast<uint8_t>(value));
  }
}

heddle_view Tensor::view() {
  auto view = sized<heddle_view>();
  view.data = data();
  view.size_bytes = bytes();
  view.dtype = type;
  view.rank = static_cast<uint32_t>(shape.size());
  for (size_t axis = 0; axis < shape.size(); ++axis)
    view.dimension[axis] = shape[axis];
  return view;
}

std::pair<std::string, std::string> splitBinding(const std::string &text, const std::string &option) {
  size_t equals = text.find('=');
  if (equals == text.npos || equals == 0)
    fail(ExitUsage, option + " takes NAME=VALUE, but found '" + printable(text) + "'");
  return {text.substr(0, equals), text.substr(equals + 1)};
}

static double integerRange(heddle_dtype type, bool upper) {
  switch (type) {
  case HEDDLE_DTYPE_I32:
    return upper ? 2147483647.0 : -2147483648.0;
  case HEDDLE_DTYPE_I64:
    return upper ? 9007199254740992.0 : -9007199254740992.0; // what a double holds exactly
  case HEDDLE_DTYPE_I8:
    return upper ? 127 : -128;
  case HEDDLE_DTYPE_U8:
    return upper ? 255 : 0;
  default:
    return upper ? HUGE_VAL : -HUGE_VAL;
  }
}

Tensor parseLiteral(const std::string &text, const std::string &name) {
  auto bad = [&](const std::string &why) {
    fail(ExitUsage, "'" + printable(name) +
                        "': expected a literal such as 2x3xf32=1 2 3 4 5 6, @file.npy or random:SEED; " +
                        why);
  };
  size_t equals = text.find('=');
  if (equals == text.npos)
    bad("there is no '='");
  Tensor tensor;
  std::string head = text.substr(0, equals);
  size_t cross = head.rfind('x');
  std::string typeName = cross == head.npos ? head : head.substr(cross + 1);
  bool known = false;
  for (const TypeFacts &facts : kTypes)
    if (typeName == facts.name)
      tensor.type = facts.type, known = true;
  if (!known)
    bad("unknown element type '" + printable(typeName) + "'");
  const char *at = head.data(), *end = head.data() + (cross == head.npos ? 0 : cross);
  while (at < end) {
    int64_t size = 0;
    auto [next, problem] = std::from_chars(at, end, size);
    if (problem != std::errc() || (next < end && *next != 'x'))
      bad("the shape '" + printable(head) + "' is not numbers joined by x");
    tensor.shape.push_back(size);
    at = next < end ? next + 1 : next;
  }
  checkShape(tensor.shape, name);
  std::vector<double> values;
  for (const char *in = text.data() + equals + 1, *stop = text.data() + text.size(); in < stop;) {
    if (*in == ' ' || *in == ',' || *in == '\n') {
      ++in;
      continue;
    }
    double value = 0;
    auto [next, problem] = std::from_chars(in, stop, value);
    if (problem == std::errc::invalid_argument || next == in)
      bad("'" + printable(std::string(in, std::min<size_t>(16, static_cast<size_t>(stop - in)))) +
          "' is not a number");
    bool integer = integerRange(tensor.type, true) != HUGE_VAL;
    if (integer && !(value >= integerRange(tensor.type, false) && value <= integerRange(tensor.type, true) &&
                     value == std::floor(value)))
      bad("a value does not fit " + typeName);
    values.push_back(value);
    in = next;
  }
  if (static_cast<int64_t>(values.size()) != tensor.count())
    bad("the shape has " + std::to_string(tensor.count()) + " elements, but found " +
        std::to_string(values.size()));
  tensor.allocate();
  for (size_t index = 0; index < values.size(); ++index)
    tensor.set(static_cast<int64_t>(index), values[index]);
  return tensor;
}

// ---------------------------------------------------------------------------------------------------------------
// .npy: magic, version, header length, a Python dictionary as text, then the data.

static std::string fieldAfter(const std::string &header, const char *key) {
  size_t at = header.find(std::string("'") + key + "':");
  return at == header.npos ? "" : header.substr(header.find(':', at) + 1);
}

Tensor readNpy(const std::string &path) {
  std::string file = readFile(path, kLargestFile);
  auto bad = [&](const std::string &why) {
    fail(ExitInvalidFile, printable(path) + ": not a usable .npy file: " + why);
  };
  if (file.size() < 12 || file.compare(0, 6, "\x93NUMPY") != 0)
    bad("it does not begin with the format's magic bytes");
  unsigned major = static_cast<unsigned char>(file[6]);
  size_t lengthBytes = major == 1 ? 2 : 4, length = 0;
  for (size_t index = 0; index < lengthBytes; ++index)
    length |= size_t(static_cast<unsigned char>(file[8 + index])) << (8 * index);
  size_t begin = 8 + lengthBytes;
  if (major < 1 || major > 3 || length > file.size() - begin)
    bad("its header ends past the end of the file");
  std::string header = file.substr(begin, length);
  Tensor tensor;
  std::string descr = fieldAfter(header, "descr"), order = fieldAfter(header, "fortran_order"),
              shape = fieldAfter(header, "shape");
  bool known = false;
  for (const TypeFacts &facts : kTypes)
    if (facts.npy && descr.find(facts.npy) < 4)
      tensor.type = facts.type, known = true;
  if (!known)
    bad("its element type is not one of f4, f2, i4, i8, i1, u1, little-endian");
  if (order.find("False") > 2)
    bad("it is not in C order");
  size_t open = shape.find('('), close = shape.find(')');
  if (open > 2 || close == shape.npos)
    bad("it has no shape");
  const char *at = shape.data() + open + 1, *end = shape.data() + close;
  while (at < end) {
    if (*at == ' ' || *at == ',') {
      ++at;
      continue;
    }
    int64_t size = 0;
    auto [next, problem] = std::from_chars(at, end, size);
    if (problem != std::errc())
      bad("its shape is not a list of numbers");
    tensor.shape.push_back(size);
    at = next;
  }
  checkShape(tensor.shape, path);
  if (tensor.bytes() != file.size() - begin - length)
    bad("the shape " + shapeText(tensor.shape) + " needs " + std::to_string(tensor.bytes()) +
        " bytes of data, but it has " + std::to_string(file.size() - begin - length));
  tensor.allocate();
  std::memcpy(tensor.data(), file.data() + begin + length, tensor.bytes());
  return tensor;
}

void writeNpy(const std::string &path, const Tensor &tensor) {
  const TypeFacts &facts = factsOf(tensor.type);
  if (!facts.npy)
    fail(ExitUnsupported, printable(path) + ": .npy has no element type " + facts.name);
  std::string shape;
  for (int64_t size : tensor.shape)
    shape += std::to_string(size) + ",";
  std::string header =
      std::string("{'descr': '") + facts.npy + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 255);
  file += static_cast<char>(header.size() >> 8);
  file += header;
  file.append(static_cast<const char *>(tensor.data()), tensor.bytes());
  writeFileAtomically(path, file);
}

Tensor parseTensor(const std::string &value, const std::string &name, const Tensor *like) {
  if (value.rfind("@", 0) == 0)
    return readNpy(value.substr(1));
  if (value.rfind("random:", 0) != 0)
    return parseLiteral(value, name);
  uint64_t seed = 0;
  auto [end, problem] = std::from_chars(value.data() + 7, value.data() + value.size(), seed);
  if (problem != std::errc() || end != value.data() + value.size())
    fail(ExitUsage,
         "'" + printable(name) + "': random: takes a number, but found '" + printable(value.substr(7)) + "'");
  if (!like)
    fail(ExitUsage, "'" + printable(name) + "': random data needs an input of fixed size");
  Tensor tensor = *like;
  checkShape(tensor.shape, name);
  tensor.allocate();
  std::mt19937_64 generator(seed);
  bool integer = integerRange(tensor.type, true) != HUGE_VAL;
  for (int64_t index = 0; index < tensor.count(); ++index) {
    // Uniform in [-1, 1), or a small integer, from the generator's bits alone: the same on every machine.
    double unit = static_cast<double>(generator() >> 11) / 9007199254740992.0;
    tensor.set(index, integer ? std::floor(unit * 100) : unit * 2 - 1);
  }
  return tensor;
}

} // namespace heddle::cli
