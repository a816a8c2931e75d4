"""What mkdocs does besides (a hook of mkdocs.yml): files outside of docs/ that pages link become part of the site.

On GitHub `../benchmarks/results/pools.json` is a file of the repository. The site holds a copy, which its link leads to.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
COPIES = 'repository'  # the folder of the site that holds them
LINK = re.compile(r'(?<=\]\()([^)#\s:]+)(?=[)#])')


def outside(target: str, page: str) -> str | None:
    """The path in the repository of what a page (its path in docs/) links outside of docs/, or None.

    The pages of copies stand in COPIES, and are looked at as what they are copies of.
    """
    here = posixpath.join('docs', page)
    if page.startswith(f'{COPIES}/'):
        here = page.removeprefix(f'{COPIES}/')
    path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
    return None if path.startswith(('docs/', '..')) else path


def on_files(files: Files, config: Any) -> Files:
    """Add the files that pages link, and those that these link."""
    waiting = list(files.documentation_pages())
    while waiting:
        page = waiting.pop()
        for target in LINK.findall(page.content_string):
            path = outside(target, page.src_uri)
            if path is None or not (ROOT / path).is_file() or files.get_file_from_path(f'{COPIES}/{path}'):
                continue
            copy = File.generated(config, f'{COPIES}/{path}', content=(ROOT / path).read_bytes())
            files.append(copy)
            waiting += [copy] if copy.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to the copies."""
    here = posixpath.dirname(page.file.src_uri)

    def led(match: re.Match[str]) -> str:
        path = outside(match[1], page.file.src_uri)
        if path is None:
            return match[1]
        return posixpath.relpath(f'{COPIES}/{path}', here or '.')

    return LINK.sub(led, markdown)
