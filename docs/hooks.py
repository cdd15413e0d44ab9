"""MkDocs hooks: what pages take from data and code when the site is built.

- ``{{ table argument }}`` becomes a table of the modules beside this one.
- A path or a test that a page names in code style must exist, else the build warns.
"""

import logging
import re
from pathlib import Path
from typing import Any

import protocol_tables
import reference
import server_tables
import summaries
import trained

ROOT = Path(__file__).resolve().parent.parent
TABLES = {
    "about": summaries.about,
    "ablations": trained.ablations,
    "boosts": protocol_tables.boosts,
    "closed-forms": summaries.closed_forms,
    "command": reference.command,
    "count": summaries.count,
    "ecosystem": summaries.ecosystem,
    "engines": server_tables.engines,
    "engine-list": server_tables.engine_list,
    "engine-peers": server_tables.engine_peers,
    "gateway": server_tables.gateway,
    "identities": summaries.identities,
    "intervals": summaries.intervals,
    "learned": summaries.learned,
    "learning": summaries.learning,
    "live": server_tables.live,
    "machines": trained.machines,
    "models": trained.models,
    "paper": summaries.paper,
    "nodes": trained.nodes,
    "ppo": trained.ppo,
    "predictor": summaries.predictor,
    "protocols": protocol_tables.protocols,
    "tails": protocol_tables.tails,
    "verdicts": protocol_tables.verdicts,
    "against": protocol_tables.against,
    "reference-traces": summaries.reference_traces,
    "schedulers": summaries.schedulers,
    "settings": reference.settings,
    "speed": summaries.speed,
    "suite-groups": reference.suite_groups,
    "suite-training": reference.suite_training,
    "versions": summaries.versions,
}
PLACEHOLDER = re.compile(r"\{\{ ([a-z-]+) ?(.*?) \}\}")
TEST = re.compile(r"`(tests/[\w/.-]+\.py)::(\w+)`")
FILE = re.compile(r"`((?:agents|data_tools|docs|edgecloud_gym|examples|tests)/[\w/.-]*)`")

log = logging.getLogger("mkdocs.hooks.edgecloud")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fills a page's placeholders and checks what it says of the repository."""
    source = page.file.src_uri
    for path, test in TEST.findall(markdown):
        file = ROOT / path
        if not file.exists() or f"def {test}(" not in file.read_text(encoding="utf-8"):
            log.warning("%s: there is no test %s::%s", source, path, test)
    for path in FILE.findall(markdown):
        if not (ROOT / path).exists():
            log.warning("%s: there is no %s", source, path)

    def fill(found: re.Match[str]) -> str:
        table, argument = found.groups()
        try:
            return TABLES[table](argument)
        except (KeyError, FileNotFoundError) as error:
            log.warning("%s: %s: %r", source, found[0], error)
            return f"*{found[0]} could not be filled.*"

    lines = []
    for line in markdown.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        lines.append(PLACEHOLDER.sub(fill, line).replace("\n", f"\n{indent}"))
    return "\n".join(lines)
