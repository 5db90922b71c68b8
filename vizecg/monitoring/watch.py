"""One look at everything: the champion's alias, the pictures, the confirmed diagnoses, the data; then who is told."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from vizecg import bundle as bundles
from vizecg import publish, steps
from vizecg.bundle import Contract
from vizecg.config import PARAMS_FILE, read_params
from vizecg.drift import Params, Shift
from vizecg.errors import InputError
from vizecg.monitoring import files
from vizecg.monitoring.data import NewData, look_for_new_data
from vizecg.monitoring.live import Live, score_live
from vizecg.monitoring.notices import Memory, post
from vizecg.monitoring.settings import MonitorSettings
from vizecg.monitoring.window import compare, in_words, read_window
from vizecg.promotion import look_at_champion
from vizecg.reference import REFERENCE_FILE, Reference, read_reference, write_reference
from vizecg.registry import Registry
from vizecg.settings import CHAMPION, MODEL_NAME
from vizecg.sources import SourceParams
from vizecg.workspace import PIN_FILE

REPORT: Final = "monitor"
SCHEMA_VERSION: Final = 1
ATTENTION: Final = 3
"""Exit code: somebody should look."""

PICTURES: Final = "pictures"
LIVE: Final = "confirmed diagnoses"
ALIAS: Final = "champion"
DATA: Final = "data"


@dataclass(frozen=True, kw_only=True)
class Served:
    """The model whose answers are watched."""

    bundle_digest: str
    version: str | None
    contract: Contract
    reference: Reference | None

    def named(self) -> dict[str, Any]:
        """For the report."""
        return {
            "name": MODEL_NAME,
            "version": self.version,
            "bundle_digest": self.bundle_digest,
            "simulated": self.contract.simulated,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found.

    Attributes:
        about: what was looked at.
        well: whether nobody has to do anything.
        sentence: for people.
    """

    about: str
    well: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of it, and who was told what."""

    time: str
    model: dict[str, Any]
    looks: tuple[Look, ...]
    reference: str | None
    window: dict[str, Any]
    shifts: tuple[Shift, ...]
    live: Live
    data: NewData
    told: tuple[str, ...] = ()
    """Names of the looks that somebody was told of now; others were told lately."""
    notes: tuple[str, ...] = field(default=())

    @property
    def well(self) -> bool:
        """Whether nobody has to do anything."""
        return all(look.well for look in self.looks)

    @property
    def wants_training(self) -> bool:
        """Whether there is data that no version was made from.

        With the same data training would make the same model, whatever the pictures do.
        """
        return self.data.result == "new"

    @property
    def exit_code(self) -> int:
        """0 all is well; 3 somebody should look."""
        return 0 if self.well else ATTENTION

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; holds nothing of a patient."""
        content = {"schema_version": SCHEMA_VERSION, **asdict(self), "wants_training": self.wants_training}
        plain: dict[str, Any] = json.loads(json.dumps(content))
        return plain


def watch(
    settings: MonitorSettings,
    *,
    params: Params,
    source: SourceParams | None,
    pin_file: Path = PIN_FILE,
    bundle: Path | None = None,
    put_alias_back: bool = False,
    now: datetime | None = None,
) -> Report:
    """Look at everything; tell nobody yet, and write nothing but the alias, when asked.

    Args:
        settings: where registry, ledger, trail and feedback are.
        params: what is enough, and what is a change.
        source: data to look for; None looks for none.
        pin_file: what was agreed on.
        bundle: folder of the model whose answers are watched; None: the champion, with its alias against the ledger.
        put_alias_back: whether an alias that was moved by hand is moved to where the ledger says.
        now: end of the window; None is now.

    Raises:
        InputError: registry or ledger do not answer, or there is no champion.
        BrokenChain: the trail is not as it was written.
    """
    ends = now or datetime.now(UTC)
    looks = []
    if bundle is None:
        alias = look_at_champion(settings, put_it_back=put_alias_back)
        looks.append(Look(about=ALIAS, well=alias.as_ledger, sentence=alias.sentence))
    served = find_served(settings, bundle=bundle)
    found = read_window(settings.audit_folder, bundle_digest=served.bundle_digest, days=params.days, now=ends)
    described = found.described()
    shifts: tuple[Shift, ...] = ()
    if served.reference is not None and described is not None:
        shifts = compare(served.reference, described, params=params)
    looks.append(_look_at_pictures(shifts, reference=served.reference))
    live = score_live(found.lines, feedback=settings.feedback_folder, headline=served.contract.scores, params=params)
    looks.append(Look(about=LIVE, well=live.result != "worse", sentence=live.sentence))
    data = NewData(result="not known", sentence="not looked for")
    if source is not None:
        data = look_for_new_data(source, pin_file=pin_file, settings=settings)
        well = data.result not in ("new", "not known")
        looks.append(Look(about=DATA, well=well, sentence=data.sentence))
    return Report(
        time=ends.isoformat(timespec="seconds"),
        model=served.named(),
        looks=tuple(looks),
        reference=None if served.reference is None else served.reference.of,
        window={**found.counted(), "rejected": 0 if described is None else described.rejected},
        shifts=shifts,
        live=live,
        data=data,
    )


def _look_at_pictures(shifts: tuple[Shift, ...], *, reference: Reference | None) -> Look:
    if reference is None:
        sentence = (
            "the bundle is from before there was a reference, so nothing is held against it; register the model "
            "again, or accept a window of the trail (`vizecg monitor --accept`)"
        )
        return Look(about=PICTURES, well=True, sentence=sentence)
    if not shifts:
        return Look(about=PICTURES, well=True, sentence="not enough data: 0 pictures")
    well = all(shift.result != "changed" for shift in shifts)
    return Look(about=PICTURES, well=well, sentence=in_words(shifts))


def find_served(settings: MonitorSettings, *, bundle: Path | None) -> Served:
    """Find the model whose answers are watched: a bundle's folder, else the champion.

    Raises:
        InputError: there is none, or its files are damaged.
    """
    folder, version = bundle or settings.bundle, None
    if folder is None:
        registry = Registry(settings)
        pinned = registry.resolve(CHAMPION)
        folder, version = registry.fetch(pinned), pinned.version
    digest, contract = bundles.read(folder)
    # A window that a person has accepted stands before the evaluation's pages.
    reference = read_reference(_accepted_file(settings, digest)) or read_reference(folder / REFERENCE_FILE)
    return Served(
        bundle_digest=digest,
        version=version,
        contract=contract,
        reference=reference,
    )


def accept(settings: MonitorSettings, *, params: Params, bundle: Path | None, now: datetime | None = None) -> Reference:
    """Hold pictures from now on against those of the window: they are looked at by a person and are as they should be.

    Raises:
        InputError: the window holds too few pictures.
    """
    served = find_served(settings, bundle=bundle)
    ends = now or datetime.now(UTC)
    found = read_window(settings.audit_folder, bundle_digest=served.bundle_digest, days=params.days, now=ends)
    described = found.described()
    if described is None or described.pictures < params.minimum_pictures:
        raise InputError(
            f"{settings.audit_folder} holds {len(found.lines)} pictures of the last {params.days} days that bundle "
            f"{served.bundle_digest[:12]} answered, {params.minimum_pictures} are needed (monitor.minimum_pictures)"
        )
    write_reference(_accepted_file(settings, served.bundle_digest), described)
    return described


def tell(
    report: Report, *, settings: MonitorSettings, params: Params, emit: Callable[[Report], None] | None = None
) -> Report:
    """Tell, by each way, what it was not told lately; gives the report with that, and with what could not be told.

    Only what has arrived is remembered: the next look tells the rest.

    Args:
        report: what was found.
        settings: whom to tell, and where it is remembered.
        params: for how long nobody is told the same again.
        emit: a way beside the webhook; it is given the report with what is to be told.

    Raises:
        Conflict: another monitor is at it.
    """
    ways: dict[str, Callable[[Report], None]] = {}
    if settings.webhook_url is not None:
        ways["webhook"] = partial(_post, settings.webhook_url.get_secret_value())
    if emit is not None:
        ways["events"] = emit
    ill = {look.about: _what(report, look) for look in report.looks if not look.well}
    told: set[str] = set()
    for name, way in ways.items():
        memory = Memory(settings.monitor_folder / f"told-{name}.json", cool_down=timedelta(days=params.cool_down_days))
        try:
            with memory.telling(ill, now=datetime.fromisoformat(report.time)) as due:
                if due:
                    way(replace(report, told=due))
            told |= {*due}
        except InputError as error:
            report = replace(report, notes=(*report.notes, str(error)))
    return replace(report, told=tuple(about for about in ill if about in told))


def _post(url: str, report: Report) -> None:
    content = {
        "source": "vizecg monitor",
        "time": report.time,
        "model": report.model,
        "findings": [asdict(look) for look in report.looks if look.about in report.told],
        "wants_training": report.wants_training and DATA in report.told,
    }
    post(url, content)


def write(report: Report, *, out: Path) -> None:
    """Publish `monitor.json`, `monitor.prom` and `index.html`."""
    with publish.publishing(out, kind=REPORT, schema_version=SCHEMA_VERSION) as staging:
        files.write(staging, report.to_dict(), well=report.well)


def monitor_and_show(*, bundle: Path | None, out: Path, put_alias_back: bool, look_for_data: bool) -> int:
    """Look, write, tell and print; returns the exit code."""
    settings, params, source = read_everything(look_for_data=look_for_data)
    report = watch(settings, params=params, source=source, bundle=bundle, put_alias_back=put_alias_back)
    report = tell(report, settings=settings, params=params)
    write(report, out=out)
    for line in lines_of(report, out=out):
        print(line, flush=True)
    return report.exit_code


def accept_and_show(*, bundle: Path | None) -> None:
    """Accept the window and say what it holds."""
    settings, params, _ = read_everything(look_for_data=False)
    accepted = accept(settings, params=params, bundle=bundle)
    print(f"accepted: {accepted.pictures} pictures, {accepted.of}; later pictures are held against them")


def read_everything(*, look_for_data: bool) -> tuple[MonitorSettings, Params, SourceParams | None]:
    """Settings, and from params.yaml of the current folder the section `monitor` and what names the source."""
    sections = read_params(PARAMS_FILE, models=steps.params_models())
    params, source = sections["monitor"], sections["ingest"]
    assert isinstance(params, Params)  # noqa: S101 (params_models says so)
    assert isinstance(source, SourceParams)  # noqa: S101 (params_models says so)
    return MonitorSettings(), params, source if look_for_data else None


def lines_of(report: Report, *, out: Path) -> list[str]:
    """What is printed."""
    lines = [f"{'ok ' if look.well else 'BAD'}  {look.about}: {look.sentence}" for look in report.looks]
    lines += [f"note: {note}" for note in report.notes]
    if report.wants_training:
        lines.append("there is data to train on: `vizecg source pin`, then `vizecg retrain`")
    return [*lines, f"read {out / 'index.html'}"]


def _what(report: Report, look: Look) -> str:
    """By what a finding is the same as that of yesterday: its numbers change every day."""
    kinds: Mapping[str, Literal[""] | str] = {
        PICTURES: ",".join(sorted(shift.name for shift in report.shifts if shift.result == "changed")),
        LIVE: report.live.result,
        DATA: report.data.pin or "not known",
    }
    return kinds.get(look.about, look.sentence)


def _accepted_file(settings: MonitorSettings, digest: str) -> Path:
    return settings.monitor_folder / f"accepted-{digest[:16]}.json"
