"""Names, quantities and verbs that financial statements are made of.

Every company and person is invented. A quantity is good when more of it is better for the company; the label
of a statement about a quantity is the direction of its change times that sign, so that neither the verb nor
the quantity decides alone.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """Something a company reports a figure for."""

    phrase: str
    plural: bool
    unit: str  # "sales", "part", "slice": money, by its share of net sales; "per share", "percent", "count"
    earnings: bool = False  # a profit or a loss: never set beside another one in the same statement
    countable: bool = False  # needs an article where no owner stands before it


GOOD = (
    Quantity("operating profit", False, "slice", earnings=True),
    Quantity("net profit", False, "slice", earnings=True),
    Quantity("pretax profit", False, "slice", earnings=True),
    Quantity("profit before tax", False, "slice", earnings=True),
    Quantity("earnings per share", True, "per share", earnings=True),
    Quantity("net sales", True, "sales"),
    Quantity("turnover", False, "sales"),
    Quantity("revenue", False, "sales"),
    Quantity("sales", True, "sales"),
    Quantity("order intake", False, "part"),
    Quantity("order book", False, "part", countable=True),
    Quantity("cash flow from operations", False, "slice"),
    Quantity("service income", False, "part"),
    Quantity("export sales", True, "part"),
    Quantity("operating margin", False, "percent", countable=True),
    Quantity("market share", False, "percent", countable=True),
    Quantity("capacity utilisation rate", False, "percent", countable=True),
    Quantity("equity ratio", False, "percent", countable=True),
    Quantity("customer numbers", True, "count"),
    Quantity("deliveries", True, "count"),
)

BAD = (
    Quantity("operating loss", False, "slice", earnings=True, countable=True),
    Quantity("net loss", False, "slice", earnings=True, countable=True),
    Quantity("pretax loss", False, "slice", earnings=True, countable=True),
    Quantity("net debt", False, "part"),
    Quantity("interest costs", True, "slice"),
    Quantity("credit losses", True, "slice"),
    Quantity("raw material costs", True, "part"),
    Quantity("personnel costs", True, "part"),
    Quantity("energy costs", True, "slice"),
    Quantity("overdue receivables", True, "part"),
    Quantity("reject rate", False, "percent", countable=True),
    Quantity("customer complaints", True, "count"),
    Quantity("order cancellations", True, "count"),
)

# past, infinitive, participle
UP = (
    ("rose", "rise", "risen"),
    ("increased", "increase", "increased"),
    ("grew", "grow", "grown"),
    ("climbed", "climb", "climbed"),
    ("went up", "go up", "gone up"),
    ("jumped", "jump", "jumped"),
)
DOWN = (
    ("fell", "fall", "fallen"),
    ("decreased", "decrease", "decreased"),
    ("declined", "decline", "declined"),
    ("dropped", "drop", "dropped"),
    ("went down", "go down", "gone down"),
    ("shrank", "shrink", "shrunk"),
)
# What losses alone do.
WIDEN = ("widened", "widen", "widened")
NARROW = ("narrowed", "narrow", "narrowed")
# bare, with its article
UP_NOUNS = (("rise", "a rise"), ("increase", "an increase"), ("jump", "a jump"), ("increase", "growth"))
DOWN_NOUNS = (("fall", "a fall"), ("decrease", "a decrease"), ("decline", "a decline"), ("drop", "a drop"))

# What is wanted for its own sake, and what is not: going ahead with the one is good, with the other bad.
WELCOME = (
    "the payment of an extra dividend",
    "the expansion of its {city} plant",
    "the opening of a second factory in {city}",
    "the hiring of {people} new employees in {city}",
    "the staff bonus for {year}",
    "the start of production in {city}",
    "the launch of its new {product}",
    "the purchase of its own shares",
    "the dividend increase",
    "the construction of a larger warehouse in {city}",
    "its return to the {nation2} market",
)
UNWELCOME = (
    "the layoff of {people} employees",
    "the closure of its {city} plant",
    "the job cuts in {city}",
    "the shutdown of its oldest factory in {city}",
    "the dismissal of {people} employees in {city}",
    "the pay cuts at its {city} unit",
    "the stoppage of production in {city}",
    "the recall of its new {product}",
    "the dividend cut",
    "the write-down of its {city} warehouse",
    "its exit from the {nation2} market",
)

CURRENCIES = (
    ("EUR", "euros"),
    ("EUR", "euros"),
    ("EUR", "euros"),
    ("USD", "dollars"),
    ("GBP", "pounds"),
    ("SEK", "kronor"),
    ("NOK", "kroner"),
    ("CHF", "francs"),
)
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "August",
    "September",
    "October",
    "November",
)

NAME_STARTS = (
    *("Harl", "Kest", "Belm", "Orrv", "Tarn", "Vesk", "Sund", "Mald", "Lunt"),
    *("Fjor", "Brav", "Nord", "Quel", "Silv", "Osm", "Pell", "Ravn", "Elv"),
)
NAME_HEADS = (
    *("und", "ara", "arra", "ika", "ela", "ovia", "ano", "erra", "inen"),
    *("olm", "eda", "etta", "imo", "ax", "enna", "osta"),
)
NAME_ENDS = (
    *("", "", "", "", "Group", "Holding", "Industries", "International"),
    *("Oyj", "AB", "ASA", "plc", "SE", "NV", "Partners", "Corporation"),
)

# (what the company is, what it makes)
SECTORS = (
    ("food maker", ("rye bread", "yogurt", "frozen vegetables", "oat drinks")),
    ("engineering group", ("harbour cranes", "lifts", "diesel engines", "paper machines")),
    ("vehicle builder", ("forest machines", "bus bodies", "snow ploughs", "trailers")),
    ("electronics maker", ("mobile phones", "payment terminals", "network cables", "base stations")),
    ("steel maker", ("steel pipes", "steel plates", "copper wire", "railway tracks")),
    ("packaging supplier", ("cardboard boxes", "glass bottles", "paper bags", "plastic lids")),
    ("furniture maker", ("office chairs", "kitchen cabinets", "school desks", "mattresses")),
    ("energy technology firm", ("wind turbines", "heat pumps", "solar panels", "transformers")),
    ("health technology firm", ("hearing aids", "dental tools", "X-ray machines", "hospital beds")),
    ("outdoor goods maker", ("outdoor jackets", "fishing reels", "tents", "hiking boots")),
    ("building materials group", ("safety glass", "prefabricated houses", "roof tiles", "insulation boards")),
)

# Slots that any template may use.
WORDS: dict[str, tuple[str, ...]] = {
    "city": (
        *("Tampere", "Oulu", "Turku", "Lahti", "Oslo", "Bergen", "Malmo", "Uppsala", "Aarhus", "Odense"),
        *("Riga", "Tallinn", "Vilnius", "Kaunas", "Gdansk", "Leeds", "Bristol", "Lyon", "Graz", "Basel"),
        *("Ghent", "Porto", "Bilbao", "Turin", "Brno", "Pune", "Osaka", "Toronto", "Houston", "Perth"),
    ),
    "nation": (
        *("Finnish", "Swedish", "Norwegian", "Danish", "Estonian", "Latvian", "Lithuanian", "Polish"),
        *("German", "Dutch", "Belgian", "French", "British", "Irish", "Swiss", "Austrian"),
        *("Spanish", "Italian", "Czech", "Canadian", "Indian", "Brazilian", "Japanese"),
    ),
    "material": (
        "timber",
        "steel",
        "copper",
        "wheat",
        "electricity",
        "natural gas",
        "pulp",
        "aluminium",
        "milk",
    ),
    "place": (
        *("Finland", "Sweden", "Norway", "Poland", "Germany", "the Baltic states", "Greece"),
        *(
            "India",
            "China",
            "Brazil",
            "North America",
            "southern Europe",
            "the Nordic countries",
            "the Middle East",
        ),
    ),
    "area": (
        *("packaging", "building services", "health care", "consumer", "marine", "cloud services"),
        *("spare parts", "wholesale", "leasing", "forestry", "home appliances", "network"),
    ),
    "person": tuple(
        f"{first} {last}"
        for first in (
            "Anna",
            "Jukka",
            "Ingrid",
            "Peter",
            "Marta",
            "Olav",
            "Helen",
            "Tomas",
            "Priya",
            "Daniel",
        )
        for last in (
            "Vantola",
            "Lindahl",
            "Karsten",
            "Moberg",
            "Okafor",
            "Hale",
            "Rautio",
            "Bellini",
            "Dvorsky",
        )
    ),
    "role": (
        *(
            "chief financial officer",
            "head of investor relations",
            "managing director",
            "chairman of the board",
        ),
        *("director of human resources", "head of the {area} division", "country manager for {place}"),
    ),
    "bank": ("{broker} Securities", "{broker} Bank", "{broker} Capital Markets", "broker {broker}"),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "month": MONTHS,
    "quarter": (
        "first quarter",
        "second quarter",
        "third quarter",
        "final quarter",
        "first half",
        "second half",
    ),
    "ordinal": ("second", "third", "fourth", "fifth"),
    "who": ("{company}", "{company}", "{nation} {sector} {company}", "the {nation} {sector} {company}"),
    "partner": ("supplier", "customer", "distributor", "owner", "agent"),
    "bourse": ("Helsinki", "Stockholm", "Copenhagen", "London", "Frankfurt", "Toronto", "Zurich"),
    "clock": ("8.30 am", "9.00 am", "noon", "1.00 pm", "2.15 pm", "4.30 pm"),
    "one_or_two": ("one", "two"),
    "few": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"),
}

# (the period spoken of, the one before as "in ...", the one before as a noun)
PERIODS = (
    ("in {year}", "in {last_year}", "{last_year}"),
    ("in {year}", "a year earlier", "a year earlier"),
    ("in the {quarter} of {year}", "a year earlier", "a year earlier"),
    ("in the {quarter} of {year}", "in the corresponding period of {last_year}", "the corresponding period"),
    ("in the {quarter}", "in the same period a year ago", "the same period a year ago"),
    ("in January-March {year}", "in January-March {last_year}", "January-March {last_year}"),
    ("in January-September {year}", "in the comparison period", "the comparison period"),
    ("in the {quarter} of {year}", "in the same period of {last_year}", "the same period of {last_year}"),
    ("during the financial year {year}", "in the previous financial year", "the previous financial year"),
    ("in {month}", "in {month} of the previous year", "{month} of the previous year"),
)
