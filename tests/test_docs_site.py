"""The site holds every page and every public name; links work on GitHub as they do there (which `make docs` checks)."""

import importlib
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from pages import PAGES, ROOT, of

import snnkern
from docs.formulas import mathml

API = ROOT / 'docs' / 'api'
PACKAGES = ('functional', 'nn', 'encode', 'losses', 'convert', 'engine', 'models', 'data', 'adapters', 'testing')
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


def without_code(page):
    return re.sub(r'```.*?```|`[^`\n]*`', '', page.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize('page', PAGES)
def test_links(page):
    """To files that are there, and to headings that they have."""
    text = without_code(PAGES[page])
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


def test_names_of_the_package_are_in_the_reference():
    """Its modules have pages of their own, what acts on networks stands with its module."""
    shown = {
        name
        for page in API.glob('*.md')
        for name in re.findall(r'^::: snnkern\.(?:\w+\.)*(\w+)$', page.read_text(), re.M)
    }
    assert set(snnkern.__all__) - shown - {*PACKAGES, 'presets', '__version__'} == set()
    assert {'snnkern.presets.NEURONS', 'snnkern.__version__'} <= set(
        re.findall(r'`([\w.]+)`', (API / 'snnkern.md').read_text())
    )


@pytest.mark.parametrize('package', PACKAGES)
def test_every_public_name_is_in_the_reference(package):
    module = importlib.import_module(f'snnkern.{package}')
    public = getattr(module, '__all__', [name for name in vars(module) if name.startswith('assert_')])
    text = (API / f'{package}.md').read_text()
    shown = set(re.findall(rf'^::: snnkern\.{package}\.(?:\w+\.)?(\w+)$', text, re.MULTILINE))
    shown |= set(re.findall(r'`(\w+)`', text))
    assert set(public) - shown - {'recipes'} == set()  # a module, below


@pytest.mark.parametrize('module', ['adapters.nir', 'convert.recipes', 'models.spiking'])
def test_modules_of_packages_are_in_the_reference(module):
    text = (API / f'{module.partition(".")[0]}.md').read_text()
    names = importlib.import_module(f'snnkern.{module}').__all__
    assert [name for name in names if f'::: snnkern.{module}.{name}\n' not in f'{text}\n'] == []


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


INLINE = [
    (page, text) for page, path in PAGES.items() for text in re.findall(r'(?<!`)\$([^$`\n]+)\$', without_code(path))
]


def test_formulas_become_mathml():
    """Without a script, which would come from another host."""
    formulas = [*(text for _, text in INLINE), *(block.text for block in of('math'))]
    assert len(formulas) > 40
    for formula in formulas:
        ElementTree.fromstring(mathml(rf'\({formula}\)', 'inline'))
    with pytest.raises(ValueError, match='does not know'):
        mathml(r'\(\begin{aligned} a &= b \end{aligned}\)', 'block')


def test_readers_need_no_other_host():
    assert re.findall(r'https?://\S+', (ROOT / 'mkdocs.yml').read_text()) == []
