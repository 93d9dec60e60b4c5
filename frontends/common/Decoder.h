// The family of decoder-only transformers: llama, qwen2, qwen3, gemma3 and what resembles them.
#pragma once
#include "frontends/common/GraphBuilder.h"

namespace heddle {

struct DecoderConfig {
  int64_t vocabulary = 0, hidden = 0, intermediate = 0, layers = 0;
  int64_t heads = 0, kvHeads = 0, keyDim = 0, valueDim = 0;
  int64_t contextLength = 0; // of the model, not of what is compiled
  float epsilon = 1e-5f;
  float embeddingScale = 1;
  float attentionScale = 1;

  mlir::heddle::UnaryKind activation = mlir::heddle::UnaryKind::Silu; // of the gate
  bool headNorms = false;   // RMS norm over each head of q and k, before RoPE
  bool outputNorms = false; // RMS norm of each branch's output, before it is added

  mlir::heddle::Pairing pairing = mlir::heddle::Pairing::Half;
  int64_t ropeDim = 0; // elements of a head that rotate
  double ropeBase = 10000, ropeScale = 1;

  int64_t window = 0;        // of local layers; 0: every layer is global
  int64_t windowPattern = 0; // layer i is global iff (i + 1) is a multiple; 0: every layer is local
  double localRopeBase = 10000;

  float attentionSoftcap = 0, logitSoftcap = 0; // 0: none

  bool isLocal(int64_t layer) const {
    return window != 0 && (windowPattern == 0 || (layer + 1) % windowPattern != 0);
  }
};

/// The parameters of such a model, in the order of its graph. Roles: token_embd, blk.N.attn_norm,
/// blk.N.attn_q, ..., output_norm, output (absent: tied to token_embd), rope_freqs (divisors of the RoPE
/// frequencies).
std::vector<ParameterSpec> decoderParameters(const DecoderConfig &config);

/// Writes the entry step(tokens[n], slots[n], positions[n], wanted[m]) -> logits[m, vocabulary] into
/// `module`.
void buildDecoder(mlir::ModuleOp module, const DecoderConfig &config, const ModelBounds &bounds,
                  const ParameterTable &parameters);

} // namespace heddle
