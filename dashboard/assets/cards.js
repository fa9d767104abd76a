/* What cards do by themselves: Open in Python. */
(function () {
  "use strict";

  /* The snippet asks for what the picture shows at this moment, from where this page came. */
  function fill(code) {
    code.dataset.template = code.dataset.template || code.textContent;
    var frame = code.closest("[data-range]");
    var range = ((frame && frame.dataset.range) || "").split("/");
    code.textContent = code.dataset.template
      .replace("__ORIGIN__", location.origin)
      .replace("__FROM__", range[0] || "")
      .replace("__TO__", range[1] || "");
  }

  document.addEventListener("toggle", function (event) {
    var code = event.target.open && event.target.classList.contains("ss-python") &&
      event.target.querySelector("[data-snippet] code");
    if (code) { fill(code); }
  }, true);

  /* An engine that was found is watched from now on: the same door that programs take. */
  function watch(button) {
    button.disabled = true;
    fetch("/api/v1/targets", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ url: button.dataset.watch })
    }).then(function (answer) {
      button.textContent = answer.ok ? "Watched" : "Not possible here: use the command below";
    }, function () { button.disabled = false; });
  }

  document.addEventListener("click", function (event) {
    var found = event.target.closest("[data-watch]");
    if (found) { watch(found); return; }
    var button = event.target.closest("[data-copy-snippet]");
    if (button) { window.servescope.copy(button.parentElement.querySelector("[data-snippet]").textContent); }
  });
})();
