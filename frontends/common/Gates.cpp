#include "frontends/common/Gates.h"
#include "frontends/common/InputError.h"
#include "frontends/common/ParameterTable.h"
#include "frontends/common/SafetensorsFile.h"
#include "ir/SourceNames.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
namespace ir = mlir::heddle;

namespace heddle {

namespace {
/// Shapes of the parts of an attention's gate.
struct GateShapes {
  llvm::SmallVector<int64_t> weight, heads, skip;

  llvm::ArrayRef<int64_t> of(llvm::StringRef part) const {
    return part == "weight" ? weight : part == "skip" ? skip : heads;
  }
};
} // namespace

static llvm::StringMap<GateShapes> attentionNodes(ModuleOp module) {
  llvm::StringMap<GateShapes> nodes;
  module.walk([&](ir::AttentionOp attention) {
    int64_t heads = ir::shapeOf(attention.getQuery().getType())[1], width = 0;
    for (Operation *op = attention.getQuery().getDefiningOp(); op && op->getNumOperands() > 0;
         op = op->getOperand(0).getDefiningOp())
      if (auto linear = dyn_cast<ir::LinearOp>(op)) {
        width = ir::shapeOf(linear.getWeight().getType())[1];
        break;
      }
    nodes[ir::sourceNames(attention.getLoc())] = {{heads, width}, {heads}, {heads, attention.valueDim()}};
  });
  return nodes;
}

/// Heads that may be needed, a byte each, as a constant: passes decide by it.
static ElementsAttr keepMask(const SafetensorsFile &gates, const SafetensorsEntry &entry,
                             OpBuilder &builder) {
  llvm::SmallVector<bool> keep;
  for (uint8_t byte : gates.file()->bytes().slice(entry.offset, entry.size))
    keep.push_back(byte != 0);
  return DenseElementsAttr::get(RankedTensorType::get(entry.shape, builder.getI1Type()),
                                llvm::ArrayRef<bool>(keep));
}

llvm::Error addGates(ImportedModel &model, llvm::StringRef path) {
  auto file = InputFile::open(path);
  if (!file)
    return file.takeError();
  auto gates = SafetensorsFile::read(*file);
  if (!gates)
    return gates.takeError();
  llvm::StringRef name = (*file)->name();
  if (llvm::StringRef made = gates->metadata("model_sha256"); made != model.files->sha256(0))
    return invalidInput(name + ": its gates were fitted for another model: expected 'model_sha256' " +
                        model.files->sha256(0) + ", but found " + (made.empty() ? "none" : quoted(made)) +
                        "; fit them for this one with heddle gate");

  llvm::StringMap<GateShapes> nodes = attentionNodes(*model.module);
  int64_t number = model.files->add(*file);
  SymbolTable symbols(*model.module);
  OpBuilder builder(model.module->getContext());
  builder.setInsertionPointToStart(model.module->getBody());
  for (const SafetensorsEntry &entry : gates->entries()) {
    auto [node, part] = llvm::StringRef(entry.name).rsplit(".gate.");
    bool isMask = part == "keep";
    if (!nodes.contains(node) || (!isMask && part != "weight" && part != "bias" && part != "skip"))
      return invalidInput(name + ": tensor " + quoted(entry.name) +
                          " is no 'weight', 'bias', 'skip' or 'keep' of a gate of an attention of the model");
    llvm::ArrayRef<int64_t> shape = nodes[node].of(part);
    llvm::StringRef dtype = isMask ? "BOOL" : "F32";
    if (entry.type != dtype || llvm::ArrayRef<int64_t>(entry.shape) != shape)
      return invalidInput(name + ": tensor " + quoted(entry.name) + ": expected " + describeShape(shape) +
                          " of " + dtype + ", but found " + describeShape(entry.shape) + " of " + entry.type);
    if (symbols.lookup(entry.name))
      return invalidInput(name + ": tensor " + quoted(entry.name) +
                          ": the model has a parameter of this name");
    Location loc = NameLoc::get(builder.getStringAttr(entry.name));
    ElementsAttr mask = isMask ? keepMask(*gates, entry, builder) : ElementsAttr();
    Type type =
        isMask ? Type(mask.getShapedType()) : RankedTensorType::get(entry.shape, builder.getF32Type());
    auto param = builder.create<ir::ParamOp>(
        loc, entry.name, type, isMask ? IntegerAttr() : builder.getI64IntegerAttr(number),
        isMask ? IntegerAttr() : builder.getI64IntegerAttr(int64_t(entry.offset)), mask, ArrayAttr());
    symbols.insert(param, Block::iterator(param));
  }
  return llvm::Error::success();
}

} // namespace heddle
