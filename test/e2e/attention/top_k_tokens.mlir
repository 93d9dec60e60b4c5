// The 24 tokens that score highest over all heads, scores below zero counting as zero (the indexer of DeepSeek-V3.2), then attention to them alone.
%tokens_seen = heddle.top_k 24 of %q $INDEX at %slots, %positions {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %zero = arith.constant 0.0 : f32
  %y = arith.maximumf %s, %zero : f32
  heddle.yield %y : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %see = arith.cmpi sle, %kp, %qp : i32
  heddle.yield %see : i1
} : $INDEX_TYPES -> !heddle.selection<tokens, ?x640>
%o = heddle.attention %q $KEYS at %slots, %positions select(%tokens_seen : !heddle.selection<tokens, ?x640>) {scale = 0.25 : f32} score {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  heddle.yield %s : f32
} mask {
^bb0(%s: f32, %qh: i32, %kh: i32, %qp: i32, %kp: i32, %slot: i32):
  %see = arith.cmpi sle, %kp, %qp : i32
  heddle.yield %see : i1
} : $TYPES
