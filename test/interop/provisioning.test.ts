import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { Pusher } from "../../src/provisioning/pusher.ts";
import { EXPRESSIONS } from "../../src/provisioning/reduce.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import { ask, field, responseText, type WirePeer, wirePeer } from "../support/wire.ts";

/** Users' rules pushed to a Kamailio that keeps its own (xcap_server, presence_xml), and what its watchers then see. */
const PROXY = "127.0.0.151";
const ALICE = "alice@example.com";

const runtime = createRealRuntime();
const directory = createMemoryDatabase(runtime).directory("proxy");
let proxy: WirePeer;
let kamailio: Kamailio;
let pusher: Pusher;

beforeAll(async () => {
  proxy = await wirePeer(PROXY, 5060);
  kamailio = await startKamailio({
    host: "127.0.0.152",
    proxy: `${PROXY}:5060`,
    users: ["alice"],
    xcap: "portal:secret",
  });
  await directory.start();
  const server = {
    name: "k",
    url: "http://127.0.0.152:5060/xcap-root",
    user: "portal",
    password: "secret",
    expresses: EXPRESSIONS,
  };
  pusher = new Pusher({
    runtime,
    telemetry: new Telemetry(),
    directory,
    servers: () => [server],
    domains: () => ["example.com"],
    ownDomains: () => ["example.com"],
    lookup: (aor) => directory.lookup(aor),
    serversOf: () => ["k"],
    nameOn: (aor) => aor,
  });
  pusher.start();
});

afterAll(async () => {
  await pusher?.stop();
  await directory.stop();
  await kamailio?.stop();
  await proxy?.close();
});

function rules(...rules: readonly (readonly [who: string, handling: string])[]): string {
  const all = rules.map(
    ([who, handling]) =>
      `<rule id="${who}"><conditions><identity><one id="sip:${who}@example.com"/></identity></conditions><actions><sub-handling xmlns="urn:ietf:params:xml:ns:pres-rules">${handling}</sub-handling></actions></rule>`,
  );
  return `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy">${all.join("")}</ruleset>`;
}

async function push(text: string | null): Promise<void> {
  if (text === null) await directory.documents.remove(ALICE, "pres-rules", {}, "test");
  else await directory.documents.put(ALICE, "pres-rules", text, {}, "test");
  let state = "";
  try {
    await eventually("the rules to be there", async () => {
      const [row] = await directory.pushes.list({ aor: ALICE, limit: 1 });
      state = JSON.stringify(row);
      return text === null ? row === undefined : row?.state === "pushed";
    });
  } catch (error) {
    throw new Error(`${String(error)}; ${state}\n${kamailio.log().slice(-3000)}`);
  }
}

/** What a watcher is told at once. */
async function standing(watcher: string): Promise<string> {
  const answer = await ask(proxy, kamailio, {
    method: "SUBSCRIBE",
    uri: `sip:${ALICE}`,
    from: `sip:${watcher}@example.com`,
    headers: [
      "Event: presence",
      "Expires: 600",
      `Contact: <sip:${watcher}@${proxy.host}:${proxy.port}>`,
      "Accept: application/pidf+xml",
    ],
  });
  if (answer.status >= 300) return String(answer.status);
  const isHis = (text: string): boolean => field(text, "To").includes(`sip:${watcher}@`);
  const notify = await proxy.next("a NOTIFY", (m) => m.method === "NOTIFY" && m.status === 0 && isHis(m.text));
  proxy.send(responseText(notify.text, 200, "OK"), notify.host, notify.port);
  return field(notify.text, "Subscription-State").split(/;expires/)[0]!;
}

describe("central provisioning of a Kamailio", () => {
  test("who is allowed is in, who is blocked is not, who is to be confirmed waits, others wait", async () => {
    await push(rules(["bob", "allow"], ["mallory", "block"], ["carol", "confirm"]));
    expect(await standing("bob")).toBe("active");
    expect(await standing("carol")).toBe("pending");
    expect(await standing("mallory")).toMatch(/^(403|terminated;reason=rejected)$/);
  });

  test("a change reaches who is in already: he is turned out", async () => {
    expect(await standing("bob")).toBe("active");
    await push(rules(["bob", "block"]));
    const isEnd = (text: string): boolean =>
      field(text, "To").includes("sip:bob@") && /^terminated/.test(field(text, "Subscription-State"));
    const last = await proxy.next("the end", (m) => m.method === "NOTIFY" && m.status === 0 && isEnd(m.text), 15_000);
    expect(field(last.text, "Subscription-State")).toBe("terminated;reason=rejected");
    proxy.send(responseText(last.text, 200, "OK"), last.host, last.port);
  });

  test("rules that are taken back are removed there", async () => {
    await push(null);
    expect(await standing("dave")).toBe("pending");
  });
});
