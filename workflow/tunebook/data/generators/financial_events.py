"""Events of financial statements; templates as in `financial_sentences`."""

# Events that come in three versions with the same words: (negative, neutral, positive).
EVENTS = (
    (
        "{who} has lost its contract worth {sum} to deliver {product} to {other}",
        "{who} has a contract to deliver {product} to {other}; the sum is not made public",
        "{who} has won a contract worth {sum} to deliver {product} to {other}",
    ),
    (
        "{other} will not renew the contract under which {company} supplies it with {product}",
        "the contract under which {company} supplies {other} with {product} runs until {late_year}",
        "{other} renewed the contract under which {company} supplies it with {product} until {late_year}",
    ),
    (
        "{other} cancelled the {product} it had ordered from {company} for {sum}",
        "{other} will receive the {product} it ordered from {company} in {old_year} on {date}",
        "{other} doubled the amount of {product} it had ordered from {company} for {sum}",
    ),
    (
        "{who} lowered its full-year forecast for {forecast} on {weekday}",
        "{who} repeated its full-year forecast for {forecast} on {weekday}",
        "{who} raised its full-year forecast for {forecast} on {weekday}",
    ),
    (
        "{who} now puts its full-year costs higher than in its forecast of {month}",
        "{who} puts its full-year costs at the same level as in its forecast of {month}",
        "{who} now puts its full-year costs lower than in its forecast of {month}",
    ),
    (
        "{bank} lowered its recommendation on {company} shares from hold to sell",
        "{bank} kept its recommendation on {company} shares at hold",
        "{bank} raised its recommendation on {company} shares from hold to buy",
    ),
    (
        "the court in {city} dismissed {company}'s claim for {sum} against a former {partner}",
        "the court in {city} hears the claim for {sum} between {company} and a former {partner} on {date}",
        "the court in {city} dismissed a former {partner}'s claim for {sum} against {company}",
    ),
    (
        "{company} must pay a former {partner} {sum} in damages, the court in {city} ruled",
        "{company} and a former {partner} will be heard on damages of {sum} by the court in {city} on {date}",
        "a former {partner} must pay {company} {sum} in damages, the court in {city} ruled",
    ),
    (
        "the {nation} authority refused {company} the permit for its {city} plant",
        "the {nation} authority is reading {company}'s application for a permit for its {city} plant",
        "the {nation} authority granted {company} the permit for its {city} plant",
    ),
    (
        "shares in {company} fell {small_share} to {price} on {weekday}",
        "shares in {company} closed at {price} on {weekday}, the same as the day before",
        "shares in {company} rose {small_share} to {price} on {weekday}",
    ),
    (
        "the board of {company} proposes that no dividend be paid for {year}, after {price} for {last_year}",
        "the board of {company} proposes the same dividend for {year} as for {last_year}, {price} per share",
        "the board of {company} proposes {price} a share in dividend for {year}, after none for {last_year}",
    ),
    (
        "{company}'s result turned from a profit of {sum} into a loss {now}",
        "{company}'s profit or loss {now} will be known on {date}",
        "{company}'s result turned from a loss of {sum} into a profit {now}",
    ),
    (
        "{company} expects to make a loss in {next_year} instead of a profit",
        "{company} gives no forecast of its profit or loss for {next_year}",
        "{company} expects to make a profit in {next_year} instead of a loss",
    ),
    (
        "{company} has lost market share to its rivals in {place}",
        "{company} and its rivals have had the same market shares in {place} since {old_year}",
        "{company} has taken market share from its rivals in {place}",
    ),
    (
        "the {city} plant of {company} will take on fewer people than planned as orders run short",
        "the {city} plant of {company} has {people} people and takes orders by telephone",
        "the {city} plant of {company} will take on more people than planned as orders pile up",
    ),
    (
        "orders from {place} have dried up, and the {city} plant of {company} runs at half speed",
        "the {city} plant of {company} takes orders from {place} and runs in two shifts",
        "orders from {place} have poured in, and the {city} plant of {company} runs at full speed",
    ),
    (
        "a fire has stopped the making of {product} at {company}'s {city} plant for {few} weeks",
        "the making of {product} at {company}'s {city} plant stops for {few} weeks each summer",
        "{company}'s {city} plant has set a record for the making of {product} in {few} weeks",
    ),
    (
        "{company} warned on {weekday} that the year will be weaker than it had forecast",
        "{company} told on {weekday} when it will give its forecast for the year",
        "{company} said on {weekday} that the year will be stronger than it had forecast",
    ),
    (
        "customers have sent back the new {product} of {company} because of a fault",
        "customers can order the new {product} of {company} from {month}",
        "customers have praised the new {product} of {company} and ordered more",
    ),
    (
        "a strike has stopped deliveries of {product} from {company}'s {city} plant",
        "the wage agreement at {company}'s {city} plant is in force until {late_year}",
        "deliveries of {product} from {company}'s {city} plant are running again after a strike",
    ),
    (
        "{company} has broken the terms of its loan from {bank} and may run short of cash",
        "the terms of {company}'s loan from {bank} are given in note {few}",
        "{company} has paid back its loan from {bank} {few} months early out of its own cash",
    ),
    (
        "{company} missed its growth target for {year} by a wide margin",
        "{company} sets its growth target for {next_year} in {month}",
        "{company} reached its growth target for {year} {few} months early",
    ),
    (
        "{who} is losing customers in {place} to cheaper rivals",
        "{who} serves customers in {place} from {city}",
        "{who} is gaining customers in {place} with its new {product}",
    ),
    (
        "the {area} business of {company} had its worst {quarter} in {few} years",
        "the {area} business of {company} has been run from {city} for {few} years",
        "the {area} business of {company} had its best {quarter} in {few} years",
    ),
)
