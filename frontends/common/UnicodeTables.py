#!/usr/bin/env python3
"""Writes UnicodeTables.inc, the character classes that tokenizers split text by.

    python3 frontends/common/UnicodeTables.py            writes the file beside this script
    python3 frontends/common/UnicodeTables.py --check    exits 1 if the committed file is stale

The base is Python's `unicodedata`, which must be of Unicode 14.0 (Python 3.11). What other versions changed is listed
below, so that the classes are those of the reference tokenizers and not those of the Python at hand:

- byte-level BPE follows llama.cpp, whose tables are of Unicode 15.1. It differs from 14.0 by added characters alone.
- WordPiece follows the `tokenizers` package (0.23), whose punctuation is of Unicode 8, its nonspacing marks of about
  Unicode 9 and its lower case of Unicode 17. test/e2e/text/compare_unicode.py compares every code point with both.
"""
import sys
import unicodedata
from pathlib import Path

BASE = "14.0.0"
CODE_POINTS = 0x110000

# Assigned in Unicode 15.0 and 15.1: first-last:class.
LATER = """
CF3:M ECE:M 2FFC-2FFF:S 31EF:S 10EFD-10EFF:M 1123F-11240:L 11241:M 11B00-11B09:P 11F00-11F01:M 11F02:L 11F03:M
11F04-11F10:L 11F12-11F33:L 11F34-11F3A:M 11F3E-11F42:M 11F43-11F4F:P 11F50-11F59:N 1342F:L 13440:M
13441-13446:L 13447-13455:M 1B132:L 1B155:L 1D2C0-1D2D3:N 1DF25-1DF2A:L 1E030-1E06D:L 1E08F:M 1E4D0-1E4EB:L
1E4EC-1E4EF:M 1E4F0-1E4F9:N 1F6DC:S 1F774-1F776:S 1F77B-1F77F:S 1F7D9:S 1FA75-1FA77:S 1FA87-1FA88:S
1FAAD-1FAAF:S 1FABB-1FABD:S 1FABF:S 1FACE-1FACF:S 1FADA-1FADB:S 1FAE8:S 1FAF7-1FAF8:S 2B739:L 2EBF0-2EE5D:L
31350-323AF:L
"""

# Nonspacing marks that the tokenizers package does not know and therefore keeps.
UNKNOWN_MARKS = """
7FD 898-89F 8CA-8E1 9FE AFA-AFF B55 C04 C3C D00 D3B-D3C D81 EBA 180F 1885-1886 1ABF-1ACE 1DF6-1DFB A82C A8C5
A8FF A9BD 10D24-10D27 10EAB-10EAC 10F46-10F50 10F82-10F85 11070 11073-11074 110C2 111C9 111CF 1123E 1133B
11438-1143F 11442-11444 11446 1145E 1182F-11837 11839-1183A 1193B-1193C 1193E 11943 119D4-119D7 119DA-119DB
119E0 11A01-11A0A 11A33-11A38 11A3B-11A3E 11A47 11A51-11A56 11A59-11A5B 11A8A-11A96 11A98-11A99 11C30-11C36
11C38-11C3D 11C3F 11C92-11CA7 11CAA-11CB0 11CB2-11CB3 11CB5-11CB6 11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45
11D47 11D90-11D91 11D95 11D97 11EF3-11EF4 16F4F 16FE4 1CF00-1CF2D 1CF30-1CF46 1E000-1E006 1E008-1E018
1E01B-1E021 1E023-1E024 1E026-1E02A 1E130-1E136 1E2AE 1E2EC-1E2EF 1E944-1E94A
"""
FORMER_MARKS = "1734"  # Mn when those tables were made, Mc since Unicode 14

# Punctuation added since Unicode 8, and two characters that were punctuation then.
UNKNOWN_PUNCTUATION = """
61D 9FD A76 C77 C84 1B7D-1B7E 2E43-2E4F 2E52-2E5D 10EAD 10F55-10F59 10F86-10F89 1144B-1144F 1145A-1145B 1145D
11660-1166C 116B9 1183B 11944-11946 119E2 11A3F-11A46 11A9A-11A9C 11A9E-11AA2 11C41-11C45 11C70-11C71
11EF7-11EF8 11FFF 12FF1-12FF2 16E97-16E9A 16FE2 1E95E-1E95F
"""
FORMER_PUNCTUATION = "166D 111C9"
UNKNOWN_FORMATS = "890-891 8E2 110CD 13430-13438"     # category Cf that it does not drop
UNKNOWN_DECOMPOSITIONS = "11938"
# Lower case added in Unicode 15 to 17: first-last:distance.
LATER_LOWER = ("1C89:1 A7CB:-42343 A7CC:1 A7CE:1 A7D2:1 A7D4:1 A7DA:1 A7DC:-42561 10D50-10D65:32 16EA0-16EB8:27")

WHITE_SPACE = "9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000"  # property White_Space
# What BERT calls Chinese. 2B820-2B91F is missing from the tokenizers package.
CHINESE = "3400-4DBF 4E00-9FFF F900-FAFF 20000-2A6DF 2A700-2B81F 2B920-2CEAF 2F800-2FA1F"


def ranges(text):
    """Yields (first, last, value) of a list such as "41-5A:L 61"."""
    for item in text.split():
        span, _, value = item.partition(":")
        first, _, last = span.partition("-")
        yield int(first, 16), int(last or first, 16), value


def points(text):
    return {c for first, last, _ in ranges(text) for c in range(first, last + 1)}


def general_classes():
    """The class of every code point for byte-level BPE."""
    names = {"L": "Letter", "N": "Number", "P": "Punctuation", "S": "Symbol", "M": "Mark"}
    classes = [names.get(unicodedata.category(chr(c))[0], "Other") for c in range(CODE_POINTS)]
    for first, last, value in ranges(LATER):
        classes[first:last + 1] = [names[value]] * (last + 1 - first)
    for c in points(WHITE_SPACE):
        classes[c] = "Space"
    return classes


def word_classes():
    """The class of every code point for WordPiece."""
    kept_marks, kept_formats = points(UNKNOWN_MARKS), points(UNKNOWN_FORMATS)
    no_punctuation, punctuation = points(UNKNOWN_PUNCTUATION), points(FORMER_PUNCTUATION)
    marks, spaces, chinese = points(FORMER_MARKS), points(WHITE_SPACE), points(CHINESE)

    def class_of(c):
        category = unicodedata.category(chr(c))
        if c in (0x9, 0xA, 0xD):
            return "Space"
        if c == 0xFFFD or category in ("Cc", "Cf", "Co") and c not in kept_formats:
            return "Dropped"
        if c in spaces:
            return "Space"
        if c in chinese:
            return "Ideograph"
        if c in marks or category == "Mn" and c not in kept_marks and c not in punctuation:
            return "Mark"
        ascii_symbol = c < 0x80 and category[0] == "S"
        if c in punctuation or ascii_symbol or category[0] == "P" and c not in no_punctuation:
            return "Punctuation"
        return "Word"

    return [class_of(c) for c in range(CODE_POINTS)]


def lower_case():
    """What lower-casing maps a code point to, where that is another text."""
    lower = {c: [ord(x) for x in chr(c).lower()] for c in range(CODE_POINTS) if chr(c).lower() != chr(c)}
    for first, last, distance in ranges(LATER_LOWER):
        lower.update({c: [c + int(distance)] for c in range(first, last + 1)})
    return lower


def decompositions(classes):
    """Canonical decomposition without marks, where that is another text. Hangul is done by arithmetic elsewhere."""
    skipped = points(UNKNOWN_DECOMPOSITIONS)
    result = {}
    for c in range(CODE_POINTS):
        if 0xAC00 <= c <= 0xD7A3 or 0xD800 <= c <= 0xDFFF or c in skipped or classes[c] == "Mark":
            continue
        text = [ord(x) for x in unicodedata.normalize("NFD", chr(c)) if classes[ord(x)] != "Mark"]
        if text != [c]:
            result[c] = text
    return result


def rows(name, items, width=118):
    lines, line = [f"{name}"], "   "
    for item in items:
        if len(line) + len(item) + 1 > width:
            lines.append(line)
            line = "   "
        line += " " + item
    return "\n".join(lines + [line, "};"]) + "\n"


def class_rows(name, classes, scope=""):
    starts = [c for c in range(CODE_POINTS) if c == 0 or classes[c] != classes[c - 1]]
    return rows(f"const ClassRange {name}[] = {{", [f"{{0x{c:X}, {scope}{classes[c]}}}," for c in starts])


def mapping_rows(name, mapping):
    items = []
    for c, text in sorted(mapping.items()):
        assert 1 <= len(text) <= 3, f"U+{c:04X} maps to {len(text)} characters"
        items.append("{0x%X, {%s}}," % (c, ", ".join(f"0x{x:X}" for x in text)))
    return rows(f"const Mapping {name}[] = {{", items)


def generate():
    if unicodedata.unidata_version != BASE:
        sys.exit(f"UnicodeTables.py: expected Python with Unicode {BASE}, found {unicodedata.unidata_version}; "
                 "run it with Python 3.11")
    words = word_classes()
    return ("// Generated by frontends/common/UnicodeTables.py; do not edit.\n"
            + class_rows("generalClasses", general_classes())
            + class_rows("wordClasses", words, "WordClass::")
            + mapping_rows("lowerCase", lower_case())
            + mapping_rows("decompositions", decompositions(words)))


def main():
    path = Path(__file__).with_suffix(".inc")
    text = generate()
    if sys.argv[1:] == ["--check"]:
        if not path.exists() or path.read_text() != text:
            sys.exit(f"{path.name} is stale; run python3 frontends/common/UnicodeTables.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        path.write_text(text)


if __name__ == "__main__":
    main()
