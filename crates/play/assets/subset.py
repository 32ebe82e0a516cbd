#!/usr/bin/env python3
"""Makes the two fonts of the timeline out of Inter: `subset.py Inter-Regular.otf inter-regular.otf`.

Keeps printable ASCII and a few signs. Plotters (0.3.7, feature ab_glyph) drops the left side bearing of
every glyph and reads kerning from the `kern` table only, so the table written here holds, for each pair,
its kerning plus the difference of the two left side bearings: text is then spaced as Inter is.
Needs fonttools and uharfbuzz.
"""

import sys

import uharfbuzz
from fontTools import subset
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables._k_e_r_n import KernTable_format_0

CHARACTERS = [chr(c) for c in range(0x20, 0x7F)] + list("→·–…×")


def main(source, target):
    shaper = uharfbuzz.Font(uharfbuzz.Face(uharfbuzz.Blob.from_file_path(source)))

    def advance(text):
        buffer = uharfbuzz.Buffer()
        buffer.add_str(text)
        buffer.guess_segment_properties()
        uharfbuzz.shape(shaper, buffer, {"kern": True, "calt": False, "liga": False})
        return sum(position.x_advance for position in buffer.glyph_positions)

    font = TTFont(source)
    options = subset.Options(hinting=False, layout_features=[], name_IDs=[0, 1, 2, 7, 13, 14])
    subsetter = subset.Subsetter(options)
    subsetter.populate(text="".join(CHARACTERS))
    subsetter.subset(font)

    glyph, bearing = font.getBestCmap(), font["hmtx"].metrics
    pairs = KernTable_format_0()
    pairs.apple, pairs.coverage, pairs.version = False, 1, 0
    pairs.kernTable = {}
    for a in CHARACTERS:
        for b in CHARACTERS:
            left, right = glyph[ord(a)], glyph[ord(b)]
            kerning = advance(a + b) - advance(a) - advance(b)
            value = kerning + bearing[right][1] - bearing[left][1]
            if value:
                pairs.kernTable[(left, right)] = value
    font["kern"] = newTable("kern")
    font["kern"].version, font["kern"].kernTables = 0, [pairs]
    font.save(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
