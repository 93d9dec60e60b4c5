#include "drivers/cuda_sim/Selector.h"
#include "drivers/cuda_sim/KernelBuilder.h"
#include <algorithm>

namespace heddle::cuda_sim {

Selector::Selector(KernelBuilder &builder, const Statement &statement)
    : statement(statement), firstOperand(builder.operands.size()), builder(builder),
      modifiers(statement.modifiers.begin(), statement.modifiers.end()) {}

std::string Selector::name() const {
  std::string out = statement.opcode;
  for (const std::string &modifier : statement.modifiers)
    out += "." + modifier;
  return out;
}

void Selector::fail(const std::string &message) const {
  throw TextError{statement.line, "'" + name() + "': " + message};
}

void Selector::failType(Type type) const {
  fail(std::string("type '.") + nameOf(type) + "' is not supported");
}

bool Selector::take(std::string_view modifier) {
  auto at = std::find(modifiers.begin(), modifiers.end(), modifier);
  if (at == modifiers.end())
    return false;
  modifiers.erase(at);
  return true;
}

std::string_view Selector::takeOneOf(std::initializer_list<std::string_view> names) {
  for (std::string_view name : names)
    if (take(name))
      return name;
  return "";
}

std::string_view Selector::takeStartingWith(std::string_view prefix) {
  for (auto at = modifiers.begin(); at != modifiers.end(); ++at)
    if (at->starts_with(prefix)) {
      std::string_view found = *at;
      modifiers.erase(at);
      return found;
    }
  return "";
}

Type Selector::takeTypeIfAny() {
  for (auto at = modifiers.begin(); at != modifiers.end(); ++at)
    if (Type type = typeNamed(*at); type != Type::None) {
      modifiers.erase(at);
      return type;
    }
  return Type::None;
}

Type Selector::takeType() {
  Type type = takeTypeIfAny();
  if (type == Type::None)
    fail("expected a type that the simulator knows");
  return type;
}

void Selector::finishModifiers() const {
  if (!modifiers.empty())
    fail("modifier '." + std::string(modifiers.front()) + "' is not supported here");
}

const Operand &Selector::operand(size_t index) const {
  if (index >= statement.operands.size())
    fail("has " + std::to_string(statement.operands.size()) + " operands, expected more");
  return statement.operands[index];
}

void Selector::expectOperands(size_t least, size_t most) const {
  size_t count = statement.operands.size();
  if (count < least || count > most)
    fail("has " + std::to_string(count) + " operands, expected " + std::to_string(least) +
         (most == least ? "" : " to " + std::to_string(most)));
}

void Selector::push(int32_t operand, bool isDefinition, bool isWide) {
  builder.operands.push_back(operand);
  builder.uses.push_back(isDefinition ? (isWide ? Use::WriteWide : Use::Write)
                                      : (isWide ? Use::ReadWide : Use::Read));
}

bool Selector::isWide(const Operand &operand) const {
  return operand.kind == Operand::Kind::Register &&
         bitsOf(builder.function().registers[static_cast<size_t>(operand.index)]) == 64;
}

namespace {
/// Registers of 8, 16 and 32 bits share one form, so only these classes have to agree.
bool agrees(Type registerType, Type type, bool anyWidth) {
  unsigned have = bitsOf(registerType), want = bitsOf(type);
  if (have == want)
    return true;
  if (anyWidth)
    return have >= want;
  return want == 8 && have == 16; // there are no operations on 8 bits but ld, st and cvt
}
} // namespace

void Selector::result(const Operand &operand, Type type, bool anyWidth) {
  if (operand.kind == Operand::Kind::Sink) {
    push(builder.sinkSlot(), true, false);
    builder.uses.back() = Use::Fixed;
    return;
  }
  if (operand.kind != Operand::Kind::Register)
    fail("expected a register for the result");
  Type have = builder.function().registers[static_cast<size_t>(operand.index)];
  if (have == Type::Pred || !agrees(have, type, anyWidth))
    fail(std::string("expected a register of ") + std::to_string(bitsOf(type)) +
         " bits, found one of type '." + nameOf(have) + "'");
  push(builder.slotOfRegister(operand.index), true, bitsOf(have) == 64);
}

void Selector::source(const Operand &operand, Type type, bool anyWidth) {
  bool wide = bitsOf(type) == 64;
  switch (operand.kind) {
  case Operand::Kind::Register: {
    Type have = builder.function().registers[static_cast<size_t>(operand.index)];
    if (have == Type::Pred || !agrees(have, type, anyWidth))
      fail(std::string("expected a register of ") + std::to_string(bitsOf(type)) +
           " bits, found one of type '." + nameOf(have) + "'");
    push(builder.slotOfRegister(operand.index), false, bitsOf(have) == 64);
    return;
  }
  case Operand::Kind::Special: {
    if (operand.index >= static_cast<int64_t>(SpecialRegister::Count))
      fail("%clock and %globaltimer can only be moved to a register");
    if (wide)
      fail("special registers have 32 bits");
    push(builder.slotOfSpecial(static_cast<SpecialRegister>(operand.index)), false, false);
    builder.uses.back() = Use::Fixed;
    return;
  }
  case Operand::Kind::Integer: {
    uint64_t value = static_cast<uint64_t>(operand.value);
    if (type == Type::F32 || type == Type::F64)
      fail("expected a floating-point number, found an integer");
    if (!wide)
      value &= bitsOf(type) == 16 ? 0xffff : bitsOf(type) == 8 ? 0xff : 0xffffffff;
    push(builder.constant(value, wide), false, wide);
    break;
  }
  case Operand::Kind::Float32:
  case Operand::Kind::Float64: {
    uint64_t bits = static_cast<uint64_t>(operand.value);
    bool isDouble = operand.kind == Operand::Kind::Float64;
    if (bitsOf(type) == 32 && isDouble)
      bits = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
    else if (wide && !isDouble)
      bits = std::bit_cast<uint64_t>(static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits))));
    else if (bitsOf(type) < 32)
      fail("a floating-point number for a type of 16 bits");
    push(builder.constant(bits, wide), false, wide);
    break;
  }
  case Operand::Kind::Variable:
    if (bitsOf(type) < 32)
      fail("an address does not fit " + std::to_string(bitsOf(type)) + " bits");
    push(builder.addressConstant(operand, wide), false, wide);
    break;
  default:
    fail("expected a register or a number");
  }
  builder.uses.back() = Use::Fixed;
}

void Selector::predicateResult(const Operand &operand) {
  int32_t value = sinkPredicate;
  if (operand.kind == Operand::Kind::Register) {
    if (builder.function().registers[static_cast<size_t>(operand.index)] != Type::Pred)
      fail("expected a predicate register for the result");
    value = builder.slotOfRegister(operand.index) * 2;
  } else if (operand.kind != Operand::Kind::Sink) {
    fail("expected a predicate register for the result");
  }
  builder.operands.push_back(value);
  builder.uses.push_back(Use::Predicate);
}

void Selector::predicateSource(const Operand &operand) {
  int32_t value;
  if (operand.kind == Operand::Kind::Integer)
    value = truePredicate + (operand.value ? 0 : 1);
  else if (operand.kind == Operand::Kind::Register &&
           builder.function().registers[static_cast<size_t>(operand.index)] == Type::Pred)
    value = builder.slotOfRegister(operand.index) * 2;
  else
    fail("expected a predicate");
  builder.operands.push_back(value ^ int32_t(operand.negated));
  builder.uses.push_back(Use::Predicate);
}

void Selector::resultAndSources(Type type, size_t sources) {
  expectOperands(sources + 1, sources + 1);
  result(0, type);
  for (size_t i = 1; i <= sources; ++i)
    source(i, type);
}

int64_t Selector::constant(size_t index, int64_t low, int64_t high) const {
  const Operand &of = operand(index);
  if (of.kind != Operand::Kind::Integer || of.value < low || of.value > high)
    fail("operand " + std::to_string(index + 1) + " has to be a number from " + std::to_string(low) + " to " +
         std::to_string(high));
  return of.value;
}

void Selector::constantSource(uint32_t value) {
  push(builder.constant(value, false), false, false);
  builder.uses.back() = Use::Fixed;
}

void Selector::constantSource64(uint64_t value) {
  push(builder.constant(value, true), false, true);
  builder.uses.back() = Use::Fixed;
}

bool Selector::isPredicate(const Operand &operand) const {
  return operand.kind == Operand::Kind::Register &&
         builder.function().registers[static_cast<size_t>(operand.index)] == Type::Pred;
}

void Selector::syncMask(size_t index) {
  out.control = Control::WarpSync;
  source(index, Type::B32);
  out.sync = static_cast<int32_t>(builder.operands.size() - firstOperand) - 1;
}

Space Selector::effectiveSpace(const Operand &address, Space space) const {
  if (address.kind != Operand::Kind::Address)
    fail("expected an address in brackets");
  if (space != Space::Param || address.elements.empty() ||
      address.elements[0].kind != Operand::Kind::Variable)
    return space;
  uint64_t at;
  Space found = builder.placeOf(address.elements[0], at);
  return found == Space::Local || found == Space::Param ? found : space;
}

void Selector::address(const Operand &operand, Space space) {
  if (operand.kind != Operand::Kind::Address)
    fail("expected an address in brackets");
  out.imm = operand.value;
  if (operand.elements.empty()) {
    out.a = 1;
    push(builder.constant(0, true), false, true);
    builder.uses.back() = Use::Fixed;
    return;
  }
  const Operand &base = operand.elements[0];
  if (base.kind == Operand::Kind::Register) {
    out.a = isWide(base);
    if (!out.a && bitsOf(builder.function().registers[static_cast<size_t>(base.index)]) != 32)
      fail("an address needs a register of 32 or 64 bits");
    source(base, out.a ? Type::B64 : Type::B32);
    return;
  }
  if (base.kind != Operand::Kind::Variable)
    fail("expected a register or a variable as the base of an address");
  uint64_t at;
  Space found = builder.placeOf(base, at);
  if (found != space && !(space == Space::Generic && found == Space::Global) &&
      !(found == Space::Const && space == Space::Generic))
    fail(std::string("variable '") + builder.variable(base).name + "' is in " + nameOf(found) +
         " memory, not in " + nameOf(space) + " memory");
  out.a = 1;
  push(builder.addressConstant(base, true), false, true);
  builder.uses.back() = Use::Fixed;
}

} // namespace heddle::cuda_sim
