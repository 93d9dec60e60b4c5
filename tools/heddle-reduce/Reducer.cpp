#include "tools/heddle-reduce/Reducer.h"
#include "ir/Heddle.h"
#include "ir/interpreter/Example.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace mlir::heddle;

namespace {

/// One way to make a module smaller. Ops are named by their place in a walk, so that an edit can be applied
/// to a copy of the module it was made for; applied together with others it may no longer be possible.
struct Edit {
  enum Kind {
    EraseOp,
    UseOperand,
    UseEarlier,
    DropResult,
    DropArgument,
    DropCall,
    DropRow,
    DropOptional,
    ClearRegion
  };
  Kind kind;
  size_t op;
  unsigned number = 0; // of the operand, value, result, argument, call or region
};

std::vector<Operation *> opsOf(ModuleOp module) {
  std::vector<Operation *> ops;
  module->walk<WalkOrder::PreOrder>([&](Operation *op) { ops.push_back(op); });
  return ops;
}

/// Function arguments and results of ops before `op` in the blocks around it.
SmallVector<Value> earlierValues(Operation *op) {
  SmallVector<Value> values;
  for (Block *block = op->getBlock(); block;
       op = block->getParentOp(), block = op ? op->getBlock() : nullptr) {
    values.append(block->args_begin(), block->args_end());
    for (Operation &other : *block) {
      if (&other == op)
        break;
      values.append(other.result_begin(), other.result_end());
    }
    if (block->getParentOp()->hasTrait<OpTrait::IsIsolatedFromAbove>())
      break;
  }
  return values;
}

ArrayAttr callsOf(func::FuncOp function) {
  return function->getAttrOfType<ArrayAttr>(interpreter::kExampleAttr);
}

void setCalls(func::FuncOp function, ArrayRef<Attribute> calls) {
  function->setAttr(interpreter::kExampleAttr, ArrayAttr::get(function.getContext(), calls));
}

/// `calls` with one element of their list `key` ("inputs", "expected") left out.
void dropFromCalls(func::FuncOp function, StringRef key, unsigned number) {
  auto calls = callsOf(function);
  if (!calls)
    return;
  SmallVector<Attribute> changed;
  for (auto call : calls.getAsRange<DictionaryAttr>()) {
    NamedAttrList entries(call);
    if (auto list = dyn_cast_or_null<ArrayAttr>(entries.get(key)); list && number < list.size()) {
      SmallVector<Attribute> kept(list.getValue());
      kept.erase(kept.begin() + number);
      entries.set(key, ArrayAttr::get(function.getContext(), kept));
    }
    changed.push_back(entries.getDictionary(function.getContext()));
  }
  setCalls(function, changed);
}

/// A constant without its row `row`; whole where its first dimension is not `rows`.
Attribute withoutRow(Attribute attribute, int64_t rows, int64_t row) {
  auto elements = dyn_cast<DenseElementsAttr>(attribute);
  if (!elements || elements.getType().getRank() == 0 || elements.getType().getDimSize(0) != rows)
    return attribute;
  auto type = cast<RankedTensorType>(elements.getType());
  SmallVector<int64_t> shape(type.getShape());
  int64_t width = elements.getNumElements() / rows, index = 0;
  --shape[0];
  SmallVector<Attribute> kept;
  for (Attribute value : elements.getValues<Attribute>())
    if (index++ / width != row)
      kept.push_back(value);
  return DenseElementsAttr::get(RankedTensorType::get(shape, type.getElementType()), kept);
}

/// Leaves row `row` out of all inputs of call `number` that have as many rows as the first. An input of row
/// numbers ("wanted") has to lose the entries that name it; the interpreter clamps, so they may stay.
bool dropRow(func::FuncOp function, unsigned number, bool last) {
  auto calls = callsOf(function);
  if (!calls || number >= calls.size())
    return false;
  auto call = cast<DictionaryAttr>(calls[number]);
  auto inputs = dyn_cast_or_null<ArrayAttr>(call.get("inputs"));
  auto first = inputs && !inputs.empty() ? dyn_cast<DenseElementsAttr>(inputs[0]) : DenseElementsAttr();
  if (!first || first.getType().getRank() == 0 || first.getType().getDimSize(0) < 2)
    return false;
  int64_t rows = first.getType().getDimSize(0);
  SmallVector<Attribute> changed(calls.getValue()), cut;
  for (auto [argument, input] : llvm::zip(function.getArguments(), inputs)) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    cut.push_back(type && type.isDynamicDim(0) ? withoutRow(input, rows, last ? rows - 1 : 0) : input);
  }
  NamedAttrList entries(call);
  entries.set("inputs", ArrayAttr::get(function.getContext(), cut));
  changed[number] = entries.getDictionary(function.getContext());
  setCalls(function, changed);
  return true;
}

bool isOptionalOperand(Operation *op, unsigned number) {
  auto linear = dyn_cast<LinearOp>(op);
  return linear && linear.getBias() && linear->getOperand(number) == linear.getBias();
}

/// Entries whose arguments the runtime knows.
bool hasFixedArguments(func::FuncOp function) {
  auto entry = function->getAttrOfType<StringAttr>(kEntryAttr);
  return entry && (entry == "step" || entry == "encode");
}

/// All edits of a module, those that remove most first.
std::vector<Edit> editsOf(ModuleOp module) {
  std::vector<Edit> edits;
  auto ops = opsOf(module);
  auto each = [&](auto make) {
    for (auto [place, op] : llvm::enumerate(ops))
      make(op, place);
  };
  each([&](Operation *op, size_t place) {
    if (isa<func::FuncOp>(op))
      edits.push_back({Edit::EraseOp, place});
  });
  each([&](Operation *op, size_t place) {
    auto function = dyn_cast<func::FuncOp>(op);
    if (!function || function.isDeclaration())
      return;
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (function.getNumResults() > 1)
        edits.push_back({Edit::DropResult, place, i});
    if (auto calls = callsOf(function))
      for (unsigned i = calls.size(); calls.size() > 1 && i-- > 0;)
        edits.push_back({Edit::DropCall, place, i});
  });
  each([&](Operation *op, size_t place) {
    if (op->use_empty() && !op->hasTrait<OpTrait::IsTerminator>() && !isa<SymbolOpInterface, ModuleOp>(op))
      edits.push_back({Edit::EraseOp, place});
    if (op->getNumResults() != 1 || op->getNumOperands() == 0)
      return;
    Type type = op->getResult(0).getType();
    for (auto [number, value] : llvm::enumerate(earlierValues(op)))
      if (value.getType() == type && !llvm::is_contained(op->getOperands(), value)) {
        edits.push_back({Edit::UseEarlier, place, unsigned(number)});
        break; // the earliest removes most
      }
    for (auto [number, operand] : llvm::enumerate(op->getOperands()))
      if (operand.getType() == type)
        edits.push_back({Edit::UseOperand, place, unsigned(number)});
  });
  each([&](Operation *op, size_t place) {
    for (unsigned i = 0; i < op->getNumOperands(); ++i)
      if (isOptionalOperand(op, i))
        edits.push_back({Edit::DropOptional, place, i});
    if (isa<AttentionOp>(op))
      for (unsigned i = 0; i < op->getNumRegions(); ++i)
        if (!op->getRegion(i).empty() && (i == 1 || !llvm::hasSingleElement(op->getRegion(i).front())))
          edits.push_back({Edit::ClearRegion, place, i});
    auto function = dyn_cast<func::FuncOp>(op);
    if (!function || function.isDeclaration())
      return;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (function.getArgument(i).use_empty() && function.getNumArguments() > 1 &&
          !hasFixedArguments(function))
        edits.push_back({Edit::DropArgument, place, i});
    if (auto calls = callsOf(function))
      for (unsigned i = 0; i < 2 * calls.size(); ++i)
        edits.push_back({Edit::DropRow, place, i});
  });
  return edits;
}

bool apply(const Edit &edit, Operation *op) {
  auto function = dyn_cast<func::FuncOp>(op);
  switch (edit.kind) {
  case Edit::EraseOp:
    if (!op->use_empty())
      return false;
    op->erase();
    return true;
  case Edit::UseOperand:
    if (op->use_empty())
      return false;
    op->getResult(0).replaceAllUsesWith(op->getOperand(edit.number));
    return true;
  case Edit::UseEarlier: {
    if (op->use_empty())
      return false;
    auto values = earlierValues(op);
    if (edit.number >= values.size() || values[edit.number].getType() != op->getResult(0).getType())
      return false;
    op->getResult(0).replaceAllUsesWith(values[edit.number]);
    return true;
  }
  case Edit::DropResult:
    if (function.getNumResults() < 2 || edit.number >= function.getNumResults())
      return false;
    function.eraseResult(edit.number);
    for (Block &block : function)
      block.getTerminator()->eraseOperand(edit.number);
    dropFromCalls(function, "expected", edit.number);
    return true;
  case Edit::DropArgument:
    if (edit.number >= function.getNumArguments() || !function.getArgument(edit.number).use_empty())
      return false;
    function.eraseArgument(edit.number);
    dropFromCalls(function, "inputs", edit.number);
    return true;
  case Edit::DropCall: {
    auto calls = callsOf(function);
    if (edit.number >= calls.size() || calls.size() < 2)
      return false;
    SmallVector<Attribute> kept(calls.getValue());
    kept.erase(kept.begin() + edit.number);
    setCalls(function, kept);
    return true;
  }
  case Edit::DropRow:
    return dropRow(function, edit.number / 2, edit.number % 2 == 0);
  case Edit::DropOptional:
    if (!isOptionalOperand(op, edit.number))
      return false;
    op->eraseOperand(edit.number);
    return true;
  case Edit::ClearRegion: {
    Region &region = op->getRegion(edit.number);
    if (edit.number == 1) { // no mask: everything is seen
      region.dropAllReferences();
      region.getBlocks().clear();
    } else {
      region.front().getTerminator()->setOperand(0, region.getArgument(0));
    }
    return true;
  }
  }
  llvm_unreachable("unknown edit");
}

/// Removes ops without effect whose results nothing uses, and symbols that nothing names.
void removeUnused(ModuleOp module) {
  for (bool changed = true; changed;) {
    changed = false;
    auto ops = opsOf(module);
    for (Operation *op : llvm::reverse(ops)) {
      bool symbol = isa<ParamOp, CacheOp, KernelOp>(op) && op->getParentOp() == module &&
                    SymbolTable::symbolKnownUseEmpty(op, module);
      bool value = op->getNumResults() != 0 && op->use_empty() && isMemoryEffectFree(op);
      if (symbol || value) {
        op->erase();
        changed = true;
      }
    }
  }
}

/// A copy with `edits` applied; null when none of them is possible or the result is not valid.
OwningOpRef<ModuleOp> edited(ModuleOp module, ArrayRef<Edit> edits) {
  OwningOpRef<ModuleOp> copy(cast<ModuleOp>(module->clone()));
  auto ops = opsOf(*copy);
  llvm::SmallPtrSet<Operation *, 8> erased;
  bool changed = false;
  for (const Edit &edit : edits) {
    Operation *op = ops[edit.op];
    if (erased.contains(op))
      continue;
    if (edit.kind == Edit::EraseOp)
      op->walk([&](Operation *inner) { erased.insert(inner); });
    if (edit.kind == Edit::ClearRegion && edit.number == 1)
      op->getRegion(1).walk([&](Operation *inner) { erased.insert(inner); });
    changed |= apply(edit, op);
  }
  if (!changed)
    return {};
  removeUnused(*copy);
  if (failed(verify(*copy)))
    return {};
  return copy;
}

/// Bytes of the file that a parameter's type reads.
std::optional<uint64_t> bytesInFile(Type type) {
  auto count = interpreter::elementCount(shapeOf(type));
  if (!count || *count == 0)
    return std::nullopt;
  if (auto stored = dyn_cast<StoredType>(type)) {
    int64_t columns = stored.getShape().back();
    return *count / columns * ::heddle::storedBytes(storageFormat(stored.getEncoding()), columns);
  }
  return *count * cast<RankedTensorType>(type).getElementTypeBitWidth() / 8;
}

/// The bytes that no parameter reads leave the files that the module carries.
void removeUnusedBytes(ModuleOp module) {
  auto files = interpreter::ExampleFiles::read(module);
  if (!files)
    return llvm::consumeError(files.takeError());
  std::vector<uint8_t> kept;
  std::vector<std::pair<ParamOp, int64_t>> moved;
  for (auto param : module.getOps<ParamOp>()) {
    if (!param.getFile())
      continue;
    auto size = bytesInFile(param.getType());
    if (!size)
      return;
    auto bytes = files->bytes(*param.getFile(), *param.getOffset(), *size);
    if (!bytes)
      return llvm::consumeError(bytes.takeError());
    kept.resize((kept.size() + 31) / 32 * 32);
    moved.push_back({param, int64_t(kept.size())});
    kept.insert(kept.end(), bytes->begin(), bytes->end());
  }
  Builder builder(module.getContext());
  for (auto [param, offset] : moved) {
    param.setFile(0);
    param.setOffset(offset);
  }
  if (kept.empty()) {
    module->removeAttr(interpreter::kFilesAttr);
    return;
  }
  auto type = RankedTensorType::get({int64_t(kept.size())}, builder.getI8Type());
  auto data = ArrayRef(reinterpret_cast<const char *>(kept.data()), kept.size());
  module->setAttr(interpreter::kFilesAttr,
                  builder.getArrayAttr(DenseElementsAttr::getFromRawBuffer(type, data)));
}

} // namespace

namespace heddle {

ReduceResult reduceModule(OwningOpRef<ModuleOp> &module, llvm::function_ref<bool(ModuleOp)> interesting,
                          size_t maxTests) {
  ReduceResult result;
  ScopedDiagnosticHandler quiet(module->getContext(), [](Diagnostic &) { return success(); });
  result.interesting = interesting(*module);
  if (!result.interesting)
    return result;
  auto attempt = [&](ArrayRef<Edit> edits) {
    auto candidate = edited(*module, edits);
    if (!candidate)
      return false;
    ++result.tests;
    if (!interesting(*candidate))
      return false;
    module = std::move(candidate);
    return true;
  };
  for (bool smaller = true; smaller && result.tests < maxTests;) {
    smaller = false;
    auto edits = editsOf(*module);
    // Many at once, then fewer: a module of a thousand ops loses most of them in a handful of tests.
    for (size_t piece = edits.size(); piece > 0 && result.tests < maxTests; piece /= 2)
      for (size_t from = 0; from < edits.size() && result.tests < maxTests; from += piece)
        if (attempt(ArrayRef(edits).slice(from, std::min(piece, edits.size() - from)))) {
          smaller = true;
          edits = editsOf(*module); // places have moved
        }
  }
  if ((*module)->hasAttr(interpreter::kFilesAttr)) {
    OwningOpRef<ModuleOp> candidate(cast<ModuleOp>((*module)->clone()));
    removeUnusedBytes(*candidate);
    if (succeeded(verify(*candidate)) && interesting(*candidate))
      module = std::move(candidate);
  }
  return result;
}

} // namespace heddle
