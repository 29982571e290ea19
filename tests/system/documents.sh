#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# documents.sh - each command of README.md, docs/TUTORIAL.md and docs/OPERATIONS.md is run, and prints
# what stands below it there.
set -u
BUILD=$(realpath "${BUILD:-build}")
export BUILD PATH=$BUILD:$PATH
failed=0
for document in README.md docs/TUTORIAL.md docs/OPERATIONS.md; do
	python3 tests/support/document.py "$document" || failed=1
done
exit $failed
