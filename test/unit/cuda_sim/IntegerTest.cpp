#include "test/unit/cuda_sim/Harness.h"
#include <algorithm>

using namespace cuda_sim_test;

namespace {

using Reference = uint64_t (*)(uint64_t a, uint64_t b, uint64_t c);
struct Case {
  const char *body;
  unsigned bits;
  Reference reference;
};

int32_t s32(uint64_t v) { return static_cast<int32_t>(v); }
uint32_t u32(uint64_t v) { return static_cast<uint32_t>(v); }
int64_t s64(uint64_t v) { return static_cast<int64_t>(v); }
using wide = __int128;
using uwide = unsigned __int128;

void check(const std::vector<Case> &cases) {
  Values a = integers(256, 1), b = integers(256, 2), c = integers(256, 3);
  for (const Case &each : cases) {
    Values got = evaluate(each.body, each.bits, a, b, c);
    uint64_t mask = each.bits == 64 ? ~uint64_t(0) : (uint64_t(1) << each.bits) - 1;
    for (size_t i = 0; i < a.size(); ++i) {
      uint64_t expected = each.reference(a[i], b[i], c[i]) & mask;
      INFO(each.body << " a " << a[i] << " b " << b[i] << " c " << c[i]);
      REQUIRE(got[i] == expected);
    }
  }
}

} // namespace

TEST_CASE("integer arithmetic") {
  check({
      {"add.s32 %rd, %ra, %rb;", 32, [](uint64_t a, uint64_t b, uint64_t) { return a + b; }},
      {"add.u16 %hd, %ha, %hb;", 16, [](uint64_t a, uint64_t b, uint64_t) { return a + b; }},
      {"sub.s64 %ld, %la, %lb;", 64, [](uint64_t a, uint64_t b, uint64_t) { return a - b; }},
      {"add.sat.s32 %rd, %ra, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) {
         return uint64_t(std::clamp<int64_t>(int64_t(s32(a)) + s32(b), INT32_MIN, INT32_MAX));
       }},
      {"mul.lo.s32 %rd, %ra, %rb;", 32, [](uint64_t a, uint64_t b, uint64_t) { return a * b; }},
      {"mul.hi.s32 %rd, %ra, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(int64_t(s32(a)) * s32(b) >> 32); }},
      {"mul.hi.u64 %ld, %la, %lb;", 64,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(uwide(a) * b >> 64); }},
      {"mul.hi.s64 %ld, %la, %lb;", 64,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(wide(s64(a)) * s64(b) >> 64); }},
      {"mul.wide.s32 %ld, %ra, %rb;", 64,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(int64_t(s32(a)) * s32(b)); }},
      {"mul.wide.u16 %rd, %ha, %hb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(uint16_t(a)) * uint16_t(b); }},
      {"mad.lo.s32 %rd, %ra, %rb, %rc;", 32, [](uint64_t a, uint64_t b, uint64_t c) { return a * b + c; }},
      {"mad.hi.u32 %rd, %ra, %rb, %rc;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) { return (uint64_t(u32(a)) * u32(b) >> 32) + c; }},
      {"mad.wide.u32 %ld, %ra, %rb, %lc;", 64,
       [](uint64_t a, uint64_t b, uint64_t c) { return uint64_t(u32(a)) * u32(b) + c; }},
      {"mul24.lo.s32 %rd, %ra, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) {
         return uint64_t(int64_t(s32(a << 8) >> 8) * (s32(b << 8) >> 8));
       }},
      {"div.s32 %rd, %ra, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) {
         return s32(b) == 0 ? ~uint64_t(0) : uint64_t(int64_t(s32(a)) / s32(b));
       }},
      {"rem.u32 %rd, %ra, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) { return u32(b) ? u32(a) % u32(b) : a; }},
      {"div.u64 %ld, %la, %lb;", 64,
       [](uint64_t a, uint64_t b, uint64_t) { return b ? a / b : ~uint64_t(0); }},
      {"rem.s64 %ld, %la, %lb;", 64,
       [](uint64_t a, uint64_t b, uint64_t) { return b ? uint64_t(wide(s64(a)) % s64(b)) : a; }},
      {"min.s32 %rd, %ra, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(std::min(s32(a), s32(b))); }},
      {"max.u64 %ld, %la, %lb;", 64, [](uint64_t a, uint64_t b, uint64_t) { return std::max(a, b); }},
      {"abs.s32 %rd, %ra;", 32, [](uint64_t a, uint64_t, uint64_t) { return s32(a) < 0 ? 0 - a : a; }},
      {"neg.s64 %ld, %la;", 64, [](uint64_t a, uint64_t, uint64_t) { return 0 - a; }},
      {"sad.u32 %rd, %ra, %rb, %rc;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) { return (u32(a) < u32(b) ? b - a : a - b) + c; }},
      {"sad.s32 %rd, %ra, %rb, %rc;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) { return (s32(a) < s32(b) ? b - a : a - b) + c; }},
  });
}

TEST_CASE("carries make wide additions and products") {
  check({
      {"mov.b64 {%i3, %i4}, %la; mov.b64 {%i5, %i6}, %lb; add.cc.u32 %i3, %i3, %i5; addc.u32 %i4, %i4, %i6;"
       "mov.b64 %ld, {%i3, %i4};",
       64, [](uint64_t a, uint64_t b, uint64_t) { return a + b; }},
      {"mov.b64 {%i3, %i4}, %la; mov.b64 {%i5, %i6}, %lb; sub.cc.u32 %i3, %i3, %i5; subc.u32 %i4, %i4, %i6;"
       "mov.b64 %ld, {%i3, %i4};",
       64, [](uint64_t a, uint64_t b, uint64_t) { return a - b; }},
      {"mov.u32 %i3, 0; mad.lo.cc.u32 %i4, %ra, %rb, %rc; madc.hi.u32 %i5, %ra, %rb, %i3; mov.b64 %ld, {%i4, "
       "%i5};",
       64, [](uint64_t a, uint64_t b, uint64_t c) { return uint64_t(u32(a)) * u32(b) + u32(c); }},
  });
}

TEST_CASE("logic, shifts, bit fields") {
  check({
      {"and.b32 %rd, %ra, %rb;", 32, [](uint64_t a, uint64_t b, uint64_t) { return a & b; }},
      {"or.b64 %ld, %la, %lb;", 64, [](uint64_t a, uint64_t b, uint64_t) { return a | b; }},
      {"xor.b16 %hd, %ha, %hb;", 16, [](uint64_t a, uint64_t b, uint64_t) { return a ^ b; }},
      {"not.b32 %rd, %ra;", 32, [](uint64_t a, uint64_t, uint64_t) { return ~a; }},
      {"cnot.b32 %rd, %ra;", 32, [](uint64_t a, uint64_t, uint64_t) { return uint64_t(u32(a) == 0); }},
      {"shl.b32 %rd, %ra, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) { return u32(b) > 31 ? 0 : a << u32(b); }},
      {"shr.u64 %ld, %la, %rb;", 64,
       [](uint64_t a, uint64_t b, uint64_t) { return u32(b) > 63 ? 0 : a >> u32(b); }},
      {"shr.s32 %rd, %ra, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(s32(a) >> std::min(u32(b), 31u)); }},
      {"shr.s16 %hd, %ha, %rb;", 16,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(int16_t(a) >> std::min(u32(b), 15u)); }},
      {"shf.l.wrap.b32 %rd, %ra, %rb, %rc;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) {
         return ((uint64_t(u32(b)) << 32 | u32(a)) << (c & 31)) >> 32;
       }},
      {"shf.r.clamp.b32 %rd, %ra, %rb, %rc;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) {
         return (uint64_t(u32(b)) << 32 | u32(a)) >> std::min(u32(c), 32u);
       }},
      {"lop3.b32 %rd, %ra, %rb, %rc, 0xca;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) { return (a & b) | (~a & c); }},
      {"lop3.b32 %rd, %ra, %rb, %rc, 0x96;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) { return a ^ b ^ c; }},
      {"prmt.b32 %rd, %ra, %rb, 0x6513;", 32,
       [](uint64_t a, uint64_t b, uint64_t) {
         return (a >> 24 & 255) | (a >> 8 & 255) << 8 | (b >> 8 & 255) << 16 | (b >> 16 & 255) << 24;
       }},
      {"prmt.b32 %rd, %ra, %rb, 0x880c;", 32,
       [](uint64_t a, uint64_t b, uint64_t) {
         uint64_t low = a & 0x80 ? 255 : 0, fifth = b & 0x80 ? 255 : 0;
         return fifth | (a & 255) << 8 | low << 16 | low << 24;
       }},
      {"prmt.b32.f4e %rd, %ra, %rb, 1;", 32,
       [](uint64_t a, uint64_t b, uint64_t) { return u32(a) >> 8 | b << 24; }},
      {"popc.b64 %rd, %la;", 32, [](uint64_t a, uint64_t, uint64_t) { return uint64_t(std::popcount(a)); }},
      {"clz.b32 %rd, %ra;", 32,
       [](uint64_t a, uint64_t, uint64_t) { return uint64_t(std::countl_zero(u32(a))); }},
      {"brev.b32 %rd, %ra;", 32,
       [](uint64_t a, uint64_t, uint64_t) {
         uint64_t out = 0;
         for (int bit = 0; bit < 32; ++bit)
           out |= (a >> bit & 1) << (31 - bit);
         return out;
       }},
      {"bfind.u32 %rd, %ra;", 32,
       [](uint64_t a, uint64_t, uint64_t) { return uint64_t(31 - std::countl_zero(u32(a))); }},
      {"bfind.shiftamt.s32 %rd, %ra;", 32,
       [](uint64_t a, uint64_t, uint64_t) {
         uint32_t v = s32(a) < 0 ? ~u32(a) : u32(a);
         return v ? uint64_t(std::countl_zero(v)) : ~uint64_t(0);
       }},
      {"bmsk.clamp.b32 %rd, %ra, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) {
         uint64_t out = 0;
         for (uint64_t bit = u32(a); bit < 32 && bit < uint64_t(u32(a)) + u32(b); ++bit)
           out |= uint64_t(1) << bit;
         return out;
       }},
      {"szext.clamp.s32 %rd, %ra, 9;", 32,
       [](uint64_t a, uint64_t, uint64_t) { return uint64_t(s32(a << 23) >> 23); }},
      {"bfe.u32 %rd, %ra, 5, 11;", 32, [](uint64_t a, uint64_t, uint64_t) { return a >> 5 & 0x7ff; }},
      {"bfe.s32 %rd, %ra, 28, 9;", 32, [](uint64_t a, uint64_t, uint64_t) { return uint64_t(s32(a) >> 28); }},
      {"bfe.s64 %ld, %la, 40, 8;", 64,
       [](uint64_t a, uint64_t, uint64_t) { return uint64_t(int8_t(a >> 40)); }},
      {"bfi.b32 %rd, %ra, %rb, 8, 4;", 32,
       [](uint64_t a, uint64_t b, uint64_t) { return (b & ~uint64_t(0xf00)) | (a & 15) << 8; }},
      {"bfi.b64 %ld, %la, %lb, 60, 32;", 64,
       [](uint64_t a, uint64_t b, uint64_t) { return (b & ~(uint64_t(15) << 60)) | a << 60; }},
  });
}

TEST_CASE("dot products of bytes") {
  check({
      {"dp4a.s32.u32 %rd, %ra, %rb, %rc;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) {
         for (int k = 0; k < 4; ++k)
           c += uint64_t(int64_t(int8_t(a >> 8 * k)) * uint8_t(b >> 8 * k));
         return c;
       }},
      {"dp2a.hi.u32.s32 %rd, %ra, %rb, %rc;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) {
         for (int k = 0; k < 2; ++k)
           c += uint64_t(int64_t(uint16_t(a >> 16 * k)) * int8_t(b >> 8 * (k + 2)));
         return c;
       }},
  });
}

TEST_CASE("comparisons and selections of integers") {
  check({
      {"setp.lt.s32 %p, %ra, %rb;", 1,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(s32(a) < s32(b)); }},
      {"setp.hs.u64 %p, %la, %lb;", 1, [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(a >= b); }},
      {"setp.ne.s16 %p, %ha, %hb;", 1,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t(uint16_t(a) != uint16_t(b)); }},
      {"setp.gt.u32 %q, %ra, %rc; setp.le.or.s32 %p|%q, %ra, %rb, !%q; @%q mov.u32 %i3, 0;", 1,
       [](uint64_t a, uint64_t b, uint64_t c) { return uint64_t(s32(a) <= s32(b) || !(u32(a) > u32(c))); }},
      {"set.lt.u32.u32 %rd, %ra, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) { return u32(a) < u32(b) ? ~uint64_t(0) : 0; }},
      {"setp.eq.u32 %q, %rc, 1; selp.b64 %ld, %la, %lb, %q;", 64,
       [](uint64_t a, uint64_t b, uint64_t c) { return u32(c) == 1 ? a : b; }},
      {"slct.u32.s32 %rd, %ra, %rb, %rc;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) { return s32(c) >= 0 ? a : b; }},
      {"setp.lt.s32 %q, %ra, 0; setp.lt.s32 %p, %rb, 0; xor.pred %p, %p, %q; not.pred %p, %p;", 1,
       [](uint64_t a, uint64_t b, uint64_t) { return uint64_t((s32(a) < 0) == (s32(b) < 0)); }},
      {"setp.gt.s32 %q, %ra, %rb; @!%q mov.u32 %rd, %ra; @%q mov.u32 %rd, %rb;", 32,
       [](uint64_t a, uint64_t b, uint64_t) { return s32(a) > s32(b) ? b : a; }},
  });
}

TEST_CASE("conversions between integers") {
  check({
      {"cvt.s64.s8 %ld, %ra;", 64, [](uint64_t a, uint64_t, uint64_t) { return uint64_t(int8_t(a)); }},
      {"cvt.u32.u8 %rd, %la;", 32, [](uint64_t a, uint64_t, uint64_t) { return uint64_t(uint8_t(a)); }},
      {"cvt.s16.s32 %hd, %ra;", 16, [](uint64_t a, uint64_t, uint64_t) { return a; }},
      {"cvt.sat.s8.s32 %rd, %ra;", 32,
       [](uint64_t a, uint64_t, uint64_t) { return uint64_t(std::clamp(s32(a), -128, 127)); }},
      {"cvt.sat.u8.s32 %rd, %ra;", 32,
       [](uint64_t a, uint64_t, uint64_t) { return uint64_t(std::clamp(s32(a), 0, 255)); }},
      {"cvt.sat.u32.u64 %rd, %la;", 32,
       [](uint64_t a, uint64_t, uint64_t) { return std::min<uint64_t>(a, UINT32_MAX); }},
      {"cvt.sat.s32.u64 %rd, %la;", 32,
       [](uint64_t a, uint64_t, uint64_t) { return std::min<uint64_t>(a, INT32_MAX); }},
      {"cvt.pack.sat.s8.s32.b32 %rd, %ra, %rb, %rc;", 32,
       [](uint64_t a, uint64_t b, uint64_t c) {
         auto part = [](uint64_t v) { return uint64_t(uint8_t(std::clamp(s32(v), -128, 127))); };
         return c << 16 | part(a) << 8 | part(b);
       }},
      {"mov.b64 {%i3, _}, %la; mov.b32 {%hd, %hc}, %i3; mov.b32 %rd, {%hc, %hd};", 32,
       [](uint64_t a, uint64_t, uint64_t) { return (a >> 16 & 0xffff) | a << 16; }},
  });
}
