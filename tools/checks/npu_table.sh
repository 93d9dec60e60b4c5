#!/usr/bin/env bash
# Checks that the NPU's C table and the tables of its page are what ir/npu/Commands.td makes today.
exec "$(dirname "$0")/../generate_npu.py" --check
