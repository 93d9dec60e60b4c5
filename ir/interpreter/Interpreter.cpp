// Functions, kernels, parameters and state: everything around the computation of single ops.
#include "ir/ActivationLayout.h"
#include "ir/SourceNames.h"
#include "ir/interpreter/Scalar.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::heddle;
using namespace mlir::heddle::interpreter;

using Results = llvm::Expected<SmallVector<Datum>>;

namespace {

/// The values that a block's ops have made and that others still need.
class Environment {
public:
  void set(mlir::Value value, Datum datum) {
    if (!value.use_empty())
      entries[value] = {std::move(datum),
                        static_cast<size_t>(std::distance(value.use_begin(), value.use_end()))};
  }

  /// The value, unless a later launch has overwritten its place in the arena.
  llvm::Expected<Datum> get(mlir::Value value, Operation *user) {
    auto found = entries.find(value);
    if (found == entries.end())
      return fail(user, "expected its operands to be computed before it", Kind::Unsupported);
    if (Operation *other = found->second.overwrittenBy)
      return fail(user, "expected its operand from " + describeSource(value.getLoc()) + " to be live, but '" +
                            describeSource(other->getLoc()) + "' has overwritten its bytes in the arena");
    return found->second.datum;
  }

  /// Lets go of what `op`, regions included, was the last to use.
  void release(Operation *op) {
    op->walk([&](Operation *inner) {
      for (mlir::Value operand : inner->getOperands())
        if (auto found = entries.find(operand); found != entries.end() && --found->second.uses == 0)
          entries.erase(found);
    });
  }

  /// Notes where a launch's results lie in the activation arena, and what they overwrite.
  llvm::Error place(LaunchOp launch, ArrayRef<Datum> results) {
    std::vector<Interval> added;
    for (auto [offset, value, datum] : llvm::zip(*launch.getArena(), launch.getResults(), results)) {
      if (offset < 0)
        continue; // an output of the function
      int64_t end = offset + arenaBytes(datum, value.getType());
      for (const Interval &other : added)
        if (offset < other.end && other.begin < end)
          return fail(launch, Twine("expected its results to lie apart in the arena, but found one at ") +
                                  Twine(other.begin) + " to " + Twine(other.end) + " and one at " +
                                  Twine(offset) + " to " + Twine(end));
      added.push_back({offset, end, value});
    }
    for (const Interval &now : added)
      llvm::erase_if(arena, [&](const Interval &old) {
        if (now.begin >= old.end || old.begin >= now.end)
          return false;
        if (auto found = entries.find(old.value); found != entries.end())
          found->second.overwrittenBy = launch;
        return true;
      });
    llvm::append_range(arena, added);
    return llvm::Error::success();
  }

private:
  struct Entry {
    Datum datum;
    size_t uses;
    Operation *overwrittenBy = nullptr;
  };
  struct Interval {
    int64_t begin, end;
    mlir::Value value;
  };

  static int64_t arenaBytes(const Datum &datum, Type type) {
    if (auto *activations = datum.activations())
      return activations->rows() *
             ::heddle::ActivationLayout{activations->columns(), activations->planes}.stride();
    return (isa<SelectionType>(type) ? 1 : 4) * elementCount(datum.shape()).value_or(0);
  }

  DenseMap<mlir::Value, Entry> entries;
  std::vector<Interval> arena;
};

/// Names of dimensions that arguments share, with the sizes found.
llvm::Error checkDimensions(func::FuncOp function, ArrayRef<Datum> inputs) {
  llvm::StringMap<int64_t> sizes;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    auto names = function.getArgAttrOfType<ArrayAttr>(i, kDimsAttr);
    if (!names)
      continue;
    auto name = names.begin();
    for (auto [declared, size] : llvm::zip(shapeOf(function.getArgumentTypes()[i]), inputs[i].shape())) {
      if (!ShapedType::isDynamic(declared) || name == names.end())
        continue;
      auto dim = dyn_cast<DimAttr>(*name++);
      if (!dim)
        return fail(function, "expected '" + Twine(kDimsAttr) + "' to hold dimensions");
      if (size < dim.getMin() || size > dim.getMax())
        return fail(function, "expected dimension '" + dim.getName() + "' to be from " + Twine(dim.getMin()) +
                                  " to " + Twine(dim.getMax()) + ", but found " + Twine(size));
      auto [known, isNew] = sizes.try_emplace(dim.getName(), size);
      if (!isNew && known->second != size)
        return fail(function, "expected dimension '" + dim.getName() + "' to have one size, but found " +
                                  Twine(known->second) + " and " + Twine(size));
    }
  }
  return llvm::Error::success();
}

std::string text(Type type) {
  std::string result;
  llvm::raw_string_ostream(result) << type;
  return result;
}

} // namespace

class interpreter::Executor {
public:
  Executor(ModuleOp module, const Options &options, const ::heddle::ParameterSource *source)
      : module(module), symbols(module), context(options), source(source) {}

  Observer observer;

  Results runFunction(StringRef name, ArrayRef<Datum> inputs) {
    func::FuncOp function = findFunction(module, name, inputs);
    if (!function)
      return fail(module, "expected a function '" + name + "' with a body for these inputs, but found none");
    if (inputs.size() != function.getNumArguments())
      return fail(function, "expected " + Twine(function.getNumArguments()) + " inputs for '" + name +
                                "', but found " + Twine(inputs.size()));
    SmallVector<Datum> arguments;
    for (auto [i, type, input] : llvm::enumerate(function.getArgumentTypes(), inputs)) {
      if (!input.fits(type))
        return fail(function, "expected input " + Twine(i) + " of '" + name + "' to be " + text(type) +
                                  ", but found " + input.describe());
      arguments.push_back(rounded(input));
    }
    if (llvm::Error error = checkDimensions(function, arguments))
      return std::move(error);
    if (!function.getBody().hasOneBlock())
      return fail(function, "expected '" + name + "' to have one block", Kind::Unsupported);
    return runBlock(function.getBody().front(), arguments, true);
  }

  /// One op on the given operands. `environment` gives what its regions capture.
  Results runOp(Operation *op, ArrayRef<Datum> operands, Environment *environment) {
    for (Type type :
         llvm::concat<Type>(llvm::to_vector(op->getOperandTypes()), llvm::to_vector(op->getResultTypes())))
      if (auto tensor = dyn_cast<RankedTensorType>(type); tensor && tensor.getRank() > 1)
        if (llvm::is_contained(tensor.getShape().drop_front(), ShapedType::kDynamic))
          return fail(op, "expected only the first dimension to be dynamic, but found " + text(type),
                      Kind::Unsupported);
    for (auto [operand, datum] : llvm::zip(op->getOperands(), operands))
      if (!datum.fits(operand.getType()))
        return fail(op, "expected an operand of type " + text(operand.getType()) + ", but found " +
                            datum.describe());
    auto results = dispatch(op, operands, environment);
    if (!results)
      return results;
    for (auto [result, datum] : llvm::zip_equal(op->getResults(), *results))
      if (!datum.fits(result.getType()))
        return fail(op, "expected a result of type " + text(result.getType()) + ", but computed " +
                            datum.describe());
    return results;
  }

  Result parameter(Operation *user, StringRef name) {
    if (auto known = parameters.find(name); known != parameters.end())
      return known->second;
    auto param = symbols.lookup<ParamOp>(name);
    if (!param)
      return fail(user, "expected parameter '" + name + "' to exist in the module");
    auto datum = evaluateParameter(param);
    if (!datum)
      return datum.takeError();
    if (!datum->fits(param.getType()))
      return fail(param, "expected parameter '" + name + "' to be " + text(param.getType()) + ", but found " +
                             datum->describe());
    parameters[name] = *datum;
    return *datum;
  }

  void clearState() { caches.clear(); }

  ModuleOp module;

private:
  Results runBlock(Block &block, ArrayRef<Datum> arguments, bool observed) {
    Environment environment;
    for (auto [argument, datum] : llvm::zip_equal(block.getArguments(), arguments))
      environment.set(argument, datum);
    for (Operation &op : block) {
      SmallVector<Datum> operands;
      for (mlir::Value operand : op.getOperands()) {
        auto datum = environment.get(operand, &op);
        if (!datum)
          return datum.takeError();
        operands.push_back(std::move(*datum));
      }
      if (isa<func::ReturnOp, YieldOp>(op))
        return operands;
      if (llvm::Error error = context.spend(&op, {1}))
        return std::move(error);
      auto results = runOp(&op, operands, &environment);
      if (!results)
        return results.takeError();
      if (observed && observer)
        observer(&op, operands, *results);
      for (auto [result, datum] : llvm::zip_equal(op.getResults(), *results))
        environment.set(result, datum);
      if (auto launch = dyn_cast<LaunchOp>(op); launch && launch.getArena())
        if (llvm::Error error = environment.place(launch, *results))
          return std::move(error);
      operands.clear();
      environment.release(&op);
    }
    return fail(block.getParentOp(), "expected a block to end in a terminator");
  }

  Results launch(LaunchOp op, ArrayRef<Datum> operands) {
    auto kernel = symbols.lookup<KernelOp>(op.getKernel());
    if (!kernel)
      return fail(op, "expected kernel '" + op.getKernel() + "' to exist in the module");
    if (insideKernel)
      return fail(op, "expected kernels to launch no others");
    insideKernel = true;
    auto results = runBlock(kernel.getBody().front(), operands, true);
    insideKernel = false;
    if (!results) // the kernel may serve many layers: say which one it was
      return fail(op, llvm::toString(results.takeError()));
    return results;
  }

  /// In f32 arithmetic every number is an f32 value, inputs included.
  Datum rounded(const Datum &input) {
    if (!context.arithmetic.single || !input.numbers())
      return input;
    Numbers numbers = *input.numbers();
    for (double &number : numbers.data)
      number = context.arithmetic.round(number);
    return numbers;
  }

  Result evaluateParameter(ParamOp param) {
    if (param.getValue())
      return constant(param, cast<ElementsAttr>(*param.getValue()));
    if (param.getFile())
      return readParameter(param);
    // Recipes may name parameters with recipes: a cycle would never end.
    if (!evaluating.insert(param.getSymName()).second)
      return fail(param, "expected parameter '" + param.getSymName() + "' not to derive from itself");
    auto done = llvm::make_scope_exit([&] { evaluating.erase(param.getSymName()); });
    if (evaluating.size() > 64)
      return fail(param,
                  "expected parameter '" + param.getSymName() + "' to derive through at most 64 recipes");
    SmallVector<Datum> sources;
    if (param.getFrom())
      for (auto name : param.getFrom()->getAsRange<FlatSymbolRefAttr>()) {
        auto source = parameter(param, name.getValue());
        if (!source)
          return source.takeError();
        sources.push_back(*source);
      }
    Block &recipe = param.getRecipe().front();
    for (auto [argument, source] : llvm::zip_equal(recipe.getArguments(), sources))
      if (!source.fits(argument.getType()))
        return fail(param, "expected the recipe of parameter '" + param.getSymName() + "' to take " +
                               text(argument.getType()) + ", but found " + source.describe());
    auto results = runBlock(recipe, sources, false);
    if (!results)
      return results.takeError();
    return (*results)[0];
  }

  Result readParameter(ParamOp param) {
    if (!source)
      return fail(param,
                  "expected the bytes of parameter '" + param.getSymName() + "', but no file was given");
    ::heddle::StorageFormat format;
    if (auto stored = dyn_cast<StoredType>(param.getType())) {
      EncAttr encoding = stored.getEncoding();
      if (encoding.isActivation() || encoding.getLayout() != Layout::Rows)
        return fail(param,
                    "expected parameter '" + param.getSymName() +
                        "' of a file to be weights in row order, but found " + text(stored),
                    Kind::Unsupported);
      format = storageFormat(encoding);
    } else {
      Type element = getElementTypeOrSelf(param.getType());
      if (!element.isF32() && !element.isF16() && !element.isBF16())
        return fail(param,
                    "expected parameter '" + param.getSymName() +
                        "' of a file to be f32, f16 or bf16, but found " + text(element),
                    Kind::Unsupported);
      format = element.isF32()   ? ::heddle::StorageFormat::F32
               : element.isF16() ? ::heddle::StorageFormat::F16
                                 : ::heddle::StorageFormat::BF16;
    }
    Shape shape(shapeOf(param.getType()));
    std::optional<int64_t> count = elementCount(shape);
    uint64_t size = 0, columns = shape.empty() ? 1 : shape.back();
    if (!count || (columns && __builtin_mul_overflow(uint64_t(*count) / columns,
                                                     ::heddle::storedBytes(format, columns), &size)))
      return fail(param, "expected parameter '" + param.getSymName() +
                             "' to have a size that fits, but found " + text(param.getType()));
    auto content = source->bytes(*param.getFile(), *param.getOffset(), size);
    if (!content)
      return content.takeError();
    if (isa<StoredType>(param.getType()))
      return Weights{shape, format, *content};
    auto numbers = context.numbers(param, shape);
    if (!numbers)
      return numbers.takeError();
    std::vector<float> decoded(*count);
    ::heddle::decode(format, *content, decoded);
    llvm::copy(decoded, numbers->data.begin());
    return std::move(*numbers);
  }

  Results dispatch(Operation *op, ArrayRef<Datum> operands, Environment *environment) {
    // What an optional operand group stands for: its value, or nothing.
    auto operand = [&](mlir::Value value) -> const Datum * {
      for (auto [candidate, datum] : llvm::zip(op->getOperands(), operands))
        if (value && candidate == value)
          return &datum;
      return nullptr;
    };
    auto numbers = [&](mlir::Value value) -> const Numbers * {
      const Datum *datum = operand(value);
      return datum ? datum->numbers() : nullptr;
    };
    auto integers = [&](mlir::Value value) -> const Integers & { return *operand(value)->integers(); };
    auto optionalIntegers = [&](mlir::Value value) -> const Integers * {
      const Datum *datum = operand(value);
      return datum ? datum->integers() : nullptr;
    };
    auto scoringOperands = [&](ScoringOpInterface scoring) -> ScoringOperands {
      const Datum *state = operand(scoring.getCache());
      return {*numbers(scoring.getQuery()),
              numbers(scoring.getKeys()),
              nullptr,
              state ? state->cache() : nullptr,
              optionalIntegers(scoring.getKeySequences()),
              integers(scoring.getSlots()),
              integers(scoring.getPositions()),
              nullptr,
              nullptr,
              nullptr};
    };

    if (auto launchOp = dyn_cast<LaunchOp>(op))
      return launch(launchOp, operands);
    if (auto append = dyn_cast<CacheAppendOp>(op)) {
      if (llvm::Error error =
              evaluateCacheAppend(op, *operand(append.getCache())->cache(), *numbers(append.getKeys()),
                                  *numbers(append.getValues()), integers(append.getSlots()),
                                  integers(append.getPositions()), context))
        return std::move(error);
      return SmallVector<Datum>{};
    }
    if (op->getNumResults() != 1)
      return fail(op, "expected an operation that the interpreter knows (docs/interpreter.md lists them)",
                  Kind::Unsupported);

    auto captured = [&](mlir::Value value) -> llvm::Expected<Datum> {
      if (!environment)
        return fail(op, "expected a region without captured values", Kind::Unsupported);
      return environment->get(value, op);
    };
    Result result =
        llvm::TypeSwitch<Operation *, Result>(op)
            .Case([&](GetParamOp o) { return parameter(o, o.getParam()); })
            .Case([&](GetCacheOp o) { return cache(o); })
            .Case([&](PackOp) { return operands[0]; })
            .Case([&](QuantizeWeightsOp o) {
              return evaluateQuantizeWeights(o, *operands[0].weights(), context);
            })
            .Case([&](RopeTableOp o) { return evaluateRopeTable(o, numbers(o.getFactors()), context); })
            .Case([&](EmbeddingOp o) {
              return evaluateEmbedding(o, operands[0], integers(o.getIndices()), context);
            })
            .Case([&](GatherRowsOp o) {
              return evaluateGatherRows(o, *numbers(o.getInput()), integers(o.getIndices()), context);
            })
            .Case([&](LinearOp o) {
              if (o.getSelection())
                return evaluateSelectedLinear(o, operands[0], *operand(o.getWeight())->weights(),
                                              numbers(o.getBias()), integers(o.getSelection()), context);
              return evaluateLinear(o, operands[0], *operand(o.getWeight())->weights(), numbers(o.getBias()),
                                    context);
            })
            .Case([&](RmsNormOp o) {
              return evaluateRmsNorm(o, *numbers(o.getInput()), *numbers(o.getWeight()), context);
            })
            .Case([&](LayerNormOp o) {
              return evaluateLayerNorm(o, *numbers(o.getInput()), *numbers(o.getWeight()),
                                       *numbers(o.getBias()), context);
            })
            .Case([&](L2NormalizeOp o) { return evaluateL2Normalize(o, *numbers(o.getInput()), context); })
            .Case([&](RopeOp o) {
              return evaluateRope(o, *numbers(o.getInput()), *numbers(o.getTable()),
                                  integers(o.getPositions()), context);
            })
            .Case([&](AttentionOp o) {
              auto scoring = scoringOperands(o);
              scoring.values = numbers(o.getValues());
              scoring.heads = optionalIntegers(o.headSelection());
              scoring.tokens = optionalIntegers(o.keySelection());
              scoring.skip = numbers(o.getSkip());
              return evaluateAttention(o, scoring, captured, context);
            })
            .Case([&](TopKOp o) { return evaluateTopK(o, scoringOperands(o), captured, context); })
            .Case([&](MergeChunksOp o) {
              return evaluateMergeChunks(o, *numbers(o.getChunks()), integers(o.getPositions()), context);
            })
            .Case([&](SelectBlocksOp o) {
              return evaluateSelectBlocks(o, *numbers(o.getMask()), optionalIntegers(o.getPositions()),
                                          context);
            })
            .Case([&](HeadGateOp o) {
              return evaluateHeadGate(o, *numbers(o.getInput()), *numbers(o.getWeight()),
                                      numbers(o.getBias()), context);
            })
            .Case([&](MaskHeadsOp o) {
              return evaluateMaskHeads(o, *numbers(o.getInput()), integers(o.getSelection()),
                                       numbers(o.getSkip()), context);
            })
            .Case([&](SkippedSumOp o) {
              return evaluateSkippedSum(o, *numbers(o.getTable()), integers(o.getSelection()), context);
            })
            .Case([&](KeepPartsOp o) { return evaluateKeepParts(o, operands[0], context); })
            .Case(
                [&](BlockDiagonalOp o) { return evaluateBlockDiagonal(o, *numbers(o.getInput()), context); })
            .Case([&](UnaryOp o) { return evaluateUnary(o, *numbers(o.getInput()), context); })
            .Case([&](BinaryOp o) {
              return evaluateBinary(o, *operands[0].numbers(), *operands[1].numbers(), context);
            })
            .Case([&](ScaleOp o) { return evaluateScale(o, *numbers(o.getInput()), context); })
            .Case([&](ReshapeOp o) { return evaluateReshape(o, *numbers(o.getInput()), context); })
            .Case([&](PoolRowsOp o) {
              return evaluatePoolRows(o, *numbers(o.getInput()), integers(o.getSequences()), context);
            })
            .Case([&](QuantizeOp o) { return evaluateQuantize(o, *numbers(o.getInput()), context); })
            .Case([&](DequantizeOp o) { return evaluateDequantize(o, operands[0], context); })
            .Default([&](Operation *o) { return upstream(o, operands); });
    if (!result)
      return result.takeError();
    return SmallVector<Datum>{*result};
  }

  /// A splat of a few characters may stand for any number of elements, so they are counted first.
  Result constant(Operation *op, ElementsAttr elements) {
    std::optional<int64_t> count = elementCount(elements.getShapedType().getShape());
    auto charge = context.charge(op, count.value_or(-1), 8);
    if (!charge)
      return charge.takeError();
    std::optional<Datum> datum = datumOf(elements);
    if (!datum)
      return fail(op, "expected readable constants of a float or integer type", Kind::Unsupported);
    return rounded(*datum);
  }

  /// Constants of any shape, and arith and math on scalars.
  Result upstream(Operation *op, ArrayRef<Datum> operands) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op))
      if (auto elements = dyn_cast<ElementsAttr>(constant.getValue()))
        return this->constant(op, elements);
    SmallVector<Scalar> scalars;
    for (const Datum &datum : operands) {
      if (!datum.shape().empty() || (!datum.numbers() && !datum.integers()))
        return fail(op, "expected scalars, but found " + datum.describe(), Kind::Unsupported);
      scalars.push_back(scalarOf(datum));
    }
    auto program = ScalarProgram::compile(op, context);
    if (!program)
      return program.takeError();
    auto value = program->run(scalars);
    if (!value)
      return value.takeError();
    return datumOf(*value, op->getResult(0).getType());
  }

  Result cache(GetCacheOp op) {
    auto &entry = caches[op.getCache()];
    if (!entry)
      entry = std::make_unique<Cache>(op.getType());
    return Datum(entry.get());
  }

  SymbolTable symbols;
  Context context;
  const ::heddle::ParameterSource *source;
  llvm::StringMap<Datum> parameters;
  llvm::StringMap<std::unique_ptr<Cache>> caches;
  llvm::StringSet<> evaluating; // parameters whose recipes run now
  bool insideKernel = false;
};

Interpreter::Interpreter(ModuleOp module, Options options, const ::heddle::ParameterSource *parameters)
    : executor(std::make_unique<Executor>(module, options, parameters)) {}

Interpreter::~Interpreter() = default;

void Interpreter::setObserver(Observer observer) { executor->observer = std::move(observer); }

Results Interpreter::run(StringRef function, ArrayRef<Datum> inputs) {
  return executor->runFunction(function, inputs);
}

Results Interpreter::evaluate(Operation *op, ArrayRef<Datum> operands) {
  if (operands.size() != op->getNumOperands())
    return fail(op, Twine("expected ") + Twine(op->getNumOperands()) + " operands, but found " +
                        Twine(operands.size()));
  return executor->runOp(op, operands, nullptr);
}

Result Interpreter::parameter(StringRef name) { return executor->parameter(executor->module, name); }

void Interpreter::clearState() { executor->clearState(); }

func::FuncOp interpreter::findFunction(ModuleOp module, StringRef name, ArrayRef<Datum> inputs) {
  func::FuncOp variant;
  int64_t rows = inputs.empty() || inputs[0].shape().empty() ? 0 : inputs[0].shape()[0];
  for (auto function : module.getOps<func::FuncOp>()) {
    if (function.isExternal())
      continue;
    if (function.getName() == name)
      return function;
    StringRef suffix = function.getName();
    auto range = function->getAttrOfType<DenseI64ArrayAttr>("heddle.rows");
    if (suffix.consume_front(name) && suffix.starts_with(".rows_") && range && range.size() == 2 &&
        rows >= range[0] && rows <= range[1])
      variant = function;
  }
  return variant;
}
