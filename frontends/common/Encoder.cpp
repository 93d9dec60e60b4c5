#include "frontends/common/Encoder.h"

#include <cmath>

namespace heddle {

using mlir::Value;

static std::string layerRole(int64_t layer, llvm::StringRef name) {
  return ("blk." + llvm::Twine(layer) + "." + name).str();
}

std::vector<ParameterSpec> encoderParameters(const EncoderConfig &config) {
  std::vector<ParameterSpec> specs;
  auto matrix = [&](std::string role, int64_t out, int64_t in) {
    specs.push_back({role, {out, in}});
    specs.push_back({role + ".bias", {out}, /*optional=*/true});
  };
  auto norm = [&](std::string role) {
    specs.push_back({role, {config.hidden}});
    specs.push_back({role + ".bias", {config.hidden}});
  };
  specs.push_back({"token_embd", {config.vocabulary, config.hidden}});
  specs.push_back({"position_embd", {config.contextLength, config.hidden}});
  specs.push_back({"token_types", {config.tokenTypes, config.hidden}});
  norm("token_embd_norm");
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (llvm::StringRef name : {"attn_q", "attn_k", "attn_v", "attn_output"})
      matrix(layerRole(layer, name), config.hidden, config.hidden);
    // Of models that gate their heads (docs/head-gating.md): heddle-insert-head-gating reads them.
    specs.push_back({layerRole(layer, "attn.gate.weight"),
                     {config.heads, config.hidden},
                     /*optional=*/true,
                     /*decoded=*/true});
    specs.push_back({layerRole(layer, "attn.gate.bias"), {config.heads}, /*optional=*/true});
    norm(layerRole(layer, "attn_output_norm"));
    matrix(layerRole(layer, "ffn_up"), config.intermediate, config.hidden);
    matrix(layerRole(layer, "ffn_down"), config.hidden, config.intermediate);
    norm(layerRole(layer, "layer_output_norm"));
  }
  return specs;
}

/// One layer: attention and feed-forward network, each followed by the norm of its sum with what came in.
static Value buildLayer(GraphBuilder &graph, const EncoderConfig &config, int64_t layer, Value input,
                        Value sequences, Value positions) {
  auto role = [layer](llvm::StringRef name) { return layerRole(layer, name); };
  auto heads = [&](llvm::StringRef name) {
    return graph.splitHeads(graph.linear(input, role(name), role(name)), config.heads, role(name));
  };
  Value query = heads("attn_q"), keys = heads("attn_k"), values = heads("attn_v");
  GraphBuilder::AttentionOptions options;
  options.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config.hidden / config.heads)));
  options.causal = false;
  Value mixed = graph.attention(query, keys, values, Value(), sequences, positions, options, role("attn"));
  Value projected =
      graph.linear(graph.joinHeads(mixed, role("attn")), role("attn_output"), role("attn_output"));
  Value sum = graph.add(input, projected, role("attn_residual"));
  Value attended = graph.layerNorm(sum, role("attn_output_norm"), config.epsilon, role("attn_output_norm"));

  Value up =
      graph.unary(config.activation, graph.linear(attended, role("ffn_up"), role("ffn_up")), role("ffn_up"));
  Value down = graph.linear(up, role("ffn_down"), role("ffn_down"));
  sum = graph.add(attended, down, role("ffn_residual"));
  return graph.layerNorm(sum, role("layer_output_norm"), config.epsilon, role("layer_output_norm"));
}

void buildEncoder(mlir::ModuleOp module, const EncoderConfig &config, const ModelBounds &bounds,
                  const ParameterTable &parameters) {
  GraphBuilder graph(module, encoderParameters(config), parameters);
  // Every row has type 0, so its embedding joins the one of the position.
  graph.declareTablePlusRow("position_and_type", "position_embd", "token_types");
  llvm::SmallVector<Value> inputs = graph.beginEntry("encode", {{"tokens", "n", 1, bounds.rows},
                                                                {"sequences", "n", 1, bounds.rows},
                                                                {"positions", "n", 1, bounds.rows}});
  Value tokens = inputs[0], sequences = inputs[1], positions = inputs[2];
  Value hidden = graph.add(graph.embedding("token_embd", tokens, 1, "token_embd"),
                           graph.embedding("position_and_type", positions, 1, "position_embd"), "embeddings");
  hidden = graph.layerNorm(hidden, "token_embd_norm", config.epsilon, "token_embd_norm");
  for (int64_t layer = 0; layer < config.layers; ++layer)
    hidden = buildLayer(graph, config, layer, hidden, sequences, positions);
  Value pooled = graph.poolRows(config.pooling, hidden, sequences, "pooling");
  graph.endEntry(graph.l2Normalize(pooled, "pooling"), "embeddings", {"sequences", "s", 1, bounds.rows});
}

} // namespace heddle
