#!/usr/bin/env bash
# Checks that the generated pages in docs/reference/ are what tools/generate_docs.sh makes today.
set -euo pipefail
cd "$(dirname "$0")/../.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
tools/generate_docs.sh "$fresh"
diff -ru docs/reference "$fresh" || { echo "docs/reference is stale; run tools/generate_docs.sh"; exit 1; }
