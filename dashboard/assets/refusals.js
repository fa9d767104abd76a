/* What the server refuses before any page is asked: the sign-in has ended, too fast, not allowed.
   The picture stays as it is, and so does what somebody has typed. */
(function () {
  "use strict";

  var AGAIN_MS = 2000;
  var ended = null;
  var again = null;

  function place(text) {
    var toast = document.getElementById("shell-said");
    if (toast) { toast.textContent = text; toast.className = "ss-toast is-error"; }
  }

  function signInAddress() { return "/sign-in?next=" + encodeURIComponent(location.pathname + location.search); }

  function hasEnded() {
    if (ended) { return; }
    ended = document.createElement("div");
    ended.className = "ss-ended";
    ended.setAttribute("role", "alert");
    var words = document.createElement("span");
    words.textContent = "Your sign-in has ended. What you see came before; nothing more is done." +
      " What you typed stays here if you sign in in another tab.";
    var link = document.createElement("a");
    link.textContent = "Sign in again";
    link.className = "ss-button is-primary";
    link.href = signInAddress();
    /* The address may have changed since. */
    link.addEventListener("click", function () { link.href = signInAddress(); });
    ended.append(words, link);
    document.body.append(ended);
  }

  function holdsAgain() {
    if (!ended) { return; }
    ended.remove();
    ended = null;
    window.dash_clientside.set_props("shell-pulse", { data: "again " + Date.now() });
  }

  function lookAgain(seconds) {
    if (again) { return; }
    again = setTimeout(function () {
      again = null;
      window.dash_clientside.set_props("shell-pulse", { data: "again " + Date.now() });
    }, Math.max(AGAIN_MS, 1000 * seconds));
  }

  function sentences(problem) {
    return [problem.detail || problem.title, problem.hint].filter(Boolean).map(function (text) {
      return text.charAt(0).toUpperCase() + text.slice(1).replace(/\.$/, "") + ".";
    }).join(" ");
  }

  function refused(answer) {
    if (answer.status === 401) { hasEnded(); return Promise.resolve(); }
    if (answer.status === 429) { lookAgain(Number(answer.headers.get("Retry-After")) || 0); }
    return answer.json().then(function (problem) { place("Not done. " + sentences(problem)); }, function () {
      place("Not done: the server answered " + answer.status + ".");
    });
  }

  var plainFetch = window.fetch;
  window.fetch = function (resource) {
    var address = typeof resource === "string" ? resource : resource.url;
    var asked = plainFetch.apply(this, arguments);
    if (address.indexOf("_dash-update-component") < 0) { return asked; }
    return asked.then(function (answer) {
      if ([401, 403, 429].indexOf(answer.status) < 0) {
        if (answer.ok) { holdsAgain(); }
        return answer;
      }
      /* Nothing new: whoever asked keeps what is shown. */
      return refused(answer).then(function () { return new Response(null, { status: 204 }); });
    });
  };
})();
