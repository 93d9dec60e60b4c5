// Sizes of a contraction's tiles, panels and scratch, which code and scratch planning share.
#pragma once
#include "codegen/cpu/Contraction.h"
#include "ir/PackedLayout.h"

namespace heddle::cpu {

inline constexpr int64_t kGroup = PackedLayout::kRows;

/// Sizes of tiles. Wide in columns, few in rows: each broadcast activation serves all vectors of a tile.
struct Tiling {
  int panelRows;               // rows of a tile over an expanded panel
  int narrowRows;              // rows of a tile over half of a panel
  int vectors;                 // vectors of a panel tile or a dense tile, all weight matrices together
  int panelFrom;               // rows from which expanding a panel pays
  std::vector<int> unpackRows; // rows of register-unpacking tiles, descending to 1
  std::vector<int> denseRows;
};

/// What the integer or minimum part needs to know of a row's activations, made once per call in scratch.
enum class Correction {
  None,
  Start, // i32 per sub-block: -z * sum of q, where the dot product starts
  Sum,   // f32 per sub-block: d * sum of q
};

struct Product {
  StorageFormat format;
  PackedLayout layout; // of block formats
  int64_t groupBytes;
  Correction correction = Correction::None;
  int64_t correctionOffset = 0; // in a row's scratch; for Sum over 16 in the activation row itself
  bool inActivation = false;    // the activation row has what is needed
};

/// Expanded weights of one unit in scratch: [k / 4][vector] codes, [k / sub][vector] scales and minimums.
/// Matrices of one format lie side by side, so that they share the broadcasts of a tile.
struct Panel {
  std::vector<size_t> products;
  bool wide; // [k / 2][vector] pairs of s16 codes without zero point, instead of [k / 4][vector] u8
  int64_t codes, scales, minimums; // offsets in scratch
};

/// Sizes that code and scratch planning share.
struct ContractionPlan {
  Tiling tiling;
  std::vector<Product> products;
  int64_t correctionStride = 0; // bytes per input row
  int vectorsPerProduct;
  int64_t unitColumns; // output columns of a panel or dense tile
  std::vector<Panel> panels;
  int64_t wideRows = 0, wideStride = 0; // scratch offset of activations as s16, if a panel is wide
  int64_t scratchBytes = 0;

  ContractionPlan(const CpuLevel &level, const ContractionSpec &spec);

private:
  void addProduct(const ContractionSpec &spec, StorageFormat format);
};

} // namespace heddle::cpu
