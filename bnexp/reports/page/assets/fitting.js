"use strict";
// Charts on narrow screens. One of a single plot is drawn narrower, with letters of the same size; others are made smaller
// as a whole, with a button that shows them at their own size.
const fitting = (() => {
  const beside = 80; // pixels of an axis and the ground around a plot
  const narrowest = 160;
  const letter = { text: 8.2, subtitle: 6.2 }; // pixels of a letter, on the average

  function wrapped(lines, most) {
    const words = [].concat(lines).join(" ").split(" ");
    const found = [words.shift()];
    for (const word of words) {
      if (found.at(-1).length + 1 + word.length <= most) found.push(`${found.pop()} ${word}`);
      else found.push(word);
    }
    return found;
  }

  function room(into) {
    const inside = into.closest("details") ? 26 : 0; // the margins of what opens
    return document.querySelector("main").clientWidth - inside;
  }

  // The specification of a chart that is to be drawn into this element.
  function narrowed(spec, into) {
    const width = room(into) - beside;
    if (typeof spec.width !== "number" || spec.width <= width) return spec;
    const title = { ...spec.title };
    for (const [part, pixels] of Object.entries(letter)) {
      if (title[part]) title[part] = wrapped(title[part], Math.floor((width + beside - 20) / pixels));
    }
    return { ...spec, width: Math.max(narrowest, width), title };
  }

  function offer(figure, into) {
    const chart = into.querySelector("svg");
    if (!chart || chart.width.baseVal.value <= 1.05 * room(into) || figure.querySelector("button")) return;
    const button = document.createElement("button");
    const say = () => (button.textContent = figure.classList.contains("whole") ? "Fit the screen" : "Full size");
    button.type = "button";
    button.addEventListener("click", () => {
      figure.classList.toggle("whole");
      say();
    });
    say();
    figure.insertBefore(button, figure.querySelector("figcaption"));
  }

  return { narrowed, offer };
})();
