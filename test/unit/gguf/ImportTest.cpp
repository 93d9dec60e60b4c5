// From the metadata and the tensor table to a graph, or to a complaint that names what is wrong.
#include "GgufBuilder.h"
#include "frontends/gguf/GgufImport.h"
#include <catch2/catch.hpp>
#include <functional>
#include <map>

using namespace heddle;
using namespace heddle::gguf;
using namespace heddle::gguf::test;

namespace {

struct TensorEntry {
  std::vector<uint64_t> dims; // innermost first
  uint32_t type = 0;
};

/// A model as its metadata and tensors, to be changed by a test before it is written.
struct ModelFile {
  std::map<std::string, std::function<void(GgufBuilder &)>> metadata;
  std::map<std::string, TensorEntry> tensors;

  void text(const std::string &key, const std::string &value) {
    metadata[key] = [=](GgufBuilder &b) { b.text(key, value); };
  }
  void number(const std::string &key, uint32_t value) {
    metadata[key] = [=](GgufBuilder &b) { b.number(key, value); };
  }
  void real(const std::string &key, float value) {
    metadata[key] = [=](GgufBuilder &b) { b.string(key).put(kF32).put(value); };
  }
  void numbers(const std::string &key, std::vector<uint32_t> values) {
    metadata[key] = [=](GgufBuilder &b) {
      b.string(key).put(kArray).put(kU32).put<uint64_t>(values.size());
      for (uint32_t value : values)
        b.put(value);
    };
  }

  GgufBuilder write() const {
    GgufBuilder b;
    b.header(tensors.size(), metadata.size());
    for (const auto &[key, put] : metadata)
      put(b);
    uint64_t offset = 0;
    for (const auto &[name, entry] : tensors) {
      b.tensor(name, entry.dims, entry.type, offset);
      uint64_t elements = 1;
      for (uint64_t dim : entry.dims)
        elements *= dim;
      offset = (offset + elements * 4 + 31) / 32 * 32; // room enough for every type
    }
    return b.align().zeros(offset);
  }
};

ModelFile tinyLlama() {
  ModelFile m;
  m.text("general.architecture", "llama");
  m.number("llama.block_count", 1);
  m.number("llama.context_length", 64);
  m.number("llama.embedding_length", 32);
  m.number("llama.feed_forward_length", 64);
  m.number("llama.attention.head_count", 4);
  m.number("llama.attention.head_count_kv", 2);
  m.real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  m.tensors = {{"token_embd.weight", {{32, 10}}},        {"output_norm.weight", {{32}}},
               {"blk.0.attn_norm.weight", {{32}}},       {"blk.0.attn_q.weight", {{32, 32}}},
               {"blk.0.attn_k.weight", {{32, 16}}},      {"blk.0.attn_v.weight", {{32, 16}}},
               {"blk.0.attn_output.weight", {{32, 32}}}, {"blk.0.ffn_norm.weight", {{32}}},
               {"blk.0.ffn_gate.weight", {{32, 64}}},    {"blk.0.ffn_up.weight", {{32, 64}}},
               {"blk.0.ffn_down.weight", {{64, 32}}}};
  return m;
}

struct Imported {
  int exitCode;
  std::string text; // the graph, or the message
};

Imported import(const ModelFile &model, const ImportOptions &options = {}) {
  mlir::MLIRContext context;
  context.loadDialect<mlir::heddle::HeddleDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect,
                      mlir::math::MathDialect>();
  llvm::Expected<ImportedModel> result =
      importGguf(context, InputFile::copyOf(model.write().bytes, "model.gguf"), "model.gguf", options);
  if (!result) {
    Failure failure = takeFailure(result.takeError());
    return {failure.exitCode, failure.message};
  }
  Imported imported{0, {}};
  llvm::raw_string_ostream stream(imported.text);
  result->module->print(stream);
  return imported;
}

void checkRefused(const ModelFile &model, int exitCode, const std::string &message,
                  const ImportOptions &options = {}) {
  Imported result = import(model, options);
  CHECK(result.text == "model.gguf: " + message);
  CHECK(result.exitCode == exitCode);
}

bool contains(const Imported &imported, const std::string &part) {
  return imported.exitCode == 0 && imported.text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("a small llama becomes a graph") {
  Imported graph = import(tinyLlama());
  REQUIRE(graph.exitCode == 0);
  CHECK(contains(graph, "func.func @step"));
  CHECK(contains(graph, "rope <interleaved>"));
  CHECK(contains(graph, "max_context = 64"));
  CHECK(contains(graph, "max_rows = 256")); // not more rows than the session has positions
}

TEST_CASE("hyperparameters out of range are all named before anything is built") {
  ModelFile m = tinyLlama();
  m.number("llama.block_count", 0xffffffff);
  m.number("llama.embedding_length", 0);
  m.real("llama.attention.layer_norm_rms_epsilon", std::numeric_limits<float>::quiet_NaN());
  m.metadata.erase("llama.context_length");
  checkRefused(
      m, 3,
      "metadata 'llama.block_count' is 4294967295, expected 1 to 1024\n"
      "model.gguf: metadata 'llama.embedding_length' is 0, expected 1 to 1048576\n"
      "model.gguf: metadata 'llama.context_length' is missing, expected an integer from 1 to 268435456\n"
      "model.gguf: metadata 'llama.attention.layer_norm_rms_epsilon' is nan, expected 1e-12 to 0.1");
}

TEST_CASE("absurd hyperparameters are refused one by one") {
  struct Wrong {
    const char *key;
    uint32_t value;
    const char *message;
  };
  const Wrong wrong[] = {
      {"llama.attention.head_count", 0, "metadata 'llama.attention.head_count' is 0, expected 1 to 1024"},
      {"llama.attention.head_count_kv", 3,
       "metadata 'llama.attention.head_count' is 4, expected a multiple of 'llama.attention.head_count_kv' "
       "(3)"},
      {"llama.rope.dimension_count", 7,
       "metadata 'llama.rope.dimension_count' is 7, expected an even number up to the width of a head (8)"},
      {"llama.rope.dimension_count", 16,
       "metadata 'llama.rope.dimension_count' is 16, expected an even number up to the width of a head (8)"},
      {"llama.vocab_size", 11,
       "metadata 'llama.vocab_size' is 11, expected 10, the rows of tensor 'token_embd.weight'"},
      {"llama.attention.value_length", 1u << 31,
       "metadata 'llama.attention.value_length' is 2147483648, expected 1 to 8192"},
  };
  for (const Wrong &each : wrong) {
    ModelFile m = tinyLlama();
    m.number(each.key, each.value);
    checkRefused(m, 3, each.message);
  }
  ModelFile m = tinyLlama();
  m.text("llama.block_count", "one");
  checkRefused(m, 3, "metadata 'llama.block_count' is a string, expected an integer that is not negative");
  m = tinyLlama();
  m.real("llama.rope.freq_base", -1);
  checkRefused(m, 3, "metadata 'llama.rope.freq_base' is -1, expected 1 to 1e+12");
  m = tinyLlama();
  m.metadata.erase("general.architecture");
  checkRefused(m, 3, "metadata 'general.architecture' is missing, expected a string");
}

TEST_CASE("tensors that are missing or have another shape are all named") {
  ModelFile m = tinyLlama();
  m.tensors.erase("blk.0.ffn_up.weight");
  m.tensors["blk.0.attn_k.weight"].dims = {32, 32};
  m.tensors["output_norm.weight"].dims = {32, 1};
  checkRefused(m, 3,
               "the tensors do not fit the metadata:\n"
               "  tensor 'blk.0.attn_k.weight' has shape [32, 32], expected [16, 32]\n"
               "  tensor 'blk.0.ffn_up.weight' is missing, expected shape [64, 32]\n"
               "  tensor 'output_norm.weight' has shape [1, 32], expected [32]");
  m = tinyLlama();
  m.number("llama.block_count", 100);
  Imported result = import(m);
  CHECK(result.exitCode == 3);
  CHECK(result.text.find("and 871 more") != std::string::npos);
}

TEST_CASE("everything unsupported is named at once") {
  ModelFile m = tinyLlama();
  m.tensors["blk.0.ffn_up.weight"] = {{256, 8}, 16};
  m.tensors["blk.0.ffn_down.weight"] = {{256, 8}, 39};
  m.number("llama.expert_count", 8);
  m.text("llama.rope.scaling.type", "yarn");
  checkRefused(
      m, 4,
      "is not supported, for 4 reasons:\n"
      "  RoPE scaling of type 'yarn' (metadata 'llama.rope.scaling.type'); expected 'none' or 'linear'\n"
      "  metadata 'llama.expert_count' asks for a feature that is not supported yet\n"
      "  tensor 'blk.0.ffn_up.weight' is stored as 'iq2_xxs'; requantize the model from its source, for "
      "example "
      "with 'llama-quantize IN OUT q4_k_m'\n"
      "  tensor 'blk.0.ffn_down.weight' is stored as 'mxfp4'; requantize the model from its source, for "
      "example "
      "with 'llama-quantize IN OUT q4_k_m'");
  m = tinyLlama();
  m.text("general.architecture", "mamba\x1b[2J");
  checkRefused(m, 4,
               "is not supported: architecture 'mamba\\x1b[2J'; known architectures: bert, gemma3, llama, "
               "qwen2, qwen3");
  m = tinyLlama();
  m.tensors["blk.0.attn_q_norm.weight"].dims = {8};
  checkRefused(m, 4,
               "is not supported: 1 tensors have no place in architecture 'llama'; the first is tensor "
               "'blk.0.attn_q_norm.weight' of shape [8]");
  m = tinyLlama();
  m.numbers("llama.attention.head_count_kv", {1, 2});
  checkRefused(
      m, 4,
      "is not supported: metadata 'llama.attention.head_count_kv' differs between layers; expected one value "
      "for all");
}

TEST_CASE("bounds out of range are refused") {
  ImportOptions options;
  options.maxContext = 65;
  checkRefused(tinyLlama(), 4, "a context of 65 is asked for, expected at most the model's own (64)",
               options);
  options = {};
  options.maxSlots = 0;
  checkRefused(tinyLlama(), 4, "0 sequences of a session are asked for, expected 1 to 4096", options);
  options = {};
  options.maxRows = int64_t(1) << 40;
  checkRefused(tinyLlama(), 4, "1099511627776 rows of one call are asked for, expected 1 to 65536", options);
}

TEST_CASE("optional tensors and settings reach the graph") {
  ModelFile m = tinyLlama();
  CHECK(!contains(import(m), "bias"));
  m.tensors["blk.0.attn_q.bias"].dims = {32};
  CHECK(contains(import(m), "bias"));
  m.tensors["rope_freqs.weight"].dims = {4};
  CHECK(contains(import(m), "derived [@rope_freqs]"));
  m.tensors["output.weight"].dims = {32, 10};
  CHECK(contains(import(m), "get_param @output "));
  m.text("llama.rope.scaling.type", "linear");
  m.real("llama.rope.scaling.factor", 4);
  CHECK(contains(import(m), "scale = 2.500000e-01"));
  m.number("llama.attention.sliding_window", 16);
  m.text("llama.rope.scaling.type", "none");
  CHECK(contains(import(m), "window = 16"));
  m.numbers("llama.attention.head_count_kv", {2, 2, 2});
  CHECK(contains(import(m), "kv_cache<2x8x8xf16>"));
}

TEST_CASE("vectors in another format than f32 are decoded by a recipe") {
  ModelFile m = tinyLlama();
  m.tensors["output_norm.weight"].type = 1;
  Imported graph = import(m);
  CHECK(contains(graph, "@output_norm.stored : !heddle.stored<32xf32, #heddle.enc<f16>> file 0"));
  CHECK(contains(graph, "@output_norm : tensor<32xf32> derived [@output_norm.stored]"));
}
