"""Loops of a control-flow graph, by dominators (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm, 2001)."""

from collections.abc import Iterable


def postorder(after: list[list[int]], roots: Iterable[int]) -> list[int]:
    """The nodes that can be reached from the roots, each behind those it leads to (but for branches back)."""
    order, seen = [], set()
    for root in roots:
        stack = [] if root in seen else [(root, iter(after[root]))]
        seen.add(root)
        while stack:
            node, following = stack[-1]
            fresh = next((n for n in following if n not in seen), None)
            if fresh is None:
                order.append(node)
                stack.pop()
            else:
                seen.add(fresh)
                stack.append((fresh, iter(after[fresh])))
    return order


def predecessors(after: list[list[int]], nodes: Iterable[int]) -> dict[int, list[int]]:
    """For each node those of `nodes` that lead to it."""
    before: dict[int, list[int]] = {node: [] for node in nodes}
    for node in before:
        for following in after[node]:
            before[following].append(node)
    return before


def dominators(after: list[list[int]], roots: list[int]) -> tuple[dict[int, int], dict[int, int]]:
    """For each node that can be reached the nearest one that all paths to it pass (-1: none), and the nodes' numbers in
    postorder."""
    order = postorder(after, roots)
    rank = {node: number for number, node in enumerate(order)} | {-1: len(order)}
    before, above = predecessors(after, order), dict.fromkeys(roots, -1) | {-1: -1}

    def meet(a: int, b: int) -> int:
        while a != b:
            while rank[a] < rank[b]:
                a = above[a]
            while rank[b] < rank[a]:
                b = above[b]
        return a

    changed = True
    while changed:
        changed = False
        for node in reversed(order):
            known = [p for p in before[node] if p in above]
            nearest = -1 if node in roots else known[0]
            for other in known:
                nearest = meet(nearest, other)
            if above.get(node) != nearest:
                above[node] = nearest
                changed = True
    return above, rank


def natural_loops(after: list[list[int]], roots: list[int]) -> dict[int, set[int]]:
    """The nodes of each loop by the node it is entered at; branches back to the same node make one loop.

    after: the successors of every node; roots: where control comes in. A cycle that is entered at several places is no
    loop of this kind and is left out.
    """
    above, rank = dominators(after, roots)
    before = predecessors(after, (node for node in rank if node >= 0))
    loops: dict[int, set[int]] = {}
    for node in before:
        for header in after[node]:
            up = node
            while rank[up] < rank[header]:
                up = above[up]
            if up == header:
                _collect(loops.setdefault(header, {header}), node, before)
    return loops


def _collect(body: set[int], node: int, before: dict[int, list[int]]) -> None:
    """Add a node and all that lead to it without passing what is there already."""
    found = [node]
    while found:
        node = found.pop()
        if node not in body:
            body.add(node)
            found += before[node]
