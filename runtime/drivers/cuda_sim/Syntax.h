// What the parser makes of PTX text: names are resolved, instructions are not yet understood.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace heddle::cuda_sim {

enum class Type : uint8_t {
  None,
  B8,
  B16,
  B32,
  B64,
  U8,
  U16,
  U32,
  U64,
  S8,
  S16,
  S32,
  S64,
  F16,
  F16x2,
  BF16,
  BF16x2,
  TF32,
  F32,
  F64,
  Pred,
  S4,
  U4
};
Type typeNamed(std::string_view name); // without the dot; None if it is no type
const char *nameOf(Type type);
unsigned bitsOf(Type type);
inline unsigned bytesOf(Type type) { return bitsOf(type) / 8; }
inline bool isSigned(Type t) { return t >= Type::S8 && t <= Type::S64; }
inline bool isFloat(Type t) { return t >= Type::F16 && t <= Type::F64; }

enum class Space : uint8_t { Generic, Global, Shared, Local, Param, Const };
const char *nameOf(Space space);

/// An error in the text; thrown inside of the library only.
struct TextError {
  uint32_t line;
  std::string message;
};

struct Operand {
  enum class Kind : uint8_t {
    Register, // index
    Integer,  // value
    Float32,  // value: its bits
    Float64,
    Variable, // index into the function's variables, or ~index into the module's; value: offset
    Function, // index
    Label,    // index into the function's labels
    Special,  // index: SpecialRegister
    Vector,   // elements
    Address,  // elements[0], if any, is its base; value: offset
    List,     // of call arguments
    Sink      // _
  };
  Kind kind = Kind::Sink;
  bool negated = false; // !p
  uint32_t line = 0;
  int64_t index = 0;
  int64_t value = 0;
  std::vector<Operand> elements;
  std::vector<Operand> second; // q of p|q
};

enum class SpecialRegister : uint8_t {
  TidX,
  TidY,
  TidZ,
  NtidX,
  NtidY,
  NtidZ,
  CtaidX,
  CtaidY,
  CtaidZ,
  NctaidX,
  NctaidY,
  NctaidZ,
  LaneId,
  WarpId,
  NwarpId,
  LaneMaskEq,
  LaneMaskLe,
  LaneMaskLt,
  LaneMaskGe,
  LaneMaskGt,
  SmId,
  NsmId,
  GridId,
  DynamicSharedSize,
  TotalSharedSize,
  Zero, // components that do not exist, as %tid.w
  Count,
  // Those below change while a kernel runs.
  Clock,
  Clock64,
  GlobalTimer,
};

struct Location { // of .loc
  uint32_t file = 0, line = 0, column = 0;
};

struct Statement {
  std::string opcode;                 // "ld"
  std::vector<std::string> modifiers; // "global", "v4", "f32"
  std::vector<Operand> operands;
  int64_t guard = -1; // register of the predicate
  bool guardNegated = false;
  uint32_t line = 0;
  Location location;
};

struct Variable {
  std::string name;
  Space space = Space::Global;
  uint32_t alignment = 1, elementBytes = 1;
  uint64_t bytes = 0;
  bool external = false;           // declared only; an array of unknown size in shared memory
  std::vector<std::byte> contents; // as far as it is initialized
  struct Address {
    uint64_t offset; // in contents
    int64_t variable, addend;
  };
  std::vector<Address> addresses; // of other variables in contents
};

struct Label {
  std::string name;
  uint32_t scope = 0;
  uint32_t line = 0;
  uint32_t statement = 0;              // that it stands before
  std::vector<uint32_t> branchTargets; // of .branchtargets
  bool defined = false;
};

struct Function {
  std::string name;
  bool isEntry = false, hasBody = false;
  uint32_t line = 0;
  std::vector<int64_t> parameters, results; // indices into variables
  std::vector<Type> registers;
  std::vector<Variable> variables;
  std::vector<Label> labels;
  std::vector<Statement> statements;
  uint32_t requiredBlock[3] = {0, 0, 0};
};

struct SourceFile {
  uint32_t number;
  std::string name;
};

struct Syntax {
  std::vector<Variable> variables;
  std::vector<Function> functions;
  std::vector<SourceFile> files;
  std::string fileName(uint32_t number) const;
};

/// Throws TextError.
Syntax parseText(std::string_view text);

} // namespace heddle::cuda_sim
