"""Moving the champion: judge, write down, move the alias, read back, commit.

The ledger decides and the alias is its projection. So a process that dies
anywhere in between leaves a row that says what it was about, and the next one
ends it: committed when the alias was moved, reverted when it was not.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from vizecg import bundle as bundles
from vizecg import shadow, tracking
from vizecg.errors import Conflict, InputError
from vizecg.gates import Candidate, Evidence, Params, Verdict, judge
from vizecg.promotion.ledger import Action, Entry, Head, Ledger, Move, lineage_of, withdrawn_by
from vizecg.publish import to_json
from vizecg.registry import DIGEST_TAG, BrokenVersion, NoSuchVersion, PinnedVersion, Registry
from vizecg.settings import CHALLENGER, CHAMPION, MODEL_NAME, Settings, shown
from vizecg.shadow import Agreement

NEWEST: Final = "newest"
GATES_FOLDER: Final = "gates"
"""Where verdicts lie among the artefacts of a version's run."""

Gather = Callable[[Path, Path | None], Evidence]
"""Folders of challenger and champion (None when it cannot be run) -> what both say about the same pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a promotion or rollback came to.

    Attributes:
        state: `committed`, `refused` by the gates, `waiting` for a person's approval, or `already champion`.
        sequence: of the ledger's row; None when none was needed.
        verdict: of the gates; None for a rollback.
        notes: what else was found and done, in sentences.
    """

    action: Action
    state: Literal["committed", "refused", "waiting", "already champion"]
    version: str
    bundle_digest: str
    previous_version: str | None
    sequence: int | None
    verdict: Verdict | None
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 done or nothing to do, 3 a gate said no."""
        return 3 if self.state == "refused" else 0

    @property
    def sentence(self) -> str:
        """What to tell people."""
        name = f"{MODEL_NAME} version {self.version}"
        if self.state == "already champion":
            return f"{name} is already champion"
        if self.state == "waiting":
            return f"{name} passed the gates and waits for a person: `vizecg approve {self.version} --reason …`"
        if self.state == "refused" and self.verdict is not None:
            return f"{name} was refused: " + "; ".join(row.sentence for row in self.verdict.refusals)
        instead = f" instead of version {self.previous_version}" if self.previous_version else ""
        against = f", {self.verdict.sentence}" if self.verdict is not None and self.verdict.overridden else ""
        return f"{name} is champion now{instead}{against}"


@dataclass(frozen=True, kw_only=True)
class _Champion:
    """The champion of today; `pinned` is None when the registry no longer has it."""

    bundle_digest: str
    version: str
    identity: Mapping[str, Any]
    pinned: PinnedVersion | None


def promote(
    settings: Settings,
    *,
    version: str = NEWEST,
    gather: Gather,
    params: Params,
    actor: str,
    reason: str = "",
    automatic: bool = False,
    override: bool = False,
) -> Outcome:
    """Hold a version against the champion, and make it the champion when no gate says no.

    With `params.approval` it waits for `approve` instead; an override is a person's word already.

    Args:
        settings: which registry, which ledger.
        version: number of the version, or `newest`.
        gather: runs both models; called only when there is something to decide.
        params: the gates.
        actor: who wants it.
        reason: why, for the ledger.
        automatic: no person has chosen this version, so one that was rolled back
            stays back; `newest` is no person's choice either.
        override: make it the champion against the gates, but for those that no reason mends.

    Raises:
        InputError: the registry or the ledger does not answer, there is no such
            version, its files are not what was registered, or there is no reason for an override.
        Conflict: somebody else is promoting, was first, or has moved the alias by hand.
    """
    if override and not reason.strip():
        raise InputError("an override goes against the gates, so it needs a reason for the ledger: --reason TEXT")
    ledger, registry = Ledger(settings.ledger_url), Registry(settings)
    finish_interrupted(settings)
    head = ledger.head()
    _refuse_if_pending(head)
    champion, notes = _champion(settings, head)
    pinned = _find(settings, version)
    if champion is not None and champion.bundle_digest == pinned.bundle_digest:
        return Outcome(
            action="promote",
            state="already champion",
            version=pinned.version,
            bundle_digest=pinned.bundle_digest,
            previous_version=champion.version,
            sequence=None,
            verdict=Verdict(allowed=True, already_champion=True, rows=()),
            notes=notes,
        )
    nobodys_choice = automatic or version == NEWEST
    if nobodys_choice and params.approval:
        for asked in waiting(settings):
            if asked.bundle_digest == pinned.bundle_digest:
                return _still_waiting(asked, pinned=pinned, notes=notes)
    challenger_folder = registry.fetch(pinned)
    tracking.set_alias(settings, alias=CHALLENGER, pinned=pinned)
    champion_folder, gone = _fetch_champion(registry, champion)
    evidence = gather(challenger_folder, champion_folder)
    evidence = replace(
        _with_champion_that_is_gone(evidence, champion=champion),
        withdrawn=_withdrawn(ledger.entries(), pinned) if nobodys_choice else None,
        shadow=_shadowed(settings, champion=champion, challenger=pinned),
    )
    verdict = judge(evidence, params=params)
    if override:
        verdict = verdict.overriding()
    move = Move(
        action="promote",
        version=pinned.version,
        bundle_digest=pinned.bundle_digest,
        actor=actor,
        reason=reason,
        identity={
            "task": evidence.challenger.task,
            "classes": list(evidence.challenger.classes),
            "simulated": evidence.challenger.simulated,
        },
        verdict=verdict.to_dict(),
    )
    waits = params.approval and verdict.allowed and not verdict.overridden
    outcome = _decide(
        settings, ledger, head=head, champion=champion, move=move, verdict=verdict, waits=waits, notes=(*notes, *gone)
    )
    return _with_verdict_kept(settings, outcome, pinned=pinned)


def approve(settings: Settings, *, version: str, actor: str, reason: str) -> Outcome:
    """Make a version the champion that the gates have let through and that waits for a person.

    Raises:
        InputError: it does not wait, its files are damaged, or registry or ledger do not answer.
        Conflict: another champion has come since it was judged, or somebody else is promoting.
    """
    ledger = Ledger(settings.ledger_url)
    finish_interrupted(settings)
    head = ledger.head()
    _refuse_if_pending(head)
    pinned = _find(settings, version)
    champion, notes = _champion(settings, head)
    judged = next((entry for entry in reversed(ledger.entries()) if entry.bundle_digest == pinned.bundle_digest), None)
    if judged is None or judged.state != "waiting":
        raise InputError(f"{MODEL_NAME} version {pinned.version} waits for nobody; see `vizecg models history`")
    if (champion.bundle_digest if champion else None) != judged.expected_champion:
        raise Conflict(
            f"{MODEL_NAME} version {pinned.version} was held against version {judged.previous_version or 'none'}, and "
            f"version {champion.version if champion else 'none'} is champion now; hold it against that one by "
            "`vizecg promote`"
        )
    Registry(settings).fetch(pinned)
    move = Move(
        action="promote",
        version=pinned.version,
        bundle_digest=pinned.bundle_digest,
        actor=actor,
        reason=reason,
        identity=judged.identity,
        verdict={**judged.verdict, "approved": {"promotion": judged.sequence, "asked_by": judged.actor}},
    )
    entry = ledger.begin(move, head=head, previous=(champion.version, champion.bundle_digest) if champion else None)
    _carry_out(settings, ledger, entry, pinned=pinned)
    _drop_challenger(settings, pinned.bundle_digest)
    return Outcome(
        action="promote",
        state="committed",
        version=pinned.version,
        bundle_digest=pinned.bundle_digest,
        previous_version=champion.version if champion else None,
        sequence=entry.sequence,
        verdict=None,
        notes=notes,
    )


def rollback(settings: Settings, *, actor: str, reason: str) -> Outcome:
    """Make the champion before this one the champion again; one whose files are damaged is passed over.

    Raises:
        InputError: there is none to go back to, or registry or ledger do not answer.
        Conflict: somebody else is promoting, or was first.
    """
    ledger = Ledger(settings.ledger_url)
    finish_interrupted(settings)
    head = ledger.head()
    _refuse_if_pending(head)
    lineage = lineage_of(ledger.entries())
    if not lineage:
        raise InputError(f"{MODEL_NAME} has no champion yet, so there is nothing to roll back; see `vizecg models`")
    notes: list[str] = []
    for digest, number, identity in _earlier(lineage):
        try:
            pinned = _pin_digest(settings, digest, number=number)
            folder = Registry(settings).fetch(pinned)
        except (BrokenVersion, NoSuchVersion) as error:
            notes.append(f"version {number} was passed over: {error}")
            continue
        now = lineage[-1]
        move = Move(
            action="rollback",
            version=pinned.version,
            bundle_digest=digest,
            actor=actor,
            reason=reason,
            identity=identity or _identity_of(folder),
            verdict={},
        )
        entry = ledger.begin(move, head=head, previous=(now.version, now.bundle_digest))
        _carry_out(settings, ledger, entry, pinned=pinned)
        return Outcome(
            action="rollback",
            state="committed",
            version=pinned.version,
            bundle_digest=digest,
            previous_version=now.version,
            sequence=entry.sequence,
            verdict=None,
            notes=tuple(notes),
        )
    why = f": {'; '.join(notes)}" if notes else ""
    raise InputError(f"{MODEL_NAME} has no champion before version {lineage[-1].version} to go back to{why}")


def nominate(settings: Settings, *, version: str) -> PinnedVersion:
    """Let the alias `challenger` point at a version whose files are whole."""
    pinned = _find(settings, version)
    Registry(settings).fetch(pinned)
    tracking.set_alias(settings, alias=CHALLENGER, pinned=pinned)
    return pinned


def history(settings: Settings) -> tuple[Entry, ...]:
    """The whole ledger, oldest first."""
    return Ledger(settings.ledger_url).entries()


def finish_interrupted(settings: Settings) -> Entry | None:
    """End a promotion or rollback whose process died: commit it when the alias was moved, else revert it.

    Returns:
        The row that was ended; None when there was none, or somebody is still at it.
    """
    ledger = Ledger(settings.ledger_url)
    pending = ledger.head().pending
    if pending is None or not pending.abandoned:
        return None
    now = tracking.aliased(settings, alias=CHAMPION)
    moved = now is not None and now.bundle_digest == pending.bundle_digest
    return ledger.finish(pending, state="committed" if moved else "reverted")


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasLook:
    """Whether the champion's alias stands where the ledger says, in a sentence that holds what to do if not."""

    as_ledger: bool
    sentence: str


def look_at_champion(settings: Settings, *, put_it_back: bool) -> AliasLook:
    """Hold the champion's alias against the ledger; one that was moved by hand is put back when asked.

    Raises:
        InputError: registry or ledger do not answer, or the ledger's champion is gone.
    """
    if put_it_back and (done := put_back(settings)) is not None:
        return AliasLook(as_ledger=True, sentence=done)
    head, now = _ledger_and_alias(settings)
    if (moving := being_moved(head)) is not None:
        return AliasLook(as_ledger=True, sentence=moving)
    said = head.champion
    alias = f"{MODEL_NAME}@{CHAMPION}"
    if said is None:
        answer = f"{alias} is version {now.version}, from before the ledger" if now else "none yet; `vizecg promote`"
        return AliasLook(as_ledger=True, sentence=answer)
    if now is not None and now.bundle_digest == said.bundle_digest:
        return AliasLook(as_ledger=True, sentence=f"{alias} is version {now.version}, as the ledger says")
    advice = "`vizecg doctor --put-back` lets the ledger decide"
    was = f"is version {now.version}" if now else "is not set"
    return AliasLook(as_ledger=False, sentence=f"{alias} {was}, the ledger says version {said.version}: {advice}")


def put_back(settings: Settings) -> str | None:
    """Let the alias `champion` point again at what the ledger says; not while somebody is moving it.

    Returns:
        What was done, in a sentence; None when nothing had to be.

    Raises:
        InputError: the registry does not have the ledger's champion any more.
    """
    head, now = _ledger_and_alias(settings)
    champion = head.champion
    if champion is None or being_moved(head) is not None:
        return None
    if now is not None and now.bundle_digest == champion.bundle_digest:
        return None
    pinned = _pin_digest(settings, champion.bundle_digest, number=champion.version)
    tracking.set_alias(settings, alias=CHAMPION, pinned=pinned)
    was = f"was version {now.version}" if now else "was not set"
    return f"{MODEL_NAME}@{CHAMPION} {was}, the ledger says version {pinned.version}: put back"


def waiting(settings: Settings) -> tuple[Entry, ...]:
    """What `approve` would take: the newest row of a bundle waits, and was held against the champion of today."""
    entries = Ledger(settings.ledger_url).entries()
    lineage = lineage_of(entries)
    now = lineage[-1] if lineage else tracking.aliased(settings, alias=CHAMPION)  # as the alias says before any row
    champion = now.bundle_digest if now else None
    newest = {entry.bundle_digest: entry for entry in entries}
    asked = (entry for entry in newest.values() if (entry.state, entry.expected_champion) == ("waiting", champion))
    return tuple(sorted(asked, key=lambda entry: entry.sequence))


def _ledger_and_alias(settings: Settings) -> tuple[Head, PinnedVersion | None]:
    """Both as they were at one moment: the ledger is read before and after the alias, until it says the same."""
    ledger = Ledger(settings.ledger_url)
    head = ledger.head()
    while True:
        now, after = tracking.aliased(settings, alias=CHAMPION), ledger.head()
        if after == head:
            return head, now
        head = after


def being_moved(head: Head) -> str | None:
    """Who is moving the alias now: until the ledger says so too, it is nobody's hand."""
    if head.pending is None or head.pending.abandoned:
        return None
    return (
        f"{head.pending.actor} is making version {head.pending.version} the champion right now; "
        "look again in five minutes"
    )


def _decide(
    settings: Settings,
    ledger: Ledger,
    *,
    head: Head,
    champion: _Champion | None,
    move: Move,
    verdict: Verdict,
    waits: bool,
    notes: Sequence[str],
) -> Outcome:
    previous = (champion.version, champion.bundle_digest) if champion else None
    state: Literal["committed", "refused", "waiting"]
    if waits:
        entry, state = ledger.wait(move, head=head, previous=previous), "waiting"
    elif verdict.allowed:
        entry = ledger.begin(move, head=head, previous=previous)
        _carry_out(settings, ledger, entry, pinned=_pin_digest(settings, move.bundle_digest, number=move.version))
        _drop_challenger(settings, move.bundle_digest)
        state = "committed"
    else:
        entry, state = ledger.refuse(move, head=head, previous=previous), "refused"
    return Outcome(
        action="promote",
        state=state,
        version=move.version,
        bundle_digest=move.bundle_digest,
        previous_version=champion.version if champion else None,
        sequence=entry.sequence,
        verdict=verdict,
        notes=tuple(notes),
    )


def _still_waiting(asked: Entry, *, pinned: PinnedVersion, notes: Sequence[str]) -> Outcome:
    """A schedule that comes by every night asks a person once."""
    return Outcome(
        action="promote",
        state="waiting",
        version=pinned.version,
        bundle_digest=pinned.bundle_digest,
        previous_version=asked.previous_version,
        sequence=asked.sequence,
        verdict=None,
        notes=(*notes, f"it has waited since {asked.created_at:%Y-%m-%d %H:%M} UTC, when the gates let it through"),
    )


def _carry_out(settings: Settings, ledger: Ledger, entry: Entry, *, pinned: PinnedVersion) -> None:
    try:
        tracking.set_alias(settings, alias=CHAMPION, pinned=pinned)
        ledger.finish(entry, state="committed")
    except BaseException:
        with suppress(InputError):  # the first error is the one to tell; without this the lease ends it
            ledger.abandon(entry)
        raise


def _with_verdict_kept(settings: Settings, outcome: Outcome, *, pinned: PinnedVersion) -> Outcome:
    """Keep the gates' table with the version's run; the ledger has it already, so a store that is away costs a note."""
    if outcome.verdict is None or pinned.run_id is None:
        return outcome
    # Here alone, for a rollback prints no table.
    from vizecg.promotion.tables import verdict_markdown

    heading = f"Version {outcome.version}: {outcome.state}"
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"promotion-{outcome.sequence}.{kind}" for kind in ("json", "md")]
        files[0].write_text(to_json(outcome.verdict.to_dict()), encoding="utf-8")
        files[1].write_text(verdict_markdown(outcome.verdict, heading=heading), encoding="utf-8")
        try:
            tracking.attach(settings, run_id=pinned.run_id, files=files, place=GATES_FOLDER)
        except InputError as error:
            return replace(outcome, notes=(*outcome.notes, f"the gates' table is in the ledger alone: {error}"))
    return outcome


def _champion(settings: Settings, head: Head) -> tuple[_Champion | None, tuple[str, ...]]:
    """Who is champion: as the ledger says; before its first row, as the alias does."""
    now = tracking.aliased(settings, alias=CHAMPION)
    said = head.champion
    if said is None:
        if now is None:
            return None, ()
        identity = {"simulated": now.tags.get("simulated") == "true"}
        return _Champion(bundle_digest=now.bundle_digest, version=now.version, identity=identity, pinned=now), ()
    if now is not None and now.bundle_digest != said.bundle_digest:
        raise Conflict(
            f"{MODEL_NAME}@{CHAMPION} is version {now.version}, the ledger says version {said.version}: somebody moved "
            f"it by hand; put it back, or go back to version {now.version} by `vizecg rollback`"
        )
    try:
        pinned = now or _pin_digest(settings, said.bundle_digest, number=said.version)
    except NoSuchVersion:
        pinned = None
    notes: tuple[str, ...] = ()
    if now is None and pinned is not None:  # a registry that was wiped and filled again
        tracking.set_alias(settings, alias=CHAMPION, pinned=pinned)
        notes = (f"{MODEL_NAME}@{CHAMPION} was not set, the ledger says version {pinned.version}: put back",)
    return (
        _Champion(
            bundle_digest=said.bundle_digest,
            version=pinned.version if pinned else said.version,
            identity=said.identity,
            pinned=pinned,
        ),
        notes,
    )


def _fetch_champion(registry: Registry, champion: _Champion | None) -> tuple[Path | None, tuple[str, ...]]:
    if champion is None:
        return None, ()
    if champion.pinned is None:
        return None, (f"the registry has no version of the champion, bundle {champion.bundle_digest[:12]}, any more",)
    try:
        return registry.fetch(champion.pinned), ()
    except BrokenVersion as error:
        return None, (f"the champion cannot be run: {error}",)


def _with_champion_that_is_gone(evidence: Evidence, *, champion: _Champion | None) -> Evidence:
    """A champion that cannot be run is still one: what is known of it decides the gates that need no run."""
    if champion is None or evidence.champion is not None:
        return evidence
    # What the ledger does not say cannot be held against it; entries from before there were tasks name classes alone.
    unsaid = "superdiagnostic" if "classes" in champion.identity else evidence.challenger.task
    known = Candidate(
        bundle_digest=champion.bundle_digest,
        task=str(champion.identity.get("task", unsaid)),
        classes=tuple(champion.identity.get("classes", evidence.challenger.classes)),
        simulated=bool(champion.identity.get("simulated", False)),
        probabilities=None,
    )
    return replace(evidence, champion=known)


def _shadowed(settings: Settings, *, champion: _Champion | None, challenger: PinnedVersion) -> Agreement | None:
    if champion is None:
        return None
    return shadow.read(settings.shadow_folder, champion=champion.bundle_digest, challenger=challenger.bundle_digest)


def _find(settings: Settings, version: str) -> PinnedVersion:
    if version != NEWEST:
        tracking.client(settings)  # makes the embedded database: an empty registry is empty, not missing
        return Registry(settings).version(version)
    known = next((found for found in tracking.all_versions(settings) if DIGEST_TAG in (found.tags or {})), None)
    if known is None:
        raise NoSuchVersion(
            f"the registry at {shown(settings.tracking_uri)} has no version of {MODEL_NAME}; register one first"
        )
    return Registry(settings).version(str(known.version))


def _pin_digest(settings: Settings, digest: str, *, number: str) -> PinnedVersion:
    """Pin the version of a bundle: a registry that was filled again may have given it another number."""
    found = tracking.find_version(settings, digest=digest)
    if found is None:
        raise NoSuchVersion(
            f"the registry at {shown(settings.tracking_uri)} has no version with bundle {digest[:12]}…, "
            f"once version {number}"
        )
    return Registry(settings).version(str(found.version))


def _earlier(lineage: Sequence[Entry]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Digest, version and identity of the champions before this one, the last one first."""
    earlier = [(entry.bundle_digest, entry.version, entry.identity) for entry in reversed(lineage[:-1])]
    first = lineage[0]
    if first.action == "promote" and first.expected_champion and first.previous_version:  # from before the ledger
        earlier.append((first.expected_champion, first.previous_version, {}))
    return earlier


def _identity_of(folder: Path) -> dict[str, Any]:
    contract = bundles.read(folder)[1]
    codes = [entry.code for entry in contract.classes]
    return {"task": contract.task, "classes": codes, "simulated": contract.simulated}


def _withdrawn(entries: Sequence[Entry], pinned: PinnedVersion) -> str | None:
    by = withdrawn_by(entries).get(pinned.bundle_digest)
    if by is None:
        return None
    return f"version {pinned.version} was rolled back by {by.actor} on {by.created_at:%Y-%m-%d} ({by.reason})"


def _refuse_if_pending(head: Head) -> None:
    if head.pending is not None:
        raise Conflict(
            f"{head.pending.actor} is making version {head.pending.version} the champion right now; "
            "see `vizecg models history`, then try again"
        )


def _drop_challenger(settings: Settings, digest: str) -> None:
    now = tracking.aliased(settings, alias=CHALLENGER)
    if now is not None and now.bundle_digest == digest:
        tracking.drop_alias(settings, alias=CHALLENGER)
