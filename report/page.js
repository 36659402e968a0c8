// Everything can be read without this script. It lets a reader sort a table by a click on a column's head.
for (const table of document.querySelectorAll(".table table")) {
  const body = table.tBodies[0];
  if (body.rows.length < 3) continue;
  for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const value = (row) => row.cells[place].dataset.sort ?? row.cells[place].textContent;
      const numeric = head.classList.contains("n");
      const missing = (row) => numeric && row.cells[place].dataset.sort === undefined;
      const compare = (a, b) => numeric ? Number(value(a)) - Number(value(b)) : value(a).localeCompare(value(b));
      const rows = [...body.rows].sort((a, b) => missing(a) - missing(b) || (falling ? -1 : 1) * compare(a, b));
      body.append(...rows);
    });
  }
}
// Test rows can be looked through: by a tag, such as a cell of the confusion matrix, and by words.
for (const table of document.querySelectorAll("table.rows")) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 3) continue;
  const counts = new Map();
  for (const row of rows) for (const tag of JSON.parse(row.dataset.tags)) if (tag) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  const sift = document.createElement("p");
  sift.className = "sift";
  const choice = document.createElement("select");
  choice.setAttribute("aria-label", "Which rows");
  choice.append(new Option(`all ${rows.length} rows`, ""));
  for (const [tag, count] of counts) choice.append(new Option(`${tag} (${count})`, tag));
  const words = document.createElement("input");
  words.type = "search";
  words.placeholder = "words in the row";
  words.setAttribute("aria-label", "Words in the row");
  const told = document.createElement("span");
  told.setAttribute("role", "status");
  const look = () => {
    const wanted = words.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const tagged = !choice.value || JSON.parse(row.dataset.tags).includes(choice.value);
      row.hidden = !(tagged && row.textContent.toLowerCase().includes(wanted));
      shown += !row.hidden;
    }
    told.textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : "";
  };
  choice.addEventListener("change", look);
  words.addEventListener("input", look);
  sift.append(choice, words, told);
  table.parentElement.before(sift);
}
// A table that is wider than its place says that it scrolls.
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) target.previousElementSibling?.classList.toggle("scrolls", target.scrollWidth > target.clientWidth + 1);
});
for (const table of document.querySelectorAll(".table")) widths.observe(table);
// On paper nothing can be unfolded: what a reader of a print would miss is opened, the rest is left out.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = details.matches(".paper");
});
addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
// On a narrow screen the contents would push the summary away.
if (matchMedia("(max-width: 70rem)").matches) document.querySelector(".contents details").open = false;
