#include "codegen/package/StoredRows.h"
#include "ir/WeightEncoding.h"
#include "llvm/Support/Parallel.h"

using namespace mlir;
using namespace mlir::heddle;

namespace heddle {
namespace {

// The kernel maps this much around a page that is read, pages that were released included.
constexpr uint64_t kFaultAround = 64 << 10;
constexpr int64_t kRowsAtOnce = 256;

class FileRows : public StoredRows {
public:
  FileRows(ParamOp param, const ParameterSource &source)
      : StoredRows(cast<StoredType>(param.getType())), source(source), file(*param.getFile()),
        offset(*param.getOffset()) {}

  llvm::Expected<llvm::ArrayRef<uint8_t>> read(int64_t first, int64_t count) override {
    return source.bytes(file, offset + first * rowBytes, count * rowBytes);
  }
  void release(int64_t first, int64_t count) override {
    uint64_t start = offset + first * rowBytes, before = std::min<uint64_t>(start, kFaultAround);
    source.release(file, start - before, count * rowBytes + before);
  }

private:
  const ParameterSource &source;
  int64_t file;
  uint64_t offset;
};

/// Rows of another matrix, each element rounded to its nearest code.
class QuantizedRows : public StoredRows {
public:
  QuantizedRows(QuantizeWeightsOp op, std::unique_ptr<StoredRows> from)
      : StoredRows(cast<StoredType>(op.getType())),
        fromFormat(storageFormat(cast<StoredType>(op.getInput().getType()).getEncoding())),
        from(std::move(from)), encoder(*weightSchemeByName(op.getScheme()), columns,
                                       op.getSearch() ? ScaleFit::Search : ScaleFit::Range) {}

  llvm::Error look() {
    std::vector<float> row(columns);
    for (int64_t first = 0; encoder.looksFirst() && first < rows; first += kRowsAtOnce) {
      int64_t count = std::min(kRowsAtOnce, rows - first);
      auto bytes = from->read(first, count);
      if (!bytes)
        return bytes.takeError();
      for (int64_t r = 0; r < count; ++r) {
        decodeRow(*bytes, r, row);
        encoder.look(first + r, row);
      }
    }
    return llvm::Error::success();
  }

  llvm::Expected<llvm::ArrayRef<uint8_t>> read(int64_t first, int64_t count) override {
    auto bytes = from->read(first, count);
    if (!bytes)
      return bytes.takeError();
    encoded.resize(count * rowBytes);
    llvm::parallelFor(0, count, [&](size_t r) {
      std::vector<float> row(columns);
      decodeRow(*bytes, r, row);
      encoder.encode(first + r, row, {encoded.data() + r * rowBytes, size_t(rowBytes)});
    });
    return llvm::ArrayRef<uint8_t>(encoded);
  }
  void release(int64_t first, int64_t count) override { from->release(first, count); }

private:
  void decodeRow(llvm::ArrayRef<uint8_t> bytes, int64_t r, std::vector<float> &row) const {
    const uint64_t size = storedBytes(fromFormat, columns);
    decode(fromFormat, bytes.slice(r * size, size), row);
  }

  StorageFormat fromFormat;
  std::unique_ptr<StoredRows> from;
  WeightEncoder encoder;
  std::vector<uint8_t> encoded;
};

/// Some of the equal parts of another matrix's rows or columns.
class KeptRows : public StoredRows {
public:
  KeptRows(KeepPartsOp op, std::unique_ptr<StoredRows> from)
      : StoredRows(cast<StoredType>(op.getType())), from(std::move(from)), parts(op.keptParts()),
        partSize(op.partSize()), ofColumns(op.getAxis() == 1) {
    fromRowBytes = storedBytes(format, shapeOf(op.getInput().getType())[1]);
  }

  llvm::Expected<llvm::ArrayRef<uint8_t>> read(int64_t first, int64_t count) override {
    kept.clear();
    if (!ofColumns) {
      for (int64_t row = first; row < first + count;) {
        int64_t run = std::min(partSize - row % partSize, first + count - row);
        auto bytes = from->read(sourceRow(row), run);
        if (!bytes)
          return bytes.takeError();
        kept.append(bytes->begin(), bytes->end());
        row += run;
      }
      return llvm::ArrayRef<uint8_t>(kept);
    }
    auto bytes = from->read(first, count);
    if (!bytes)
      return bytes.takeError();
    uint64_t size = storedBytes(format, partSize);
    for (int64_t row = 0; row < count; ++row)
      for (int64_t part : parts) {
        auto piece = bytes->slice(row * fromRowBytes + part * size, size);
        kept.append(piece.begin(), piece.end());
      }
    return llvm::ArrayRef<uint8_t>(kept);
  }
  void release(int64_t first, int64_t count) override {
    if (ofColumns)
      return from->release(first, count);
    for (int64_t row = first; row < first + count; ++row)
      from->release(sourceRow(row), 1);
  }

private:
  int64_t sourceRow(int64_t row) const { return parts[row / partSize] * partSize + row % partSize; }

  std::unique_ptr<StoredRows> from;
  llvm::SmallVector<int64_t> parts;
  int64_t partSize;
  bool ofColumns;
  uint64_t fromRowBytes;
  llvm::SmallVector<uint8_t, 0> kept;
};

} // namespace

StoredRows::StoredRows(StoredType type)
    : format(storageFormat(type.getEncoding())), rows(type.getShape()[0]), columns(type.getShape()[1]),
      rowBytes(storedBytes(format, columns)) {}

llvm::Expected<std::unique_ptr<StoredRows>> StoredRows::of(ParamOp param, const SymbolTable &symbols,
                                                           const ParameterSource &source) {
  if (param.getFile())
    return std::make_unique<FileRows>(param, source);
  Operation *op = param.getRecipe().empty() ? nullptr : &param.getRecipe().front().front();
  bool isKnown = op && isa<QuantizeWeightsOp, KeepPartsOp>(op);
  auto argument = isKnown ? dyn_cast<BlockArgument>(op->getOperand(0)) : BlockArgument();
  auto yield = isKnown ? dyn_cast<YieldOp>(op->getNextNode()) : YieldOp();
  if (!argument || !yield || yield.getOperand(0) != op->getResult(0))
    return llvm::createStringError(llvm::inconvertibleErrorCode(),
                                   "parameter '" + llvm::Twine(param.getSymName()) +
                                       "': expected weights of a file, or a recipe of one "
                                       "'heddle.quantize_weights' or 'heddle.keep_parts'");
  auto name = cast<FlatSymbolRefAttr>((*param.getFrom())[argument.getArgNumber()]);
  auto from = of(symbols.lookup<ParamOp>(name.getValue()), symbols, source);
  if (!from)
    return from.takeError();
  if (auto keep = dyn_cast<KeepPartsOp>(op))
    return std::make_unique<KeptRows>(keep, std::move(*from));
  auto rows = std::make_unique<QuantizedRows>(cast<QuantizeWeightsOp>(op), std::move(*from));
  if (llvm::Error error = rows->look())
    return std::move(error);
  return std::move(rows);
}

} // namespace heddle
