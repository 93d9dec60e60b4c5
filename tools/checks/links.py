#!/usr/bin/env python3
"""Checks that relative links in Markdown pages lead to files, and that docs/README.md lists every page."""

import re

from common import SOURCE, finish, tracked_files

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
problems = []
pages = [path for path in tracked_files() if path.suffix == ".md"]
for page in pages:
    text = re.sub(r"```.*?```", "", (SOURCE / page).read_text(), flags=re.DOTALL)
    for target in LINK.findall(text):
        if "://" not in target and not (SOURCE / page.parent / target).exists():
            problems.append(f"{page}: link to '{target}', which does not exist")
index = (SOURCE / "docs" / "README.md").read_text()
for page in pages:
    if page.parts[0] == "docs" and page.name != "README.md" and str(page.relative_to("docs")) not in index:
        problems.append(f"docs/README.md does not list {page}")
finish(problems)
