"""Seeds of ptx-fuzz: small kernels of every family of instructions."""

import pathlib
import sys

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"
REGISTERS = (".reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<8>; .reg .f32 %f<8>; .reg .b64 %d<8>;\n"
             "ld.param.u64 %d1, [a]; mov.u32 %r1, %tid.x; mul.wide.u32 %d2, %r1, 4; add.s64 %d3, %d1, %d2;\n")
BODIES = {
    "integer": "mad.lo.s32 %r2, %r1, 3, %r1; shl.b32 %r3, %r2, 5; bfe.s32 %r4, %r3, 2, 7; lop3.b32 %r2, %r3, %r4, %r1, 0x96;"
               "prmt.b32 %r5, %r2, %r3, 0x1234; div.s32 %r6, %r5, %r1; dp4a.s32.u32 %r6, %r5, %r4, %r3;"
               "add.cc.u32 %r2, %r2, %r3; addc.u32 %r3, %r3, 0;",
    "float": "cvt.rn.f32.u32 %f1, %r1; fma.rn.f32 %f2, %f1, 0f3F800000, %f1; ex2.approx.ftz.f32 %f3, %f2;"
             "setp.lt.f32 %p1, %f3, 0f00000000; selp.f32 %f4, %f1, %f2, %p1; cvt.rzi.s32.f32 %r2, %f4; add.rz.f32 %f5, %f1, %f2;",
    "half": "cvt.rn.f16.f32 %h1, 0f3F800000; fma.rn.f16x2 %r2, %r1, %r1, %r1; cvt.f32.f16 %f1, %h1; max.bf16x2 %r3, %r2, %r1;"
            "cvt.rn.bf16x2.f32 %r4, %f1, %f1; mov.b32 {%h2, %h3}, %r4;",
    "memory": "ld.global.nc.v2.u32 {%r2, %r3}, [%d1]; st.global.u32 [%d3+2048], %r2; .shared .align 16 .b8 s[512];"
              "mov.u32 %r4, s; st.shared.u32 [s+4], %r3; bar.sync 0; ld.shared.v4.u32 {%r2, %r3, %r5, %r6}, [%r4];"
              ".local .b32 l[4]; st.local.u32 [l+8], 1; atom.global.add.u32 %r2, [%d1], 1; red.shared.add.u32 [s], 1;",
    "control": "setp.ge.u32 %p1, %r1, 7; @%p1 bra L1; mov.u32 %r2, 1; bra L2; L1: mov.u32 %r2, 2;\nL2: add.u32 %r2, %r2, 1;"
               "setp.lt.u32 %p2, %r2, 9; @%p2 bra L2; and.b32 %r3, %r1, 1; T: .branchtargets L3, L4; brx.idx %r3, T;\n"
               "L3: exit;\nL4: bar.red.popc.u32 %r4, 0, %p1; membar.gl;",
    "exchange": "shfl.sync.bfly.b32 %r2|%p1, %r1, 1, 31, -1; vote.sync.ballot.b32 %r3, %p1, -1; redux.sync.add.s32 %r4, %r1, -1;"
                "match.any.sync.b32 %r5, %r1, -1; activemask.b32 %r6; bar.warp.sync -1;",
    "async": ".shared .align 16 .b8 s[1024]; mov.u32 %r2, s; shl.b32 %r3, %r1, 4; add.u32 %r2, %r2, %r3;"
             "cp.async.cg.shared.global [%r2], [%d1], 16; cp.async.commit_group; cp.async.wait_group 0;"
             "cp.async.ca.shared.global [%r2], [%d1], 4, 2; cp.async.wait_all;",
    "matrix": ".shared .align 16 .b8 s[1024]; mov.u32 %r2, s; ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r3, %r4}, [%r2];"
              "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1, %f2, %f3, %f4}, {%r1, %r2, %r3, %r4}, {%r5, %r6}, "
              "{%f1, %f2, %f3, %f4}; mma.sync.aligned.m8n8k16.row.col.s32.s8.u8.s32 {%r1, %r2}, {%r3}, {%r4}, {%r1, %r2};",
    "scopes": "{ .reg .b32 %r<2>; mov.u32 %r1, 5; { .reg .pred q; setp.eq.u32 q, %r1, 5; @!q trap; } }"
              "{ .param .b32 x; .param .b32 y; st.param.b32 [x], %r1; call.uni (y), f, (x); ld.param.b32 %r2, [y]; }",
}
OUTSIDE = (".file 1 \"a.cu\"\n.global .align 8 .u64 g[2] = {1, 2};\n.global .align 8 .u64 w[1] = {generic(g)+8};\n.const .f32 c = 0f3F800000;\n"
           ".extern .shared .align 16 .b8 dynamic[];\n"
           ".func (.param .b32 r) f(.param .b32 x) { .reg .b32 %r<2>; ld.param.b32 %r1, [x]; st.param.b32 [r], %r1; ret; }\n")

folder = pathlib.Path(sys.argv[1])
for name, body in BODIES.items():
    text = f"{HEAD}{OUTSIDE}.visible .entry k(.param .u64 a)\n{{\n{REGISTERS}.loc 1 2 3\n{body}\nret;\n}}\n"
    (folder / name).write_text(text)
words = {word for body in BODIES.values() for word in body.replace(",", " ").replace(";", " ").split()}
pathlib.Path(sys.argv[2]).write_text("".join(f'"{word}"\n' for word in sorted(words) if '"' not in word))
