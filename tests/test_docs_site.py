"""The site holds every page and every public name; links work on GitHub as they do there (which `make docs` checks)."""

import importlib
import re
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt
from pages import PAGES, ROOT

API = ROOT / 'docs' / 'api'
PACKAGES = ('functional', 'nn', 'encode', 'losses', 'convert', 'models', 'data', 'adapters', 'testing')
LINK = re.compile(r'(?<=\]\()([^)\s]+)(?=\))')


def anchors(page):
    """Those that GitHub makes of a page's headings."""
    found = set()
    tokens = MarkdownIt().parse(page.read_text())
    for heading, text in pairwise(tokens):
        if heading.type == 'heading_open':
            plain = ''.join(child.content for child in text.children)
            slug = re.sub(r'[^\w\- ]', '', plain.lower()).replace(' ', '-')
            number = sum(re.fullmatch(rf'{re.escape(slug)}(-\d+)?', known) is not None for known in found)
            found.add(f'{slug}-{number}' if number else slug)
    return found


@pytest.mark.parametrize('page', PAGES)
def test_links(page):
    """To files that are there, and to headings that they have."""
    text = re.sub(r'```.*?```|`[^`\n]*`', '', PAGES[page].read_text(), flags=re.DOTALL)
    wrong = []
    for link in LINK.findall(text):
        name, _, anchor = link.partition('#')
        if ':' in name:
            continue
        target = (PAGES[page].parent / name).resolve() if name else PAGES[page]
        if not target.exists() or (anchor and target.suffix == '.md' and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / 'mkdocs.yml').read_text().partition('\nnav:\n')[2]
    listed = re.findall(r': (\S+\.md)$', navigation, re.MULTILINE)
    assert sorted(f'docs/{name}' for name in listed) == sorted(page for page in PAGES if page.startswith('docs/'))


@pytest.mark.parametrize('package', PACKAGES)
def test_every_public_name_is_in_the_reference(package):
    module = importlib.import_module(f'snnkern.{package}')
    public = getattr(module, '__all__', [name for name in vars(module) if name.startswith('assert_')])
    text = (API / f'{package}.md').read_text()
    shown = set(re.findall(rf'^::: snnkern\.{package}\.(?:\w+\.)?(\w+)$', text, re.MULTILINE))
    shown |= set(re.findall(r'`(\w+)`', text))
    assert set(public) - shown - {'recipes'} == set()


def test_every_name_of_the_reference_is_there():
    for page in API.glob('*.md'):
        for name in re.findall(r'^::: (\S+)$', page.read_text(), re.MULTILINE):
            module, _, last = name.rpartition('.')
            assert hasattr(importlib.import_module(module), last), name


def test_parts_are_in_the_reference():
    from snnkern.neurons import AXES

    text = (API / 'snnkern.md').read_text()
    names = [kind.__name__ for kinds in AXES.values() for kind in kinds]
    assert [name for name in names if f'::: snnkern.{name}\n' not in text] == []


@pytest.mark.parametrize('page', sorted((ROOT / 'docs' / 'start').glob('*.md')), ids=lambda path: path.stem)
def test_quick_starts_are_short(page):
    assert len(page.read_text().splitlines()) < 80
