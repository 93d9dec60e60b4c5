#include "frontends/gguf/GgufTypes.h"

#include "ir/StorageFormat.h"

namespace heddle::gguf {

namespace {

struct UnreadableType {
  uint32_t id;
  TensorType type;
};

// clang-format off
constexpr UnreadableType kUnreadableTypes[] = {
    {9, {"q8_1", 32, 40}},      {15, {"q8_k", 256, 292}},    {16, {"iq2_xxs", 256, 66}}, {17, {"iq2_xs", 256, 74}},
    {18, {"iq3_xxs", 256, 98}}, {19, {"iq1_s", 256, 50}},    {21, {"iq3_s", 256, 110}},  {22, {"iq2_s", 256, 82}},
    {24, {"i8", 1, 1}},         {25, {"i16", 1, 2}},         {26, {"i32", 1, 4}},        {27, {"i64", 1, 8}},
    {28, {"f64", 1, 8}},        {29, {"iq1_m", 256, 56}},    {34, {"tq1_0", 256, 54}},   {35, {"tq2_0", 256, 66}},
    {39, {"mxfp4", 32, 17}},    {40, {"nvfp4", 64, 36}},     {41, {"q1_0", 128, 18}},    {42, {"q2_0", 64, 18}},
};
// clang-format on

} // namespace

std::optional<TensorType> tensorType(uint32_t id) {
  if (std::optional<StorageFormat> format = formatByGgufType(id)) {
    const FormatInfo &info = formatInfo(*format);
    return TensorType{info.name, static_cast<uint32_t>(info.blockElements),
                      static_cast<uint32_t>(info.blockBytes)};
  }
  for (const UnreadableType &known : kUnreadableTypes)
    if (known.id == id)
      return known.type;
  return std::nullopt;
}

bool isWithdrawnType(uint32_t id) {
  return id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38);
}

} // namespace heddle::gguf
