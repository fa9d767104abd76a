/* Secrets: what was typed is wiped once it is sent, and a fresh token is shown a single time. */
(function () {
  "use strict";

  function made(tag, words, className) {
    var element = document.createElement(tag);
    if (words) { element.textContent = words; }
    if (className) { element.className = className; }
    return element;
  }

  function line(text, words) {
    var row = made("div", "", "ss-command");
    var copy = made("button", "Copy", "ss-button is-small");
    copy.type = "button";
    copy.setAttribute("aria-label", "Copy " + words);
    copy.addEventListener("click", function () { window.servescope.copy(text); });
    row.append(made("code", text), copy);
    return row;
  }

  function showOnce(news) {
    var dialog = made("dialog", "", "ss-help ss-once");
    var close = made("button", "I have kept it", "ss-button is-primary");
    var title = made("h2", news.text);
    title.id = "ss-once-title";
    dialog.setAttribute("aria-labelledby", title.id);
    close.type = "button";
    close.addEventListener("click", function () { dialog.close(); });
    dialog.append(
      title, made("p", "This is the only time it is shown."), line(news.secret, "the token"),
      made("p", "A program sends it with every request:"),
      line("curl -H 'Authorization: Bearer " + news.secret + "' " + location.origin + "/api/v1/access/me",
        "the command"),
      close
    );
    dialog.addEventListener("close", function () {
      dialog.remove();
      window.dash_clientside.set_props("shell-told", { data: null });
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  /* What came of an act that was done. */
  window.servescope.done = function (news) {
    var typed = Array.from(document.querySelectorAll(".ss-act input[type=password]")).filter(function (field) { return field.value; });
    typed.forEach(function (field) { field.value = ""; });
    if (typed.length) { window.dash_clientside.set_props("shell-act", { data: null }); }
    if (news.secret) { showOnce(news); }
  };
})();
