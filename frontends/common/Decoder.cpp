#include "frontends/common/Decoder.h"

namespace heddle {

namespace ir = mlir::heddle;
using mlir::Value;

static std::string layerRole(int64_t layer, llvm::StringRef name) {
  return ("blk." + llvm::Twine(layer) + "." + name).str();
}

std::vector<ParameterSpec> decoderParameters(const DecoderConfig &config) {
  std::vector<ParameterSpec> specs;
  auto matrix = [&](std::string role, int64_t out, int64_t in) {
    specs.push_back({role, {out, in}});
    specs.push_back({role + ".bias", {out}, /*optional=*/true});
  };
  auto vector = [&](std::string role, int64_t size) { specs.push_back({std::move(role), {size}}); };

  specs.push_back({"token_embd", {config.vocabulary, config.hidden}});
  specs.push_back({"rope_freqs", {config.ropeDim / 2}, /*optional=*/true});
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    auto role = [layer](llvm::StringRef name) { return layerRole(layer, name); };
    vector(role("attn_norm"), config.hidden);
    matrix(role("attn_q"), config.heads * config.keyDim, config.hidden);
    matrix(role("attn_k"), config.kvHeads * config.keyDim, config.hidden);
    matrix(role("attn_v"), config.kvHeads * config.valueDim, config.hidden);
    if (config.headNorms) {
      vector(role("attn_q_norm"), config.keyDim);
      vector(role("attn_k_norm"), config.keyDim);
    }
    matrix(role("attn_output"), config.hidden, config.heads * config.valueDim);
    // Of models that gate their heads (docs/head-gating.md): heddle-insert-head-gating reads them.
    specs.push_back(
        {role("attn.gate.weight"), {config.heads, config.hidden}, /*optional=*/true, /*decoded=*/true});
    specs.push_back({role("attn.gate.bias"), {config.heads}, /*optional=*/true});
    if (config.outputNorms)
      vector(role("post_attention_norm"), config.hidden);
    vector(role("ffn_norm"), config.hidden);
    matrix(role("ffn_gate"), config.intermediate, config.hidden);
    matrix(role("ffn_up"), config.intermediate, config.hidden);
    matrix(role("ffn_down"), config.hidden, config.intermediate);
    if (config.outputNorms)
      vector(role("post_ffw_norm"), config.hidden);
  }
  vector("output_norm", config.hidden);
  specs.push_back({"output", {config.vocabulary, config.hidden}, /*optional=*/true});
  return specs;
}

namespace {

/// Writes the layers; holds what they share.
class DecoderLayers {
public:
  DecoderLayers(GraphBuilder &graph, const DecoderConfig &config, Value slots, Value positions)
      : graph(graph), config(config), slots(slots), positions(positions) {}

  Value layer(Value hidden, int64_t index);

private:
  Value attention(Value input, int64_t index);
  Value feedForward(Value input, int64_t index);
  Value heads(Value input, llvm::StringRef name, int64_t count, int64_t index);

  GraphBuilder &graph;
  const DecoderConfig &config;
  Value slots, positions;
};

/// The query or key heads of a layer, normalized and rotated.
Value DecoderLayers::heads(Value input, llvm::StringRef name, int64_t count, int64_t index) {
  std::string node = layerRole(index, name);
  Value heads = graph.splitHeads(graph.linear(input, node, node), count, node);
  if (config.headNorms)
    heads = graph.rmsNorm(heads, node + "_norm", config.epsilon, node + "_norm");
  return graph.rope(config.pairing, heads, config.isLocal(index) ? "rope_local" : "rope", positions,
                    node + "_rope");
}

Value DecoderLayers::attention(Value input, int64_t index) {
  Value query = heads(input, "attn_q", config.heads, index);
  Value keys = heads(input, "attn_k", config.kvHeads, index);
  std::string node = layerRole(index, "attn_v");
  Value values = graph.splitHeads(graph.linear(input, node, node), config.kvHeads, node);

  GraphBuilder::AttentionOptions options;
  options.scale = config.attentionScale;
  options.softcap = config.attentionSoftcap;
  options.window = config.isLocal(index) ? config.window : 0;
  Value cache = graph.cache(("kv." + llvm::Twine(index)).str());
  node = layerRole(index, "attn");
  Value mixed = graph.attention(query, keys, values, cache, slots, positions, options, node);
  std::string output = layerRole(index, "attn_output");
  return graph.linear(graph.joinHeads(mixed, node), output, output);
}

Value DecoderLayers::feedForward(Value input, int64_t index) {
  std::string gate = layerRole(index, "ffn_gate"), up = layerRole(index, "ffn_up"),
              down = layerRole(index, "ffn_down");
  Value gated = graph.unary(config.activation, graph.linear(input, gate, gate), gate);
  Value product = graph.binary(ir::BinaryKind::Mul, gated, graph.linear(input, up, up), up);
  return graph.linear(product, down, down);
}

Value DecoderLayers::layer(Value hidden, int64_t index) {
  auto branch = [&](llvm::StringRef norm, llvm::StringRef outputNorm, auto &&body, llvm::StringRef sum) {
    std::string before = layerRole(index, norm), after = layerRole(index, outputNorm);
    Value result = body(graph.rmsNorm(hidden, before, config.epsilon, before));
    if (config.outputNorms)
      result = graph.rmsNorm(result, after, config.epsilon, after);
    hidden = graph.add(hidden, result, layerRole(index, sum));
  };
  branch("attn_norm", "post_attention_norm", [&](Value x) { return attention(x, index); }, "attn_residual");
  branch("ffn_norm", "post_ffw_norm", [&](Value x) { return feedForward(x, index); }, "ffn_residual");
  return hidden;
}

} // namespace

void buildDecoder(mlir::ModuleOp module, const DecoderConfig &config, const ModelBounds &bounds,
                  const ParameterTable &parameters) {
  GraphBuilder graph(module, decoderParameters(config), parameters);
  // Divisors and scale belong to the global frequencies; local layers see too little to need them.
  graph.declareRopeTable("rope", bounds.context, config.ropeDim, config.ropeBase, config.ropeScale,
                         graph.has("rope_freqs") ? "rope_freqs" : "");
  if (config.window != 0)
    graph.declareRopeTable("rope_local", bounds.context, config.ropeDim, config.localRopeBase, 1, "");
  for (int64_t layer = 0; layer < config.layers; ++layer)
    graph.declareCache(("kv." + llvm::Twine(layer)).str(), config.kvHeads, config.keyDim, config.valueDim,
                       config.isLocal(layer) ? config.window : 0);

  EntryInput wantedRows{"wanted", "m", 0, bounds.rows};
  llvm::SmallVector<Value> inputs = graph.beginEntry("step", {{"tokens", "n", 1, bounds.rows},
                                                              {"slots", "n", 1, bounds.rows},
                                                              {"positions", "n", 1, bounds.rows},
                                                              wantedRows});
  Value tokens = inputs[0], slots = inputs[1], positions = inputs[2], wanted = inputs[3];
  DecoderLayers layers(graph, config, slots, positions);
  Value hidden = graph.embedding("token_embd", tokens, config.embeddingScale, "token_embd");
  for (int64_t layer = 0; layer < config.layers; ++layer)
    hidden = layers.layer(hidden, layer);
  hidden = graph.gatherRows(hidden, wanted, "wanted");
  hidden = graph.rmsNorm(hidden, "output_norm", config.epsilon, "output_norm");
  Value logits = graph.linear(hidden, graph.has("output") ? "output" : "token_embd", "output");
  if (config.logitSoftcap != 0) {
    logits = graph.scale(logits, 1 / config.logitSoftcap, "logit_softcap");
    logits = graph.unary(ir::UnaryKind::Tanh, logits, "logit_softcap");
    logits = graph.scale(logits, config.logitSoftcap, "logit_softcap");
  }
  graph.endEntry(logits, "logits", wantedRows);
}

} // namespace heddle
