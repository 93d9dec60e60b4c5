// The commands and the two machines of the NPU: the one table that everything is made from. tools/generate_npu.sh
// writes runtime/include/heddle/npu_commands.h and the reference in docs/npu-isa.md from it; tools/checks/npu.sh holds
// them fresh. What a command computes is written in docs/npu-isa.md.
//
// Frozen: an opcode, a field's position and a number of a machine never change; a new machine gets a new name.

#ifndef HEDDLE_NPU_COMMANDS_TD
#define HEDDLE_NPU_COMMANDS_TD

/// Who executes a command. A command of `AnyQueue` names its queue in flag 0.
class Queue<string n> { string name = n; }
def Control : Queue<"control">;
def Dma : Queue<"dma">;
def Array : Queue<"array">;
def Vector : Queue<"vector">;
def AnyQueue : Queue<"any">;

/// What a field's value (immediate + register) may be, checked when the command is dispatched.
class Kind<string n, string words> { string name = n; string summary = words; }
def ChipAddress : Kind<"chip", "an on-chip address">;
def DramAddress : Kind<"dram", "a DRAM address">;
def ChipStride : Kind<"chip_stride", "0 to 2^24, bytes">;
def DramStride : Kind<"dram_stride", "0 to 2^40, bytes">;
def Bytes : Kind<"bytes", "0 to 2^24">;
def Count : Kind<"count", "0 to 65535">;
def Columns : Kind<"columns", "0 to the array's width">;
def RowLimit : Kind<"row_limit", "1 to 2^31 - 1">;
def Shift : Kind<"shift", "0 to 62">;
def Exponent : Kind<"exponent", "-64 to 64">;
def Scalar : Kind<"scalar", "-2^31 to 2^31 - 1">;
def ScalarOrChip : Kind<"scalar_or_chip", "an on-chip address, or with mode b_scalar -2^31 to 2^31 - 1">;
def Trips : Kind<"trips", "up to 2^32; below 0 counts as 0">;
def Units : Kind<"units", "1 to 65535">;
def Value : Kind<"value", "any 64-bit number">;
def Destination : Kind<"destination", "1 to 63, immediate">;
def Semaphore : Kind<"semaphore", "0 to 15, immediate">;

class Field<string n, Kind k> { string name = n; Kind kind = k; }

/// Values of flag byte 0.
class Functions<list<string> n> { list<string> names = n; }
def NoFunction : Functions<[]>;
def QueueName : Functions<["dma", "array", "vector"]>;
def RegisterFunction : Functions<["add", "sub", "mul", "min", "max", "div", "and", "shl", "shr"]>;
def BinaryFunction : Functions<["add", "sub", "mul", "min", "max", "div", "eq", "lt"]>;
def ReduceFunction : Functions<["sum", "max", "abs_max", "sum_squares"]>;
def TableFunction : Functions<["exp", "gelu", "silu", "rsqrt"]>;

class Command<int number, Queue q, list<Field> f, string words> {
  int opcode = number;
  Queue queue = q;
  list<Field> fields = f;
  string summary = words;
  Functions functions = NoFunction;
  list<string> types = []; // operands that flag byte 1 gives a type, two bits each: s8, s16, s32
  list<string> modes = []; // bits of flag byte 2
  int cost = 0;            // of a vector command: passes over its elements
}

def set : Command<0x01, Control, [Field<"rd", Destination>, Field<"a", Value>, Field<"b", Value>],
                  "Register arithmetic: rd = a op b"> { let functions = RegisterFunction; }
def load : Command<0x02, Control, [Field<"rd", Destination>, Field<"address", DramAddress>],
                   "rd = the s32 at a DRAM address">;
def loop : Command<0x03, Control, [Field<"count", Trips>], "Repeats what follows, up to the matching end_loop">;
def end_loop : Command<0x04, Control, [], "Ends a loop">;
def barrier : Command<0x05, Control, [], "Waits until all queues are empty and idle">;
def signal : Command<0x06, AnyQueue, [Field<"semaphore", Semaphore>, Field<"units", Units>],
                     "Adds units once all earlier commands of the queue are complete"> { let functions = QueueName; }
def wait : Command<0x07, AnyQueue, [Field<"semaphore", Semaphore>, Field<"units", Units>],
                   "Takes units; the queue stops until there are enough"> { let functions = QueueName; }

class Transfer<int number, string words> : Command<number, Dma, [
  Field<"chip", ChipAddress>, Field<"chip_s1", ChipStride>, Field<"chip_s2", ChipStride>,
  Field<"dram", DramAddress>, Field<"dram_s1", DramStride>, Field<"dram_s2", DramStride>,
  Field<"n0", Bytes>, Field<"n1", Count>, Field<"n2", Count>], words>;
def dma_load : Transfer<0x10, "DRAM to chip, three dimensions">;
def dma_store : Transfer<0x11, "Chip to DRAM, three dimensions">;
class IndexedTransfer<int number, string words> : Command<number, Dma, [
  Field<"chip", ChipAddress>, Field<"chip_s1", ChipStride>,
  Field<"dram", DramAddress>, Field<"dram_s1", DramStride>,
  Field<"n0", Bytes>, Field<"n1", Count>, Field<"index", ChipAddress>, Field<"rows", RowLimit>], words>;
def dma_gather : IndexedTransfer<0x12, "DRAM rows to chip, rows named by indices on the chip">;
def dma_scatter : IndexedTransfer<0x13, "Chip rows to DRAM, rows named by indices on the chip">;

def matmul : Command<0x20, Array, [
  Field<"acc", ChipAddress>, Field<"acc_stride", ChipStride>, Field<"a", ChipAddress>, Field<"a_stride", ChipStride>,
  Field<"w", ChipAddress>, Field<"w_stride", ChipStride>, Field<"m", Count>, Field<"k", Count>, Field<"n", Columns>],
  "acc[m][n] (+)= a[m][k] * w[k][n], s8 by s8 into s32"> { let modes = ["accumulate", "transposed"]; }

defvar tile = [Field<"dst", ChipAddress>, Field<"dst_stride", ChipStride>, Field<"a", ChipAddress>,
               Field<"a_stride", ChipStride>];
defvar extent = [Field<"rows", Count>, Field<"cols", Count>];
def vec_fill : Command<0x30, Vector, [Field<"dst", ChipAddress>, Field<"dst_stride", ChipStride>,
                                      Field<"rows", Count>, Field<"cols", Count>, Field<"value", Scalar>],
                       "dst = value"> { let types = ["dst"]; let cost = 1; }
def vec_binary : Command<0x31, Vector, !listconcat(tile, [Field<"b", ScalarOrChip>, Field<"b_stride", ChipStride>],
                                                   extent, [Field<"shift", Shift>]),
                         "dst = a op b, shifted"> {
  let functions = BinaryFunction; let types = ["dst", "a", "b"]; let modes = ["b_scalar", "b_per_row"]; let cost = 1;
}
def vec_requant : Command<0x32, Vector, !listconcat(tile, [Field<"records", ChipAddress>, Field<"zero", Scalar>], extent),
                          "dst = (a + bias) * multiplier >> shift, + zero, by column or row"> {
  let types = ["dst", "a"]; let modes = ["per_row"]; let cost = 1;
}
def vec_reduce : Command<0x33, Vector, !listconcat(tile, extent, [Field<"shift", Shift>]),
                         "dst[row] = a over the columns of the row"> {
  let functions = ReduceFunction; let types = ["dst", "a"]; let cost = 1;
}
def vec_lookup : Command<0x34, Vector, !listconcat(tile, [Field<"table", ChipAddress>], extent),
                         "dst = table[a], 256 entries of the destination's type"> {
  let types = ["dst", "a"]; let cost = 2;
}
def vec_function : Command<0x35, Vector, !listconcat(tile, extent, [Field<"shift", Shift>]),
                           "dst = a function of the s32 a, by a built-in table"> {
  let functions = TableFunction; let types = ["dst"]; let cost = 4;
}
def vec_from_f32 : Command<0x36, Vector, !listconcat(tile, extent, [Field<"exponent", Exponent>]),
                           "dst = the f32 a times 2^exponent, as an integer"> { let types = ["dst"]; let cost = 1; }
def vec_to_f32 : Command<0x37, Vector, !listconcat(tile, extent, [Field<"exponent", Exponent>]),
                         "dst = f32 of a times 2^-exponent"> { let types = ["a"]; let cost = 1; }
def vec_select : Command<0x38, Vector, !listconcat(tile, [Field<"b", ChipAddress>, Field<"b_stride", ChipStride>],
                                                   extent, [Field<"value", Scalar>]),
                         "dst = b != 0 ? a : value"> {
  let types = ["dst", "a", "b"]; let modes = ["b_per_row"]; let cost = 1;
}
def vec_from_f16 : Command<0x39, Vector, !listconcat(tile, extent, [Field<"exponent", Exponent>]),
                           "dst = the f16 a times 2^exponent, as an integer"> { let types = ["dst"]; let cost = 1; }
def vec_to_f16 : Command<0x3a, Vector, !listconcat(tile, extent, [Field<"exponent", Exponent>]),
                         "dst = f16 of a times 2^-exponent"> { let types = ["a"]; let cost = 1; }

// -------------------------------------------------------------------------------------------------------------------
class Machine<int number> {
  int id = number;
  int array = ?;           // rows and columns of the array
  int lanes = ?;           // elements that the vector unit does a cycle
  int bankBytes = ?;       // of scratchpad and accumulators alike
  int scratchpadBanks = ?;
  int accumulatorBanks = ?;
  int dmaBytes = ?;        // a cycle
  int dmaLatency = ?;      // cycles from a transfer's end on the bus to its data's being there
  int queueDepth = 16;
  string likeness = ?;
}
def edge : Machine<1> {
  let array = 16; let lanes = 16; let bankBytes = 32768; let scratchpadBanks = 20; let accumulatorBanks = 2;
  let dmaBytes = 8; let dmaLatency = 100;
  let likeness = "NXP i.MX 93: Arm Ethos-U65 with 256 MAC a cycle at 1 GHz, 640 KiB of on-chip memory, 16-bit LPDDR4X at 3733 MT/s (7.5 GB/s)";
}
def mobile : Machine<2> {
  let array = 32; let lanes = 64; let bankBytes = 32768; let scratchpadBanks = 12; let accumulatorBanks = 4;
  let dmaBytes = 12; let dmaLatency = 200;
  let likeness = "Rockchip RK3588, one of its three NPU cores: 1024 int8 MAC a cycle at 1 GHz, 12 banks of 32 KiB, a third of 64-bit LPDDR4X at 4266 MT/s (34.1 GB/s)";
}

#endif
