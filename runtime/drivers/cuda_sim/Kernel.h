// A kernel ready to run: instructions with their handlers, operands as slots of the register file.
#pragma once
#include "drivers/cuda_sim/Simulator.h"
#include "drivers/cuda_sim/Syntax.h"

namespace heddle::cuda_sim {

struct Warp;
struct Instruction;
using Handler = void (*)(Warp &, const Instruction &);

/// What the warp's loop does itself; Run: it only calls the handler.
enum class Control : uint8_t {
  Run,
  WarpSync,      // handler after all lanes of the mask in `sync` have come
  WarpBarrier,   // the same, and lanes may come by different instructions
  Branch,        // to `target`
  BranchIndexed, // by op[0] to tables[target][...]
  Exit,
  Barrier, // wait for others of the block
  Arrive,  // at a barrier, without waiting
  Trap
};

/// Operands are int32_t: >= 0 a slot of the warp's registers in units of 32 x 4 bytes, < 0 ~index of such a
/// unit of the kernel's constants. Predicates: index * 2 + 1 if negated; predicate 0 is true, 1 is for
/// results that nobody wants.
struct Instruction {
  Handler execute = nullptr;
  const int32_t *op = nullptr;
  int64_t imm = 0;                    // offset of an address; otherwise as the handler says
  uint32_t place = 0;                 // index into Kernel::places
  uint32_t target = 0;                // of branches
  int32_t guard = 0;                  // predicate
  int32_t sync = -1;                  // which of `op` is the mask of lanes; -1: all
  uint8_t vector = 1;                 // elements of vector accesses
  uint8_t a = 0, b = 0, c = 0, d = 0; // as the handler says
  Class cls = Class::Other;
  Control control = Control::Run;
  bool aligned = false; // of barriers: all lanes of the warp come at once
  bool leader = false;  // starts a basic block
};
constexpr int32_t truePredicate = 0, sinkPredicate = 1 * 2;

struct Place {
  uint32_t line = 0, name = 0;
  Location location;
};

struct Kernel {
  KernelInfo info;
  std::vector<Instruction> code;
  std::vector<int32_t> operands; // that Instruction::op points into
  std::vector<std::byte> constants;
  std::vector<Place> places;                 // one an instruction
  std::vector<uint32_t> rank;                // of an instruction's basic block, in the order of convergence
  std::vector<std::vector<uint32_t>> tables; // of brx.idx
  std::vector<std::pair<SpecialRegister, int32_t>> specials; // slots that are set when a warp starts
  struct Relocation {
    uint32_t constant; // slot of a 64-bit constant that is the address of a variable of the module
    int64_t variable, addend;
  };
  std::vector<Relocation> relocations;
  std::vector<std::string> names; // of instructions as written, each once
  uint32_t slots = 0, predicates = 2;
  uint32_t registerSlots = 0; // the first ones; special registers and the sink follow
  uint64_t localBytes = 0, parameterBytes = 0;
  uint64_t sharedBytes = 0; // static, red zones included; dynamic shared memory follows
  struct Range {
    uint64_t begin, end;
  };
  std::vector<Range> sharedVariables;
  uint64_t dynamicAlignment = 16;
  bool usesDynamic = false;
  bool fences = false; // some instruction orders memory between threads other than by barriers
};

/// Order of convergence of the basic blocks, leaders and rank. ControlFlow.cpp.
void analyzeControlFlow(Kernel &kernel);

/// How an element of Kernel::operands uses a register.
/// Fixed: a constant, a special register or the slot of unwanted results. Predicate: no slot.
enum class Use : uint8_t { Predicate, Fixed, Read, Write, ReadWide, WriteWide };
/// Lets registers whose lives do not overlap share slots; operands[first[i] ...] are those of instruction i.
/// Slots.cpp.
void shareSlots(Kernel &kernel, const std::vector<uint32_t> &first, const std::vector<Use> &uses);

} // namespace heddle::cuda_sim
