"use strict";
// Charts, those first that are seen, then all others, so that they are there in print. A chart that was drawn for dark
// screens is drawn once more for paper.
(() => {
  const { themes, charts } = JSON.parse(document.getElementById("charts-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const figures = Array.from(document.querySelectorAll("figure.chart"));
  const theme = () => (dark.matches ? "dark" : "light");

  async function draw(figure, name) {
    const into = figure.querySelector(".drawn");
    if (into.querySelector(`[data-theme="${name}"]`)) return;
    const place = document.createElement("div");
    place.dataset.theme = name;
    into.append(place);
    const spec = { ...fitting.narrowed(charts[Number(figure.dataset.chart)], into), config: themes[name] };
    await vegaEmbed(place, spec, { renderer: "svg", ast: true, actions: false, tooltip: { theme: name } });
    into.classList.add("full");
    fitting.offer(figure, into);
  }

  const pause = () => new Promise((resolve) => setTimeout(resolve));
  const visible = (figure) => figure.checkVisibility({ contentVisibilityAuto: true });

  async function drawAll() {
    const now = theme();
    const ordered = [...figures.filter(visible), ...figures.filter((figure) => !visible(figure))];
    for (const name of now === "dark" ? ["dark", "light"] : ["light"]) {
      for (const figure of ordered) {
        await draw(figure, name).catch(console.error);
        await pause();
      }
    }
    document.body.dataset.charts = "drawn";
  }

  document.addEventListener(
    "toggle",
    (event) => {
      if (!(event.target instanceof HTMLDetailsElement) || !event.target.open) return;
      for (const figure of event.target.querySelectorAll("figure.chart")) draw(figure, theme()).catch(console.error);
    },
    true,
  );
  dark.addEventListener("change", () => {
    document.body.dataset.charts = "waiting";
    drawAll();
  });
  drawAll();
})();
