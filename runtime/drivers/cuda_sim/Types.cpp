// Names and sizes of PTX types and state spaces.
#include "drivers/cuda_sim/Syntax.h"

namespace heddle::cuda_sim {

namespace {
struct Row {
  const char *name;
  unsigned bits;
};
constexpr Row rows[] = {{"none", 0}, {"b8", 8},   {"b16", 16},   {"b32", 32},  {"b64", 64},    {"u8", 8},
                        {"u16", 16}, {"u32", 32}, {"u64", 64},   {"s8", 8},    {"s16", 16},    {"s32", 32},
                        {"s64", 64}, {"f16", 16}, {"f16x2", 32}, {"bf16", 16}, {"bf16x2", 32}, {"tf32", 32},
                        {"f32", 32}, {"f64", 64}, {"pred", 1},   {"s4", 4},    {"u4", 4}};
} // namespace

Type typeNamed(std::string_view name) {
  for (size_t i = 1; i < std::size(rows); ++i)
    if (name == rows[i].name)
      return static_cast<Type>(i);
  return Type::None;
}

const char *nameOf(Type type) { return rows[static_cast<size_t>(type)].name; }
unsigned bitsOf(Type type) { return rows[static_cast<size_t>(type)].bits; }

const char *nameOf(Space space) {
  constexpr const char *names[] = {"generic", "global", "shared", "local", "param", "const"};
  return names[static_cast<size_t>(space)];
}

std::string Syntax::fileName(uint32_t number) const {
  for (const SourceFile &file : files)
    if (file.number == number)
      return file.name;
  return "file " + std::to_string(number);
}

} // namespace heddle::cuda_sim
