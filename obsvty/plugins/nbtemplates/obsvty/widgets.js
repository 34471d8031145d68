// Draws each anywidget from the state that is saved in the notebook: no kernel, no network. The class of anywidget is
// not needed for that: its module exports render, and a plain object stands in for the model.
const embedded = document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]');
const models = embedded ? JSON.parse(embedded.textContent).state : {};

function bytes(text) {
  return new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

async function draw(place) {
  const found = models[JSON.parse(place.textContent).model_id];
  if (!found || !found.state._esm) return;
  const state = structuredClone(found.state);
  for (const { path, data } of found.buffers || []) {
    let at = state;
    for (const key of path.slice(0, -1)) at = at[key];
    at[path.at(-1)] = bytes(data);
  }
  const style = document.createElement("style");
  style.textContent = state._css || "";
  document.head.append(style);
  const source = URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" }));
  const { default: widget } = await import(source);
  const model = {
    readOnly: true,
    get: (key) => state[key],
    set() {},
    save_changes() {},
    send() {},
    on() {},
    off() {},
  };
  const el = document.createElement("div");
  place.after(el);
  widget.render({ model, el });
}

for (const place of document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]')) draw(place);
