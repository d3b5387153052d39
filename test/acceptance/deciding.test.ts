import { afterAll, beforeAll, expect, it } from "vitest";
import { Stack } from "../../src/demo/stack.ts";
import { parseWinfo, WINFO_TYPE } from "../../src/presence/winfo.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import type { RunningServer } from "../../src/server.ts";
import { okWithin, requestWithin, uasDialog } from "../../src/sip/dialog/dialog.ts";
import { buildRequest, buildResponse } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import { eventually } from "../support/child.ts";
import { ownDatabase } from "../support/own-database.ts";
import { pidf } from "../support/presence.ts";
import { ANYBODY, handling, one, rule, ruleset } from "../support/rules.ts";
import { startProxy } from "../support/start-proxy.ts";

/** Two proxies on one PostgreSQL: a user on two servers decides about a watcher at the other proxy. Real sockets, real rows. */

const PROXIES = ["127.0.0.81", "127.0.0.82"] as const;
const SERVERS = { east: "127.0.0.83", west: "127.0.0.84", home: "127.0.0.85" } as const;
const PORT = 15_560;
const ALICE = "alice@example.com";
const BOB = "bob@example.com";
const runtime = createRealRuntime();
const database = ownDatabase();
const stacks: Stack[] = [];
const proxies: RunningServer[] = [];

/** Has alice's presence: lets everybody in, and shows her with a note. */
function presenceServer(host: string): Stack {
  const stack: Stack = new Stack(
    runtime,
    { host, port: PORT },
    {
      onRequest: (transaction) => {
        const { request } = transaction;
        if (request.method !== "SUBSCRIBE") return transaction.respond(buildResponse(request, 200));
        const tag = request.to.tag ?? `at-${host}`;
        const contact = `sip:${host}:${PORT}`;
        const headers = [["Expires", "600"]] as const;
        transaction.respond(okWithin(request, 200, { localTag: tag, contact, headers }));
        const over = request.expires === 0;
        const body = pidf(ALICE, "open").replace("</tuple>", "$&<note>at home</note>");
        const notify = requestWithin(uasDialog(request, tag), {
          method: "NOTIFY",
          cseq: request.cseq.number,
          contact,
          headers: [
            ["Event", "presence"],
            ["Subscription-State", over ? "terminated;reason=timeout" : "active;expires=600"],
            ["Content-Type", "application/pidf+xml"],
          ],
          body,
        });
        const { host: to = PROXIES[0], port = PORT } = { ...hostOf(request) };
        void stack.ask(notify, { host: to, port });
      },
      onAck: () => undefined,
      onCancel: () => undefined,
    },
  );
  return stack;
}

function hostOf(request: SipRequest): { host: string; port: number } | undefined {
  const [contact] = request.contacts === "*" ? [] : request.contacts;
  const uri = contact?.uri;
  return uri?.kind === "sip" ? { host: uri.host, port: uri.port ?? 5060 } : undefined;
}

/** NOTIFYs by Call-ID: state, and what they carried. */
const told = new Map<string, Array<{ readonly state: string; readonly body: string }>>();
/** Where bob and alice are, a server that the proxies believe. */
const home = new Stack(
  runtime,
  { host: SERVERS.home, port: PORT },
  {
    onRequest: (transaction) => {
      const { request } = transaction;
      if (request.method === "NOTIFY") {
        const state = request.header("Subscription-State")!.replace(/;expires=\d+/, "");
        told.set(request.callId, [...(told.get(request.callId) ?? []), { state, body: request.body }]);
      }
      transaction.respond(buildResponse(request, 200));
    },
    onAck: () => undefined,
    onCancel: () => undefined,
  },
);

async function subscribe(from: string, event: string, accept: string, proxy: string, callId: string): Promise<number> {
  const request = buildRequest({
    method: "SUBSCRIBE",
    uri: `sip:${ALICE}`,
    headers: [
      ["Max-Forwards", "70"],
      ["From", `<sip:${from}>;tag=${callId}`],
      ["To", `<sip:${ALICE}>`],
      ["Call-ID", callId],
      ["CSeq", "1 SUBSCRIBE"],
      ["Contact", `<sip:${SERVERS.home}:${PORT}>`],
      ["Event", event],
      ["Accept", accept],
      ["Expires", "600"],
    ],
  });
  return (await home.ask(request, { host: proxy, port: PORT }))?.status ?? 0;
}

const saw = (callId: string): string[] => (told.get(callId) ?? []).map(({ state }) => state);
const last = (callId: string): string => told.get(callId)?.at(-1)?.body ?? "";

/** What the last document that had him said of bob. */
function bobAs(): string | undefined {
  const documents = (told.get("winfo") ?? []).filter(({ body }) => body !== "").map(({ body }) => parseWinfo(body));
  const all = documents.flatMap(({ lists }) => lists.flatMap(({ watchers }) => watchers));
  return all.filter(({ uri }) => uri === `sip:${BOB}`).at(-1)?.status;
}

async function write(text: string): Promise<void> {
  const address = `${proxies[0]!.admin}/api/v1/users/${ALICE}/documents/pres-rules`;
  const put = await fetch(address, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text }),
  });
  expect(put.status).toBeLessThan(300);
}

beforeAll(async () => {
  stacks.push(presenceServer(SERVERS.east), presenceServer(SERVERS.west), home);
  for (const stack of stacks) await stack.start();
  for (const host of PROXIES) proxies.push(await startProxy(runtime, configuration(host)));
});

afterAll(async () => {
  for (const proxy of proxies) await proxy.stop();
  for (const stack of stacks) await stack.stop();
});

function configuration(host: string): string {
  return `
domain: example.com
proxy-name: proxy-${host}
listen: ["udp://${host}:${PORT}"]
database: ${database.url}
admin: { url: "http://${host}:0" }
logging: { level: "off" }
policy: { way: root-only, presence: confirm, contact: allow }
servers:
  east: { uri: "sip:${SERVERS.east}:${PORT}" }
  west: { uri: "sip:${SERVERS.west}:${PORT}" }
  home: { uri: "sip:${SERVERS.home}:${PORT}" }
models:
  - { match: "alice@example.com", model: unioned, style: peer, servers: [east, west] }
`;
}

it("she sees who waits at the other proxy, lets him see a part, and refuses him", async () => {
  expect(await subscribe(ALICE, "presence.winfo", WINFO_TYPE, PROXIES[0], "winfo")).toBe(200);
  expect(await subscribe(BOB, "presence", "application/pidf+xml", PROXIES[1], "watch")).toBe(200);
  await eventually("she is told that he waits", () => bobAs() === "pending");
  expect(saw("watch")).toEqual(["pending"]);
  const services = "<provide-services><all-services/></provide-services>";
  await write(ruleset(rule("bob", one(BOB), handling("allow"), services), rule("all", ANYBODY, handling("confirm"))));
  await eventually("he sees her", () => saw("watch").includes("active"));
  expect([/<basic>open</.test(last("watch")), last("watch").includes("at home")]).toEqual([true, false]);
  await eventually("she is told that he watches", () => bobAs() === "active");
  await write(ruleset(rule("all", ANYBODY, handling("block"))));
  await eventually("he is refused", () => saw("watch").at(-1) === "terminated;reason=rejected");
  await eventually("she is told", () => bobAs() === "terminated");
  expect(last("watch")).toBe("");
  expect(await subscribe(BOB, "presence", "application/pidf+xml", PROXIES[0], "again")).toBe(403);
}, 300_000);
