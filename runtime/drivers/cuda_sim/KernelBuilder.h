// Turns an entry of the syntax, with the functions that it calls, into a Kernel.
#pragma once
#include "drivers/cuda_sim/Selector.h"
#include <map>
#include <set>
#include <unordered_map>

namespace heddle::cuda_sim {

class KernelBuilder {
public:
  KernelBuilder(const Syntax &syntax, size_t entry) : syntax(syntax), entry(entry) {}
  std::unique_ptr<Kernel> build(); // throws TextError

  // --- for Selector and the control family
  const Function &function() const { return syntax.functions[current]; }
  int32_t slotOfRegister(int64_t index) const { return registers[current][static_cast<size_t>(index)]; }
  int32_t slotOfSpecial(SpecialRegister special);
  int32_t sinkSlot(); // takes results that nobody wants
  int32_t constant(uint64_t value, bool isWide);
  int32_t addressConstant(const Operand &operand, bool isWide);
  const Variable &variable(const Operand &operand) const;
  /// Space and address of a variable inside its space; 0 for those of the module's global memory.
  Space placeOf(const Operand &operand, uint64_t &address) const;
  void branchTo(Selector &s, int64_t label);
  void branchTable(Selector &s, int64_t label);
  void returnFrom(Selector &s);
  void call(Selector &s);
  void append(Selector &s);
  bool inEntry() const { return current == entry; }

  const Syntax &syntax;
  std::vector<int32_t> operands;
  std::vector<Use> uses;

private:
  struct Fixup {
    size_t instruction;
    int64_t label; // -1: the end of the function
    size_t table;  // element of tables, if `entry` says so
    int64_t element = -1;
  };
  void layOut();
  void collect(size_t function, std::set<size_t> &active);
  void placeShared(const Operand &operand, size_t function);
  void emit(size_t function);
  void select(const Statement &statement);

  size_t entry, current = 0;
  std::unique_ptr<Kernel> kernel;
  std::vector<size_t> reachable;
  std::vector<std::vector<int32_t>> registers;                     // [function][register]: slot or predicate
  std::vector<std::vector<uint64_t>> localAddresses;               // [function][variable]
  std::map<std::pair<int64_t, int64_t>, uint64_t> sharedAddresses; // (function or -1, variable)
  std::vector<std::pair<int64_t, int64_t>> dynamicVariables;
  std::map<std::pair<uint64_t, bool>, int32_t> constants;
  std::map<SpecialRegister, int32_t> specials;
  std::unordered_map<std::string, uint32_t> names;
  int32_t sink = -1;
  std::vector<uint32_t> firstOperand;
  std::vector<Fixup> fixups;
  std::vector<size_t> callStack;
  uint64_t sharedNatural = 0, sharedCount = 0;
};

} // namespace heddle::cuda_sim
