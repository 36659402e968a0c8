// Under the pointer, the curves of a panel say their values. All of them also stand in the table below the figure.
{
  const SVG = "http://www.w3.org/2000/svg";
  const typeset = (value) => value.toPrecision(3); // a picture's coordinates tell no more
  // A curve's points: where its path has them in the picture, and what they mean by the axes' maps.
  const read = (group) => {
    const [a, b, c, d] = group.dataset.map.split(" ").map(Number);
    const value = (y) => (group.dataset.log ? Number(group.dataset.log) ** ((y - d) / c) : (y - d) / c);
    const path = group.querySelector("path").getAttribute("d").match(/-?[\d.]+ -?[\d.]+/g) ?? [];
    const points = path.map((pair) => pair.split(" ").map(Number)).map(([x, y]) =>
      ({ x, y, step: (x - b) / a, value: value(y) * Number(group.dataset.factor) }));
    return { group, name: group.dataset.curve, panel: group.dataset.panel, epochs: Number(group.dataset.epochs), points };
  };
  for (const svg of document.querySelectorAll(".canvas svg")) {
    const groups = [...svg.querySelectorAll("[data-curve]")];
    if (!groups.length) continue;
    const panels = Map.groupBy?.(groups.map(read).filter((curve) => curve.points.length), (curve) => curve.panel);
    if (!panels) continue;
    const extent = (panel, axis) => panel.flatMap((curve) => curve.points.map((point) => point[axis]));
    const boxes = [...panels.values()].map((curves) => ({
      curves,
      left: Math.min(...extent(curves, "x")), right: Math.max(...extent(curves, "x")),
      top: Math.min(...extent(curves, "y")), bottom: Math.max(...extent(curves, "y")),
    }));
    const dots = document.createElementNS(SVG, "g");
    svg.append(dots);
    const told = document.createElement("div");
    told.className = "told";
    told.setAttribute("aria-hidden", "true");
    const canvas = svg.closest(".canvas");
    // Where a panel holds all methods, a button shows and hides each
    const together = [...svg.querySelectorAll("[data-belongs]")];
    if (together.length) {
      const buttons = document.createElement("p");
      buttons.className = "switches";
      buttons.append("Show: ");
      for (const band of together) {
        const curve = groups.find((group) => group.dataset.curve === band.dataset.belongs);
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = band.dataset.belongs;
        button.setAttribute("aria-pressed", "true");
        button.addEventListener("click", () => {
          const shown = button.getAttribute("aria-pressed") !== "true";
          button.setAttribute("aria-pressed", String(shown));
          for (const part of [band, curve]) part.classList.toggle("hidden", !shown);
        });
        buttons.append(button);
      }
      canvas.before(buttons);
    }
    const hide = () => { told.remove(); dots.replaceChildren(); };
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const gap = (low, high, value) => Math.max(low - value, 0, value - high);
      const away = (box) => Math.hypot(gap(box.left, box.right, at.x), gap(box.top, box.bottom, at.y));
      const box = boxes.reduce((one, other) => (away(other) < away(one) ? other : one));
      if (away(box) > 40) return hide();
      const nearest = (points, x) => points.reduce((one, other) => (Math.abs(other.x - x) < Math.abs(one.x - x) ? other : one));
      const shown = box.curves.filter((curve) => !curve.group.classList.contains("hidden"));
      if (!shown.length) return hide();
      // The point that is nearest, sideways above all, decides the step; other curves tell theirs where they have one there
      const far = (point) => Math.hypot(point.x - at.x, (point.y - at.y) / 4);
      const lead = shown.map((curve) => nearest(curve.points, at.x)).reduce((one, other) => (far(other) < far(one) ? other : one));
      const step = Math.round(lead.step);
      const lines = [`step ${step}, epoch ${(step * box.curves[0].epochs).toFixed(2)}`];
      dots.replaceChildren();
      for (const curve of shown) {
        const point = nearest(curve.points, lead.x);
        if (Math.abs(point.step - lead.step) > 0.5) continue;
        lines.push(`${curve.name} ${typeset(point.value)}`);
        const dot = document.createElementNS(SVG, "circle");
        for (const [key, value] of Object.entries({ cx: point.x, cy: point.y, r: 3.2, class: "dot" })) dot.setAttribute(key, value);
        dots.append(dot);
      }
      told.textContent = lines.join("\n");
      canvas.append(told);
      const frame = canvas.getBoundingClientRect();
      const left = event.clientX - frame.left + canvas.scrollLeft;
      const over = event.clientX - frame.left > frame.width / 2;
      told.style.left = over ? "" : `${left + 14}px`;
      told.style.right = over ? `${frame.width - (event.clientX - frame.left) - canvas.scrollLeft + 14}px` : "";
      told.style.top = `${event.clientY - frame.top + 14}px`;
    });
  }
}
