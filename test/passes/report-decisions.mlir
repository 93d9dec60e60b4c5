// RUN: heddle-opt %s -heddle-choose-precision -heddle-report-decisions 2>&1 | FileCheck %s
// RUN: heddle-opt %s -heddle-choose-precision | heddle-opt -heddle-report-decisions=format=json 2>&1 | FileCheck %s --check-prefix=JSON
// RUN: not heddle-opt %s -heddle-report-decisions=format=html 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// Decisions stand on the module between passes, so they survive being printed; reporting removes them.
// CHECK:     remark: {{.*}}"output"{{.*}}: heddle-choose-precision: precision: i16: the result leaves the function
// CHECK:     module
// CHECK-NOT: heddle.decisions
// JSON:      [{"cost":0,"kind":"precision","pass":"heddle-choose-precision","reason":"i16: the result leaves the function","source":"output"}]
// UNKNOWN:   error: unknown format 'html' of 'heddle-report-decisions'; expected remarks or json
heddle.param @w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>> file 0 at 0
func.func @f(%h: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = heddle.get_param @w : !heddle.stored<64x64xf32, #heddle.enc<q8_0>>
  %0 = heddle.linear %h, %w : tensor<?x64xf32>, !heddle.stored<64x64xf32, #heddle.enc<q8_0>> -> tensor<?x64xf32> loc("output")
  return %0 : tensor<?x64xf32>
}
