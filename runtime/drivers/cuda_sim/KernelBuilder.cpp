#include "drivers/cuda_sim/KernelBuilder.h"
#include <algorithm>

namespace heddle::cuda_sim {

namespace {

constexpr size_t instructionLimit = 1u << 20; // of a kernel, inlined functions included
constexpr uint64_t localLimit = 512 << 10;    // bytes a thread, as PTX has it
constexpr uint64_t sharedStaticLimit = 1 << 20;
constexpr uint64_t slotLimit = 1u << 21;
constexpr uint64_t redZone = 128; // a multiple of all banks, so that conflicts are as without it

uint64_t alignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

const std::unordered_map<std::string_view, void (*)(Selector &)> &families() {
  static const auto table = [] {
    std::unordered_map<std::string_view, void (*)(Selector &)> out;
    for (auto family : {controlFamily, integerFamily, floatFamily, compareFamily, convertFamily, moveFamily,
                        memoryFamily, atomicFamily, asyncFamily, exchangeFamily, matrixFamily})
      for (const InstructionFamily &member : family())
        out.emplace(member.opcode, member.select);
    return out;
  }();
  return table;
}

template <class F> void forEachOperand(const Operand &operand, F f) {
  f(operand);
  for (const Operand &element : operand.elements)
    forEachOperand(element, f);
  for (const Operand &element : operand.second)
    forEachOperand(element, f);
}

} // namespace

// ---------------------------------------------------------------------------------------------------------------
// Layout of registers and memory

void KernelBuilder::collect(size_t index, std::set<size_t> &active) {
  const Function &function = syntax.functions[index];
  if (active.count(index))
    throw TextError{function.line, "function '" + function.name + "' calls itself, which is not supported"};
  if (active.size() >= 64)
    throw TextError{function.line, "calls are nested more than 64 deep"};
  if (std::find(reachable.begin(), reachable.end(), index) != reachable.end() && active.empty())
    return;
  bool isNew = std::find(reachable.begin(), reachable.end(), index) == reachable.end();
  if (isNew)
    reachable.push_back(index);
  active.insert(index);
  if (isNew)
    for (const Statement &statement : function.statements)
      for (const Operand &operand : statement.operands)
        forEachOperand(operand, [&](const Operand &part) {
          if (part.kind == Operand::Kind::Function)
            collect(static_cast<size_t>(part.index), active);
          else if (part.kind == Operand::Kind::Variable)
            placeShared(part, index);
        });
  active.erase(index);
}

void KernelBuilder::placeShared(const Operand &operand, size_t functionIndex) {
  bool isLocal = operand.index >= 0;
  const Variable &variable = isLocal ? syntax.functions[functionIndex].variables[operand.index]
                                     : syntax.variables[static_cast<size_t>(~operand.index)];
  if (variable.space != Space::Shared)
    return;
  std::pair<int64_t, int64_t> key{isLocal ? static_cast<int64_t>(functionIndex) : -1, operand.index};
  if (!sharedAddresses.try_emplace(key, 0).second)
    return;
  if (variable.bytes == 0) {
    dynamicVariables.push_back(key);
    kernel->dynamicAlignment = std::max<uint64_t>(kernel->dynamicAlignment, variable.alignment);
    kernel->usesDynamic = true;
    return;
  }
  sharedNatural = alignUp(sharedNatural, variable.alignment);
  uint64_t address = alignUp(sharedNatural + redZone * sharedCount++, variable.alignment);
  sharedAddresses[key] = address;
  sharedNatural += variable.bytes;
  if (sharedNatural > sharedStaticLimit || address > 2 * sharedStaticLimit)
    throw TextError{operand.line,
                    "shared variables take more than " + std::to_string(sharedStaticLimit) + " bytes"};
  kernel->sharedVariables.push_back({address, address + variable.bytes});
}

void KernelBuilder::layOut() {
  std::set<size_t> active;
  collect(entry, active);
  kernel->info.staticSharedBytes = sharedNatural;
  uint64_t dynamicNatural = alignUp(sharedNatural, kernel->dynamicAlignment);
  kernel->sharedBytes = alignUp(dynamicNatural + redZone * sharedCount, kernel->dynamicAlignment);
  for (const auto &key : dynamicVariables)
    sharedAddresses[key] = kernel->sharedBytes;

  registers.resize(syntax.functions.size());
  localAddresses.resize(syntax.functions.size());
  uint64_t slots = 0, predicates = kernel->predicates, local = 0;
  for (size_t index : reachable) {
    const Function &function = syntax.functions[index];
    for (Type type : function.registers) {
      registers[index].push_back(static_cast<int32_t>(type == Type::Pred ? predicates : slots));
      if (type == Type::Pred)
        ++predicates;
      else
        slots += bitsOf(type) == 64 ? 2 : 1;
    }
    if (slots > slotLimit || predicates > slotLimit)
      throw TextError{function.line, "kernel '" + kernel->info.name + "' uses too many registers"};
    localAddresses[index].resize(function.variables.size());
    for (size_t i = 0; i < function.variables.size(); ++i) {
      const Variable &variable = function.variables[i];
      bool isParameter = index == entry && std::find(function.parameters.begin(), function.parameters.end(),
                                                     static_cast<int64_t>(i)) != function.parameters.end();
      if (isParameter || (variable.space != Space::Local && variable.space != Space::Param))
        continue;
      local = alignUp(local, variable.alignment);
      localAddresses[index][i] = local;
      local += variable.bytes;
      if (local > localLimit)
        throw TextError{function.line, "kernel '" + kernel->info.name + "' needs more than " +
                                           std::to_string(localLimit) + " bytes of local memory"};
    }
  }
  kernel->slots = kernel->registerSlots = static_cast<uint32_t>(slots);
  kernel->predicates = static_cast<uint32_t>(predicates);
  kernel->localBytes = alignUp(local, 16);

  uint64_t offset = 0;
  const Function &function = syntax.functions[entry];
  for (int64_t index : function.parameters) {
    const Variable &variable = function.variables[static_cast<size_t>(index)];
    offset = alignUp(offset, variable.alignment);
    if (variable.bytes == 0 || offset + variable.bytes > 32 << 10)
      throw TextError{function.line, "the parameters of kernel '" + function.name + "' take more than " +
                                         std::to_string(32 << 10) + " bytes"};
    localAddresses[entry][static_cast<size_t>(index)] = offset;
    kernel->info.parameters.push_back(
        {variable.name, static_cast<uint32_t>(offset), static_cast<uint32_t>(variable.bytes)});
    offset += variable.bytes;
  }
  kernel->parameterBytes = offset;
}

// ---------------------------------------------------------------------------------------------------------------
// What operands stand for

const Variable &KernelBuilder::variable(const Operand &operand) const {
  return operand.index >= 0 ? function().variables[static_cast<size_t>(operand.index)]
                            : syntax.variables[static_cast<size_t>(~operand.index)];
}

Space KernelBuilder::placeOf(const Operand &operand, uint64_t &address) const {
  const Variable &of = variable(operand);
  address = 0;
  if (of.space == Space::Shared) {
    address = sharedAddresses.at({operand.index >= 0 ? static_cast<int64_t>(current) : -1, operand.index});
    return Space::Shared;
  }
  if (operand.index < 0)
    return of.space;
  if (of.space == Space::Global || of.space == Space::Const)
    throw TextError{operand.line, "variable '" + of.name +
                                      "' is declared inside of a function, which only "
                                      "shared and local variables may be"};
  address = localAddresses[current][static_cast<size_t>(operand.index)];
  bool isParameter = inEntry() && std::find(function().parameters.begin(), function().parameters.end(),
                                            operand.index) != function().parameters.end();
  return isParameter ? Space::Param : Space::Local;
}

int32_t KernelBuilder::constant(uint64_t value, bool isWide) {
  auto [at, isNew] = constants.try_emplace({value, isWide}, 0);
  if (isNew) {
    size_t slot = kernel->constants.size() / slotBytes;
    kernel->constants.resize(kernel->constants.size() + slotBytes * (isWide ? 2 : 1));
    std::byte *to = kernel->constants.data() + slot * slotBytes;
    for (unsigned lane = 0; lane < warpSize; ++lane)
      std::memcpy(to + lane * (isWide ? 8 : 4), &value, isWide ? 8 : 4);
    at->second = ~static_cast<int32_t>(slot);
  }
  return at->second;
}

int32_t KernelBuilder::addressConstant(const Operand &operand, bool isWide) {
  uint64_t address;
  Space space = placeOf(operand, address);
  if (space != Space::Global && space != Space::Const)
    return constant(address + static_cast<uint64_t>(operand.value), isWide);
  if (!isWide)
    throw TextError{operand.line, "the address of '" + variable(operand).name + "' has 64 bits"};
  // A constant of its own, filled in at the launch.
  size_t slot = kernel->constants.size() / slotBytes;
  kernel->constants.resize(kernel->constants.size() + slotBytes * 2);
  kernel->relocations.push_back({static_cast<uint32_t>(slot), ~operand.index, operand.value});
  return ~static_cast<int32_t>(slot);
}

int32_t KernelBuilder::slotOfSpecial(SpecialRegister special) {
  auto [at, isNew] = specials.try_emplace(special, 0);
  if (isNew) {
    at->second = static_cast<int32_t>(kernel->slots++);
    kernel->specials.push_back({special, at->second});
  }
  return at->second;
}

int32_t KernelBuilder::sinkSlot() {
  if (sink < 0) {
    sink = static_cast<int32_t>(kernel->slots);
    kernel->slots += 2;
  }
  return sink;
}

// ---------------------------------------------------------------------------------------------------------------
// Code

void KernelBuilder::branchTo(Selector &s, int64_t label) {
  s.out.control = Control::Branch;
  fixups.push_back({kernel->code.size(), label, 0, -1});
}

void KernelBuilder::branchTable(Selector &s, int64_t label) {
  const std::vector<uint32_t> &targets = function().labels[static_cast<size_t>(label)].branchTargets;
  if (targets.empty())
    s.fail("'" + function().labels[static_cast<size_t>(label)].name + "' is no list of .branchtargets");
  s.out.control = Control::BranchIndexed;
  s.out.target = static_cast<uint32_t>(kernel->tables.size());
  kernel->tables.emplace_back(targets.size());
  for (size_t i = 0; i < targets.size(); ++i)
    fixups.push_back({kernel->code.size(), targets[i], s.out.target, static_cast<int64_t>(i)});
}

void KernelBuilder::returnFrom(Selector &s) {
  if (inEntry() && callStack.size() == 1)
    s.out.control = Control::Exit;
  else
    branchTo(s, -1);
}

void KernelBuilder::append(Selector &s) {
  if (kernel->code.size() >= instructionLimit)
    s.fail("kernel '" + kernel->info.name + "' has more than " + std::to_string(instructionLimit) +
           " instructions with its functions inlined");
  s.out.place = static_cast<uint32_t>(kernel->places.size());
  s.out.guard = s.statement.guard < 0 ? truePredicate
                                      : slotOfRegister(s.statement.guard) * 2 + s.statement.guardNegated;
  auto [name, isNew] = names.try_emplace(s.name() + s.note, kernel->names.size());
  if (isNew)
    kernel->names.push_back(name->first);
  kernel->places.push_back({s.statement.line, name->second, s.statement.location});
  firstOperand.push_back(static_cast<uint32_t>(s.firstOperand));
  kernel->code.push_back(s.out);
  kernel->fences |= s.ordersMemory;
}

void KernelBuilder::call(Selector &s) {
  const std::vector<Operand> &operands = s.statement.operands;
  size_t at = 0;
  const Operand *results =
      !operands.empty() && operands[0].kind == Operand::Kind::List ? &operands[at++] : nullptr;
  if (at >= operands.size() || operands[at].kind != Operand::Kind::Function)
    s.fail("expected the name of a function; indirect calls are not supported");
  size_t callee = static_cast<size_t>(operands[at++].index);
  const Operand *arguments = at < operands.size() ? &operands[at++] : nullptr;
  const Function &target = syntax.functions[callee];
  if (at != operands.size() || (arguments && arguments->kind != Operand::Kind::List))
    s.fail("expected (results), function, (arguments)");
  if (s.statement.guard >= 0)
    s.fail("calls under a predicate are not supported");
  if (!target.hasBody) { // fails when it is reached: assertions, printf
    s.out.control = Control::Trap;
    s.note = " of '" + target.name + "', which has no body";
    return;
  }
  auto bind = [&](const Operand *list, const std::vector<int64_t> &formals, const char *what) {
    size_t count = list ? list->elements.size() : 0;
    if (count != formals.size())
      s.fail("function '" + target.name + "' has " + std::to_string(formals.size()) + " " + what +
             ", found " + std::to_string(count));
    for (size_t i = 0; i < count; ++i) {
      const Operand &actual = list->elements[i];
      uint64_t address = 0;
      if (actual.kind != Operand::Kind::Variable || placeOf(actual, address) != Space::Local)
        s.fail("arguments and results have to be .param variables of the calling function");
      const Variable &formal = target.variables[static_cast<size_t>(formals[i])];
      if (variable(actual).bytes < formal.bytes || address % formal.alignment)
        s.fail("'" + variable(actual).name + "' does not fit '" + formal.name + "' of function '" +
               target.name + "'");
      localAddresses[callee][static_cast<size_t>(formals[i])] = address;
    }
  };
  bind(results, target.results, "results");
  bind(arguments, target.parameters, "arguments");
  size_t caller = current;
  emit(callee);
  current = caller;
  s.isInlined = true;
}

void KernelBuilder::select(const Statement &statement) {
  Selector s(*this, statement);
  auto family = families().find(statement.opcode);
  if (family == families().end())
    s.fail("unknown instruction");
  family->second(s);
  s.finishModifiers();
  if (!s.isInlined)
    append(s);
}

void KernelBuilder::emit(size_t index) {
  current = index;
  callStack.push_back(index);
  const Function &function = syntax.functions[index];
  std::vector<Fixup> outer;
  outer.swap(fixups);
  std::vector<uint32_t> starts(function.statements.size() + 1);
  for (size_t i = 0; i < function.statements.size(); ++i) {
    starts[i] = static_cast<uint32_t>(kernel->code.size());
    select(function.statements[i]);
  }
  // Running off the end returns; also, a label may stand there.
  starts[function.statements.size()] = static_cast<uint32_t>(kernel->code.size());
  if (callStack.size() == 1) {
    Statement exit;
    exit.opcode = "exit";
    exit.line = function.statements.empty() ? function.line : function.statements.back().line;
    select(exit);
  }
  for (const Fixup &fixup : fixups) {
    uint32_t target =
        fixup.label < 0 ? starts.back() : starts[function.labels[static_cast<size_t>(fixup.label)].statement];
    if (fixup.element >= 0)
      kernel->tables[fixup.table][static_cast<size_t>(fixup.element)] = target;
    else
      kernel->code[fixup.instruction].target = target;
  }
  fixups.swap(outer);
  callStack.pop_back();
}

std::unique_ptr<Kernel> KernelBuilder::build() {
  kernel = std::make_unique<Kernel>();
  const Function &function = syntax.functions[entry];
  kernel->info.name = function.name;
  kernel->info.requiredBlock = {function.requiredBlock[0], function.requiredBlock[1],
                                function.requiredBlock[2]};
  layOut();
  emit(entry);
  kernel->operands = std::move(operands);
  for (size_t i = 0; i < kernel->code.size(); ++i)
    kernel->code[i].op = kernel->operands.data() + firstOperand[i];
  kernel->info.instructionCount = static_cast<uint32_t>(kernel->code.size());
  analyzeControlFlow(*kernel);
  shareSlots(*kernel, firstOperand, uses);
  return std::move(kernel);
}

} // namespace heddle::cuda_sim
