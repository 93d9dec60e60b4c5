#include "frontends/gguf/GgufTypes.h"

#include "ir/StorageFormat.h"

namespace heddle::gguf {

std::optional<TensorType> tensorType(uint32_t id) {
  if (std::optional<StorageFormat> format = formatByGgufType(id)) {
    const FormatInfo &info = formatInfo(*format);
    return TensorType{info.name, static_cast<uint32_t>(info.blockElements), static_cast<uint32_t>(info.blockBytes)};
  }
  switch (id) {
  case 9: return TensorType{"q8_1", 32, 40};
  case 15: return TensorType{"q8_k", 256, 292};
  case 16: return TensorType{"iq2_xxs", 256, 66};
  case 17: return TensorType{"iq2_xs", 256, 74};
  case 18: return TensorType{"iq3_xxs", 256, 98};
  case 19: return TensorType{"iq1_s", 256, 50};
  case 21: return TensorType{"iq3_s", 256, 110};
  case 22: return TensorType{"iq2_s", 256, 82};
  case 24: return TensorType{"i8", 1, 1};
  case 25: return TensorType{"i16", 1, 2};
  case 26: return TensorType{"i32", 1, 4};
  case 27: return TensorType{"i64", 1, 8};
  case 28: return TensorType{"f64", 1, 8};
  case 29: return TensorType{"iq1_m", 256, 56};
  case 34: return TensorType{"tq1_0", 256, 54};
  case 35: return TensorType{"tq2_0", 256, 66};
  case 39: return TensorType{"mxfp4", 32, 17};
  case 40: return TensorType{"nvfp4", 64, 36};
  case 41: return TensorType{"q1_0", 128, 18};
  case 42: return TensorType{"q2_0", 64, 18};
  default: return std::nullopt;
  }
}

bool isWithdrawnType(uint32_t id) {
  return id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38);
}

} // namespace heddle::gguf
