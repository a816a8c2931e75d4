"""What mkdocs does besides (a hook of mkdocs.yml): formulas become MathML, which browsers show without a script.

A script for formulas would come from another host: without it readers saw backslashes.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'(<(span|div) class="arithmatex">)(.*?)(</\2>)', re.DOTALL)
DISPLAY = {'span': 'inline', 'div': 'block'}


def mathml(formula: str, display: str) -> str:
    r"""The <math> element of \(..\) or \[..\]; ValueError for what latex2mathml passes on as text."""
    text = html.unescape(formula).strip()[2:-2].strip()
    found = convert(text, display=display)
    if re.search(r'>(\\\w*|&)<', found):
        raise ValueError(f'a formula holds what latex2mathml does not know: {text}')
    return found


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as MathML."""
    return FORMULA.sub(lambda m: m[1] + mathml(m[3], DISPLAY[m[2]]) + m[4], content)
