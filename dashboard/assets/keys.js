/* Keys: they only look, go and filter; nothing is ever changed by a key of its own. */
(function () {
  "use strict";

  var GO_MS = 1500;
  var goUntil = 0;

  function typing(target) { return /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable; }

  function toggleTable(target) {
    var card = document.querySelector(".ss-card:hover") || target.closest(".ss-card");
    var toggle = card && card.querySelector("[data-table-toggle]");
    if (toggle) { toggle.click(); }
  }

  function openFilter() {
    var menus = document.querySelectorAll("#shell-filters details.ss-menu");
    var menu = menus[1] || menus[0];
    if (!menu) { return; }
    menu.open = true;
    (menu.querySelector("[data-narrow], a") || menu.querySelector("summary")).focus();
  }

  function go(letter) {
    var link = document.querySelector('.ss-nav [data-go="' + CSS.escape(letter) + '"]');
    if (link) { link.click(); }
  }

  /* Up and down walk through the choices of an open menu. */
  function walk(event) {
    var menu = event.target.closest("details.ss-menu[open]");
    var stops = menu ? Array.from(menu.querySelectorAll("[data-narrow], a.ss-choice:not([hidden])")) : [];
    if (!stops.length) { return; }
    var at = stops.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    if (stops[at]) { stops[at].focus(); }
    event.preventDefault();
  }

  document.addEventListener("input", function (event) {
    if (!event.target.hasAttribute || !event.target.hasAttribute("data-narrow")) { return; }
    var wanted = event.target.value.trim().toLowerCase();
    event.target.parentElement.querySelectorAll("a.ss-choice").forEach(function (choice) {
      choice.hidden = choice.textContent.toLowerCase().indexOf(wanted) < 0;
    });
  });

  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape") {
      var open = event.target.closest("details.ss-menu[open]");
      window.servescope.closeMenus(document.body);
      if (open) { open.querySelector("summary").focus(); }
      return;
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { walk(event); return; }
    if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) { return; }
    if (performance.now() < goUntil) { goUntil = 0; go(event.key); return; }
    if (event.key === "g") { goUntil = performance.now() + GO_MS; }
    if (event.key === "?") { document.getElementById("shell-help-open").click(); }
    if (event.key === "t") { toggleTable(event.target); }
    if (event.key === "/") { event.preventDefault(); openFilter(); }
  });
})();
