"""What mkdocs does besides (a hook of mkdocs.yml): files outside of docs/ that pages link become part of the site.

On GitHub `../benchmarks/results/pools.json` is a file of the repository. The site has a copy, where its link leads.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
COPIES = 'repository'  # the folder of the site that holds them
LINK = re.compile(r'(?<=\]\()([^)#\s:]+)(?=[)#])')


def place(target: str, page: str) -> str:
    """The path in the repository of what a page links; a copy's links are those of what it is a copy of."""
    here = page.removeprefix(f'{COPIES}/') if page.startswith(f'{COPIES}/') else f'docs/{page}'
    return posixpath.normpath(posixpath.join(posixpath.dirname(here), target))


def on_files(files: Files, config: Any) -> Files:
    """Add the files outside of docs/ that pages link, and those that these link."""
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        for target in LINK.findall(page.content_string):
            path = place(target, page.src_uri)
            copied = path.startswith('docs/') or files.get_file_from_path(f'{COPIES}/{path}') is not None
            if copied or not (ROOT / path).is_file():
                continue
            copy = File.generated(config, f'{COPIES}/{path}', content=(ROOT / path).read_bytes())
            files.append(copy)
            waiting += [copy] if copy.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to the copies, and those of copies to the pages."""
    own = page.file.src_uri

    def led(match: re.Match[str]) -> str:
        path = place(match[1], own)
        there = path.removeprefix('docs/') if path.startswith('docs/') else f'{COPIES}/{path}'
        return posixpath.relpath(there, posixpath.dirname(own) or '.')

    return LINK.sub(led, markdown)
