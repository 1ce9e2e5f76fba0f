"""A rehearsal from the first preview to the last: two lives of the stacks, in one account."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.engine import EngineError
from cli.rehearsal import REFUSALS, SEED
from cli.rehearsal.data import protecting
from cli.rehearsal.order import mistakes
from cli.rehearsal.orders import Orders
from cli.rehearsal.phases import (
    AGAIN,
    DOWN,
    EMPTY,
    REFUSED,
    UP,
    WITH_DATA,
    Program,
    Rehearsed,
    empty_project,
    program,
    programs,
)
from cli.rehearsal.plan import StackFile
from cli.rehearsal.stage import Stage
from tools.rehearsal.account import Held
from tools.rehearsal.ledger import POSITION


def rehearse(
    stage: Stage,
    project: Path,
    files: Sequence[StackFile],
    refusals: int = REFUSALS,
    seed: int = SEED,
) -> list[Rehearsed]:
    """An empty program first, then every stack up in the order given, then all of them down in reverse, with objects
    in their buckets and then without. Then all of them up once more, while creations are refused in between.

    Raises:
        EngineError: a phase failed, or the account saw what a cloud would refuse.
    """
    nothing = empty_project(stage, project)
    empty = program(stage, nothing, EMPTY, "{}", nothing)
    told = Rehearsed(EMPTY)
    empty.play(told, {**UP, **DOWN})
    made = programs(stage, project, nothing, files)
    stacks = [Rehearsed(file.name) for file in files]
    both = list(zip(made, stacks, strict=True))
    orders, up = Orders(stage.folder), list[Mapping[str, Held]]()
    for item, result in both:
        item.play(result, UP)
        item.count(result)
        up.append(item.resources())
        if found := mistakes(up, result.judged):
            raise EngineError(
                f"{item.stack}: the order of the program allows calls that a cloud refuses:\n"
                + "\n".join(found)
            )
    for (item, result), resources in reversed(list(zip(both, up, strict=True))):
        _keep_data(item, result, resources, orders)
        item.play(result, DOWN)
    share = -(-refusals // len(both)) if both else 0
    for (item, result), resources in zip(both, up, strict=True):
        _refuse(item, result, len(resources), share, random.Random(f"{seed} {item.stack}"), orders)
    _count_rules(stacks, orders)
    return [told, *stacks]


def _keep_data(item: Program, told: Rehearsed, resources: Mapping[str, Held], orders: Orders) -> None:
    """Destroys a stack whose buckets hold objects: as it is, and once more when nothing is protected. Neither touches
    what protects the objects."""
    guards = protecting(resources)
    if guards:
        orders.give(objects=True)
        for protected in (True, False):
            if not protected:
                item.unprotect()
            began = len(orders.asked())
            done = item.run(told, WITH_DATA, DOWN["destroy"])
            if done.status == 0:
                raise item.error("destroy with data was not refused, so the objects are gone.", done)
            lost = [
                asked.urn for asked in orders.asked(began) if asked.call == "delete" and not asked.refused
            ]
            if protected:
                left = item.resources()
                lost += [urn for urn in guards if left.get(urn) != resources[urn] and urn not in lost]
            if mourned := sorted(guards.intersection(lost)):
                raise item.error(
                    f"destroy with data was refused, but what protects the objects had changed: "
                    f"{', '.join(mourned)}. Protect it, and make the bucket depend on it or it end with the bucket.",
                    done,
                )
        orders.give()
    else:
        item.unprotect()


def _refuse(
    item: Program, told: Rehearsed, count: int, share: int, chance: random.Random, orders: Orders
) -> None:
    """Runs `up` with a creation refused, again and again; each `up` goes on after the one before it."""
    began = len(orders.asked())
    for position in sorted(chance.sample(range(1, count + 1), min(share, count))):
        made = _made(orders, began)
        orders.give(refuse_create=max(1, min(position, count) - made.total()))
        done = item.run(told, REFUSED, UP["up"])
        if done.status == 0 or POSITION not in done.text:
            raise item.error(f"up with creation {position} of {count} refused went another way.", done)
        told.refusals += 1
    orders.give()
    item.play(told, AGAIN)
    twice = [urn for urn, times in _made(orders, began).items() if times > 1]
    if twice:
        raise EngineError(f"{item.stack}: an up after a refused one made again: {', '.join(twice)}")


def _made(orders: Orders, began: int) -> Counter[str]:
    """URN -> how often it was made."""
    return Counter(asked.urn for asked in orders.asked(began) if asked.call == "create" and not asked.refused)


def _count_rules(stacks: Sequence[Rehearsed], orders: Orders) -> None:
    """Adds what the account itself judged."""
    by_stack = {result.stack: result for result in stacks}
    for asked in orders.asked():
        result = by_stack[asked.urn.split("::")[0].rpartition(":")[2]]
        for rule in asked.judged:
            result.judged.setdefault(rule, set()).add(asked.urn)
