#include "frontends/common/GraphBuilder.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace heddle {

using mlir::ShapedType;
namespace ir = mlir::heddle;

std::string describeShape(llvm::ArrayRef<int64_t> shape) {
  std::string text = "[";
  for (int64_t size : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

GraphBuilder::GraphBuilder(ModuleOp module, llvm::ArrayRef<ParameterSpec> specs, const ParameterTable &table)
    : module(module), builder(module.getContext()) {
  builder.setInsertionPointToEnd(module.getBody());
  for (const ParameterSpec &spec : specs)
    if (auto found = table.find(spec.role); found != table.end())
      declareSource(spec, found->second);
}

ir::ParamOp GraphBuilder::declareParam(llvm::StringRef name, Type type, llvm::StringRef source) {
  OperationState state(at(source), ir::ParamOp::getOperationName());
  ir::ParamOp::build(builder, state, builder.getStringAttr(name), TypeAttr::get(type), /*file=*/IntegerAttr(),
                     /*offset=*/IntegerAttr(), /*value=*/ElementsAttr(), /*from=*/ArrayAttr());
  auto param = cast<ir::ParamOp>(builder.create(state));
  parameterTypes[name] = type;
  return param;
}

void GraphBuilder::declareSource(const ParameterSpec &spec, const StoredTensor &stored) {
  auto format = static_cast<ir::Format>(stored.format);
  Type storedType = ir::StoredType::get(builder.getContext(), spec.shape, builder.getF32Type(),
                                        ir::EncAttr::get(builder.getContext(), format, ir::Layout::Rows));
  bool isVector = spec.shape.size() == 1 || spec.decoded, isF32 = stored.format == StorageFormat::F32;
  // These are f32 tensors to their users; where the file has another format, a recipe decodes them.
  std::string name = isVector && !isF32 ? spec.role + ".stored" : spec.role;
  Type type = isVector && isF32 ? Type(f32Tensor(spec.shape)) : storedType;
  ir::ParamOp param = declareParam(name, type, stored.sourceName);
  param.setFileAttr(builder.getI64IntegerAttr(stored.file));
  param.setOffsetAttr(builder.getI64IntegerAttr(stored.offset));
  if (name == spec.role)
    return;
  Type result = f32Tensor(spec.shape);
  declareDerived(spec.role, result, {name}, [&](OpBuilder &b, ValueRange from) -> Value {
    return b.create<ir::DequantizeOp>(at(stored.sourceName), result, from[0]);
  });
}

void GraphBuilder::declareDerived(llvm::StringRef name, Type type, llvm::ArrayRef<llvm::StringRef> from,
                                  llvm::function_ref<Value(OpBuilder &, ValueRange)> recipe) {
  ir::ParamOp param = declareParam(name, type, name);
  llvm::SmallVector<Attribute> symbols;
  llvm::SmallVector<Type> types;
  for (llvm::StringRef source : from) {
    symbols.push_back(FlatSymbolRefAttr::get(builder.getContext(), source));
    types.push_back(parameterTypes.lookup(source));
  }
  param.setFromAttr(builder.getArrayAttr(symbols));
  Block &block = param.getRecipe().emplaceBlock();
  block.addArguments(types, llvm::SmallVector<Location>(types.size(), at(name)));
  OpBuilder inner = OpBuilder::atBlockEnd(&block);
  Value result = recipe(inner, block.getArguments());
  inner.create<ir::YieldOp>(at(name), result);
}

void GraphBuilder::declareRopeTable(llvm::StringRef name, int64_t rows, int64_t width, double base,
                                    double scale, llvm::StringRef factors) {
  Type type = f32Tensor({rows, width});
  llvm::SmallVector<llvm::StringRef> from;
  if (!factors.empty())
    from.push_back(factors);
  declareDerived(name, type, from, [&](OpBuilder &b, ValueRange sources) -> Value {
    return b.create<ir::RopeTableOp>(at(name), type, sources.empty() ? Value() : sources[0],
                                     b.getF64FloatAttr(base), b.getF64FloatAttr(scale));
  });
}

void GraphBuilder::declareTablePlusRow(llvm::StringRef name, llvm::StringRef table, llvm::StringRef addend) {
  llvm::ArrayRef<int64_t> shape = ir::shapeOf(parameterTypes.lookup(table));
  RankedTensorType type = f32Tensor(shape);
  declareDerived(name, type, {table, addend}, [&](OpBuilder &b, ValueRange from) -> Value {
    Value rows = from[0];
    if (isa<ir::StoredType>(rows.getType()))
      rows = b.create<ir::DequantizeOp>(at(name), type, rows);
    auto zeros = DenseElementsAttr::get(RankedTensorType::get({shape[0]}, b.getI32Type()), int32_t(0));
    Value first = b.create<arith::ConstantOp>(at(name), zeros);
    Value row = b.create<ir::EmbeddingOp>(at(name), type, from[1], first, b.getF32FloatAttr(1));
    return b.create<ir::BinaryOp>(at(name), type, ir::BinaryKind::Add, rows, row);
  });
}

void GraphBuilder::declareCache(llvm::StringRef name, int64_t heads, int64_t keyDim, int64_t valueDim,
                                int64_t window) {
  Type type = ir::KvCacheType::get(builder.getContext(), heads, keyDim, valueDim, builder.getF16Type());
  builder.create<ir::CacheOp>(at(name), builder.getStringAttr(name), TypeAttr::get(type),
                              builder.getI64IntegerAttr(window));
  cacheTypes[name] = type;
}

ArrayAttr GraphBuilder::dimension(const EntryInput &input) {
  return builder.getArrayAttr(
      {ir::DimAttr::get(builder.getContext(), input.dimension, input.least, input.most)});
}

llvm::SmallVector<Value> GraphBuilder::beginEntry(llvm::StringRef name, llvm::ArrayRef<EntryInput> inputs) {
  Type indices = RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  llvm::SmallVector<Type> types(inputs.size(), indices);
  entry = builder.create<func::FuncOp>(at(name), name, builder.getFunctionType(types, {}));
  entry->setAttr(ir::kEntryAttr, builder.getStringAttr(name));
  for (auto [i, input] : llvm::enumerate(inputs)) {
    entry.setArgAttr(i, ir::kNameAttr, builder.getStringAttr(input.name));
    entry.setArgAttr(i, ir::kDimsAttr, dimension(input));
  }
  Block *block = entry.addEntryBlock();
  for (auto [argument, input] : llvm::zip(block->getArguments(), inputs))
    argument.setLoc(at(input.name));
  builder.setInsertionPointToEnd(block);
  fetched.clear();
  return llvm::SmallVector<Value>(block->getArguments());
}

void GraphBuilder::endEntry(Value result, llvm::StringRef name, const EntryInput &rows) {
  builder.create<func::ReturnOp>(at(name), result);
  entry.setType(builder.getFunctionType(entry.getArgumentTypes(), result.getType()));
  entry.setResultAttr(0, ir::kNameAttr, builder.getStringAttr(name));
  entry.setResultAttr(0, ir::kDimsAttr, dimension(rows));
  builder.setInsertionPointToEnd(module.getBody());
}

Value GraphBuilder::parameter(llvm::StringRef role) {
  assert(has(role) && "roles come from the builder's own list of parameters");
  Value &value = fetched[role];
  if (!value)
    value = builder.create<ir::GetParamOp>(at(role), parameterTypes.lookup(role), role);
  return value;
}

Value GraphBuilder::cache(llvm::StringRef name) {
  return builder.create<ir::GetCacheOp>(at(name), cacheTypes.lookup(name), name);
}

Value GraphBuilder::embedding(llvm::StringRef role, Value indices, float scale, llvm::StringRef node) {
  Value table = parameter(role);
  Type type = f32Tensor({ir::shapeOf(indices.getType())[0], ir::shapeOf(table.getType())[1]});
  return builder.create<ir::EmbeddingOp>(at(node), type, table, indices, builder.getF32FloatAttr(scale));
}

Value GraphBuilder::linear(Value input, llvm::StringRef role, llvm::StringRef node) {
  Value weight = parameter(role);
  std::string biasRole = (role + ".bias").str();
  Value bias = has(biasRole) ? parameter(biasRole) : Value();
  Type type = f32Tensor({ir::shapeOf(input.getType())[0], ir::shapeOf(weight.getType())[0]});
  return builder.create<ir::LinearOp>(at(node), type, input, weight, bias);
}

Value GraphBuilder::rmsNorm(Value input, llvm::StringRef role, float epsilon, llvm::StringRef node) {
  Value weight = parameter(role);
  return builder.create<ir::RmsNormOp>(at(node), input.getType(), input, weight,
                                       builder.getF32FloatAttr(epsilon));
}

Value GraphBuilder::layerNorm(Value input, llvm::StringRef role, float epsilon, llvm::StringRef node) {
  Value weight = parameter(role), bias = parameter((role + ".bias").str());
  return builder.create<ir::LayerNormOp>(at(node), input.getType(), input, weight, bias,
                                         builder.getF32FloatAttr(epsilon));
}

Value GraphBuilder::rope(ir::Pairing pairing, Value input, llvm::StringRef table, Value positions,
                         llvm::StringRef node) {
  Value angles = parameter(table);
  return builder.create<ir::RopeOp>(at(node), input.getType(), pairing, input, angles, positions);
}

Value GraphBuilder::unary(ir::UnaryKind kind, Value input, llvm::StringRef node) {
  return builder.create<ir::UnaryOp>(at(node), input.getType(), kind, input);
}

Value GraphBuilder::binary(ir::BinaryKind kind, Value lhs, Value rhs, llvm::StringRef node) {
  return builder.create<ir::BinaryOp>(at(node), lhs.getType(), kind, lhs, rhs);
}

Value GraphBuilder::scale(Value input, float factor, llvm::StringRef node) {
  return builder.create<ir::ScaleOp>(at(node), input.getType(), input, builder.getF32FloatAttr(factor));
}

Value GraphBuilder::splitHeads(Value input, int64_t heads, llvm::StringRef node) {
  llvm::ArrayRef<int64_t> shape = ir::shapeOf(input.getType());
  return builder.create<ir::ReshapeOp>(at(node), f32Tensor({shape[0], heads, shape[1] / heads}), input);
}

Value GraphBuilder::joinHeads(Value input, llvm::StringRef node) {
  llvm::ArrayRef<int64_t> shape = ir::shapeOf(input.getType());
  return builder.create<ir::ReshapeOp>(at(node), f32Tensor({shape[0], shape[1] * shape[2]}), input);
}

Value GraphBuilder::gatherRows(Value input, Value indices, llvm::StringRef node) {
  Type type = f32Tensor({ir::shapeOf(indices.getType())[0], ir::shapeOf(input.getType())[1]});
  return builder.create<ir::GatherRowsOp>(at(node), type, input, indices);
}

Value GraphBuilder::poolRows(ir::PoolKind kind, Value input, Value sequences, llvm::StringRef node) {
  Type type = f32Tensor({ShapedType::kDynamic, ir::shapeOf(input.getType())[1]});
  return builder.create<ir::PoolRowsOp>(at(node), type, kind, input, sequences);
}

Value GraphBuilder::l2Normalize(Value input, llvm::StringRef node) {
  return builder.create<ir::L2NormalizeOp>(at(node), input.getType(), input, builder.getF32FloatAttr(1e-12f));
}

/// The block of an attention region: (score, q_head, kv_head, q_pos, kv_pos, slot).
static Block &addAttentionBlock(Region &region, OpBuilder &builder, Location loc) {
  Block &block = region.emplaceBlock();
  block.addArgument(builder.getF32Type(), loc);
  for (int i = 0; i < 5; ++i)
    block.addArgument(builder.getI32Type(), loc);
  return block;
}

void GraphBuilder::fillScoreRegion(Region &region, float softcap, Location loc) {
  Block &block = addAttentionBlock(region, builder, loc);
  OpBuilder b = OpBuilder::atBlockEnd(&block);
  Value score = block.getArgument(0);
  if (softcap != 0) {
    Value cap = b.create<arith::ConstantOp>(loc, b.getF32FloatAttr(softcap));
    Value ratio = b.create<arith::DivFOp>(loc, score, cap);
    score = b.create<arith::MulFOp>(loc, b.create<math::TanhOp>(loc, ratio), cap);
  }
  b.create<ir::YieldOp>(loc, score);
}

void GraphBuilder::fillMaskRegion(Region &region, const AttentionOptions &options, Location loc) {
  if (!options.causal && options.window == 0)
    return;
  Block &block = addAttentionBlock(region, builder, loc);
  OpBuilder b = OpBuilder::atBlockEnd(&block);
  Value row = block.getArgument(3), key = block.getArgument(4), visible;
  if (options.causal)
    visible = b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::sle, key, row);
  if (options.window != 0) {
    Value distance = b.create<arith::SubIOp>(loc, row, key);
    Value limit = b.create<arith::ConstantOp>(loc, b.getI32IntegerAttr(options.window));
    Value near = b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::slt, distance, limit);
    visible = visible ? b.create<arith::AndIOp>(loc, visible, near).getResult() : near;
  }
  b.create<ir::YieldOp>(loc, visible);
}

Value GraphBuilder::attention(Value query, Value keys, Value values, Value cache, Value slots,
                              Value positions, const AttentionOptions &options, llvm::StringRef node) {
  llvm::SmallVector<int64_t> shape(ir::shapeOf(query.getType()));
  shape[2] = ir::shapeOf(values.getType())[2];
  auto op = builder.create<ir::AttentionOp>(at(node), f32Tensor(shape), query, keys, values, cache, slots,
                                            positions, builder.getF32FloatAttr(options.scale));
  fillScoreRegion(op.getScore(), options.softcap, at(node));
  fillMaskRegion(op.getMask(), options, at(node));
  return op;
}

} // namespace heddle
