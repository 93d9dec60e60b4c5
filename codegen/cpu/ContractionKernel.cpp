#include "codegen/cpu/ContractionKernel.h"
#include "codegen/Epilogue.h"
#include "codegen/KernelOperands.h"
#include "codegen/cpu/Contraction.h"
#include "heddle/program.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cpu {

llvm::Expected<KernelFacts> emitContractionKernel(KernelOp kernel, llvm::StringRef rows,
                                                  const CpuLevel &level, const CpuKernelContext &context,
                                                  ModuleOp out) {
  Block &body = kernel.getBody().front();
  SmallVector<LinearOp> linears(body.getOps<LinearOp>());
  if (linears.empty() || body.getTerminator()->getNumOperands() != 1)
    return unsupported(kernel, "expected at least one 'heddle.linear' and one yielded value");
  for (Operation &op : body.without_terminator())
    if (!isa<LinearOp, ElementwiseOpInterface>(op))
      return unsupported(kernel, "expected elementwise ops after its products, but found '" +
                                     op.getName().getStringRef() + "'");

  auto shape = shapeOf(linears[0].getWeight().getType());
  ContractionSpec spec;
  spec.symbol = kernel.getSymName().str();
  spec.rows = shape[0];
  spec.columns = shape[1];
  for (LinearOp linear : linears)
    spec.weights.push_back(storageFormat(cast<StoredType>(linear.getWeight().getType()).getEncoding()));
  if (auto stored = dyn_cast<StoredType>(linears[0].getInput().getType())) {
    spec.planes = activationLayout(stored).planes;
    spec.tiles = spec.planes == 0;
  }
  if (spec.tiles && !level.tiles)
    return unsupported(kernel, "expected a level with tiles for 'act_bf16' activations, but found '" +
                                   llvm::StringRef(level.name) + "'");
  if (rows.empty())
    return unsupported(kernel, "expected all of its launches to run over one dimension");
  spec.rowDimension = rows == "n" ? HEDDLE_DIM_ROWS : HEDDLE_DIM_WANTED;
  spec.maxRows = context.maxRows;

  DenseMap<Value, unsigned> others;  // argument -> number among the epilogue's operands
  size_t fixed = 2 + linears.size(); // result, input, weights
  auto operands = kernelOperands(kernel);
  for (const KernelOperand &operand : llvm::drop_begin(operands, fixed))
    others[body.getArgument(operand.index)] = others.size();
  spec.epilogueOperands = others.size();
  if (Value selection = linears[0].getSelection())
    spec.selection = {int(others.lookup(selection)), cast<SelectionType>(selection.getType()).getShape()[1],
                      linears[0].getSelected() == Selected::Inputs};
  bool plain = linears.size() == 1 && !linears[0].getBias() &&
               body.getTerminator()->getOperand(0) == linears[0].getResult();
  if (!plain)
    spec.epilogue = [&](EpilogueContext &epilogue, ValueRange accumulators) {
      return emitEpilogue(epilogue.e, kernel, linears, accumulators, [&](Value argument) {
        auto shape = shapeOf(argument.getType());
        return epilogue.loadF32(epilogue.operands[others.lookup(argument)],
                                shape.size() == 1 ? 0 : shape.back());
      });
    };
  if (std::string why = checkContraction(spec); !why.empty())
    return unsupported(kernel, why);
  buildContraction(out, level, spec);
  ContractionLaunch launch = contractionLaunch(spec);
  return KernelFacts{launch.scratchBytes, 0, launch.grain};
}

} // namespace heddle::cpu
