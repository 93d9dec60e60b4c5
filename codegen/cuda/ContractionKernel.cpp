// From a `heddle.kernel` of the family `contraction` to its code: checks, epilogue, choice of the tile.
#include "codegen/Epilogue.h"
#include "codegen/KernelOperands.h"
#include "codegen/cuda/Contraction.h"
#include "codegen/cuda/Kernel.h"
#include "codegen/cuda/PackedElement.h"
#include "heddle/program.h"
#include "ir/ActivationLayout.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle::cuda {
namespace {

/// Tokens that a tile of 8 columns of mma each holds; the smallest that suffices is taken.
constexpr int kTiles[] = {1, 4, 8};

/// Why the products cannot be generated; empty if they can.
std::string check(const ContractionSpec &spec, ArrayRef<LinearOp> linears) {
  const FormatInfo &info = formatInfo(spec.format);
  bool quantized = spec.input == ContractionInput::Quantized;
  if (spec.input != ContractionInput::Bf16 && info.scheme.has_value() != quantized)
    return "expected " +
           std::string(quantized ? "a block format with quantized" : "a dense format with f32") +
           " activations, but found '" + std::string(info.name) + "'";
  if (spec.columns % info.blockElements != 0)
    return "expected rows of whole blocks of " + std::to_string(info.blockElements) + ", but found " +
           std::to_string(spec.columns) + " columns";
  for (LinearOp linear : linears)
    if (linear.getWeight().getType() != LinearOp(linears[0]).getWeight().getType())
      return "expected weight matrices of one type";
  return "";
}

/// One of the generators of Contraction.h.
struct Way {
  int64_t (*sharedBytes)(const ContractionSpec &spec);
  void (*emit)(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands, int tiles);
};

} // namespace

Value rowGroup(Emitter &e, const ContractionSpec &spec, Value base, Value number) {
  // Warps past the last group compute it again and store nothing, as the block meets in the loop.
  Value inside = e.minS(number, e.cI32((spec.rows + 15) / 16 - 1));
  return e.at(base, e.mul(e.wide(inside), int64_t(packedGroupBytes(spec.format, spec.columns))));
}

void storeFragments(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands, Value group,
                    int tiles, ValueRange sums) {
  Value lane = e.lane(), firstRow = e.add(e.mul(group, 16), e.shiftRightU(lane, 2));
  Value firstToken = e.add(operands.firstToken, e.shiftLeft(e.bitAnd(lane, 3), 1));
  for (int tile = 0; tile < tiles; ++tile)
    for (int i = 0; i < 4; ++i) {
      Values element;
      for (int product = 0; product < spec.products; ++product)
        element.push_back(sums[(product * tiles + tile) * 4 + i]);
      storeResult(e, spec, operands, e.add(firstToken, tile * 8 + i % 2), e.add(firstRow, i / 2 * 8),
                  element);
    }
}

void storeResult(Emitter &e, const ContractionSpec &spec, const ContractionOperands &operands, Value token,
                 Value column, ValueRange sums) {
  Value exists =
      e.create<arith::AndIOp>(e.lessThan(token, operands.tokens), e.lessThan(column, e.cI32(spec.rows)));
  e.ifThen(exists, [&] {
    Value row = e.at(operands.output, e.mul(e.wide(token), spec.rows * 4));
    e.store(spec.epilogue(token, column, sums), e.at(row, e.mul(column, 4)), 4);
  });
}

llvm::Expected<KernelFacts> emitContractionKernel(KernelOp kernel, StringRef rows,
                                                  const KernelContext &context, ModuleOp out) {
  Block &body = kernel.getBody().front();
  SmallVector<LinearOp> linears(body.getOps<LinearOp>());
  if (linears.empty() || linears.size() > 2 || body.getTerminator()->getNumOperands() != 1)
    return unsupported(kernel, "expected one or two 'heddle.linear' and one yielded value");
  for (Operation &op : body.without_terminator())
    if (!isa<LinearOp, ElementwiseOpInterface>(op))
      return unsupported(kernel, "expected elementwise ops after its products, but found '" +
                                     op.getName().getStringRef() + "'");
  if (rows != "n" && rows != "m" && rows != "s")
    return unsupported(kernel, "expected all of its launches to run over one dimension of the call");

  auto weight = cast<StoredType>(linears[0].getWeight().getType());
  ContractionSpec spec;
  spec.rows = weight.getShape()[0];
  spec.columns = weight.getShape()[1];
  spec.products = int(linears.size());
  spec.format = storageFormat(weight.getEncoding());
  if (auto stored = dyn_cast<StoredType>(linears[0].getInput().getType())) {
    spec.planes = activationLayout(stored).planes;
    spec.input = spec.planes == 0 ? ContractionInput::Bf16 : ContractionInput::Quantized;
  }
  // A selection of heads only allows to do less: all are computed.
  if (std::string why = check(spec, linears); !why.empty())
    return unsupported(kernel, why);

  bool tensors = fitsTensorContraction(spec) && (context.tensorCores || spec.input == ContractionInput::Bf16);
  Way way = spec.input == ContractionInput::Quantized ? Way{blockContractionSharedBytes, emitBlockContraction}
            : tensors ? Way{tensorContractionSharedBytes, emitTensorContraction}
                      : Way{denseContractionSharedBytes, emitDenseContraction};
  KernelFacts facts;
  facts.threads = kContractionThreads;
  facts.blockRows = uint32_t(tileRows(spec));
  facts.gridY = uint32_t((spec.rows + kTileColumns - 1) / kTileColumns);
  bool vector = fitsVectorContraction(spec);
  facts.sharedBytes = way.sharedBytes(spec);
  if (vector)
    facts.sharedBytes = std::max<uint64_t>(facts.sharedBytes, vectorContractionSharedBytes(spec));
  auto operandList = kernelOperands(kernel);
  Emitter e(out, context);
  e.kernel(kernel.getSymName(), int(operandList.size()), kContractionThreads,
           [&](const KernelArguments &arguments) {
             ContractionOperands operands;
             operands.output = arguments.operands[0];
             operands.input = arguments.operands[1];
             for (int i = 0; i < spec.products; ++i)
               operands.weights.push_back(arguments.operands[2 + i]);
             DenseMap<Value, Value> others; // arguments of the epilogue
             for (size_t i = 2 + spec.products; i < operandList.size(); ++i)
               others[body.getArgument(operandList[i].index)] = arguments.operands[i];
             spec.epilogue = [&](Value token, Value column, ValueRange sums) {
               return emitEpilogue(e, kernel, linears, sums, [&](Value argument) {
                 auto shape = shapeOf(argument.getType());
                 Value row = others.lookup(argument);
                 if (shape.size() > 1)
                   row = e.at(row, e.mul(e.wide(token), shape.back() * 4));
                 return e.load(e.f32(), e.at(row, e.mul(column, 4)), 4);
               });
             };
             operands.tokens = e.dimension(arguments, rows == "n" ? HEDDLE_DIM_ROWS : HEDDLE_DIM_WANTED);
             operands.firstToken = e.mul(e.blockX(), tileRows(spec));
             Value left = e.sub(operands.tokens, operands.firstToken);
             std::function<void(ArrayRef<int>)> pick = [&](ArrayRef<int> tiles) {
               auto emit = [&] { way.emit(e, spec, operands, tiles[0]); };
               if (tiles.size() == 1)
                 return emit();
               e.ifThenElse(e.lessThan(left, e.cI32(tiles[0] * 8 + 1)), emit,
                            [&] { pick(tiles.drop_front()); });
             };
             auto fits = [&](int tiles) { return tiles * 8 <= tileRows(spec); };
             auto emitTiles = [&] { pick(ArrayRef(kTiles).take_while(fits)); };
             e.ifThen(e.lessThan(e.cI32(0), left), [&] {
               if (!vector)
                 return emitTiles();
               e.ifThenElse(
                   e.equal(left, e.cI32(1)), [&] { emitVectorContraction(e, spec, operands); }, emitTiles);
             });
           });
  return facts;
}

} // namespace heddle::cuda
