/** plotly.js, loaded once and only where a chart is drawn: the page is usable before it is there. */

let loading = null;

/** @returns {Promise<Object>} the Plotly object */
export function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.body.dataset.plotly;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null;
      reject(new Error("The chart library could not be loaded."));
    };
    document.head.append(script);
  });
  return loading;
}
