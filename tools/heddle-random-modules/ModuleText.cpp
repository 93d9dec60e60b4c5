#include "tools/heddle-random-modules/ModuleText.h"
#include "ir/WeightEncoding.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

namespace heddle::random_modules {

static std::string shapeText(llvm::ArrayRef<int64_t> shape) {
  std::string text;
  for (int64_t size : shape)
    text += (size < 0 ? std::string("?") : std::to_string(size)) + "x";
  return text;
}

std::string tensorType(llvm::ArrayRef<int64_t> shape, llvm::StringRef element) {
  return "tensor<" + shapeText(shape) + element.str() + ">";
}

std::string storedType(llvm::ArrayRef<int64_t> shape, llvm::StringRef format) {
  return "!heddle.stored<" + shapeText(shape) + "f32, #heddle.enc<" + format.str() + ">>";
}

std::string Value::type() const {
  llvm::SmallVector<int64_t> shape = {-1};
  shape.append(inner.begin(), inner.end());
  return tensorType(shape);
}

std::string floatText(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.8e", double(float(value)));
  return text;
}

/// `dense<"0x...">` of little-endian elements, which every constant can be written as.
template <typename T> static std::string dense(llvm::ArrayRef<T> values, const std::string &type) {
  if (values.empty())
    return "dense<> : " + type;
  auto *bytes = reinterpret_cast<const uint8_t *>(values.data());
  return "dense<\"0x" + llvm::toHex(llvm::ArrayRef(bytes, values.size() * sizeof(T))) + "\"> : " + type;
}

std::string denseText(llvm::ArrayRef<float> values, llvm::ArrayRef<int64_t> shape) {
  return dense(values, tensorType(shape));
}
std::string denseText(llvm::ArrayRef<int32_t> values) {
  return dense(values, tensorType({int64_t(values.size())}, "i32"));
}

std::string ModuleText::op(const llvm::Twine &text) {
  std::string name = "v" + std::to_string(values++);
  line("%" + name + " = " + text);
  return name;
}

std::vector<float> ModuleText::numbers(int64_t count, double size) {
  std::vector<float> result(count);
  int kind = random.between(0, 19);
  for (float &x : result) {
    double unit = double(random.between(-32, 32)) / 16; // exact in every format
    if (kind == 0)
      unit = random.real(-2, 2);
    else if (kind == 1)
      unit = random.chance(20) ? unit : 0;
    else if (kind == 2)
      unit *= std::exp2(random.between(-12, 1));
    x = float(unit * size);
  }
  return result;
}

std::string ModuleText::getParam(const llvm::Twine &declaration, const std::string &type) {
  std::string name = "p" + std::to_string(params++);
  symbols += ("  heddle.param @" + llvm::Twine(name) + " : " + type + " " + declaration + "\n").str();
  return op("heddle.get_param @" + llvm::Twine(name) + " : " + type);
}

std::string ModuleText::table(llvm::ArrayRef<float> values, llvm::ArrayRef<int64_t> shape) {
  std::string type = tensorType(shape);
  if (random.chance(50))
    return getParam("value " + denseText(values, shape), type);
  file.resize((file.size() + 31) / 32 * 32);
  std::string place = "file 0 at " + std::to_string(file.size());
  auto *bytes = reinterpret_cast<const uint8_t *>(values.data());
  file.insert(file.end(), bytes, bytes + values.size() * sizeof(float));
  return getParam(place, type);
}

std::string ModuleText::vector(int64_t count, double size) { return table(numbers(count, size), {count}); }

static uint16_t halfBits(double value) {
  llvm::APFloat number(value);
  bool lost;
  number.convert(llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven, &lost);
  return uint16_t(number.bitcastToAPInt().getZExtValue());
}

/// Byte offsets of the f16 fields of a block: its scale and, where it has one, its minimum.
static llvm::SmallVector<int, 2> halvesOf(StorageFormat format) {
  switch (format) {
  case StorageFormat::Q4_0:
  case StorageFormat::Q5_0:
  case StorageFormat::Q8_0:
  case StorageFormat::IQ4_NL:
  case StorageFormat::IQ4_XS:
    return {0};
  case StorageFormat::Q4_1:
  case StorageFormat::Q5_1:
  case StorageFormat::Q4_K:
  case StorageFormat::Q5_K:
    return {0, 2};
  case StorageFormat::Q2_K:
    return {80, 82};
  case StorageFormat::Q3_K:
    return {108};
  case StorageFormat::Q6_K:
    return {208};
  default:
    return {};
  }
}

static bool isDense(StorageFormat format) {
  return format == StorageFormat::F32 || format == StorageFormat::F16 || format == StorageFormat::BF16;
}

static const WeightScheme *schemeOf(StorageFormat format) {
  for (const WeightScheme &scheme : weightSchemes())
    if (scheme.format == format)
      return &scheme;
  return nullptr;
}

std::string ModuleText::weight(llvm::ArrayRef<int64_t> shape, StorageFormat format, double size) {
  const FormatInfo &info = formatInfo(format);
  int64_t count = 1, columns = shape.back();
  for (int64_t extent : shape)
    count *= extent;
  file.resize((file.size() + 31) / 32 * 32);
  size_t begin = file.size();
  std::string type = storedType(shape, info.name);
  std::string place = "file 0 at " + std::to_string(begin);
  if (isDense(format)) {
    for (float x : numbers(count, size / 2)) {
      uint32_t bits = llvm::bit_cast<uint32_t>(x);
      if (format != StorageFormat::F32)
        bits = format == StorageFormat::F16 ? halfBits(x) : bits >> 16;
      for (int byte = 0; byte < info.blockBytes; ++byte)
        file.push_back(uint8_t(bits >> 8 * byte));
    }
    return getParam(place, type);
  }
  if (halvesOf(format).empty()) { // one of Heddle's own: rounded as `--quantize` does
    std::vector<float> values = numbers(count, size / 2);
    WeightEncoder encoder(*schemeOf(format), columns, random.pick({ScaleFit::Range, ScaleFit::Search}));
    uint64_t rowBytes = storedBytes(format, columns);
    file.resize(begin + count / columns * rowBytes);
    auto row = [&](int64_t index) { return std::span(values).subspan(index * columns, columns); };
    for (int64_t r = 0; encoder.looksFirst() && r < count / columns; ++r)
      encoder.look(r, row(r));
    for (int64_t r = 0; r < count / columns; ++r)
      encoder.encode(r, row(r), std::span(file).subspan(begin + r * rowBytes, rowBytes));
    return getParam(place, type);
  }
  // Random codes; then scales that bring them to the magnitude asked for.
  file.resize(begin + storedBytes(format, count));
  for (size_t i = begin; i < file.size(); ++i)
    file[i] = uint8_t(random.bits());
  auto scaleBy = [&](double scale) {
    for (size_t block = begin; block < file.size(); block += info.blockBytes)
      for (int offset : halvesOf(format)) {
        uint16_t bits = halfBits(scale * random.real(0.5, 1.5));
        file[block + offset] = uint8_t(bits);
        file[block + offset + 1] = uint8_t(bits >> 8);
      }
  };
  scaleBy(1);
  std::vector<float> decoded(count);
  decode(format, {file.data() + begin, file.size() - begin}, decoded);
  double squares = 0;
  for (float x : decoded)
    squares += double(x) * x;
  scaleBy(size / std::sqrt(squares / double(count)));
  return getParam(place, type);
}

std::vector<StorageFormat> formatsFor(int64_t columns) {
  std::vector<StorageFormat> formats;
  for (int i = 0; i < kStorageFormatCount; ++i) {
    auto format = static_cast<StorageFormat>(i);
    const FormatInfo &info = formatInfo(format);
    if (columns % info.blockElements == 0 &&
        (isDense(format) || schemeOf(format) || !halvesOf(format).empty()))
      formats.push_back(format);
  }
  return formats;
}

} // namespace heddle::random_modules
