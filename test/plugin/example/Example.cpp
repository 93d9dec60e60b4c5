// The example of docs/plugins.md: an op, a pass, an attention variant and a weight scheme.
#include "codegen/plugin/Plugin.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include "ExampleDialect.h.inc"
#define GET_OP_CLASSES
#include "Example.h.inc"

using namespace mlir;
using namespace mlir::heddle;

#include "ExampleDialect.cpp.inc"
#define GET_OP_CLASSES
#include "Example.cpp.inc"

// [op]
void example::ExampleDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "Example.cpp.inc"
      >();
}

namespace {
/// lerp(a, b, t) -> a + t * (b - a)
struct ExpandLerp : OpRewritePattern<example::LerpOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(example::LerpOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value difference = rewriter.create<BinaryOp>(loc, BinaryKind::Sub, op.getB(), op.getA());
    Value part = rewriter.create<ScaleOp>(loc, difference, op.getTAttr());
    rewriter.replaceOpWithNewOp<BinaryOp>(op, BinaryKind::Add, op.getA(), part);
    return success();
  }
};
} // namespace

void example::LerpOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<ExpandLerp>(context);
}

// [pass]
namespace {
/// relu(relu(x)) -> relu(x)
struct MergeRelus : PassWrapper<MergeRelus, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(MergeRelus)
  StringRef getArgument() const override { return "example-merge-relus"; }
  StringRef getDescription() const override { return "Apply relu once"; }
  void runOnOperation() override {
    getOperation().walk([](UnaryOp outer) {
      auto inner = outer.getInput().getDefiningOp<UnaryOp>();
      if (inner && inner.getKind() == UnaryKind::Relu && outer.getKind() == UnaryKind::Relu)
        outer.getResult().replaceAllUsesWith(inner.getResult());
    });
  }
};

// [attention]
/// Tokens are the patches of an image, `width` to a line: a row sees the patches before it that lie at most
/// `radius` away in both directions, and each head weighs its channels by 1 + gain * head.
struct SpatialChannelAttention : BaseAttention {
  StringRef name() const override { return "spatial-channel"; }
  SmallVector<std::pair<StringRef, double>> parameters() const override {
    return {{"width", 16}, {"radius", 4}, {"gain", 0.125}};
  }
  std::string check(const AttentionParameters &given) const override {
    return given["width"] >= 1 && given["radius"] >= 0
               ? ""
               : "expected 'width' to be at least 1, 'radius' at least 0";
  }
  Value score(OpBuilder &b, Location loc, const AttentionIndices &indices,
              const AttentionParameters &given) const override {
    Value head = b.create<arith::SIToFPOp>(loc, b.getF32Type(), indices.queryHead);
    Value gain = b.create<arith::MulFOp>(loc, head, realConstant(b, loc, given["gain"]));
    return b.create<arith::MulFOp>(loc, indices.score,
                                   b.create<arith::AddFOp>(loc, gain, realConstant(b, loc, 1)));
  }
  Value mask(OpBuilder &b, Location loc, const AttentionIndices &indices,
             const AttentionParameters &given) const override {
    Value width = integerConstant(b, loc, int64_t(given["width"]));
    Value radius = integerConstant(b, loc, int64_t(given["radius"]));
    auto near = [&](Value row, Value key) -> Value { // |row - key| <= radius
      Value distance = b.create<arith::SubIOp>(loc, row, key), back = b.create<arith::SubIOp>(loc, key, row);
      Value most = b.create<arith::MaxSIOp>(loc, distance, back);
      return b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::sle, most, radius);
    };
    Value line = near(b.create<arith::DivSIOp>(loc, indices.queryPosition, width),
                      b.create<arith::DivSIOp>(loc, indices.kvPosition, width));
    Value column = near(b.create<arith::RemSIOp>(loc, indices.queryPosition, width),
                        b.create<arith::RemSIOp>(loc, indices.kvPosition, width));
    Value before =
        b.create<arith::CmpIOp>(loc, arith::CmpIPredicate::sle, indices.kvPosition, indices.queryPosition);
    return b.create<arith::AndIOp>(loc, before, b.create<arith::AndIOp>(loc, line, column));
  }
};

// [scheme]
/// int4 in groups of 32 whose scale leaves out the largest weights: 0.9 of their range.
::heddle::Grid clippedGrid(const ::heddle::Coder &coder, std::span<const float> values) {
  float most = 0;
  for (float value : values)
    most = std::max(most, std::abs(value));
  return coder.gridFor(-0.9f * most, 0.9f * most);
}

// [load]
void load(::heddle::PluginRegistry &registry) {
  registry.addDialect<example::ExampleDialect>();
  registry.addPass<MergeRelus>();
  registry.addToPipeline("example-merge-relus");
  registry.addAttention(std::make_unique<SpatialChannelAttention>());
  registry.addWeightScheme(
      {"int4-clipped", ::heddle::StorageFormat::Q4_0, ::heddle::ScaleSharing::Group, clippedGrid});
}
} // namespace

HEDDLE_PLUGIN("example", "1.0", load);
