// Packed weights of a block format as a warp multiplies them: 16 rows of weights are the A side of `mma`, and
// the layout `w16` holds them in the order in which the lanes want them (docs/cuda.md).
#pragma once
#include "codegen/cuda/Emit.h"
#include "ir/PackedLayout.h"

namespace heddle::cuda {

class WeightFragments {
public:
  /// Columns whose fragments are loaded together: as registers allow, and a divisor of large super-blocks.
  static constexpr int kChunk = 128;

  /// What a lane has of 16 columns. Mma: quad lane % 4 of rows lane / 4 and lane / 4 + 8, as `mma` wants its
  /// A side. Rows: quads lane / 16 * 2 and the next of row lane % 16.
  enum class Lanes { Mma, Rows };

  /// `group` is the address of the warp's row group, `lane` its place in the warp.
  WeightFragments(Emitter &e, StorageFormat format, int64_t columns, Value group, Value lane,
                  Lanes lanes = Lanes::Mma);

  /// Bytes of one step of 32 columns as they lie in memory; what a format does not have is null.
  struct Raw {
    Value low[4], high[4];
    Value scale[2], minimum[2];             // of the lane's rows, of which there are two or one
    Value subScale[2][2], subMinimum[2][2]; // [row][half]; halves where sub-blocks have 16 columns
    int odd = 0; // second half of 64 columns whose two-bit planes were loaded together
  };
  /// Loads `steps` (up to 4) steps from chunk number `chunk` on.
  llvm::SmallVector<Raw, 4> load(Value chunk, int steps);

  struct Fragment {
    Value a[4];                       // codes less the zero point: two quads, then those 16 columns further
    Value scale[2][2], minimum[2][2]; // f32, [row][half]
  };
  Fragment decode(const Raw &raw);

  /// Values that are there, in a fixed order, and back.
  static Values flatten(llvm::ArrayRef<Raw> raws);
  static llvm::SmallVector<Raw, 4> unflatten(llvm::ArrayRef<Raw> like, ValueRange values);

  const PackedLayout layout;
  /// Whether `Fragment::a` is s8; u8 where codes of 8 bits have no zero point.
  bool isSigned() const { return layout.codeBits() < 8 || layout.scheme.zero != 0; }
  /// Sub-blocks of a step: 2 where each 16 columns have a scale.
  int halves() const { return layout.scheme.sub == 16 ? 2 : 1; }

private:
  const int64_t columns; // of a row
  const int rows;        // of a lane
  const int64_t nextQuad,
      nextNibble; // bytes from a lane's first quad to its second, in codes and one-bit planes
  Value twoBits(Value word, int plane) { return e.bitAnd(e.shiftRightU(word, 2 * plane), 0x03030303); }

  Emitter &e;
  Value group, row4, row2, row1; // of the lane's first row
  Value vector;                  // byte offset of the vector of its first quad
  Value maskByte, maskShift;     // of the row's nibble in a high plane of one bit
  Value quad8;                   // byte offset of the quad's mask
};

} // namespace heddle::cuda
