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
