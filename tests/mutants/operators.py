"""Mechanical bugs: each operator changes one place of a source file in one way.

They are the slips that solvers are prone to: history in the wrong order, a sign, a factor, the
other end of the step, noise in the last one, alpha for sigma, noise of another size, an evaluation
or a state that is not renewed, a condition or a declared fact turned round. Messages, checks of
arguments (but for being turned round), annotations and defaults are left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Names of the two ends of a step or an interval: where both are known, one may stand for the other.
ENDS = [
    ("t", "s"), ("a", "b"), ("at_t", "at_s"), ("r_t", "r_s"), ("lam_t", "lam_s"), ("d_t", "d_s"),
    ("scale_t", "scale_s"), ("first", "last"), ("start", "end"), ("low", "high"),
    ("y_t", "y_s"), ("before", "at"),
]  # fmt: skip
OTHER = {**dict(ENDS), **{b: a for a, b in ENDS}}
# What asks the network, by the name of the function.
EVALUATIONS = {"denoise", "noise", "score", "residual", "drift", "predict", "denoiser", "evaluate"}
# What returns its receiver or first argument one step further.
RENEWALS = {"advance", "newest", "push", "replace", "clamp", "clamp_min", "nan_to_num"}
STEP = {"a": "b", "b": "a", "left": "n"}
MARGINAL = {"alpha": "sigma", "sigma": "alpha", "noise_level": "sigma"}
EXTREMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}

# Fields of a statement that are no part of its first line, or no code.
NOT_HEADER = ("annotation", "returns", "body", "orelse", "handlers", "finalbody")

Change = tuple[str, ast.AST]


@dataclass(frozen=True)
class Mutant:
    """One changed place: the line, the statement before and after, and the whole new source."""

    line: int
    operator: str
    before: str
    after: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Every change of every operator, in the order of the lines; each parses, none is twice."""
    tree = ast.parse(source)
    whole = ast.unparse(tree)
    found: dict[str, Mutant] = {}
    for site in sites(tree):
        before = _header(site.statement)
        for operator, changed in changes(site):
            site.put(changed)
            text = ast.unparse(ast.fix_missing_locations(tree))
            after = _header(changed if site.node is site.statement else site.statement)
            if text != whole:
                line = site.node.lineno  # type: ignore[attr-defined]
                found.setdefault(text, Mutant(line, operator, before, after, text))
            site.put(site.node)
    return list(found.values())


def spread(every: list[Mutant], most: int) -> list[Mutant]:
    """At most ``most`` of them: operators in turn, each one's places spread over the file."""
    if len(every) <= most:
        return every
    groups: dict[str, list[Mutant]] = {}
    for mutant in every:
        groups.setdefault(mutant.operator, []).append(mutant)
    queues = [_scattered(group) for _, group in sorted(groups.items())]
    chosen: list[Mutant] = []
    while len(chosen) < most:
        for queue in queues:
            if queue and len(chosen) < most:
                chosen.append(queue.pop(0))
    return sorted(chosen, key=lambda mutant: mutant.line)


def _scattered(group: list[Mutant]) -> list[Mutant]:
    """The middle one, then those of the quarters, and so on."""
    order: list[int] = []
    parts = 2
    while len(order) < len(group):
        places = [k * len(group) // parts for k in range(1, parts, 2)]
        order += [place for place in places if place not in order]
        parts *= 2
        if parts > 4 * len(group):
            order += [k for k in range(len(group)) if k not in order]
    return [group[k] for k in order]


@dataclass(frozen=True)
class Site:
    """A node in its place: how to put another there, its statement, and what is in scope."""

    node: ast.AST
    put: Callable[[ast.AST], None]
    statement: ast.stmt
    names: frozenset[str]  # known in the function; empty outside of any
    bound: frozenset[str]  # bound before this statement
    guard: bool  # the test of an ``if`` that refuses an argument


def sites(tree: ast.Module) -> Iterator[Site]:
    """Every node that an operator may look at."""
    for k, statement in enumerate(tree.body):
        yield from _statement(statement, _putter(tree.body, k), frozenset(), set())


def _putter(body: list, k: int) -> Callable[[ast.AST], None]:
    def put(node: ast.AST) -> None:
        body[k] = node

    return put


def _statement(
    node: ast.stmt, put: Callable[[ast.AST], None], names: frozenset[str], bound: set[str]
) -> Iterator[Site]:
    if isinstance(node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom | ast.Pass):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.FunctionDef):
        if node.name == "__repr__":
            return
        arguments = {a.arg for a in [*node.args.args, *node.args.kwonlyargs]}
        stored = {
            n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        names, bound = frozenset(names | arguments | stored), bound | arguments
    guard = isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise)
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield Site(node, put, node, names, frozenset(bound), guard)
        yield from _expressions(node, node, names, frozenset(bound), guard)
    for field in ("body", "orelse", "handlers", "finalbody"):
        body = getattr(node, field, [])
        for k, child in enumerate(body):
            if isinstance(child, ast.ExceptHandler):
                continue
            yield from _statement(child, _putter(body, k), names, bound)
    bound |= {
        n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


def _expressions(
    node: ast.AST, statement: ast.stmt, names: frozenset[str], bound: frozenset[str], guard: bool
) -> Iterator[Site]:
    """The expressions below a statement's header, outermost first."""
    for field, value in ast.iter_fields(node):
        if field in NOT_HEADER and not isinstance(node, ast.IfExp | ast.Lambda):
            continue
        children = value if isinstance(value, list) else [value]
        for k, child in enumerate(children):
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue

            def put(new: ast.AST, field: str = field, value: object = value, k: int = k) -> None:
                if isinstance(value, list):
                    value[k] = new
                else:
                    setattr(node, field, new)

            if hasattr(child, "lineno"):
                yield Site(child, put, statement, names, bound, guard)
            yield from _expressions(child, statement, names, bound, guard)


def _header(node: ast.AST) -> str:
    text = ast.unparse(node).splitlines()
    compound = ast.If | ast.For | ast.While | ast.With | ast.Try
    return text[0] if isinstance(node, compound) else " ".join(line.strip() for line in text)


def changes(site: Site) -> list[Change]:
    """What each operator makes of the node."""
    if isinstance(site.node, ast.stmt):
        return _of_statement(site, site.node)
    if site.guard:
        return []
    handlers: dict[type, Callable[[Site], list[Change]]] = {
        ast.BinOp: _of_binary, ast.UnaryOp: _of_sign, ast.Call: _of_call, ast.Name: _of_name,
        ast.Attribute: _of_attribute, ast.Subscript: _of_subscript, ast.Constant: _of_constant,
        ast.Tuple: _of_tuple, ast.IfExp: _of_choice, ast.BoolOp: _of_boolean,
    }  # fmt: skip
    handle = handlers.get(type(site.node))
    return [] if handle is None else handle(site)


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


def _of_statement(site: Site, node: ast.stmt) -> list[Change]:
    if isinstance(node, ast.If):
        return [("turn a condition round", ast.If(_not(node.test), node.body, node.orelse))]
    if isinstance(node, ast.AugAssign):
        if isinstance(node.value, ast.List):
            return [("drop a term", ast.Pass())]
        return [
            ("flip a sign", ast.AugAssign(node.target, op, node.value)) for op in _opposite(node.op)
        ] + [("drop a factor" if isinstance(node.op, ast.Mult) else "drop a term", ast.Pass())]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return [("leave a statement out", ast.Pass())]
    if isinstance(node, ast.Assign) and not site.names and isinstance(node.value, ast.Constant):
        value = node.value.value
        if isinstance(value, bool):
            return [("declare another fact", ast.Assign(node.targets, ast.Constant(not value)))]
        if isinstance(value, int):
            return [("declare another fact", ast.Assign(node.targets, ast.Constant(value + 1)))]
        return []
    if isinstance(node, ast.Assign) and site.names:
        target = node.targets[0]
        if isinstance(target, ast.Subscript):
            return [("keep what is stale", ast.Pass())]
        stored = [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
        plain = isinstance(target, ast.Name | ast.Tuple)
        if plain and stored and set(stored) <= site.bound:
            return [("keep what is stale", ast.Pass())]
    return []


def _opposite(op: ast.operator) -> list[ast.operator]:
    return {ast.Add: [ast.Sub()], ast.Sub: [ast.Add()]}.get(type(op), [])  # type: ignore[return-value]


def _is_list(node: ast.AST) -> bool:
    text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return text or isinstance(node, ast.List | ast.ListComp | ast.Tuple | ast.JoinedStr)


def _of_binary(site: Site) -> list[Change]:
    node = site.node
    assert isinstance(node, ast.BinOp)
    if _is_list(node.left) or _is_list(node.right):
        return []
    if isinstance(node.op, ast.Mult):
        return [("drop a factor", node.left), ("drop a factor", node.right)]
    if isinstance(node.op, ast.Div):
        swapped = ast.BinOp(node.right, ast.Div(), node.left)
        return [("drop a factor", node.left), ("turn a ratio round", swapped)]
    if isinstance(node.op, ast.Pow):
        return [("drop a factor", node.left)]
    return [("flip a sign", ast.BinOp(node.left, op, node.right)) for op in _opposite(node.op)]


def _of_sign(site: Site) -> list[Change]:
    node = site.node
    assert isinstance(node, ast.UnaryOp)
    return [("flip a sign", node.operand)] if isinstance(node.op, ast.USub) else []


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _call_with(node: ast.Call, k: int, argument: ast.expr) -> ast.Call:
    return ast.Call(node.func, [*node.args[:k], argument, *node.args[k + 1 :]], node.keywords)


def _renamed(node: ast.Call, name: str) -> ast.Call:
    func: ast.expr = ast.Name(name, ast.Load())
    if isinstance(node.func, ast.Attribute):
        func = ast.Attribute(node.func.value, name, ast.Load())
    return ast.Call(func, node.args, node.keywords)


def _of_call(site: Site) -> list[Change]:
    node = site.node
    assert isinstance(node, ast.Call)
    name, found = _called(node), []
    receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
    if name == "sqrt":
        inner = node.args[0] if node.args else receiver
        assert inner is not None
        found.append(("noise of another size", inner))
    if name in ("normal", "fresh"):
        for size in (2.0, 0.0):
            changed = ast.BinOp(ast.Constant(size), ast.Mult(), node)
            found.append(("noise of another size", changed))
    if name == "expm1":
        found.append(("drop a term", _renamed(node, "exp")))
    if name in EXTREMES:
        found.append(("turn a condition round", _renamed(node, EXTREMES[name])))
    if name in RENEWALS:
        first = node.args[0] if name == "replace" else receiver
        assert first is not None
        found.append(("keep what is stale", first))
    if name in EVALUATIONS:
        for k, usual in ((0, "x"), (1, "a")):
            argument = node.args[k] if k < len(node.args) else None
            if isinstance(argument, ast.Name) and argument.id != usual and usual in site.names:
                changed_call = _call_with(node, k, ast.Name(usual, ast.Load()))
                found.append(("stale evaluation", changed_call))
    if name == "zip" and len(node.args) > 1:
        last = ast.Call(ast.Name("reversed", ast.Load()), [node.args[-1]], [])
        found.append(("swap the history", _call_with(node, len(node.args) - 1, last)))
    return found


def _of_name(site: Site) -> list[Change]:
    node = site.node
    assert isinstance(node, ast.Name)
    if not isinstance(node.ctx, ast.Load):
        return []
    found = []
    other = OTHER.get(node.id)
    if other in site.names:
        found.append(("the other end of the step", ast.Name(other, ast.Load())))
    numbered = re.fullmatch(r"(\w+)_(\d)", node.id)
    if numbered:
        stem, k = numbered[1], int(numbered[2])
        for near in (f"{stem}_{k + 1}", f"{stem}_{k - 1}"):
            if near in site.names:
                found.append(("swap the history", ast.Name(near, ast.Load())))
                break
    return found


def _of_attribute(site: Site) -> list[Change]:
    node = site.node
    assert isinstance(node, ast.Attribute)
    if not isinstance(node.ctx, ast.Load):
        return []
    if node.attr == "last":
        return [("forget the last step", ast.Constant(False))]
    if node.attr in STEP:
        other_end = ast.Attribute(node.value, STEP[node.attr], ast.Load())
        return [("the other end of the step", other_end)]
    other = MARGINAL.get(node.attr)
    if other is None:
        return []
    return [("alpha for sigma", ast.Attribute(node.value, other, ast.Load()))]


def _of_subscript(site: Site) -> list[Change]:
    node = site.node
    assert isinstance(node, ast.Subscript)
    index = node.slice
    if isinstance(index, ast.Slice):
        if index.lower is None and index.upper is None:
            return []
        return [("swap the history", ast.Subscript(node.value, ast.Slice(), node.ctx))]
    text = ast.unparse(index)
    if not re.fullmatch(r"-?\d+", text):
        return []
    other = {"0": 1, "-1": 0}.get(text, int(text) - 1)
    if ast.unparse(node.value) in ("times", "levels", "ends", "span") and text == "0":
        other = -1
    return [("swap the history", ast.Subscript(node.value, ast.Constant(other), node.ctx))]


def _of_constant(site: Site) -> list[Change]:
    node = site.node
    assert isinstance(node, ast.Constant)
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    if not site.names and isinstance(site.statement, ast.Assign) and site.statement.value is node:
        return []  # a declared fact
    inside_index = any(
        isinstance(n, ast.Subscript) and node in ast.walk(n.slice) for n in ast.walk(site.statement)
    )
    if inside_index:
        return []
    changed = value + 1 if isinstance(value, int) or value == 0 else 2 * value
    return [("another number", ast.Constant(changed))]


def _of_tuple(site: Site) -> list[Change]:
    node = site.node
    assert isinstance(node, ast.Tuple)
    starred = [isinstance(e, ast.Starred) for e in node.elts]
    targets = isinstance(node.ctx, ast.Store) and len(node.elts) > 1 and not any(starred)
    remembered = isinstance(node.ctx, ast.Load) and starred == [False, True]
    if not (targets or remembered):
        return []
    first, second, *rest = node.elts
    return [("swap the history", ast.Tuple([second, first, *rest], node.ctx))]


def _of_choice(site: Site) -> list[Change]:
    node = site.node
    assert isinstance(node, ast.IfExp)
    changed = ast.IfExp(_not(node.test), node.body, node.orelse)
    return [("turn a condition round", changed)]


def _of_boolean(site: Site) -> list[Change]:
    node = site.node
    assert isinstance(node, ast.BoolOp)
    op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return [("turn a condition round", ast.BoolOp(op, node.values))]
