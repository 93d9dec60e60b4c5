// Commands: looked up in the generated table, checked, and written as text and back.
//
// Text, one command a line, fields by name, a value as IMMEDIATE, rN or rN+IMMEDIATE:
//   matmul accumulate acc=0x80000000 acc_stride=128 a=r20 a_stride=384 w=r21+1024 w_stride=32 m=r2 k=384 n=32
//   vec_binary add dst:s32 a:s32 b:s8 b_scalar dst=0 dst_stride=64 a=64 a_stride=64 b=1 rows=1 cols=16
//   signal dma semaphore=0 units=1
// Fields that are not named are 0; '#' begins a comment.
#ifndef HEDDLE_DRIVERS_NPU_SIM_COMMAND_H
#define HEDDLE_DRIVERS_NPU_SIM_COMMAND_H
#include <heddle/npu.h>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace heddle::npu_sim {

using Command = heddle_npu_command;
using CommandInfo = heddle_npu_command_info;
using Machine = heddle_npu_machine;

/// Null for an unknown opcode.
const CommandInfo *infoOf(uint8_t opcode);
/// By number or name; null when there is none.
const Machine *findMachine(uint32_t id);
const Machine *findMachine(std::string_view name);

struct Range {
  int64_t minimum, maximum;
};
/// What a field may be; on-chip addresses are judged by the machine's memory.
Range rangeOf(const CommandInfo &info, int field, uint8_t modes, const Machine &machine);

/// All rules that hold before a program runs. Empty, or what is wrong with command `bad`.
std::string validate(std::span<const Command> commands, const Machine &machine, size_t &bad);

std::string print(const Command &command);
/// False with `error`, which names the line.
bool parse(std::string_view text, std::vector<Command> &out, std::string &error);

} // namespace heddle::npu_sim
#endif
