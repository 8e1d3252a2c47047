# SPDX-License-Identifier: Apache-2.0
"""The plugin ABI is frozen: the header lays down in memory what the record of its number says."""
import os
import re
import struct
import sys
from pathlib import Path

import pytest

import layout

HERE = Path(__file__).resolve().parent
HEADER = (HERE.parents[1] / "core" / "include" / "rasad" / "plugin.h").read_text()
RECORD = HERE / f"plugin-{re.search(r'^#define RASAD_ABI ([0-9]+)', HEADER, re.M)[1]}.txt"

pytestmark = pytest.mark.skipif(struct.calcsize("P") != 8 or sys.byteorder != "little",
                                reason="the record is of 64-bit little-endian machines")


def differences(tmp_path, header):
    now = layout.measure(header, tmp_path, os.environ.get("CC", "cc"))
    return list(layout.compare(layout.read_record(RECORD.read_text()), now))


def test_the_header_is_as_its_record_says(tmp_path):
    found = differences(tmp_path, HEADER)
    assert not found, "the plugin ABI has changed:\n" + "\n".join(found)


# An edit of the header, and what is said of it.
EDITS = {
    "a member behind a struct without size": ("    uint64_t zero_count;\n", "    uint64_t zero_count;\n    uint32_t more;\n",
                          "rasad_native.more is new, but this struct carries no size: .* would break"),
    "a member that fills padding": ("    int32_t schema;\n", "    int32_t schema;\n    uint16_t gap;\n",
                                    "rasad_native.gap is new"),
    "a member between others": ("    uint64_t seed; ", "    double odd;\n    uint64_t seed; ",
                        r'rasad_value.seed: was "40 +8 +uint64_t seed", is "48 +8 +uint64_t seed"'),
    "another type of the same size": ("    double bound;", "    uint64_t bound;",
                                      'rasad_point.bound: was .*double bound", is .*uint64_t bound"'),
    "another signature": ("bool (*verify)(const void *config, const void *state, size_t size);",
                          "bool (*verify)(const void *config, void *state, size_t size);",
                          "rasad_plugin.verify: was"),
    "a member gone": ("    uint64_t zero_count;\n", "", "rasad_native.zero_count is gone"),
    "a longer array": ("    char text[512];", "    char text[1024];", "rasad_error.text: was"),
    "another value": ("RASAD_POINT_LABEL = 7", "RASAD_POINT_LABEL = 8", "RASAD_POINT_LABEL: was 7, is 8"),
    "a constant gone": ("    RASAD_APPROXIMATE = 2,", "", "RASAD_APPROXIMATE: was 2, is gone"),
    "another magic": ("0x44415352", "0x44415353", "RASAD_MAGIC: was"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_breaks_plugins_is_found(tmp_path, edit):
    old, new, said = EDITS[edit]
    assert HEADER.count(old) == 1
    found = differences(tmp_path, HEADER.replace(old, new))
    assert any(re.search(said, text) for text in found), found
    assert all("raise RASAD_ABI" in text for text in found)


def test_growth_at_the_end_wants_a_line(tmp_path):
    grown = HEADER.replace("    void (*release)(void *config);\n",
                           "    void (*release)(void *config);\n    bool (*idle)(const void *config);\n")
    found = differences(tmp_path, grown)
    assert len(found) == 1 and "growth at the end is allowed" in found[0]
    assert found[0].endswith("    152    8  bool (*idle)(const void *)")


def test_a_new_constant_wants_a_line(tmp_path):
    found = differences(tmp_path, HEADER.replace("    RASAD_SUMMARY = 4,", "    RASAD_SUMMARY = 4,\n    RASAD_SET = 5,"))
    assert len(found) == 1 and found[0].endswith("constant RASAD_SET 5")


def test_what_the_reader_does_not_understand_is_no_gap(tmp_path):
    with pytest.raises(ValueError, match="double a, b"):
        layout.read_header(HEADER.replace("    double value;\n    double bound;", "    double a, b;"))
