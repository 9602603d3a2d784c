"use strict";
// What is led to opens, and all of it does in print.
(() => {
  const all = () => Array.from(document.querySelectorAll("details"));

  function openTarget() {
    const target = document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
      target.querySelector("summary").focus({ preventScroll: true });
    }
  }

  window.addEventListener("hashchange", openTarget);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#claim-"]');
    if (link && link.hash === location.hash) openTarget(); // the address does not change, and says nothing
    const button = event.target.closest("button[data-open]");
    if (button) for (const each of all()) if (each.matches(".claim")) each.open = button.dataset.open === "true";
  });
  for (const buttons of document.querySelectorAll(".buttons")) buttons.hidden = false;

  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = all().filter((each) => !each.open);
    for (const each of opened) each.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const each of opened) each.open = false;
  });
  openTarget();
})();
