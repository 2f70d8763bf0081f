"""Weaves mutants into a source tree: every mutant is there, and `mutation::on(N)` says whether number N is.

The mutants are those that cargo-mutants lists. One build then serves all of them, where cargo-mutants needs a build for each.
"""

from dataclasses import dataclass

import tree_sitter
import tree_sitter_rust

# Around the text of mutant N while a file is put together: OPEN N SPLIT text CLOSE. None of them occurs in Rust.
OPEN, SPLIT, CLOSE = "\x01", "\x02", "\x03"
SWITCH, EITHER = "crate::mutation::on", "crate::mutation::either"
PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))

COMPARISONS = {"<", ">", "<=", ">="}
EQUALITIES = {"==": "!=", "!=": "=="}


@dataclass(frozen=True)
class Mutant:
    """One line of cargo-mutants' list. `start` and `end` count bytes of its file."""

    number: int
    genre: str
    file: str
    name: str
    replacement: str
    start: int
    end: int
    returns: str = ""


def marked(mutant, text):
    """`text` is compiled only for this mutant: errors in it are its own."""
    return f"{OPEN}{mutant.number}{SPLIT}{text}{CLOSE}"


def on(mutant):
    return f"{SWITCH}({mutant.number})"


class Weaver:
    """Puts the mutants of one file into its text. What it finds no place for is left in `homeless`."""

    def __init__(self, source, mutants):
        self.source = source.encode()
        self.root = PARSER.parse(self.source).root_node
        self.nodes = {}
        self.heads = {}
        self.bodies = {}
        self.blocks = set()
        self.homeless = []
        self.starts = [mutant.start for mutant in mutants]
        for mutant in mutants:
            self.place(mutant)

    def place(self, mutant):
        if mutant.genre == "FnValue":
            opaque = "impl " in mutant.returns
            if not opaque:
                self.heads.setdefault(mutant.start, []).append(mutant)
            elif mutant.returns.startswith("-> impl Iterator<") and "leak" not in mutant.replacement:
                # What is leaked is a `&mut`, which is no item of any of them.
                self.bodies.setdefault(mutant.start, []).append(mutant)
            else:
                self.homeless.append(mutant)
            return
        # The span of a field has the comma behind it.
        end = mutant.start + 1 if mutant.genre == "StructField" else mutant.end
        node = self.root.descendant_for_byte_range(mutant.start, end)
        wanted = {
            "BinaryOperator": ("binary_expression", "compound_assignment_expr"),
            "UnaryOperator": ("unary_expression",),
            "MatchArm": ("match_arm",),
            "MatchArmGuard": ("match_arm",),
            "StructField": ("field_initializer", "shorthand_field_initializer"),
        }.get(mutant.genre, ())
        while node is not None and node.type not in wanted:
            node = node.parent
        operator = node and (node.child_by_field_name("operator") or node.child(0))
        misplaced = (
            node is None
            or (mutant.genre == "BinaryOperator" and operator.start_byte != mutant.start)
            or (mutant.genre in ("UnaryOperator", "MatchArm", "StructField") and node.start_byte != mutant.start)
        )
        if misplaced:
            self.homeless.append(mutant)
        else:
            self.nodes.setdefault(node.id, []).append(mutant)
            if mutant.genre == "MatchArm":
                self.blocks.add(node.parent.id)

    def woven(self):
        return self.text(self.root, 0, len(self.source))

    def raw(self, start, end):
        return self.source[start:end].decode()

    def text(self, node, start, end):
        """The woven text from `start` to `end`, of which `node`'s children may cover parts."""
        parts, at = [], start
        for child in node.children:
            parts.append(self.raw(at, child.start_byte))
            parts.append(self.whole(child))
            at = child.end_byte
        parts.append(self.raw(at, end))
        return "".join(parts)

    def whole(self, node):
        """The woven text of a node; before the first statement of a body its function's mutants return."""
        if node.type == "function_modifiers" and any(node.start_byte < start < node.parent.end_byte for start in self.starts):
            # The switch cannot be asked while compiling.
            return self.raw(node.start_byte, node.end_byte).replace("const", "")
        heads = self.heads.pop(node.start_byte, [])
        text = "".join(marked(m, f"if {on(m)} {{ return {m.replacement}; }} ") for m in heads) + self.expression(node)
        first = next((child.start_byte for child in node.named_children if "comment" not in child.type), None)
        for m in self.bodies.pop(first, []) if node.type == "block" else []:
            # A `return` of another type than the body's is no `impl Iterator` any more.
            choice = marked(m, f"if {on(m)} {{ Some({m.replacement}) }} else {{ None }}")
            text = f"{{ {EITHER}({choice}, {text}) }}"
        return text

    def expression(self, node):
        mutants = self.nodes.get(node.id)
        if not mutants:
            text = self.text(node, node.start_byte, node.end_byte)
            return self.closed(text) if node.id in self.blocks else text
        shape = {
            "binary_expression": self.binary,
            "compound_assignment_expr": self.assignment,
            "unary_expression": self.unary,
            "match_arm": self.arm,
            "field_initializer": self.field,
            "shorthand_field_initializer": self.field,
        }[node.type]
        return shape(node, mutants)

    @staticmethod
    def closed(block):
        """A `match` whose arms can all be away needs one more. Where cargo-mutants' own does not compile, this one panics."""
        arms = block.removesuffix("}").rstrip()
        return arms + ("" if arms.endswith((",", "}")) else ",") + ' _ => panic!("no arm is left") }'

    def binary(self, node, mutants):
        left, right = (self.whole(node.child_by_field_name(side)) for side in ("left", "right"))
        operator = node.child_by_field_name("operator").type
        if operator in EQUALITIES and all(m.replacement == EQUALITIES[operator] for m in mutants):
            flips = "".join(f"{on(m)} ^ " for m in mutants)
            return marked(mutants[0], f"({flips}({left} {operator} {right}))")
        if operator in ("&&", "||"):
            return self.chosen(f"{{ let a: bool = {left};", mutants, lambda op: f"a {op} {right}", operator)
        if operator in COMPARISONS:
            return self.chosen(f"match (&({left}), &({right})) {{ (a, b) =>", mutants, lambda op: f"*a {op} *b", operator)
        return self.chosen(f"match ({left}, {right}) {{ (a, b) =>", mutants, lambda op: f"a {op} b", operator)

    def chosen(self, head, mutants, expression, operator):
        branches = "".join(f"{marked(m, f'if {on(m)} {{ {expression(m.replacement)} }} else ')}" for m in mutants)
        return f"({head} {branches}{{ {expression(operator)} }} }})"

    def assignment(self, node, mutants):
        left, right = (self.whole(node.child_by_field_name(side)) for side in ("left", "right"))
        operator = node.child_by_field_name("operator").type
        branches = "".join(f"{marked(m, f'if {on(m)} {{ {left} {m.replacement} b }} else ')}" for m in mutants)
        return f"{{ let b = {right}; {branches}{{ {left} {operator} b }} }}"

    def unary(self, node, mutants):
        operator, operand = node.child(0).type, self.whole(node.child(1))
        branches = "".join(marked(m, f"if {on(m)} {{ a }} else ") for m in mutants)
        return f"(match {operand} {{ a => {branches}{{ {operator}a }} }})"

    def arm(self, node, mutants):
        pattern = node.child_by_field_name("pattern")
        condition = pattern.child_by_field_name("condition")
        deleted = [m for m in mutants if m.genre == "MatchArm"]
        guards = [m for m in mutants if m.genre == "MatchArmGuard"]
        parts = [f"!{on(m)}" for m in deleted]
        head = self.whole(pattern.child(0))
        if condition is not None:
            guard = f"({self.whole(condition)})"
            for m in guards:
                guard = f"({on(m)} || {guard})" if m.replacement == "true" else f"(!{on(m)} && {guard})"
            parts.append(guard)
        rest = "".join(self.whole(child) + " " for child in node.children if child.start_byte >= pattern.end_byte)
        return f"{head} {marked(mutants[0], 'if ' + ' && '.join(parts))} {rest}"

    def field(self, node, mutants):
        """Without the field, its value is the one of the struct after `..`."""
        base = next(child for child in node.parent.children if child.type == "base_field_initializer").named_child(0)
        name = node.child_by_field_name("field") or node.named_child(0)
        value, name = node.child_by_field_name("value"), self.raw(name.start_byte, name.end_byte)
        text = self.whole(value) if value else name
        for m in mutants:
            text = marked(m, f"if {on(m)} {{ ({self.raw(base.start_byte, base.end_byte)}).{name} }} else {{ {text} }}")
        return f"{name}: {text}"


def unmark(text):
    """The text without marks, and for each mark the mutant's number and the bytes of the result that are its own."""
    out, size, opened, spans = [], 0, [], []
    at = 0
    while at < len(text):
        sign = text[at]
        if sign == OPEN:
            split = text.index(SPLIT, at)
            opened.append((int(text[at + 1 : split]), size))
            at = split + 1
        elif sign == CLOSE:
            number, start = opened.pop()
            spans.append((number, start, size))
            at += 1
        else:
            stop = min((i for i in (text.find(OPEN, at), text.find(CLOSE, at)) if i >= 0), default=len(text))
            out.append(text[at:stop])
            size += len(text[at:stop].encode())
            at = stop
    return "".join(out), spans
