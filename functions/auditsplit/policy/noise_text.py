"""Write proposed rules into the text of a policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import yaml

from auditsplit.policy.noise import Proposal

_RULE = "- level:"


def inserted(text: str, found: Iterable[Proposal], total_bytes: int) -> str:
    """Return the policy ``text`` with the rules ``found`` before its last rule and the comment above that.

    Args:
        text: A policy in YAML, whose rules begin in the first column.
        found: The proposed rules.
        total_bytes: What the last rule would have recorded.
    """
    lines = text.splitlines(keepends=True)
    last = max(index for index, line in enumerate(lines) if line.startswith(_RULE))
    while lines[last - 1].startswith("#"):
        last -= 1
    return "".join([*lines[:last], *_rules(found, total_bytes), *lines[last:]])


def _rules(found: Iterable[Proposal], total_bytes: int) -> Iterator[str]:
    for each in found:
        yield f"# Noise: {each.events:,} events, {100 * each.bytes / total_bytes:.1f} % of the bytes of the rest.\n"
        rule = each.rule
        document: dict[str, object] = {"level": rule.level}
        if rule.users:
            document["users"] = list(rule.users)
        if rule.user_groups:
            document["userGroups"] = list(rule.user_groups)
        document["verbs"] = list(rule.verbs)
        document["resources"] = [{"group": each.group, "resources": list(each.resources)} for each in rule.resources]
        yield yaml.safe_dump([document], sort_keys=False, width=1000)
        yield "\n"
