/**
 * What runs on the page: scripts in HTML that make pictures of figures live.
 *
 * JupyterLab takes cells out of the page when they are scrolled out of sight, shows an output more than
 * once if asked to, and shows outputs again that were saved, where the scripts are left out. So each
 * script finds its own place, and each figure is a picture until its script has drawn.
 */
import type { FigureJson } from "./figure_json.ts";
import { escapeHtml } from "./html.ts";

/** Says on the page that plotly.js is there; figures that came before it wait for this. */
const LOADED = "denoformers:plotly";

/** JSON as a JavaScript expression that may stand within a script element. */
export function scriptJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * A picture, and a script that draws the figure in its place once plotly.js is there and the place is in
 * sight; texts cannot be measured before.
 *
 * @param figure What to draw.
 * @param svg Its picture.
 * @param description What stands for the picture where it cannot be seen.
 */
export function figureHtml(figure: FigureJson, svg: string, description: string): string {
  const { width, height } = figure.layout;
  const source = `data:image/svg+xml;base64,${new TextEncoder().encode(svg).toBase64()}`;
  return `<div style="width:${width}px;height:${height}px;margin-bottom:8px;overflow:hidden">` +
    `<img width="${width}" height="${height}" style="max-width:none" ` +
    `alt="${escapeHtml(description)}" src="${source}"></div>` +
    `<script>(${DRAW})(document.currentScript.previousElementSibling,${
      scriptJson(figure)
    })</script>`;
}

/** Draws below the picture and takes that away when done, so that nothing flickers; on an error it stays. */
const DRAW = /* js */ `function(place,figure){
  var picture=place.firstElementChild;
  function draw(){
    var chart=document.createElement("div");
    place.appendChild(chart);
    Promise.resolve().then(function(){
      return window.Plotly.newPlot(chart,figure.data,figure.layout,figure.config);
    }).then(function(){picture.remove()},function(error){chart.remove();console.error(error)});
  }
  function drawInSight(){
    new IntersectionObserver(function(entries,observer){
      if(!entries.some(function(entry){return entry.isIntersecting}))return;
      observer.disconnect();
      draw();
    }).observe(place);
  }
  if(window.Plotly)drawInSight();
  else window.addEventListener("${LOADED}",drawInSight,{once:true});
}`.replace(/\n\s*/g, "");

/**
 * HTML that gives the page plotly.js. The script is run by an image that fails to load: images load even
 * in a cell that is out of sight and thus not part of the page, where scripts do not run.
 *
 * @param source The text of plotly.js.
 */
export function plotlyHtml(source: string): string {
  return `<img alt="plotly.js" src="data:," data-source="${escapeHtml(source)}" ` +
    `onerror="${escapeHtml(`(${LOAD})(this)`)}">`;
}

/** As the text of a script element, in which the names that modules are loaded by mean nothing. */
const LOAD = /* js */ `function(image){
  image.onerror=null;
  if(!window.Plotly){
    var script=document.createElement("script");
    script.textContent="(function(define,module,exports){"+image.dataset.source+"\\n}).call(window)";
    document.head.appendChild(script);
    script.remove();
  }
  image.remove();
  window.dispatchEvent(new Event("${LOADED}"));
}`.replace(/\n\s*/g, "");
