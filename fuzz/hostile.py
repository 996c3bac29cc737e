"""Text that no one should pass as a formula, and column names that no one should have."""

from __future__ import annotations

from random import Random

NAMES: tuple[object, ...] = (
    "x", "y", "g", "a b", "a.b", ".x", "_", "`", "``", "a`b", "`a`", " ", "\n", "\t", "\x00",
    "\x1b[31m", "lambda", "__class__", "a.__b", "1", "0", "-1", "1e400", "~", "|", "||", "(1|g)",
    "log", "log(x)", "C", "C(x)", "Intercept", "from_dtype", "all", "none", "x:z", "a/b", "a*b",
    "e\u0301", "\u00e9", "\u53d8\u91cf", "\u202ex", "\ud800", "\U0001f600", "n" * 300,
    "x" * 1_000, "' OR 1=1", '"', "{0}", "%s", "{0.__class__}", "$HOME", "\\", "None", "nan",
    "True", "import os", "\u2212x", "\u0661", 0, 3, -1, 2.5, None, True, ("a", "b"), float("inf"),
)  # fmt: skip

_CODE = (
    "__import__('os').system('touch pwned')",
    "open('pwned', 'w')",
    "eval('1+1')",
    "exec(\"import os; os.environ['PWNED'] = '1'\")",
    "().__class__.__bases__[0].__subclasses__()",
    "lambda: 0",
    "(lambda x: x)(1)",
    "[x for x in (1, 2)]",
    "{x: 1}",
    "x if x else y",
    "I(x**2)",
    "np.log(x)",
    "x.__class__",
    "globals()",
    "print('x')",
    "f'{x}'",
    "x := 1",
    "log(__import__('os'))",
    "C(x, levels=[1])",
    "@x",
    "!x",
    "x; y",
    "x\x00y",
    "# x",
    "${x}",
    "%(x)s",
    "{0.__globals__}",
    "'; DROP TABLE x; --",
    "../../etc/passwd",
    "scale(`__class__`)",
    "x.__init__.__globals__",
)
_NUMBERS = (
    "1e400", "-1e400", "0x10", "1_000", "nan", "inf", "00", "1.", ".5", "1.0",
    "0.0", "2", "99999999999", "1e-400", "\u0661", "\u2167", "\u00b2", "1j", "0b1", "-0", "+1",
    "1" * 400,
)  # fmt: skip
_TOKENS = (
    "x", "y", "g", "`a b`", "log(", "C(", "scale(", "(", ")", "|", "||", "~", "+", "-", "*", "/",
    ":", "^", "^2", "^9", "1", "0", ".", "**", "%in%", "[", "]", "{", "}", "'", '"', ",", "=",
    "$", "`", "``", " ", "\n", "\x00", "\u2212", "(1 | g)", "(x || g)", "lambda", "x.__y", "..",
)  # fmt: skip
_PIECES = ("x + ", "x*", "(", "`", "``", "\n", "-", "1+", "log(", "x:y/", "(1|g)+", "\u00e9")
_FRAMES_OF_CODE = ("{}", "y ~ {}", "x + {}", "(1 | {})", "log({})", "`{}`", "C({}) + x")
_FRAMES_OF_NUMBERS = ("{}", "x + {}", "x:{}", "x^{}", "({} | g)", "(1 | {})", "(x + g)^{}")
_ALPHABETS = (
    (0x20, 0x7E), (0x00, 0x1F), (0x80, 0x2FF), (0x300, 0x36F), (0x590, 0x6FF), (0x2000, 0x206F),
    (0x3040, 0x30FF), (0x4E00, 0x4EFF), (0xD800, 0xDFFF), (0xE000, 0xE0FF), (0xFE00, 0xFE0F),
    (0xFF00, 0xFFEF), (0x1D400, 0x1D4FF), (0x1F600, 0x1F64F), (0xE0000, 0xE007F),
    (0x10FF00, 0x10FFFF),
)  # fmt: skip


def draw_columns(random: Random) -> list[object]:
    """Two to eight column names, no two with the same text."""
    names: dict[str, object] = {}
    for _ in range(random.randint(2, 8)):
        name = random.choice(NAMES)
        names.setdefault(str(name), name)
    return list(names.values())


def mutate(random: Random, text: str) -> str:
    """The text after a few random edits."""
    for _ in range(random.randint(1, 5)):
        start = random.randint(0, len(text))
        stop = min(len(text), start + random.choice((0, 1, 1, 2, 5, 20)))
        kind = random.random()
        if kind < 0.3:
            text = text[:start] + text[stop:]
        elif kind < 0.7:
            text = text[:start] + random.choice(_TOKENS) + text[start:]
        elif kind < 0.8:
            text = text[:start] + text[start:stop] * random.choice((2, 3, 50)) + text[stop:]
        elif kind < 0.9:
            text = text[:start] + _unicode(random, 1) + text[stop:]
        else:
            text = text[start:] + text[:start]
    return text


def draw(random: Random) -> object:
    """A hostile formula; now and then no text at all."""
    kind = random.random()
    if kind < 0.40:
        return "".join(random.choice(_TOKENS) for _ in range(random.randint(0, 40)))
    if kind < 0.55:
        return _unicode(random, random.randint(0, 60))
    if kind < 0.75:
        code = random.choice(_CODE)
        frame = random.choice(
            ("{}", "y ~ {}", "x + {}", "(1 | {})", "log({})", "`{}`", "C({}) + x")
        )
        return frame.replace("{}", code)
    if kind < 0.86:
        frame = random.choice(
            ("{}", "x + {}", "x:{}", "x^{}", "({} | g)", "(1 | {})", "(x + g)^{}")
        )
        return frame.replace("{}", random.choice(_NUMBERS))
    if kind < 0.93:
        return _deep(random)
    if kind < 0.985:
        return _large(random)
    if kind < 0.995:
        return _code_object(random)
    return _huge(random)


def _unicode(random: Random, length: int) -> str:
    first, last = random.choice(_ALPHABETS)
    letters = []
    for _ in range(length):
        if random.random() < 0.3:
            first, last = random.choice(_ALPHABETS)
        letters.append(chr(random.randint(first, last)))
    return "".join(letters)


def _deep(random: Random) -> str:
    """Nested parentheses, calls and bars, closed or not."""
    depth = random.choice(
        (3, 10, 20, 49, 50, 51, 60, 100, 3_000) if random.random() < 0.3 else (3, 51)
    )
    opening = random.choice(("(", "log(", "-(", "(x + ", "(1 | ", "(a:", "C(", "exp(abs("))
    closing = ")" * random.choice((0, depth, depth, depth, depth + 1, depth - 1))
    return opening * depth + random.choice(("x", "1", "", "1 | g")) + closing


def _large(random: Random) -> str:
    """Short text that asks for very many terms."""
    count = random.choice((5, 12, 12, 30, 100))
    names = [f"v{i}" for i in range(count)]
    operator = random.choice("*/:+-")
    whole = operator.join(names)
    kind = random.randrange(5)
    if kind == 0:
        return whole
    if kind == 1:
        return f"({'+'.join(names)})^{random.randint(1, 9)}"
    if kind == 2:
        return "*".join([f"({'+'.join(names[:20])})"] * random.randint(2, 12))
    if kind == 3:
        return f"(1 | {random.choice('*/:').join(names)})"
    return f"({whole} || g) - ({whole})"


def _huge(random: Random) -> str:
    """Text up to and beyond the length that is allowed."""
    piece = random.choice(
        ("x + ", "x*", "(", "`", "``", "\n", "-", "1+", "log(", "x:y/", "(1|g)+", "é")
    )
    length = random.choice((9_000, 9_999, 10_001, 200_000))
    return (piece * (length // len(piece) + 1))[:length] + random.choice(("x", "", "`"))


def _code_object(random: Random) -> object:
    return random.choice(
        (b"x", 1, 1.5, [], ["x"], {}, ("x",), True, object, len, complex(1, 1), float("nan"))
    )
