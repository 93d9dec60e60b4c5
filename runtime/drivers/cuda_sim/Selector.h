// How a family of instructions turns a statement into an Instruction: it reads modifiers and operands through
// a Selector, and sets the handler. Errors are TextErrors that name what is wrong.
#pragma once
#include "drivers/cuda_sim/Warp.h"

namespace heddle::cuda_sim {

class KernelBuilder;

class Selector {
public:
  Selector(KernelBuilder &builder, const Statement &statement);

  const Statement &statement;
  Instruction out;
  std::string note;          // added to the instruction's name in reports
  bool isInlined = false;    // a call: there is nothing to append
  bool ordersMemory = false; // between threads: a fence, an acquire or a release
  size_t firstOperand;

  [[noreturn]] void fail(const std::string &message) const;
  /// The instruction as written, for messages and reports.
  std::string name() const;

  // --- modifiers; each may be taken once, and none may be left at the end
  bool take(std::string_view modifier);
  /// The first of `names` that is present, or "".
  std::string_view takeOneOf(std::initializer_list<std::string_view> names);
  std::string_view takeStartingWith(std::string_view prefix);
  Type takeType(); // the next type; an error without
  Type takeTypeIfAny();
  bool hasModifiers() const { return !modifiers.empty(); }
  [[noreturn]] void failType(Type type) const;
  void finishModifiers() const;

  // --- operands, appended to out.op in this order
  size_t operandCount() const { return statement.operands.size(); }
  const Operand &operand(size_t index) const;
  void expectOperands(size_t least, size_t most) const;
  /// A register that is written; `anyWidth`: it may be wider than the type, as for ld and cvt.
  void result(const Operand &operand, Type type, bool anyWidth = false);
  void source(const Operand &operand, Type type, bool anyWidth = false);
  void predicateResult(const Operand &operand);
  void predicateSource(const Operand &operand);
  void result(size_t index, Type type, bool anyWidth = false) { result(operand(index), type, anyWidth); }
  void source(size_t index, Type type, bool anyWidth = false) { source(operand(index), type, anyWidth); }
  /// result(0), then source(1..n): the usual shape.
  void resultAndSources(Type type, size_t sources);
  /// Whether the register is one of 64 bits.
  bool isWide(const Operand &operand) const;
  /// The value of an integer operand that has to be known at compile time.
  int64_t constant(size_t index, int64_t low, int64_t high) const;
  /// [base + offset]: appends the base (or a zero), sets out.imm; out.a: 1 if the base has 64 bits.
  void address(const Operand &operand, Space space);
  void push(int32_t operand, bool isDefinition, bool isWide);
  void constantSource(uint32_t value);
  void constantSource64(uint64_t value);
  bool isPredicate(const Operand &operand) const;
  /// Appends the mask of lanes that have to come together.
  void syncMask(size_t index);
  /// Param of a function that is not a kernel is local memory.
  Space effectiveSpace(const Operand &address, Space space) const;

  KernelBuilder &builder;

private:
  std::vector<std::string_view> modifiers;
};

struct InstructionFamily {
  std::string_view opcode;
  void (*select)(Selector &);
};
std::vector<InstructionFamily> controlFamily();
std::vector<InstructionFamily> integerFamily();
std::vector<InstructionFamily> floatFamily();
std::vector<InstructionFamily> compareFamily();
std::vector<InstructionFamily> convertFamily();
std::vector<InstructionFamily> moveFamily();
std::vector<InstructionFamily> memoryFamily();
std::vector<InstructionFamily> atomicFamily();
std::vector<InstructionFamily> asyncFamily();
std::vector<InstructionFamily> exchangeFamily();
std::vector<InstructionFamily> matrixFamily();

/// pick(t) of the C++ type that holds an integer type; only 16, 32 and 64 bits.
template <class F> Handler pickInteger(const Selector &s, Type type, F pick) {
  switch (type) {
  case Type::U16:
  case Type::B16:
    return pick.template operator()<uint16_t>();
  case Type::U32:
  case Type::B32:
    return pick.template operator()<uint32_t>();
  case Type::U64:
  case Type::B64:
    return pick.template operator()<uint64_t>();
  case Type::S16:
    return pick.template operator()<int16_t>();
  case Type::S32:
    return pick.template operator()<int32_t>();
  case Type::S64:
    return pick.template operator()<int64_t>();
  default:
    s.failType(type);
  }
}

} // namespace heddle::cuda_sim
