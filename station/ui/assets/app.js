// SPDX-License-Identifier: MIT OR Apache-2.0
// The console: three pages over the API. The address behind '#' holds the state, so that a page can be linked to.
// Whatever comes from the network becomes text by textContent and nothing else.
"use strict";

const REFRESH_COUNTERS = 5000;
const REFRESH_TABLES = 30000;
const FLOWS = 100;
const MOST_FLOWS = 1000;

const form = document.getElementById("question");
const main = document.getElementById("main");
const busy = document.getElementById("busy");
const problem = document.getElementById("filter-error");

/** An element with properties and children; a child that is no node becomes text. */
function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

// State ----------------------------------------------------------------------------------------------------------------

/** Page and parameters in the address. */
function state() {
  const [page, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { page: page in pages ? page : "overview", parameters: new URLSearchParams(query) };
}

function address(page, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  const query = new URLSearchParams(given).toString();
  return `#/${page}${query && "?"}${query}`;
}

/** The filter and window asked for. */
function question() {
  const { parameters } = state();
  return { filter: parameters.get("filter") ?? "", window: parameters.get("window") || defaultWindow };
}

/** The window that is shown before one is asked for. */
let defaultWindow = "all";

/** The last hour of what is being collected; all of a store of a day or less, as of a few captures. */
function chooseWindow({ collecting, store, now_milliseconds: now }) {
  const isLive = store.last_milliseconds > now - 3600e3;
  const isShort = store.last_milliseconds - store.first_milliseconds <= 86400e3;
  return collecting || (isLive && !isShort) ? "last 1h" : "all";
}

// API ------------------------------------------------------------------------------------------------------------------

class Failure extends Error {
  constructor(error) {
    super(error.message);
    this.parameter = error.parameter;
    this.column = error.column;
  }
}

let asking = new AbortController();

async function ask(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));
  let response;
  try {
    response = await fetch(`api/${path}?${query}`, { signal: asking.signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure({ message: "The station does not answer." });
  }
  const answer = await response.text();
  let body;
  try {
    body = JSON.parse(answer, exact);
  } catch {
    throw new Failure({ message: `HTTP status ${response.status}, and no JSON` });
  }
  if (!response.ok) throw new Failure(body.error ?? { message: `HTTP status ${response.status}` });
  return body;
}

/** Identifiers have 64 bits, numbers of scripts 53: they stay text, where the browser shows it. */
function exact(key, value, context) {
  return key === "flowId" ? context?.source ?? value : value;
}

// Forms of numbers and times -------------------------------------------------------------------------------------------

const grouped = new Intl.NumberFormat("en");

function scaled(number, unit = "") {
  const prefixes = ["", "k", "M", "G", "T", "P"];
  let power = 0;
  while (number >= 999.5 && power < prefixes.length - 1) {
    number /= 1000;
    power += 1;
  }
  const digits = power === 0 || number >= 99.95 ? number.toFixed(0) : number.toFixed(1);
  return `${digits}${unit || prefixes[power] ? " " : ""}${prefixes[power]}${unit}`;
}

/** A time, to the second unless more characters are asked for. */
function utc(milliseconds, length = 19) {
  const time = new Date(milliseconds);
  return Number.isNaN(time.getTime()) ? "" : time.toISOString().slice(0, length).replace("T", " ");
}

const PROTOCOLS = { 1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 41: "IPv6", 47: "GRE", 50: "ESP", 58: "ICMPv6", 89: "OSPF", 132: "SCTP" };

// Filters --------------------------------------------------------------------------------------------------------------

/** A text in quotes; undefined if the language cannot say it: it has no escapes. */
function quoted(text) {
  if (/[\p{Cc}\ufffd]/u.test(text)) return undefined;
  if (!text.includes('"')) return `"${text}"`;
  return text.includes("'") ? undefined : `'${text}'`;
}

function equals(field) {
  return (value) => quoted(value) && `${field} == ${quoted(value)}`;
}

/** The address of the flows of the present question for which `condition` holds, too. */
function narrowed(condition) {
  const { filter, window } = question();
  return address("flows", { filter: filter.trim() ? `(${filter}) and ${condition}` : condition, window });
}

// Parts of pages -------------------------------------------------------------------------------------------------------

/** A filter's error below the box, with its place; any other where the page would be. */
function show(error, place) {
  if (error.name === "AbortError") return;
  if (!error.parameter) {
    place.replaceChildren(el("p", { class: "error", role: "alert", text: error.message }));
    return;
  }
  place.replaceChildren();
  const { filter } = question();
  const at = error.column ? `, column ${error.column}` : "";
  const box = el("div", { class: "error" }, `${error.parameter}${at}: ${error.message}`);
  if (error.parameter === "filter" && error.column) {
    const before = [...filter].slice(0, error.column - 1);
    box.append(el("pre", { "aria-hidden": "true", text: `${filter}\n${" ".repeat(before.length)}^` }));
    form.filter.setSelectionRange(before.join("").length, form.filter.value.length);
  }
  form.elements[error.parameter]?.setAttribute("aria-invalid", "true");
  problem.replaceChildren(box);
}

function tile(value, label, properties = {}) {
  return el("div", { ...properties, class: `tile ${properties.class ?? ""}` }, el("b", { text: value }), el("span", { text: label }));
}

function panel(title, ...children) {
  return el("section", { class: "panel" }, el("h2", { text: title }), ...children);
}

function table(caption, columns, rows) {
  const head = columns.map(([name, kind]) => el("th", { scope: "col", class: kind, text: name }));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell, i) =>
    el("td", { class: columns[i][1], "data-label": columns[i][0] }, cell))));
  return el("div", { class: "wide", role: "region", "aria-label": caption, tabindex: "0" },
    el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body)));
}

/** A statistic as a list of bars, each value a link that narrows the filter. */
function bars(rows, measure, unit, condition, name = (row) => row.val) {
  const most = Math.max(1, ...rows.map((row) => row[measure]));
  return el("ul", { class: "bars" }, ...rows.map((row) => {
    const filter = condition(row);
    const link = filter && { class: "value", href: narrowed(filter), title: `${row.val}\n${filter}` };
    const value = el(filter ? "a" : "span", { ...(link || { class: "value", title: row.val }), text: name(row) || "(empty)" });
    const count = el("span", { class: "number", text: scaled(row[measure], unit), title: `${grouped.format(row[measure])} ${measure}` });
    const line = el("li", {}, value, count);
    line.style.setProperty("--share", `${(100 * row[measure]) / most}%`);
    return line;
  }));
}

// Overview -------------------------------------------------------------------------------------------------------------

const STATISTICS = [
  ["Hosts", "ip/bytes", "bytes", "B", (row) => `ip ${row.val}`],
  ["Names asked for (DNS)", "dns.qname/flows", "flows", "", (row) => equals("dns.qname")(row.val)],
  ["TLS server names", "tls.sni/flows", "flows", "", (row) => equals("tls.sni")(row.val)],
  ["HTTP hosts", "http.host/flows", "flows", "", (row) => equals("http.host")(row.val)],
  ["Destination ports", "dstport:p/flows", "flows", "", (row) => `proto ${row.proto} and dst port ${row.val}`, (row) => `${row.val} ${row.proto}`],
  ["Applications", "app/flows", "flows", "", (row) => equals("application")(row.val)],
];

function counters(status) {
  if (!status.collecting) {
    return [panel("Collecting process", el("p", { class: "note", text: "This console reads a store and collects nothing. Exporters, and what the collecting process counts, are on the console of weir up." }))];
  }
  const rows = status.exporters.map((e) => [
    el("span", { class: "code", text: e.address ?? "file" }), String(e.domain), `${e.protocol} over ${e.transport}`,
    grouped.format(e.messages), grouped.format(e.records),
    e.lost ? `${grouped.format(e.lost)} ${e.lost_unit}` : "0",
    e.sampling_interval ? `1 in ${grouped.format(e.sampling_interval)}` : "not said", utc(e.last_seen_milliseconds),
  ]);
  const exporters = rows.length
    ? table("Exporters", [["Exporter"], ["Domain", "number"], ["Protocol"], ["Messages", "number"], ["Records", "number"],
      ["Lost by sequence", "number"], ["Sampling", "number"], ["Last seen (UTC)"]], rows)
    : el("p", { class: "note", text: "No exporter has sent anything since the start." });
  const stages = status.stages.map((stage) => {
    const counted = stage.counters.filter((counter) => counter.value > 0);
    const list = el("dl", {}, ...counted.flatMap((c) => [el("dt", { text: c.name, title: c.meaning }), el("dd", { text: `${grouped.format(c.value)}  ${c.meaning}` })]));
    const open = openStages.has(stage.name);
    const details = el("details", { open }, el("summary", { text: `${stage.name}: what was counted` }), counted.length ? list : el("p", { class: "note", text: "Nothing yet." }));
    details.addEventListener("toggle", () => (details.open ? openStages.add(stage.name) : openStages.delete(stage.name)));
    return details;
  });
  return [panel("Exporters", exporters), el("section", { class: "panel" }, ...stages)];
}

/** Stages whose counters somebody looks at; they stay open when the numbers are refreshed. */
const openStages = new Set();

function tiles(status, total) {
  const lost = status.exporters.reduce((sum, e) => sum + e.lost, 0);
  const found = [
    total && tile(scaled(total.flows), "records in the window", { title: grouped.format(total.flows) }),
    total && tile(scaled(total.packets), "packets", { title: grouped.format(total.packets) }),
    total && tile(scaled(total.bytes, "B"), "octets", { title: grouped.format(total.bytes) }),
    tile(scaled(status.store.octets, "B"), `on disk, ${grouped.format(status.store.segments)} segments`),
  ];
  if (status.collecting) {
    found.push(tile(grouped.format(status.exporters.length), "exporters"));
    found.push(tile(grouped.format(lost), "lost by sequence", { class: lost ? "bad" : "" }));
  } else if (status.store.last_milliseconds) {
    found.push(tile(utc(status.store.last_milliseconds).slice(0, 10), "latest day in the store"));
  }
  return el("div", { class: "tiles" }, ...found.filter(Boolean));
}

async function overview(current) {
  const { filter, window } = question();
  const parameters = { filter, window };
  const [status, protocols] = await Promise.all([ask("status"), ask("top", { ...parameters, stat: "proto/bytes", n: 256 })]);
  if (!current()) return;
  const total = { flows: 0, packets: 0, bytes: 0 };
  for (const row of protocols.rows) for (const name in total) total[name] += row[name];

  let latest = status;
  const top = el("div", { class: "part" }, tiles(status, total));
  const bottom = el("div", { class: "part" }, ...counters(status));
  const grid = el("div", { class: "grid" });
  main.replaceChildren(el("h1", { text: "Overview" }), top, grid, bottom);
  const draw = async ([title, stat, measure, unit, condition, name]) => {
    const place = panel(title, el("p", { class: "note", text: "…" }));
    grid.append(place);
    try {
      const { rows } = await ask("top", { ...parameters, stat, n: 10 });
      const list = rows.length ? bars(rows, measure, unit, condition, name) : el("p", { class: "note", text: "None in this window." });
      place.replaceChildren(el("h2", { text: title }), list);
    } catch (error) {
      if (current()) show(error, place);
    }
  };
  await Promise.all(STATISTICS.map(draw));

  if (!latest.collecting) return;
  refresh(current, REFRESH_COUNTERS, async () => {
    latest = await ask("status");
    if (!current()) return;
    top.replaceChildren(tiles(latest, total));
    if (!bottom.contains(document.activeElement)) bottom.replaceChildren(...counters(latest));
  });
  if (window.startsWith("last")) {
    setTimeout(() => current() && !document.hidden && !main.contains(document.activeElement) && render(), REFRESH_TABLES);
  }
}

/** Does something again and again while this page is shown. */
function refresh(current, period, work) {
  setTimeout(async () => {
    if (!current()) return;
    try {
      if (!document.hidden) await work();
      busy.textContent = "";
    } catch (error) {
      if (current() && error.name !== "AbortError") busy.textContent = error.message;
    }
    refresh(current, period, work);
  }, period);
}

// Flows ----------------------------------------------------------------------------------------------------------------

/** What says most about a transaction, per application. */
const TELLING = {
  dns: ["dnsQueryName", "dnsResponseCode"],
  http: ["httpRequestMethod", "httpRequestHost", "httpRequestTarget", "httpStatusCode"],
  sip: ["sipMethod", "sipFromUri", "sipToUri", "sipStatusCode"],
  smtp: ["smtpMailFrom", "smtpRcptTo", "smtpSubject"],
  tls: ["tlsServerName"],
};

function text(value) {
  return Array.isArray(value) ? value.join(", ") : String(value);
}

function endpoint(ip, port) {
  const host = el("a", { href: narrowed(`ip ${ip}`), title: `narrow to ip ${ip}`, text: ip });
  return el("span", { class: "code" }, host, port === undefined ? "" : ` : ${port}`);
}

function summary(flow) {
  const slug = flow.applicationName;
  const telling = (TELLING[slug] ?? []).filter((name) => name in flow);
  // An application that is not in the table: its first fields.
  const names = telling.length ? telling : Object.keys(flow).filter((name) => slug && name.startsWith(slug)).slice(0, 2);
  return [slug, ...names.map((name) => text(flow[name]))].filter(Boolean).join("  ");
}

/** Earliest and latest packet of both directions, milliseconds; a direction without packets has none. */
function span(flow) {
  const both = (name) => [flow[`flow${name}Milliseconds`], flow[`reverseFlow${name}Milliseconds`]].filter(Number.isFinite);
  return [Math.min(...both("Start")), Math.max(...both("End"))];
}

function protocol(flow) {
  const name = PROTOCOLS[flow.protocolIdentifier] ?? String(flow.protocolIdentifier);
  const icmp = flow.icmpTypeCodeIPv4 ?? flow.icmpTypeCodeIPv6;
  return icmp === undefined ? name : `${name} type ${icmp >> 8} code ${icmp & 255}`;
}

const COLUMNS = [["Start (UTC)", "code"], ["Seconds", "number"], ["Protocol"], ["From"], ["To"], ["Packets", "number"],
  ["Octets", "number"], ["Octets back", "number"], ["Application", "text"]];

function flowRows(flow, number) {
  const [first, last] = span(flow);
  const button = el("button", { type: "button", class: "toggle", "aria-expanded": "false", "aria-label": `All fields of flow ${number}`, text: "+" });
  const cells = [
    el("span", {}, button, ` ${utc(first, 23)}`), ((last - first) / 1000).toFixed(3), protocol(flow),
    endpoint(flow.sourceIPv4Address ?? flow.sourceIPv6Address, flow.sourceTransportPort),
    endpoint(flow.destinationIPv4Address ?? flow.destinationIPv6Address, flow.destinationTransportPort),
    grouped.format(flow.packetDeltaCount + (flow.reversePacketDeltaCount ?? 0)), grouped.format(flow.octetDeltaCount),
    flow.reverseOctetDeltaCount === undefined ? "" : grouped.format(flow.reverseOctetDeltaCount),
    el("span", { class: "clamp", text: summary(flow) }),
  ];
  const row = el("tr", {}, ...cells.map((cell, i) => el("td", { class: COLUMNS[i][1], "data-label": COLUMNS[i][0] }, cell)));
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    button.textContent = open ? "+" : "−";
    if (open) {
      row.nextElementSibling.remove();
      return;
    }
    const list = el("dl", {}, ...Object.entries(flow).flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: text(value) })]));
    row.after(el("tr", {}, el("td", { class: "details", colspan: COLUMNS.length }, list)));
  });
  return row;
}

async function flows(current) {
  const { parameters } = state();
  const { filter, window } = question();
  const limit = Math.min(Number(parameters.get("limit")) || FLOWS, MOST_FLOWS);
  const order = parameters.get("order") ?? "";
  const { flows: found, more } = await ask("query", { filter, window, order, limit });
  if (!current()) return;
  const list = table("Flows", COLUMNS, []);
  list.querySelector("tbody").append(...found.map((flow, i) => flowRows(flow, i + 1)));
  const count = `${more ? "The first " : ""}${grouped.format(found.length)} flow${found.length === 1 ? "" : "s"}`;
  const next = more && limit < MOST_FLOWS
    ? el("p", {}, el("a", { href: address("flows", { filter, window, order, limit: MOST_FLOWS }), text: `Show up to ${grouped.format(MOST_FLOWS)}` }))
    : el("p", { class: "note", text: more ? "There are more; narrow the filter or the window." : "" });
  const place = panel(count, found.length ? list : el("p", { class: "note", text: "No flow of this window passes the filter." }), next);
  place.classList.add("flows");
  main.replaceChildren(el("h1", { text: "Flows" }), place);
}

// Alerts ---------------------------------------------------------------------------------------------------------------

function figures(quantities) {
  return quantities.flatMap((q) => [el("dt", { text: q.name }), el("dd", { text: `${text(q.value)} ${q.unit}` })]);
}

function alertPanel(alert) {
  const span = [alert.first_time, alert.last_time].map((time) => time.slice(0, 19).replace("T", " "));
  const state = alert.state === "ended" ? "ended" : "goes on";
  const link = el("a", { href: address("flows", { ...alert.evidence }), text: "Show the flows" });
  const details = el("details", {}, el("summary", { text: "Figures" }), el("dl", {}, ...figures(alert.measured), ...figures(alert.parameters)));
  return el("article", { class: `panel alert ${alert.severity}` },
    el("div", { class: "description" }, el("span", { class: "severity", text: alert.severity }), ` ${alert.description}`),
    el("p", { class: "note", text: `${span[0]} to ${span[1]} UTC, ${state}; ${grouped.format(alert.flows)} flows, ${grouped.format(alert.packets)} packets, ${scaled(alert.octets, "B")}; confidence ${Math.round(100 * alert.confidence)} %${alert.degraded ? `; ${alert.degraded}` : ""}` }),
    el("p", {}, link), details);
}

async function alerts(current) {
  const found = await ask("alerts");
  if (!current()) return;
  const notes = [];
  if (!found.judged) notes.push("Nobody has looked for attacks in this store: weir up and weir collect --detect do.");
  else if (!found.alerts.length) notes.push("No attack was found.");
  if (found.cut) notes.push("Older alerts are in alerts.jsonl only.");
  if (found.unreadable) notes.push(`${grouped.format(found.unreadable)} lines of alerts.jsonl are no alerts.`);
  main.replaceChildren(el("h1", { text: "Alerts" }), ...notes.map((note) => el("p", { class: "note", text: note })), ...found.alerts.map(alertPanel));
}

// The whole ------------------------------------------------------------------------------------------------------------

const pages = { overview, flows, alerts };
let shown = 0;

async function render() {
  const number = (shown += 1);
  const current = () => number === shown;
  asking.abort();
  asking = new AbortController();
  const { page, parameters } = state();
  const { filter, window } = question();
  document.title = `${page[0].toUpperCase()}${page.slice(1)} - Weir`;
  form.hidden = page === "alerts";
  document.getElementById("order-field").hidden = page !== "flows";
  form.filter.value = filter;
  form.elements.window.value = window;
  form.order.value = parameters.get("order") || "tend:d";
  for (const input of form.elements) input.removeAttribute("aria-invalid");
  problem.replaceChildren();
  for (const link of document.querySelectorAll("nav a")) {
    const { page: target } = link.dataset;
    link.href = address(target, target === "alerts" ? {} : { filter: parameters.get("filter"), window: parameters.get("window") });
    if (target === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  busy.textContent = "asking…";
  try {
    await pages[page](current);
  } catch (error) {
    if (current()) show(error, main);
  }
  if (current()) busy.textContent = "";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { page } = state();
  const order = form.order.value === "tend:d" ? "" : form.order.value;
  const target = address(page, { filter: form.filter.value.trim(), window: form.elements.window.value.trim(), order: page === "flows" ? order : "" });
  if (target === location.hash) render();
  else location.hash = target;
});
form.order.addEventListener("change", () => form.requestSubmit());
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", render);

(async () => {
  try {
    defaultWindow = chooseWindow(await ask("status"));
  } catch {
    // The page says so when it asks.
  }
  render();
})();
