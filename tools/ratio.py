"""Lines of checks beside lines of ideas, in the exported modules

    python tools/ratio.py [--max .25]

A check is a statement that calls a `check_…`, `as_table` or `unknown_names`, even if it keeps what comes back; a `raise` or `assert`; an `if` or `for`
that does nothing else; a `try` line with handlers that end in a `raise`; the body of a function named `check_…` or `_check_…`. An idea is any other
line of a body. Neither: imports, docstrings, comments, blank lines, and signatures with their decorators, which are as long as their docments.

The module `checks` is the home of checks and has no ideas of its own: the ratio leaves it out, and so is about what a reader of the other modules
meets. A second total counts every line of it as a check.
"""
import argparse, ast, io, sys, tokenize
from pathlib import Path

from check import MODULES, ROOT

HOME = 'checks'
BLANK = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}

def lines(node)->set[int]: return set(range(node.lineno, node.end_lineno + 1))

def named_check(name:str)->bool: return name.lstrip('_').startswith('check_') or name in ('as_table', 'unknown_names')

def calls_check(node)->bool:
    "Whether a check is called somewhere in a statement"
    calls = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
    return any(named_check(f.id if isinstance(f, ast.Name) else getattr(f, 'attr', '')) for f in calls)

def is_check(node)->bool:
    "Whether a statement does nothing but check"
    if isinstance(node, ast.Raise | ast.Assert): return True
    if isinstance(node, ast.If | ast.For): return all(map(is_check, node.body + node.orelse))
    return isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return) and calls_check(node)

def neither(node)->set[int]:
    "Lines of a node that are neither checks nor ideas"
    if isinstance(node, ast.Import | ast.ImportFrom): return lines(node)
    if isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING': return lines(node)
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__': return lines(node)
    out = lines(node.body[0]) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None else set()
    if isinstance(node, ast.FunctionDef):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        out |= set(range(first, node.body[0].lineno))  # a body on the line of its `def` is none of the signature
    return out

def checks(node)->set[int]:
    "Lines of a node that are checks"
    if isinstance(node, ast.Try) and node.handlers and all(isinstance(h.body[-1], ast.Raise) for h in node.handlers):
        return {node.lineno}.union(*map(lines, node.handlers))
    if isinstance(node, ast.FunctionDef) and named_check(node.name): return lines(node)
    return lines(node) if isinstance(node, ast.stmt) and is_check(node) else set()

def measure(
    source:str, # of a module
)->tuple[int, int]: # lines of checks, lines of ideas
    "Count one module"
    nodes, code = list(ast.walk(ast.parse(source))), set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in BLANK: code |= set(range(token.start[0], token.end[0] + 1))
    code = code.difference(*map(neither, nodes))
    found = code.intersection(set().union(*map(checks, nodes)))
    return len(found), len(code - found)

def measure_all(
    package:Path, # folder of our modules
)->dict[str, tuple[int, int]]: # lines of checks and of ideas by module
    "Count each module"
    return {py.stem: measure(py.read_text(encoding='utf-8')) for py in sorted(package.glob('[!_]*.py'))}

def total(
    table:dict[str, tuple[int, int]], # from `measure_all`
    with_home:bool=False, # count the module `checks`, too, every line of it as a check?
)->tuple[int, int]: # lines of checks and of ideas
    "Add the modules"
    n_checks, n_ideas = (sum(counts[k] for module, counts in table.items() if module != HOME) for k in (0, 1))
    return n_checks + (sum(table[HOME]) if with_home else 0), n_ideas

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Lines of checks beside lines of ideas')
    parser.add_argument('--max', type=float, help=f'exit with 1 if the ratio without the module `{HOME}` is above this')
    limit, table = parser.parse_args().max, measure_all(ROOT/MODULES)
    print(f'{"module":16}{"checks":>8}{"ideas":>8}{"ratio":>8}')
    rows = table | {f'without {HOME}': total(table), f'with {HOME}': total(table, with_home=True)}
    for name, (n_checks, n_ideas) in rows.items(): print(f'{name:16}{n_checks:8,}{n_ideas:8,}{n_checks/n_ideas:8.2f}')
    n_checks, n_ideas = total(table)
    sys.exit(limit is not None and n_checks/n_ideas > limit)
