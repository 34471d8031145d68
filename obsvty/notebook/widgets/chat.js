// The chat about an incident. No imports, so nothing is fetched; textContent only, so nothing that telemetry says comes alive.

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function diffLines(text) {
  const box = make("div", "obc-lines");
  for (const line of text.split("\n")) {
    const kind = line.startsWith("@@") ? "hunk" : line[0] === "+" ? "add" : line[0] === "-" ? "del" : "";
    box.append(make("div", kind, line || " "));
  }
  return box;
}

function suspectPanel(suspect) {
  const panel = make("details", "obc-suspect");
  const summary = make("summary");
  summary.append(
    make("span", "obc-tag", "suspect"),
    make("code", "", suspect.short),
    make("span", "obc-subject", suspect.subject),
    make("span", "obc-muted", `${suspect.author} · ${Math.round(100 * suspect.probability)} %`),
  );
  panel.append(summary);
  const reasons = make("ul", "obc-reasons");
  for (const reason of suspect.reasons || []) reasons.append(make("li", "", reason));
  panel.append(reasons);
  for (const hunk of suspect.hunks || []) {
    const file = make("div", "obc-diff");
    file.append(make("div", "obc-file", hunk.file), diffLines(hunk.text));
    panel.append(file);
  }
  return panel;
}

function footerText(message) {
  const parts = [];
  if (message.engine) parts.push(`${message.engine} engine`);
  if (message.tokens) parts.push(`${message.tokens.toLocaleString("en")} tokens`);
  parts.push(`${(message.bytes || 0).toLocaleString("en")} bytes left this machine`);
  if (message.stopped) parts.push("stopped");
  return parts.join(" · ");
}

function render({ model, el }) {
  const known = new Map(model.get("evidence").map((item) => [item.id, item]));
  el.classList.add("obc");
  el.setAttribute("role", "group");
  const header = model.get("header");
  el.setAttribute("aria-label", `Chat about ${header.title}`);

  const head = make("div", "obc-head");
  const title = make("div", "obc-title", header.title);
  if (header.verdict) title.append(make("span", "obc-chip", header.verdict));
  head.append(title);
  if (header.headline) head.append(make("div", "obc-muted", header.headline));
  const log = make("div", "obc-log");
  log.setAttribute("role", "log");
  log.setAttribute("aria-live", "polite");
  log.tabIndex = 0;
  const chips = make("div", "obc-questions");
  const form = make("form", "obc-form");
  const input = make("input");
  input.placeholder = "Ask about this incident";
  input.setAttribute("aria-label", "Question");
  const ask = make("button", "obc-ask", "Ask");
  const stop = make("button", "obc-stop", "Stop");
  stop.type = "button";
  form.append(input, ask, stop);
  const about = make(
    "div",
    "obc-about",
    `A model would see ${header.context_bytes.toLocaleString("en")} bytes, ${header.redactions} values redacted.`,
  );

  const suspect = model.get("suspect");
  el.replaceChildren(head, ...(suspect.short ? [suspectPanel(suspect)] : []), log, chips, form, about);

  function send(question) {
    if (!question || model.get("busy")) return;
    input.value = "";
    model.send({ type: "ask", text: question });
  }

  function citationButton(item, cards) {
    const button = make("button", "obc-cite", item.id);
    button.type = "button";
    button.title = item.text;
    button.setAttribute("aria-expanded", "false");
    button.onclick = () => {
      const open = cards.querySelector(`[data-id="${CSS.escape(item.id)}"]`);
      button.setAttribute("aria-expanded", String(!open));
      if (open) {
        open.remove();
        return;
      }
      const card = make("div", "obc-card");
      card.dataset.id = item.id;
      const top = make("div", "obc-card-head");
      top.append(make("b", "", item.id), make("span", "obc-muted", item.kind.replaceAll("_", " ")));
      card.append(top, make("div", "", item.text));
      cards.append(card);
    };
    return button;
  }

  // "[E2]" in an answer becomes a button that opens the fact; everything else stays text
  function fill(box, text, cards) {
    box.replaceChildren();
    for (const piece of text.split(/(\[E\d+(?:[ ,]+E\d+)*\])/)) {
      const ids = /^\[E\d/.test(piece) ? piece.match(/E\d+/g) : null;
      if (!ids || !ids.every((id) => known.has(id))) {
        box.append(piece);
        continue;
      }
      for (const id of ids) box.append(citationButton(known.get(id), cards));
    }
  }

  function bubble(message) {
    const row = make("div", `obc-message obc-${message.role}`);
    const body = make("div", "obc-text");
    const cards = make("div", "obc-cards");
    row.append(body);
    if (message.role === "user") {
      body.textContent = message.text;
    } else {
      fill(body, message.text, cards);
      if (message.error) body.append(make("div", "obc-error", message.error));
      const cited = make("div", "obc-cited");
      const missing = (message.citations || []).filter((id) => !message.text.includes(id) && known.has(id));
      if (missing.length) cited.append(make("span", "obc-muted", "Evidence"));
      for (const id of missing) cited.append(citationButton(known.get(id), cards));
      row.append(...(missing.length ? [cited] : []), cards, make("div", "obc-footer", footerText(message)));
    }
    log.append(row);
    return body;
  }

  let live = null;
  function redraw() {
    live = null;
    log.replaceChildren();
    const messages = model.get("messages");
    for (const message of messages) bubble(message);
    log.hidden = messages.length === 0;
    log.scrollTop = log.scrollHeight;
    el.dataset.messages = String(messages.length);
  }
  function onMessage(message) {
    if (message.type === "start") {
      const row = make("div", "obc-message obc-assistant obc-live");
      live = make("div", "obc-text");
      row.append(live);
      log.append(row);
      log.hidden = false;
    } else if (message.type === "delta" && live) {
      live.textContent += message.text;
    }
    log.scrollTop = log.scrollHeight;
  }
  function onBusy() {
    const busy = model.get("busy");
    stop.hidden = !busy;
    ask.disabled = busy;
    for (const chip of chips.children) chip.disabled = busy;
  }

  for (const question of model.get("questions")) {
    const chip = make("button", "obc-question", question);
    chip.type = "button";
    chip.onclick = () => send(question);
    chips.append(chip);
  }
  form.onsubmit = (event) => {
    event.preventDefault();
    send(input.value.trim());
  };
  stop.onclick = () => model.send({ type: "stop" });
  model.on("msg:custom", onMessage);
  model.on("change:messages", redraw);
  model.on("change:busy", onBusy);
  if (model.readOnly) for (const part of [chips, form]) part.hidden = true; // a report: there is no kernel to ask
  redraw();
  onBusy();
  return () => {
    model.off("msg:custom", onMessage);
    model.off("change:messages", redraw);
    model.off("change:busy", onBusy);
  };
}

export default { render };
