/* What the browser does by itself: links and forms without a reload, loading bars, copy, keys.
   Every link here also works without this file: all state is in the address. */
(function () {
  "use strict";

  var BAR_DELAY_MS = 300;
  /* From here on somebody who waits may stop; the server ends a query of its own at about the same time. */
  var STOP_DELAY_MS = 10000;
  /* Dash asks a dozen things at a time: so long after an answer nothing more was waiting. */
  var SETTLED_MS = 500;
  var underWay = 0;
  /* Somebody's act has not been answered yet. */
  var acted = false;

  function byId(id) { return document.getElementById(id); }

  function setProps(id, props) { window.dash_clientside.set_props(id, props); }

  /* A beat of the clock would take an act's place while that waits to be sent: acts go first. */
  function mayBeat() { return !document.hidden && underWay === 0 && !acted; }

  function answered() {
    setTimeout(function () { acted = acted && underWay > 0; }, SETTLED_MS);
  }

  /* Addresses ----------------------------------------------------------------------------- */

  function prefix() {
    var config = byId("_dash-config");
    return config ? JSON.parse(config.textContent).requests_pathname_prefix : "/ui/";
  }

  function go(url) {
    if (url.searchParams.get("tz") === "browser") {
      url.searchParams.set("tz", Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");
    }
    /* Only what changes: a pathname that is set anew would build the page anew. */
    var props = {};
    if (url.pathname !== location.pathname) { props.pathname = url.pathname; }
    if (url.search !== location.search) { props.search = url.search; }
    if (!props.pathname && props.search === undefined) { return; }
    setProps("shell-url", props);
    if (props.pathname) { window.scrollTo(0, 0); }
  }

  function isOurs(link) {
    return link && !link.target && !link.hasAttribute("download") && link.origin === location.origin &&
      link.pathname.indexOf(prefix()) === 0;
  }

  document.addEventListener("click", function (event) {
    closeMenus(event.target);
    var copy = event.target.closest("[data-copy]");
    if (copy) { copyText(copy.getAttribute("data-copy")); return; }
    /* A word, not a number: panels that do not follow the clock look again, too. */
    if (event.target.closest("[data-pulse]")) { acted = true; setProps("shell-pulse", { data: "again " + Date.now() }); return; }
    var link = event.target.closest("a[href]");
    var plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!plain || !isOurs(link) || link.hash) { return; }
    event.preventDefault();
    go(new URL(link.href));
  });

  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (!form.classList.contains("ss-range-form")) { return; }
    event.preventDefault();
    var url = new URL(form.action, location.href);
    new FormData(form).forEach(function (value, name) {
      if (value) { url.searchParams.set(name, value); } else { url.searchParams.delete(name); }
    });
    closeMenus(document.body);
    go(url);
  });

  /* Menus: native disclosures that close like menus --------------------------------------- */

  function closeMenus(target) {
    document.querySelectorAll("details.ss-menu[open]").forEach(function (menu) {
      if (!menu.contains(target)) { menu.open = false; }
    });
  }

  /* Words at the foot of the page --------------------------------------------------------- */

  function say(text, milliseconds) {
    var place = byId("shell-said");
    place.textContent = text;
    place.className = "ss-toast is-shown";
    setTimeout(function () { if (place.textContent === text) { place.className = "ss-toast"; place.textContent = ""; } }, milliseconds || 2500);
  }

  function copyText(text) {
    var full = text.charAt(0) === "/" ? location.origin + text : text;
    var done = function () { say("Copied."); };
    if (navigator.clipboard && window.isSecureContext) {
      navigator.clipboard.writeText(full).then(done, function () { window.prompt("Copy this:", full); });
    } else {
      window.prompt("Copy this:", full);
    }
  }

  /* Acting: what a button carries goes to the server by POST, never by a link -------------- */

  var held = null;
  /* Whether the press that is under way was held long enough: letting go is then no short press. */
  var heldOut = false;

  function fieldsOf(button) {
    var form = button.closest(".ss-act");
    var found = {};
    if (form) {
      form.querySelectorAll("input[name], select[name], textarea[name]").forEach(function (field) {
        found[field.name] = field.value;
      });
    }
    return found;
  }

  function act(button) {
    var fields = fieldsOf(button);
    var needs = button.getAttribute("data-needs");
    if (needs && !(fields[needs] || "").trim()) {
      var field = button.closest(".ss-act").querySelector("[name=" + needs + "]");
      field.focus();
      var isWhy = needs === "comment" || needs === "reason";
      say(isWhy ? "First say why: this is kept in the record." : "First fill in: " + field.closest("label").textContent + ".");
      return;
    }
    button.disabled = true;
    setTimeout(function () { button.disabled = false; }, 1500);
    var wish = JSON.parse(button.getAttribute("data-act"));
    setProps("shell-act", { data: Object.assign(wish, { fields: fields, at: Date.now() }) });
  }

  function hold(button) {
    letGo();
    heldOut = false;
    button.classList.add("is-held");
    held = { button: button, timer: setTimeout(function () { letGo(); heldOut = true; act(button); }, 1000) };
  }

  function letGo() {
    if (!held) { return; }
    clearTimeout(held.timer);
    held.button.classList.remove("is-held");
    held = null;
  }

  function holdable(event) {
    var button = event.target.closest && event.target.closest("button[data-act][data-hold]");
    return button && !button.disabled && button.getAttribute("aria-disabled") !== "true" ? button : null;
  }

  document.addEventListener("pointerdown", function (event) {
    var button = event.button === 0 && holdable(event);
    if (button) { hold(button); }
  });
  ["pointerup", "pointercancel", "blur"].forEach(function (name) { window.addEventListener(name, letGo); });
  document.addEventListener("pointerout", function (event) {
    if (held && event.target === held.button && !held.button.contains(event.relatedTarget)) { letGo(); }
  });
  document.addEventListener("keydown", function (event) {
    var button = (event.key === "Enter" || event.key === " ") && holdable(event);
    if (!button) { return; }
    event.preventDefault();
    if (!event.repeat) { hold(button); }
  });
  document.addEventListener("keyup", letGo);
  /* A button that cannot be used says why: when it is pressed, and when the keyboard comes to it. */
  function sayWhyNot(event) {
    var button = event.target.closest && event.target.closest('button[aria-disabled="true"]');
    if (button && button.title) { say(button.title, 6000); }
  }
  document.addEventListener("click", sayWhyNot);
  document.addEventListener("focusin", function (event) {
    if (event.target.matches(":focus-visible")) { sayWhyNot(event); }
  });
  /* What is refused until something is typed, such as a pool's name, follows the typing. */
  document.addEventListener("input", function (event) {
    var form = event.target.closest(".ss-act");
    (form ? form.querySelectorAll("button[data-unless]") : []).forEach(function (button) {
      var unless = JSON.parse(button.getAttribute("data-unless"));
      var typed = (fieldsOf(button)[unless[0]] || "").trim();
      if (typed === unless[1]) { button.removeAttribute("aria-disabled"); } else { button.setAttribute("aria-disabled", "true"); }
    });
  });
  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[data-act]");
    if (!button || button.disabled || button.getAttribute("aria-disabled") === "true") { return; }
    if (!button.hasAttribute("data-hold")) { act(button); return; }
    /* A press that no pointer made, as screen readers do: they cannot hold, so they are asked. */
    if (event.detail === 0) {
      if (window.confirm(button.getAttribute("aria-label") || button.textContent)) { act(button); }
    } else if (!heldOut) {
      say("Hold it for one second.");
    }
  });

  /* What is under way is looked at more often than the refresh interval says. */
  setInterval(function () {
    if (mayBeat() && document.querySelector("[data-beat]")) {
      setProps("shell-pulse", { data: Date.now() });
    }
  }, 2000);

  /* Loading: nothing for 300 ms, then a thin bar on the panel; the old picture stays ------- */

  function panelsOf(body) {
    var found = [];
    var pattern = /"spot":"([^"]+)"/;
    var match = typeof body === "string" ? pattern.exec(body) : null;
    if (match) {
      var panel = document.querySelector('[data-spot="' + match[1] + '"]');
      if (panel) { found.push(panel); }
    }
    return found;
  }

  var plainFetch = window.fetch;
  window.fetch = function (resource, options) {
    var address = typeof resource === "string" ? resource : resource.url;
    if (address.indexOf("_dash-update-component") < 0) { return plainFetch.apply(this, arguments); }
    var panels = panelsOf(options && options.body);
    underWay += 1;
    var stop = stopper(panels);
    var timer = setTimeout(function () {
      panels.forEach(function (p) { p.classList.add("is-loading"); p.setAttribute("aria-busy", "true"); });
    }, BAR_DELAY_MS);
    return Promise.race([plainFetch(resource, Object.assign({}, options, { signal: stop.signal })), stop.asked])
      .finally(function () {
        underWay -= 1;
        if (underWay === 0) { answered(); }
        clearTimeout(timer);
        stop.done();
        panels.forEach(function (p) { p.classList.remove("is-loading"); p.removeAttribute("aria-busy"); });
      });
  };

  /* A button on a panel that has been waited for too long; the answer is then "nothing new". */
  function stopper(panels) {
    var controller = new AbortController();
    var button = null;
    var stopped;
    var asked = new Promise(function (resolve) { stopped = resolve; });
    var timer = setTimeout(function () {
      if (!panels.length) { return; }
      button = document.createElement("button");
      button.type = "button";
      button.className = "ss-button is-small ss-stop";
      button.textContent = "Stop waiting";
      button.addEventListener("click", function () {
        stopped(new Response(null, { status: 204 }));
        controller.abort();
        panels[0].querySelectorAll(".ss-waiting").forEach(function (place) { place.className = "ss-waited"; });
        say("Stopped waiting. What is shown is the last that came.", 6000);
      });
      panels[0].appendChild(button);
    }, STOP_DELAY_MS);
    return {
      signal: controller.signal,
      asked: asked,
      done: function () { clearTimeout(timer); if (button) { button.remove(); } }
    };
  }

  /* One crosshair through all time charts: a line over each, at the time under the pointer --- */

  function crosshairAt(time) {
    document.querySelectorAll(".ss-graph").forEach(function (graph) {
      var plot = graph.querySelector(".js-plotly-plot");
      var layout = plot && plot._fullLayout;
      var line = graph.querySelector(".ss-crosshair");
      if (!time || !layout || !layout.xaxis || layout.xaxis.type !== "date") {
        if (line) { line.remove(); }
        return;
      }
      var axis = layout.xaxis;
      var at = axis.d2p(time);
      if (!(at >= 0 && at <= axis._length)) { if (line) { line.remove(); } return; }
      if (!line) {
        line = document.createElement("div");
        line.className = "ss-crosshair";
        graph.appendChild(line);
      }
      line.style.left = axis._offset + at + "px";
      line.style.top = layout._size.t + "px";
      line.style.height = layout._size.h + "px";
    });
  }

  document.addEventListener("mouseover", function (event) {
    if (!event.target.closest(".ss-graph")) { crosshairAt(null); }
  });

  /* What only shows something: one component for a whole tree, see dashboard/plain.py ------- */

  function element(node, place) {
    if (!Array.isArray(node)) { return node; }
    /* What is typed into a field stays with that field, not with its place. */
    var props = Object.assign({ key: node[1].id || place }, node[1]);
    ["href", "src", "action"].forEach(function (name) {
      if (props[name]) { props[name] = window.dash_clientside.clean_url(props[name]); }
    });
    /* One child is handed over alone: an option's or a caption's text stays text. */
    var inside = node.slice(2).map(element);
    return window.React.createElement.apply(null, [node[0], props].concat(inside));
  }

  function Plain(props) {
    return window.React.createElement(window.React.Fragment, null, props.tree.map(element));
  }

  /* What clientside callbacks call -------------------------------------------------------- */

  window.servescope = {
    Plain: Plain,
    closeMenus: closeMenus,
    copy: copyText,
    /* A tick becomes a pulse only when somebody looks and nothing is under way. */
    pulse: function (tick) {
      return mayBeat() ? tick : window.dash_clientside.no_update;
    },
    /* What came of an act; a refusal stays until the next word. */
    told: function (news) {
      if (!news) { return window.dash_clientside.no_update; }
      if (news.ok) { closeMenus(document.body); say(news.text, 6000); } else {
        var place = byId("shell-said");
        place.textContent = news.text;
        place.className = "ss-toast is-error";
      }
      closeMenus(document.body);
      if (news.ok) { window.servescope.done(news); }
      acted = true;
      return "acted " + news.at;
    },
    crosshair: function () {
      window.dash_clientside.callback_context.triggered.forEach(function (t) {
        var point = t.value && t.value.points && t.value.points[0];
        /* The news may come late: the pointer must still be over a chart. */
        var there = point && typeof point.x === "string" && document.querySelector(".ss-graph:hover");
        crosshairAt(there ? point.x : null);
      });
      return window.dash_clientside.no_update;
    },
    /* A bar that has a link of its own below the chart is as good as the link. */
    bar: function () {
      window.dash_clientside.callback_context.triggered.forEach(function (t) {
        var point = t.value && t.value.points && t.value.points[0];
        var link = point && document.querySelector('a[data-bar="' + CSS.escape(String(point.y)) + '"]');
        if (link) { link.click(); }
      });
      return window.dash_clientside.no_update;
    },
    /* Dragging over a time axis: hand the new range to the server, which knows its zone. */
    zoom: function () {
      var triggered = window.dash_clientside.callback_context.triggered;
      for (var i = 0; i < triggered.length; i += 1) {
        var change = triggered[i].value || {};
        var from = change["xaxis.range[0]"];
        if (typeof from === "string" && from.indexOf("-") > 0) {
          return { from: from, to: change["xaxis.range[1]"] };
        }
      }
      return window.dash_clientside.no_update;
    }
  };
})();
