// Branches, calls, barriers, fences.
#include "drivers/cuda_sim/KernelBuilder.h"

namespace heddle::cuda_sim {

namespace {

void nothing(Warp &, const Instruction &) {}
void poll(Warp &w, const Instruction &) { w.polled = true; }

void selectBranch(Selector &s) {
  s.out.cls = Class::Branch;
  if (s.take("idx")) {
    s.take("uni");
    s.expectOperands(2, 2);
    s.source(0, Type::B32);
    if (s.operand(1).kind != Operand::Kind::Label)
      s.fail("expected a list of labels");
    s.builder.branchTable(s, s.operand(1).index);
    return;
  }
  s.take("uni");
  s.expectOperands(1, 1);
  if (s.statement.opcode == "brx")
    s.fail("only brx.idx is supported");
  if (s.operand(0).kind != Operand::Kind::Label)
    s.fail("expected a label");
  s.builder.branchTo(s, s.operand(0).index);
}

void selectReturn(Selector &s) {
  s.out.cls = Class::Branch;
  s.take("uni");
  s.expectOperands(0, 0);
  s.builder.returnFrom(s);
}

void selectExit(Selector &s) {
  s.out.cls = Class::Branch;
  s.expectOperands(0, 0);
  s.out.control = Control::Exit;
}

void selectCall(Selector &s) {
  s.out.cls = Class::Branch;
  s.take("uni");
  s.builder.call(s);
}

void selectTrap(Selector &s) {
  s.expectOperands(0, 0);
  s.out.control = Control::Trap;
}

/// op: barrier, count of threads or -1 [, value, result]. out.a: 0 plain, 1 popc, 2 and, 3 or.
void selectBarrier(Selector &s) {
  s.out.cls = Class::Barrier;
  s.take("cta");
  bool isWarp = s.take("warp");
  if (isWarp) {
    if (!s.take("sync"))
      s.fail("only bar.warp.sync is supported");
    s.expectOperands(1, 1);
    s.syncMask(0);
    s.out.control = Control::WarpBarrier;
    s.out.execute = nothing;
    return;
  }
  s.out.aligned = s.take("aligned") || s.statement.opcode == "bar";
  std::string_view kind = s.takeOneOf({"sync", "arrive", "red"});
  size_t at = 0;
  bool isReduction = kind == "red";
  if (isReduction) {
    std::string_view operation = s.takeOneOf({"popc", "and", "or"});
    s.out.a = operation == "popc" ? 1 : operation == "and" ? 2 : 3;
    if (operation.empty() || s.takeType() != (s.out.a == 1 ? Type::U32 : Type::Pred))
      s.fail("expected .popc.u32, .and.pred or .or.pred");
    at = 1;
  }
  if (kind.empty())
    s.fail("expected .sync, .arrive or .red");
  s.expectOperands(at + 1 + (kind == "arrive"), at + 2 + isReduction);
  s.source(at, Type::B32);
  bool hasCount = s.operandCount() == at + 2 + isReduction;
  if (hasCount) {
    s.source(at + 1, Type::B32);
  } else {
    s.constantSource(~0u);
  }
  if (isReduction) {
    s.predicateSource(s.operand(s.operandCount() - 1));
    if (s.out.a == 1)
      s.result(0, Type::U32);
    else
      s.predicateResult(s.operand(0));
  }
  s.out.control = kind == "arrive" ? Control::Arrive : Control::Barrier;
}

void selectFence(Selector &s) {
  s.expectOperands(0, 0);
  s.takeOneOf({"sc", "acq_rel", "acquire", "release"});
  s.take("proxy");
  s.takeOneOf({"alias", "async", "async.global"});
  s.takeOneOf({"gl", "cta", "sys", "gpu", "cluster"});
  s.out.cls = Class::Barrier;
  s.out.execute = nothing;
  s.ordersMemory = true;
}

void selectNanosleep(Selector &s) {
  s.takeType();
  s.expectOperands(1, 1);
  s.source(0, Type::U32);
  s.out.execute = poll;
}

} // namespace

std::vector<InstructionFamily> controlFamily() {
  return {{"bra", selectBranch},   {"brx", selectBranch},  {"ret", selectReturn},
          {"exit", selectExit},    {"call", selectCall},   {"trap", selectTrap},
          {"brkpt", selectTrap},   {"bar", selectBarrier}, {"barrier", selectBarrier},
          {"membar", selectFence}, {"fence", selectFence}, {"nanosleep", selectNanosleep}};
}

} // namespace heddle::cuda_sim
