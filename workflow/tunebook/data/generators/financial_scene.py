"""The company, money and figures that one financial statement is about."""

import random
from dataclasses import dataclass

from tunebook.data.generators.financial_tables import (
    CURRENCIES,
    MONTHS,
    NAME_ENDS,
    NAME_HEADS,
    NAME_STARTS,
    SECTORS,
    WORDS,
    Quantity,
)
from tunebook.data.generators.phrasing import Binding


@dataclass(frozen=True)
class Change:
    """One figure before and after, as printed, and the change between the two printed figures."""

    before: str
    after: str
    percent: str  # "12.4 %", or "2.1 percentage points" for a quantity that is itself a percentage
    percent_adjective: str  # the same before a noun: "12.4 %", "2.1 percentage point"


@dataclass(frozen=True)
class Scene:
    """What stays the same within one statement."""

    company: str
    sector: str
    products: tuple[str, str]
    size: float  # yearly net sales, in millions of the currency
    year: int
    currency: str  # ISO code
    currency_word: str  # plural noun, used by the style "4.2 million euros"
    money_style: str  # format of an amount in millions, with {code}, {number}, {word}
    percent_sign: str


def company_name(rng: random.Random) -> str:
    """Return an invented company name."""
    end = rng.choice(NAME_ENDS)
    return rng.choice(NAME_STARTS) + rng.choice(NAME_HEADS) + (" " + end if end else "")


def draw_scene(rng: random.Random) -> Scene:
    """Return a random scene."""
    currency, word = rng.choice(CURRENCIES)
    sector, products = rng.choice(SECTORS)
    first, second = rng.sample(products, 2)
    return Scene(
        company=company_name(rng),
        sector=sector,
        products=(first, second),
        size=10 ** rng.uniform(1.4, 2.95),
        year=rng.randint(2006, 2023),
        currency=currency,
        currency_word=word,
        money_style=rng.choice(("{code} {number} mn", "{code} {number} million", "{number} million {word}")),
        percent_sign=rng.choice((" %", "%", " percent")),
    )


def scene_slots(rng: random.Random, scene: Scene) -> dict[str, Binding]:
    """Return the slots that every template may use; those that should differ at each use are callables."""
    other = company_name(rng)
    return {
        "company": scene.company,
        "other": other,
        "broker": rng.choice(NAME_STARTS) + rng.choice(NAME_HEADS),
        "sector": scene.sector,
        "product": scene.products[0],
        "product2": scene.products[1],
        "third": lambda: company_name(rng),
        "year": str(scene.year),
        "last_year": str(scene.year - 1),
        "old_year": str(scene.year - rng.randint(3, 12)),
        "next_year": str(scene.year + 1),
        "late_year": str(scene.year + rng.randint(2, 6)),
        "sum": lambda: _money(scene, scene.size * rng.uniform(0.02, 0.3)),
        "sales": lambda: _money(scene, scene.size * rng.uniform(0.7, 1.3)),
        "price": lambda: f"{scene.currency} {rng.uniform(1.2, 48):.2f}",
        "share": lambda: f"{rng.randint(3, 68)}{scene.percent_sign}",
        "small_share": lambda: f"{rng.uniform(1.1, 9.9):.1f}{scene.percent_sign}",
        "people": lambda: f"{round(10 ** rng.uniform(1.6, 3.6), -1):,.0f}",
        "units": lambda: f"{rng.randint(12, 940) * 10:,}",
        "shares": lambda: f"{rng.randint(110, 9800) * 1000 + rng.randint(1, 999):,}",
        "currency_word": scene.currency_word,
        **_distinct(rng, "city", "city2"),
        **_distinct(rng, "nation", "nation2"),
        **_distinct(rng, "place", "place2"),
        **_distinct(rng, "person", "person2"),
        **_distinct(rng, "month", "month2"),
        "date": lambda: f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
    }


def _distinct(rng: random.Random, *slots: str) -> dict[str, Binding]:
    """Return the slots bound to different entries of the table named by the first."""
    return dict(zip(slots, rng.sample(WORDS[slots[0]], len(slots)), strict=True))


def draw_change(rng: random.Random, scene: Scene, quantity: Quantity, rises: bool) -> Change:
    """Return figures for `quantity` that rise or fall by an amount that the printed figures bear out."""
    if quantity.unit == "percent":
        return _percent_change(rng, scene, rises)
    while True:
        before = _amount(rng, scene, quantity.unit)
        factor = rng.uniform(1.03, 1.85)
        after = before * factor if rises else before / factor
        before, after = _printed(before, quantity.unit), _printed(after, quantity.unit)
        percent = abs(after / before - 1) * 100
        # A change below 2 % or a figure near zero would be rounded into nonsense.
        if percent >= 2 and min(before, after) >= (0.05 if quantity.unit == "per share" else 1):
            break
    number = f"{percent:.0f}" if percent >= 10 and rng.random() < 0.5 else f"{percent:.1f}"
    written = number + scene.percent_sign
    return Change(_write(scene, before, quantity.unit), _write(scene, after, quantity.unit), written, written)


def draw_level(rng: random.Random, scene: Scene, quantity: Quantity) -> str:
    """Return one figure for `quantity`, as printed."""
    if quantity.unit == "percent":
        return f"{rng.uniform(3, 45):.1f}{scene.percent_sign}"
    return _write(scene, _printed(max(1.0, _amount(rng, scene, quantity.unit)), quantity.unit), quantity.unit)


def _percent_change(rng: random.Random, scene: Scene, rises: bool) -> Change:
    low = round(rng.uniform(3, 40), 1)
    high = round(low + rng.uniform(0.6, 7), 1)
    before, after = (low, high) if rises else (high, low)
    points = f"{high - low:.1f} percentage point"
    sign = scene.percent_sign
    plural = points if f"{high - low:.1f}" == "1.0" else points + "s"
    return Change(f"{before:.1f}{sign}", f"{after:.1f}{sign}", plural, points)


def _amount(rng: random.Random, scene: Scene, unit: str) -> float:
    """Return a plausible amount: of the scene's size for money, of its own range otherwise."""
    if unit == "count":
        return 10 ** rng.uniform(2.1, 4.3)
    if unit == "per share":
        return rng.uniform(0.1, 3.5)
    low, high = {"sales": (0.7, 1.3), "part": (0.1, 0.35), "slice": (0.04, 0.14)}[unit]
    return scene.size * rng.uniform(low, high)


def _printed(value: float, unit: str) -> float:
    """Return `value` rounded as it will be printed."""
    if unit == "per share":
        return round(value, 2)
    return float(round(value)) if unit == "count" or value >= 100 else round(value, 1)


def _write(scene: Scene, value: float, unit: str) -> str:
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "per share":
        return f"{scene.currency} {value:.2f}"
    return _money(scene, value)


def _money(scene: Scene, millions: float) -> str:
    number = f"{millions:,.0f}" if millions >= 100 else f"{max(millions, 0.1):.1f}"
    return scene.money_style.format(code=scene.currency, number=number, word=scene.currency_word)
