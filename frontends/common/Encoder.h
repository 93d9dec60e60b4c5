// Post-norm bidirectional encoders of the BERT family, with pooling to one embedding for each sequence.
#pragma once
#include "frontends/common/GraphBuilder.h"

namespace heddle {

struct EncoderConfig {
  int64_t vocabulary = 0, hidden = 0, intermediate = 0, layers = 0, heads = 0;
  int64_t contextLength = 0; // rows of the position table
  int64_t tokenTypes = 0;    // rows of the type table; type 0 is what encode() computes with
  float epsilon = 1e-12f;
  mlir::heddle::UnaryKind activation = mlir::heddle::UnaryKind::GeluErf;
  mlir::heddle::PoolKind pooling = mlir::heddle::PoolKind::Mean;
};

/// Roles: token_embd, position_embd, token_types, token_embd_norm, blk.N.attn_q, ...,
/// blk.N.layer_output_norm.
std::vector<ParameterSpec> encoderParameters(const EncoderConfig &config);

/// Writes the entry encode(tokens[n], sequences[n], positions[n]) -> embeddings[s, hidden], of length 1, into
/// `module`.
void buildEncoder(mlir::ModuleOp module, const EncoderConfig &config, const ModelBounds &bounds,
                  const ParameterTable &parameters);

} // namespace heddle
