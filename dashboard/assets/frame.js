/* The frame around the page: light or dark, the navigation on a phone, the help. */
(function () {
  "use strict";

  var THEME_KEY = "servescope-theme";
  var root = document.documentElement;
  var dark = matchMedia("(prefers-color-scheme: dark)");

  function byId(id) { return document.getElementById(id); }

  /* Before anything is drawn the page's head has set it; from then on the machine may change its mind. */
  dark.addEventListener("change", function () {
    var kept = null;
    try { kept = localStorage.getItem(THEME_KEY); } catch (e) { /* keeps nothing */ }
    if (!kept) { root.dataset.theme = dark.matches ? "dark" : "light"; }
  });

  function turn() {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem(THEME_KEY, root.dataset.theme); } catch (e) { /* until the next page */ }
  }

  function showNavigation(open) {
    root.toggleAttribute("data-navigation", open);
    byId("shell-burger").setAttribute("aria-expanded", String(open));
  }

  document.addEventListener("click", function (event) {
    var target = event.target;
    var help = byId("shell-help");
    if (target.closest("#shell-theme")) { turn(); }
    if (target.closest("#shell-help-open")) { help.showModal(); }
    /* What lies around an open dialog is the dialog itself. */
    if (target === help || target.closest("#shell-help button")) { help.close(); }
    if (target.closest("#shell-burger")) {
      showNavigation(!root.hasAttribute("data-navigation"));
    } else if (root.hasAttribute("data-navigation") && (target.closest("a") || !target.closest("#shell-navbar"))) {
      showNavigation(false);
    }
  });

  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape" && root.hasAttribute("data-navigation")) { showNavigation(false); }
  });
})();
