"""Messages that were written for the command line, in the words of Python."""

from __future__ import annotations

import re

from sde_diffusion.config import groups

PLAIN = {"null": "None", "true": "True", "false": "False"}
COMMANDS = re.compile(r"('sde-diffusion[^']*')")
BESIDE = re.compile(r"(?<![\w./-])(\w+=[^\s,;:()]+) (?=[a-z]\w*=)")
VALUES = re.compile(r"(=|\bor |; use )(null|true|false)\b")


def in_python(message: str) -> str:
    """``message`` with keys, names and values as a call takes them: ``solver.order=3`` becomes
    ``solver__order=3``, ``solver=unipc nfe=4`` ``solver="unipc", nfe=4``, and ``null`` None.
    Commands stay."""
    any_group = "|".join(map(re.escape, sorted(groups.BASES, key=len, reverse=True)))
    keys = re.compile(rf"(?<![\w./-])({any_group})((?:\.(?!py\b|yaml\b)[a-z]\w*)+)(?=[=:, ;]|$)")
    names = re.compile(rf"(?<![\w./-])({any_group})=(?!nan|inf)([a-z][\w-]*)(?=[:,; )]|$)")

    def told(text: str) -> str:
        text = VALUES.sub(lambda m: m[1] + PLAIN[m[2]], text)
        text = keys.sub(lambda m: m[1] + m[2].replace(".", "__"), text)
        return BESIDE.sub(r"\1, ", names.sub(lambda m: f'{m[1]}="{m[2]}"', text))

    return "".join(part if k % 2 else told(part) for k, part in enumerate(COMMANDS.split(message)))
