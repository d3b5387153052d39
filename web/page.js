/** The admin page: reads and writes over the API of the proxy that served it. Everything shown goes in as text, never as markup. */

const REFRESH_MS = 5000;
const TOKEN_KEY = "codomain-token";
const THEME_KEY = "codomain-theme";

const $ = (id) => document.getElementById(id);

/** An element with attributes, properties and children; strings become text. */
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function api(path, { method = "GET", body } = {}) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const response = await fetch(path, {
    method,
    headers: {
      "x-actor": "page",
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = response.status === 204 ? null : await response.json();
  if (!response.ok && answer?.error !== undefined) throw new Refused(response.status, answer.error.message);
  return answer;
}

function query(fields) {
  return new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== "")).toString();
}

/** Tells a failure, or takes it away. A missing or wrong token asks for one. */
function tell(error) {
  const asked = error instanceof Refused && error.status === 401;
  $("login").hidden = !asked;
  $("main").hidden = asked;
  const wrong = asked && sessionStorage.getItem(TOKEN_KEY) !== null;
  const text =
    error === null || (asked && !wrong) ? "" : error instanceof Refused ? error.message : "The proxy does not answer.";
  $("notice").textContent = text;
  $("notice").hidden = text === "";
  if (asked) $("token").focus();
}

/** Runs what a person asked for; a failure is told and stays until the next action. */
async function act(run) {
  try {
    await run();
    tell(null);
  } catch (error) {
    tell(error);
  }
}

function showStatus(status, ready) {
  const badge = $("ready");
  const failing = Object.entries(ready.checks).filter(([, check]) => !check.ok);
  badge.className = `badge ${ready.ready ? "good" : "bad"}`;
  badge.textContent = ready.ready
    ? "ready"
    : `not ready: ${failing.map(([name, check]) => `${name} ${check.detail}`).join("; ")}`;
  $("identity").textContent = `${status.proxy} for ${status.domains.join(", ")}, up ${duration(status.uptimeSeconds)}`;
  $("version").textContent = `version ${status.version}`;
  const { requests, learned, unlearned, conflicts } = status.counters;
  const counters = [
    ["relayed", requests.relay ?? 0],
    ["forked", requests.fork ?? 0],
    ["refused", requests.reject ?? 0],
    ["users learned", learned],
    ["unlearned", unlearned],
    ["conflicts", conflicts],
    ["open requests", status.openRequests],
    ["open forks", status.openForks],
    ["waiting", status.waitingRequests],
    ["users cached", status.cachedUsers],
  ];
  $("counters").replaceChildren(
    ...counters.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value.toLocaleString("en")))),
  );
}

function duration(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}

function showServers(servers) {
  $("servers").replaceChildren(
    ...servers.map((server) => {
      const { traffic, drained } = server;
      const others = Object.entries(traffic.answers).reduce((sum, [code, n]) => (code === "2xx" ? sum : sum + n), 0);
      const [state, look] = drained ? ["drained", "warn"] : server.up ? ["up", "good"] : ["down", "bad"];
      const nodes = server.nodes.map((node) =>
        el(
          "li",
          {},
          el("code", {}, node.uri),
          node.up ? "" : el("span", { class: "bad" }, ` down, ${node.consecutiveFailures} failures`),
        ),
      );
      const removed = server.proofRemoved.map((mark) => el("span", { class: "warn" }, ` not ${mark}`));
      const verb = drained ? "resume" : "drain";
      return el(
        "tr",
        {},
        el("th", { scope: "row" }, server.name),
        el("td", { class: look }, state),
        el("td", {}, el("ul", {}, ...nodes)),
        el("td", {}, server.proves.join(" "), ...removed),
        ...[traffic.requests, traffic.answers["2xx"] ?? 0, others, traffic.unanswered].map((n) =>
          el("td", { class: "number" }, n.toLocaleString("en")),
        ),
        el(
          "td",
          {},
          el(
            "button",
            {
              type: "button",
              "aria-label": `${verb} ${server.name}`,
              onclick: () =>
                act(async () => {
                  await api(`/api/v1/servers/${encodeURIComponent(server.name)}/${verb}`, { method: "POST" });
                  await refresh();
                }),
            },
            verb,
          ),
        ),
      );
    }),
  );
  for (const select of document.querySelectorAll("select[data-servers]")) {
    const names = servers.map((each) => each.name);
    const any = select.dataset.servers;
    const wanted = any === "" ? names : ["", ...names];
    if ([...select.options].map((option) => option.value).join() === wanted.join()) continue;
    const { value } = select;
    select.replaceChildren(...wanted.map((name) => el("option", { value: name }, name === "" ? any : name)));
    if (wanted.includes(value)) select.value = value;
  }
}

function showAudit(entries) {
  const cell = (value) => el("td", {}, value === null ? "" : el("code", {}, JSON.stringify(value)));
  $("audit").replaceChildren(
    ...entries.map((entry) =>
      el(
        "tr",
        {},
        el("td", {}, el("time", { datetime: entry.at }, new Date(entry.at).toLocaleString())),
        el("td", {}, entry.actor),
        el("td", {}, entry.action),
        el("td", {}, entry.aor ?? ""),
        cell(entry.before),
        cell(entry.after),
      ),
    ),
  );
}

function when(time) {
  return el("time", { datetime: time }, new Date(time).toLocaleString());
}

function showMoves(batches) {
  const what = ({ kind, from, to, undoOf }) =>
    kind === "server" ? `${from} to ${to}` : kind === "undo" ? `back, of ${undoOf}` : "a list";
  const order = (batch, verb) =>
    el(
      "button",
      {
        type: "button",
        "aria-label": `${verb} ${batch.id}`,
        onclick: () =>
          act(async () => {
            await api(`/api/v1/moves/${encodeURIComponent(batch.id)}/${verb}`, { method: "POST" });
            await refresh();
          }),
      },
      verb,
    );
  const rows = batches.map((batch) => {
    const done = batch.moved + batch.refused;
    const orders =
      batch.state === "running" ? ["pause", "cancel"] : batch.state === "paused" ? ["resume", "cancel"] : [];
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, batch.id),
      el("td", {}, what(batch)),
      el("td", { class: batch.state === "running" ? "good" : "warn" }, batch.state),
      el(
        "td",
        {},
        el("progress", { max: Math.max(1, batch.total), value: done, "aria-label": `${done} of ${batch.total}` }),
      ),
      ...[batch.moved, batch.refused, batch.total].map((n) => el("td", { class: "number" }, n.toLocaleString("en"))),
      el("td", {}, ...orders.map((verb) => order(batch, verb))),
    );
  });
  if (rows.length === 0) rows.push(el("tr", {}, el("td", { colspan: "8" }, "Nobody is being moved.")));
  $("moves").replaceChildren(...rows);
}

async function migrate(verb) {
  const from = $("move-from").value;
  const to = $("move-to").value;
  $("migrated").textContent = "";
  if (verb === "check") {
    let movable = 0;
    let refused = 0;
    let after = null;
    do {
      const body = { from, to, ...(after === null ? {} : { after }) };
      const page = await api("/api/v1/moves/check", { method: "POST", body });
      movable += page.movable;
      refused += page.refused.length;
      after = page.next;
    } while (after !== null);
    $("migrated").textContent = `${movable} would be moved, ${refused} refused. Nothing was written.`;
    return;
  }
  const body = { from, to, rate: Number($("move-rate").value), makeBeforeBreak: $("move-both").checked };
  const batch = await api("/api/v1/moves", { method: "POST", body });
  $("migrated").textContent = `Batch ${batch.id} runs. To move its users back: npx codomain migrate --undo ${batch.id}`;
  await refresh();
}

/** What was searched for last, and found to be right: what is being typed now is no search yet. */
let sought = { held: "", aor: "", limit: "50" };

async function searchSubscriptions() {
  const fields = { ...sought, held: $("held").value, aor: $("presentity").value.trim() };
  const found = await api(`/api/v1/subscriptions?${query(fields)}`);
  sought = fields;
  showSubscriptions(found);
}

/** Where it goes: of a composed one, how each server stands. */
function standing({ server, servers }) {
  if (servers.length === 0) return [server ?? ""];
  const looks = { confirmed: "good", asked: "warn", pending: "warn" };
  return [
    el(
      "ul",
      {},
      ...servers.map((each) =>
        el("li", {}, `${each.server} `, el("span", { class: looks[each.standing] ?? "" }, each.standing)),
      ),
    ),
  ];
}

function showSubscriptions({ subscriptions, next: more }) {
  const rows = subscriptions.map((each) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, each.watcher),
      el("td", {}, each.presentity),
      el("td", {}, each.event),
      el("td", { class: each.state === "held" ? "warn" : "good" }, each.state),
      el("td", {}, ...standing(each)),
      el("td", {}, when(each.expiresAt)),
    ),
  );
  const text = rows.length === 0 ? "No subscriptions." : more === null ? "" : "There are more: name a user.";
  if (text !== "") rows.push(el("tr", {}, el("td", { colspan: "6" }, text)));
  $("subscriptions").replaceChildren(...rows);
}

function showMessages({ messages, next: more }) {
  const rows = messages.map((each) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, each.recipient),
      el("td", {}, each.sender),
      el("td", {}, when(each.receivedAt)),
      el("td", {}, when(each.expiresAt)),
      el("td", { class: "number" }, each.tries),
      el(
        "td",
        {},
        el(
          "button",
          { type: "button", "aria-label": `trace ${each.id}`, onclick: () => act(() => showTrace(each.id)) },
          "trace",
        ),
      ),
    ),
  );
  const text =
    rows.length === 0 ? "No message waits." : more === null ? "" : "There are more: npx codomain messages list";
  if (text !== "") rows.push(el("tr", {}, el("td", { colspan: "6" }, text)));
  $("messages").replaceChildren(...rows);
}

async function showTrace(id) {
  const { trace } = await api(`/api/v1/messages/${encodeURIComponent(id)}/trace`);
  $("trace").textContent = trace.map(({ event, at, detail }) => `${at}  ${event}  ${detail}`).join("\n");
  $("trace").hidden = false;
}

/** Where the next page of the users shown begins; null: there is none. */
let next = null;

async function showUsers(more) {
  const fields = {
    prefix: $("prefix").value.trim(),
    server: $("on-server").value,
    after: more ? (next ?? "") : "",
    limit: "50",
  };
  const page = await api(`/api/v1/users?${query(fields)}`);
  next = page.next;
  $("more").hidden = next === null;
  const rows = page.users.map(({ aor, record, binding, epoch }) => {
    const choose = () => {
      $("who").value = aor;
      $("aor").value = aor;
      $("ruled").value = aor;
      if (binding !== null) $("where").value = binding.server;
      $("who").focus();
    };
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, el("button", { type: "button", class: "plain", onclick: choose }, aor)),
      el("td", {}, record?.model ?? "by rule"),
      el("td", {}, binding?.server ?? "nowhere"),
      el("td", {}, binding?.origin ?? ""),
      el("td", { class: "number" }, epoch),
      el(
        "td",
        {},
        binding === null ? "" : binding.expiresAt === null ? "never" : new Date(binding.expiresAt).toLocaleString(),
      ),
    );
  });
  if (!more && rows.length === 0) rows.push(el("tr", {}, el("td", { colspan: "6" }, "No users.")));
  if (more) $("users").append(...rows);
  else $("users").replaceChildren(...rows);
}

async function place(verb) {
  const aor = $("who").value.trim();
  const body = verb === "unbind" ? {} : { server: $("where").value };
  $("placed").textContent = "";
  const answer = await api(`/api/v1/users/${encodeURIComponent(aor)}/${verb}`, { method: "POST", body });
  $("placed").textContent =
    verb === "unbind"
      ? `${aor} is no longer bound to ${answer.previous.server} (epoch ${answer.epoch}).`
      : `${aor} is on ${answer.binding.server} (epoch ${answer.binding.epoch}).`;
  await Promise.all([showUsers(false), refresh()]);
}

async function showRules() {
  const aor = $("ruled").value.trim();
  const { way, presence, messages, defaults } = await api(`/api/v1/users/${encodeURIComponent(aor)}/rules`);
  const parts = [
    ["presence", presence, defaults.presence],
    ["messages and calls", messages, defaults.contact],
  ];
  const rows = parts.flatMap(([about, { etag, rules }, otherwise]) => {
    if (etag === null) return [ruleRow("no rules", about, "everybody", otherwise, "", "as the domain says")];
    return rules.map(({ id, who, except, when, handling, shows }) => {
      const names = `${who.join(", ") || "nobody"}${except.length === 0 ? "" : ` but ${except.join(", ")}`}`;
      return ruleRow(id, about, names, handling ?? "", shows ?? "", when.join("; ") || "always");
    });
  });
  $("rules").replaceChildren(...rows);
  const idle = way === "distributed" || way === "pdp" ? [`These rules decide nothing: the way is ${way}.`] : [];
  $("ruling").textContent = [...idle, ...presence.warnings, ...messages.warnings].join(" ");
}

function ruleRow(id, ...cells) {
  return el("tr", {}, el("th", { scope: "row" }, id), ...cells.map((each) => el("td", {}, each)));
}

async function handle() {
  const aor = $("ruled").value.trim();
  const body = { watcher: $("handled").value.trim(), about: $("about").value };
  $("ruling").textContent = "";
  const path = `/api/v1/users/${encodeURIComponent(aor)}/rules/${$("handling").value}`;
  const { watcher, handling, changed } = await api(path, { method: "POST", body });
  await showRules();
  $("ruling").textContent = `${watcher} ${changed ? "has" : "had"} ${handling} of ${aor}.`;
}

async function explain() {
  const fields = Object.fromEntries(
    ["method", "aor", "from", "watcher", "event", "direction"].map((id) => [id, $(id).value.trim()]),
  );
  const { text } = await api(`/api/v1/explain?${query(fields)}`);
  $("explanation").textContent = text.join("\n");
  $("explanation").hidden = false;
}

async function refresh() {
  const [status, ready, { servers }, { entries }, { batches }, stored, subscribed] = await Promise.all([
    api("/api/v1/status"),
    api("/readyz"),
    api("/api/v1/servers"),
    api("/api/v1/audit?limit=20"),
    api("/api/v1/moves?open=true&limit=20"),
    api("/api/v1/messages?state=stored&limit=20"),
    api(`/api/v1/subscriptions?${query(sought)}`),
  ]);
  showStatus(status, ready);
  showServers(servers);
  showMoves(batches);
  showMessages(stored);
  showSubscriptions(subscribed);
  showAudit(entries);
  $("main").hidden = false;
  $("leave").hidden = sessionStorage.getItem(TOKEN_KEY) === null;
}

async function open() {
  await refresh();
  await showUsers(false);
}

/** Whether the last round in the background failed: its notice goes when one succeeds, a person's own stays. */
let away = false;

async function round() {
  if (!document.hidden && $("login").hidden) {
    try {
      await refresh();
      if (away) tell(null);
      away = false;
    } catch (error) {
      away = true;
      tell(error);
    }
  }
  window.setTimeout(round, REFRESH_MS);
}

function theme(name) {
  if (name === null) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

function submits(id, run) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    void act(() => run(event));
  });
}

submits("login", async () => {
  sessionStorage.setItem(TOKEN_KEY, $("token").value.trim());
  $("token").value = "";
  await open();
});
submits("search", () => showUsers(false));
submits("place", (event) => place(event.submitter?.value ?? "bind"));
submits("migrate", (event) => migrate(event.submitter?.value ?? "check"));
submits("rules-of", showRules);
submits("handle", handle);
submits("subscribed", searchSubscriptions);
submits("explain", explain);
$("more").addEventListener("click", () => void act(() => showUsers(true)));
$("leave").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN_KEY);
  window.location.reload();
});
$("theme").addEventListener("click", () => {
  const dark = window.getComputedStyle(document.documentElement).colorScheme === "dark";
  localStorage.setItem(THEME_KEY, dark ? "light" : "dark");
  theme(localStorage.getItem(THEME_KEY));
});

theme(localStorage.getItem(THEME_KEY));
await act(open);
void round();
