/* One chart, one task: Dash asks for all charts of a panel at once, and between two of them the
   browser may answer keys and pointers and show what is there. Comes after plotly in the alphabet. */
(function () {
  "use strict";

  var react = window.Plotly.react;
  var waiting = [];

  function drawNext() {
    try { waiting[0](); } finally {
      waiting.shift();
      if (waiting.length) { setTimeout(drawNext, 0); }
    }
  }

  window.Plotly.react = function (graph) {
    var asked = arguments;
    return new Promise(function (resolve, reject) {
      waiting.push(function () {
        /* Whoever left the page meanwhile waits for nothing. */
        if (!graph.isConnected) { return; }
        try { resolve(react.apply(window.Plotly, asked)); } catch (error) { reject(error); }
      });
      if (waiting.length === 1) { setTimeout(drawNext, 0); }
    });
  };
})();
