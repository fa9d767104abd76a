/* The header is as high as what stands in it, and the page begins right below: filters wrap where
   they have to, and nothing is left empty where they do not. */
(function () {
  "use strict";

  function fit() {
    var height = 0;
    document.querySelectorAll(".mantine-AppShell-header > .ss-header-row").forEach(function (row) {
      height += row.offsetHeight;
    });
    if (!height) { return; }
    var style = document.documentElement.style;
    ["--app-shell-header-height", "--app-shell-header-offset"].forEach(function (name) {
      style.setProperty(name, height + 1 + "px"); /* and its line */
    });
  }

  var sizes = new ResizeObserver(fit);
  var arrival = new MutationObserver(function () {
    var rows = document.querySelectorAll(".mantine-AppShell-header > .ss-header-row");
    if (!rows.length) { return; }
    arrival.disconnect();
    rows.forEach(function (row) { sizes.observe(row); });
  });
  arrival.observe(document.documentElement, { childList: true, subtree: true });
})();
