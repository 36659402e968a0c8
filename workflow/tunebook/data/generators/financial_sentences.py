"""Sentence templates of financial statements, by what they are about.

Templates are written in lower case and without a full stop. Slots in braces are filled by `phrasing.expand`.
"""

# {q} quantity ({the_q}, {an_q} with an article where it needs one), {were}/{have} agreeing with it;
# {moved}/{move}/{gone} and {noun}/{a_noun} the change, {more} "up" or "down", {higher} "higher" or "lower";
# {now} a period and {then} an earlier one ({past} as a noun); {before}, {after}, {percent} as printed.
MEASURED = (
    "{company}'s {q} {moved} to {after} {now} from {before} {then}",
    "{company}'s {q} {moved} from {before} {then} to {after} {now}",
    "the {q} of {who} {moved} by {percent} to {after} {now}",
    "{company}'s {q} {moved} by {percent} {now}",
    "{now}, the {q} of {company} {moved} by {percent} and {were} {after}",
    "{who} said its {q} {moved} to {after} {now}, compared with {before} {then}",
    "{company}'s {q} came to {after} {now}, {more} from {before} {then}",
    "at {after}, {company}'s {q} {were} {higher} {now} than {then}",
    "{company}'s {q} {now} {were} {after}, or {percent} {higher} than {then}",
    "{who} saw its {q} {move} to {after} {now} from {before} {then}",
    "{who} saw its {q} {move} by {percent} {now}",
    "{who} reported {a_noun} of {percent} in its {q} {now}",
    "{now}, {who} recorded a(n) {percent_adjective} {noun} in {the_q}",
    "{company}'s {q} {have} {gone} by {percent} since {last_year}, to {after}",
    "a(n) {percent_adjective} {noun} brought the {q} of {company} to {after} {now}, against {before} {then}",
    "{the_q} {moved} by {percent} at {who} {now}",
)
UNMEASURED = (
    "{company}'s {q} {have} {gone} for the {ordinal} quarter in a row",
    "{who} expects its {q} to {move} in {next_year}",
    "{who} estimates that its {q} will {move} clearly in {next_year}",
    "the {area} division's {q} {moved} {now}, says {company}",
    "{company}'s {q} {moved} in {place} but {were} unchanged elsewhere",
    "the {noun} in {company}'s {q} continued {now}, as it had {then}",
    "{company}'s {q} {moved} more than analysts at {bank} had thought",
    "the new planning system made the {q} of {company} {move} {now}",
    "the acquisition of {other} made {company}'s {q} {move} {now}",
    "the move of production to {city} caused {a_noun} in the {q} of {who} {now}",
    "{company}'s {q} {moved} both in {place} and in the {area} business {now}",
    "for {company}, the contract with {other} meant {a_noun} in {the_q}",
)

# Two quantities, one good and one bad, that change in the same sense for the company.
PAIRED = (
    "{company}'s {q} {moved} by {percent} {now} while its {q2} {moved2}",
    "{company}'s {q} {moved} {now} and its {q2} {moved2} to {after2}",
    "while {company}'s {q} {moved} to {after} {now}, its {q2} {moved2} by {percent2}",
    "{who} told of {a_noun} in {the_q} and {a_noun2} in {the_q2} {now}",
    "as {company}'s {q} {moved} {now}, its {q2} {moved2} to {after2} from {before2}",
    "{now}, {the_q} {moved} and {the_q2} {moved2} at {who}",
)

# What a change did not do: the label is turned round.
NEGATED = (
    "contrary to the forecast, {company}'s {q} did not {move} {now}",
    "{company}'s {q} did not {move} {now} although the board had expected it",
    "analysts at {bank} no longer think that {company}'s {q} will {move} in {next_year}",
    "{company} does not expect its {q} to {move} in {next_year} after all",
    "the {noun} in {the_q} that {company} had forecast did not come {now}",
)

WENT_AHEAD = (
    "{who} has confirmed {thing}",
    "{who} announced {thing} on {weekday}",
    "{who} has decided on {thing} after talks that began in {month}",
    "{who} will go ahead with {thing}",
    "the board of {company} approved {thing} on {date}",
    "{thing} will take place as planned, says {company}",
    "{company} is bringing forward {thing} to {month}",
    "{company} carried out {thing} in {month}",
)
CALLED_OFF = (
    "{who} has called off {thing}",
    "{who} cancelled {thing} on {weekday}",
    "{who} has given up {thing} after talks that began in {month}",
    "{who} will not go ahead with {thing}",
    "the board of {company} rejected {thing} on {date}",
    "{thing} will not take place after all, says {company}",
    "{company} has withdrawn its plan for {thing}",
    "{thing}, announced by {company} in {month}, will not happen",
)
UNDECIDED = (
    "{who} will say on {date} whether it goes ahead with {thing}",
    "the board of {company} has neither approved nor rejected {thing}",
    "talks on {thing} began at {company} on {date}",
    "{who} did not comment on {thing} on {weekday}",
    "{company} has not yet made a decision on {thing}",
    "the meeting on {thing} has been moved from {weekday} to {date}, says {company}",
    "{person}, the {role} of {company}, will answer questions about {thing} on {date}",
    "at {company}, {thing} is on the agenda of the board for {month}",
)

# Why, or what it means: put behind the change of one quantity, in the sense of its label.
# The first three fit any quantity.
GOOD_NEWS = (
    "which was better than the board had expected",
    "a relief to the shareholders after {last_year}",
    "the best figure in {few} years",
    "thanks to strong demand for {product}",
    "helped by new orders from {place}",
    "as customers in {place} came back",
    "because the {city} plant ran better than before",
    "as {product} sold well in {place}",
)
BAD_NEWS = (
    "which was worse than the board had expected",
    "a disappointment to the shareholders after {last_year}",
    "the worst figure in {few} years",
    "because of weak demand for {product}",
    "hurt by fewer orders from {place}",
    "as customers in {place} stayed away",
    "because the {city} plant ran worse than before",
    "as {product} sold badly in {place}",
)

# Quantities whose size is neither good nor bad.
INDIFFERENT = (
    "the number of {company} shares {moved} to {shares} when the conversion was registered",
    "{other}'s holding in {company} {moved} to {small_share} of the votes on {date}",
    "the number of board members at {company} {moved} by {one_or_two} on {date}",
    "the weight of {company} in the index {moved} when the list was revised in {month}",
    "the accounting par value of {company}'s share {moved} after the share split",
    "the share of {place} in {company}'s net sales {moved} to {share} because units are grouped anew",
    "the number of {company}'s reporting segments {moved} after the new standard",
    "{other}'s share of the votes in {company} {moved} above or below the limit that requires a notice",
    "the number of {company}'s shareholders in {place} {moved} as the register was moved to {city}",
)
UNCHANGED = (
    "{company}'s {q} {were} {level} {now}, unchanged from {past}",
    "{company}'s {q} neither {up} nor {down} {now}",
    "the {q} of {who} stayed at {level} {now}",
    "{who} reported {an_q} of {level} {now}, the same as {then}",
    "{company}'s {q} {were} at the level of {last_year}, {level}",
    "{who} sees no change in its {q} in {next_year}",
    "there was neither {a_up} nor {a_down} in {company}'s {q} {now}",
    "{now}, {who} kept its {q} at {level}",
)
LEVEL = (
    "{company}'s {q} {were} {level} {now}",
    "the {q} of {who} came to {level} {now}",
    "analysts at {bank} put {company}'s {q} at {level} {now}",
    "{who} will publish its {q} {now} on {date}",
    "the table shows {company}'s {q} {now} by country",
    "how {company}'s {q} {moved} or {opposite} {now} will be told on {date}",
    "{person} of {bank} asks whether {company}'s {q} {moved} {now}",
    "if the {q} of {company} should {move} by {percent}, the terms of its loan will be discussed again",
    "each {noun} or {opposite_noun} in {company}'s {q} is shown in note {few}",
    "{company} reports its {q} {now} in {few} segments instead of {few}",
)

# What a company is or does: beside a statement of any label, or two make a neutral one.
BACKGROUND = (
    "the company, based in {city}, employs {people} people",
    "{company} makes {product} in {city} and {product2} in {city2}",
    "exports account for {share} of {company}'s net sales",
    "net sales of {company} were {sales} in {old_year}",
    "{company} has plants in {city}, {city2} and {few} other towns",
    "the largest owner of {company} is {third}, with {small_share} of the votes",
    "{company} was founded in {old_year} and is quoted in {bourse}",
    "{person2} has been the {role} of {company} since {old_year}",
    "the {area} division of {company} accounts for {share} of net sales and {share} of the staff",
    "the company's financial year ends in {month}",
    "operating profit is stated before one-off items",
    "costs and sales are shown at comparable exchange rates",
    "the figures have not been audited",
    "the growth target of {company} is {small_share} a year",
    "more than half of {company}'s contract work is done in {place}",
    "a press conference will be held in {city} on {date}",
    "the next interim report will be published on {date}",
    "{company} supplies {product} to customers in {place} and {place2}",
    "{bank} acts as adviser to {company}",
    "the contract between {company} and {third} was signed in {old_year}",
    "in {old_year}, sales of {product2} rose in {place} and fell in {place2}",
    "the annual general meeting of {company} takes place in {city} on {date}",
    "about {share} of {company}'s debt matures in {late_year}",
    "{company} has {few} divisions, of which {area} is the largest",
    "an order from {third}, placed in {old_year}, will be delivered by {late_year}",
    "{company} had {people} shareholders at the end of {old_year}",
)

# Statements with no news that is good or bad, in the words of those that have.
PLAIN = (
    "{company} will publish its interim report for the {quarter} on {date} at {clock}",
    "the general meeting of {company} decides on the profit or loss of {year} and elects {few} board members",
    "{person} has been appointed {role} of {company} as of {date}",
    "{person} and {person2} were elected to the board of {who}",
    "{who} has moved its head office from {city} to {city2}",
    "{company} changed its name to {third} on {date}",
    "{company}'s annual report tells how prices of {material} rose and fell between {old_year} and {year}",
    "in {bank}'s survey, {few} firms say that costs rose, {few} that they fell and the rest neither",
    "operating profit means profit before interest and tax, says the glossary of {company}'s report",
    "growth in the report of {company} is growth in local currencies, not in {currency_word}",
    "{company} presents its net sales, net profit and net debt in a new table as of {year}",
    "the deal price is {sum}, of which {share} is paid in {company} shares",
    "{other} owns {small_share} of {company} and {third} owns {small_share}",
    "the contract covers the delivery of {product} to {place} and the training of {company}'s staff",
    "{company} is one of {few} companies that have made an offer for the contract to supply {product}",
    "whether interest rates rise or fall, {company}'s loan from {bank} bears {small_share} until {late_year}",
    "the loan of {sum} replaces a loan of the same size that falls due at {company} on {date}",
    "{who} offers {product} and {product2} in {place}",
    "the subscription price is {price} per share and the subscription period ends on {date}",
    "{company} is holding a day about growth, costs and contracts for investors in {city} on {date}",
    "{person} of {bank} will speak in {city} about the rise and fall of {material} prices since {old_year}",
    "the pay of {person}, {role} of {company}, depends on net sales, operating profit and net debt",
    "{company} has signed a lease for {units} square metres in {city}",
    "trading in {company} shares begins in {bourse} on {date}",
    "the losses and profits of {company}'s units in {place} are taxed together",
    "the targets of {company} are growth of {small_share} a year and an operating margin of {small_share}",
    "{company} says that its sales always rise in {month} and fall in {month2}, so that the year evens out",
    "{company} hedges {share} of its {material} purchases so that costs neither rise nor fall with prices",
    "the price of the {product} in {company}'s contract rises and falls with the index of {material} prices",
    "{company} counts a contract as won once it is signed and as lost once {few} months have gone by",
    "{person} asks in a column why profit can fall when sales grow, taking {who} as the example",
    "{bank} publishes a report on {company} on {date}, without a recommendation",
    "the loss of a share certificate must be reported to {company} by {date}",
    "{company}'s new {product} will be shown at the trade fair in {city} on {date}",
    "an increase or a decrease in the share capital of {company} is entered in the register in {city}",
    "the dividend of {price} per share, decided in {month}, is paid to {company}'s shareholders on {date}",
    "{company} and {other} have agreed that the contract on {product} is governed by {nation2} law",
    "{company} moves its {area} business to a subsidiary in {city}; this has no effect on profit or staff",
)

# Who says so: put behind a statement that names nobody yet.
ATTRIBUTIONS = (
    "according to the interim report",
    "according to a stock exchange release of {date}",
    "{person} told a newspaper in {city}",
    "{bank} wrote on {weekday}",
    "it was announced on {weekday}",
    "according to {person2}, the {role}",
    "the company said in {city}",
)
