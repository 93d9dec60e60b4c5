// A small NPU of a vendor's own: executes the commands of docs/npu-isa.md one after another. It has no clock,
// and does not look for races; a vendor's hardware does neither.
#pragma once
#include <array>
#include <deque>
#include <heddle/npu.h>
#include <string>
#include <vector>

namespace example {

struct Memory {
  uint64_t address;
  unsigned char *host;
  uint64_t size;
  bool writable;
};

struct Stop {
  std::string why;
};

/// All rules that hold before a program runs; throws Stop.
void check(const std::vector<heddle_npu_command> &commands, const heddle_npu_machine &machine);

class Machine {
public:
  Machine(const heddle_npu_machine &description, const std::vector<heddle_npu_command> &commands,
          const std::vector<Memory> &memory)
      : description(description), commands(commands), memory(memory),
        scratchpad(uint64_t{description.bank_bytes} * description.scratchpad_banks),
        chip(scratchpad + uint64_t{description.bank_bytes} * description.accumulator_banks) {}
  std::array<int64_t, HEDDLE_NPU_REGISTERS> registers{};
  void run(); // throws Stop

private:
  struct Issued {
    heddle_npu_command command;
    std::array<int64_t, HEDDLE_NPU_FIELDS> value;
  };
  Issued evaluate(const heddle_npu_command &command) const;
  bool dispatch();
  bool control(const Issued &c);
  int64_t arithmetic(int function, int64_t a, int64_t b) const;
  bool execute(int queue);
  void move(const Issued &c);
  void moveRows(const Issued &c);
  void matmul(const Issued &c);
  void vector(const Issued &c);
  void vectorRow(const Issued &c, int64_t r, int64_t columns);

  unsigned char *onChip(int64_t address, uint64_t size);
  unsigned char *inDram(int64_t address, uint64_t size, bool writes);
  void copy(int64_t onChipAddress, int64_t dram, uint64_t size, bool toChip);
  int64_t element(int64_t base, int64_t index, int type);

  const heddle_npu_machine &description;
  const std::vector<heddle_npu_command> &commands;
  const std::vector<Memory> &memory;
  uint64_t scratchpad;
  std::vector<unsigned char> chip;
  std::array<std::deque<Issued>, 3> queues;
  std::array<int64_t, HEDDLE_NPU_SEMAPHORES> units{};
  struct Loop {
    size_t begin;
    int64_t left;
  };
  std::vector<Loop> loops;
  size_t next = 0;
  uint64_t steps = 0;
};

} // namespace example
