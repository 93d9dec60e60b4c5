// Weights that a recipe or a function rounds anew.
#include "ir/WeightEncoding.h"
#include "ir/interpreter/Context.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

Result interpreter::evaluateQuantizeWeights(QuantizeWeightsOp op, const Weights &input, Context &context) {
  const ::heddle::WeightScheme &scheme = *::heddle::weightSchemeByName(op.getScheme());
  const int64_t rows = input.rows(), columns = input.columns();
  const uint64_t rowBytes = ::heddle::storedBytes(scheme.format, columns);
  auto charge = context.charge(op, rows, rowBytes);
  if (!charge)
    return charge.takeError();
  if (llvm::Error error = context.spend(op, {uint64_t(rows), uint64_t(columns)}))
    return std::move(error);
  // The budget gets the bytes back when the last copy goes.
  struct Owned {
    std::vector<uint8_t> bytes;
    Charge charge;
  };
  auto owned = std::make_shared<Owned>(Owned{std::vector<uint8_t>(rows * rowBytes), std::move(*charge)});
  ::heddle::WeightEncoder encoder(scheme, columns,
                                  op.getSearch() ? ::heddle::ScaleFit::Search : ::heddle::ScaleFit::Range);
  std::vector<float> row(columns);
  for (int64_t r = 0; encoder.looksFirst() && r < rows; ++r) {
    ::heddle::decode(input.format, input.row(r), row);
    encoder.look(r, row);
  }
  for (int64_t r = 0; r < rows; ++r) {
    ::heddle::decode(input.format, input.row(r), row);
    encoder.encode(r, row, {owned->bytes.data() + r * rowBytes, rowBytes});
  }
  return Weights{input.shape, scheme.format, owned->bytes,
                 std::shared_ptr<const std::vector<uint8_t>>(owned, &owned->bytes)};
}
