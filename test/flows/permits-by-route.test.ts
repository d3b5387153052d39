import { afterEach, describe, expect, it } from "vitest";
import type { SipRequest } from "../../src/sip/message/message.ts";
import { BLOCK, ScriptedPolicy } from "../support/scripted-policy.ts";
import { always, type Client, createWorld, reply, type World } from "../support/world.ts";

/** models.md, "Identity and policy": whoever names a server himself, or writes as within a dialog, is judged as everybody is. */

let world: World;
let policy: ScriptedPolicy;

afterEach(() => world.stop());

const ALICE = "sip:alice@example.com";
const BOB = "bob@example.com";
const CAROL = "carol@example.com";

async function begin(): Promise<void> {
  policy = new ScriptedPolicy();
  world = await createWorld({
    servers: {
      home: { script: always(404) },
      east: { script: (transaction, self) => reply(transaction, self, 200) },
      west: { script: always(404) },
    },
    policy: policy.of,
    options: { models: [{ match: "*", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } }] },
  });
  const moved = world.proxies[0]!.directory.move({
    aor: "alice@example.com",
    to: "east",
    equalRank: true,
    actor: "test",
  });
  await world.simulation.finish(moved);
  policy.refuse(BOB, "MESSAGE");
  policy.refuse(BOB, "INVITE");
  policy.rule(BOB, BLOCK);
  await world.simulation.advance(100);
}

const east = (): Client => world.scripted["east"]!;
const home = (): Client => world.scripted["home"]!;

/** How it is answered, and how many of them the server got. */
async function sent(
  who: Client,
  method: string,
  to: string,
  from: string,
  change: (request: SipRequest) => SipRequest,
) {
  const request = who.request.bind(who);
  who.request = (...args) => change(request(...args));
  const answers = await who.send(method, to, { from: `sip:${from}` });
  who.request = request;
  return [answers.at(-1)!.status, east().seen(method).length];
}

const WAYS: readonly (readonly [
  string,
  (east: string) => string,
  (east: string, request: SipRequest) => SipRequest,
])[] = [
  [
    "with a tag in To that is of no dialog",
    () => ALICE,
    (_, each) => each.edit().set("To", `<${ALICE}>;tag=x`).build(),
  ],
  [
    "with a tag, and a Route to us that we have not made",
    () => ALICE,
    (_, each) => each.edit().set("To", `<${ALICE}>;tag=x`).prepend("Route", "<sip:127.0.0.1;lr>").build(),
  ],
  ["with a Route to the server", () => ALICE, (at, each) => each.edit().prepend("Route", `<sip:${at};lr>`).build()],
  [
    "with a Route to the server, and another To",
    () => ALICE,
    (at, each) => each.edit().set("To", "<sip:nobody@else.example>").prepend("Route", `<sip:${at};lr>`).build(),
  ],
  ["at the address of the server", (at) => `sip:alice@${at}`, (_, each) => each],
  ["with an maddr", (at) => `sip:alice@example.com;maddr=${at}`, (_, each) => each],
];

describe.each(WAYS)("%s", (_, to, change) => {
  it.each(["MESSAGE", "INVITE"])("a %s of whom the rules refuse is 403, of others it goes on", async (method) => {
    await begin();
    const at = east().host;
    expect(await sent(home(), method, to(at), BOB, (each) => change(at, each))).toEqual([403, 0]);
    expect(await sent(home(), method, to(at), CAROL, (each) => change(at, each))).toEqual([200, 1]);
  });
});

describe.each(WAYS.slice(2))("%s", (_, to, change) => {
  it("a SUBSCRIBE of whom the rules block reaches no server", async () => {
    await begin();
    const at = east().host;
    expect(await sent(home(), "SUBSCRIBE", to(at), BOB, (each) => change(at, each))).toEqual([403, 0]);
    expect(await sent(home(), "SUBSCRIBE", to(at), CAROL, (each) => change(at, each))).toEqual([200, 1]);
  });
});

it.each(["presence", "Presence", "PRESENCE"])("rules for presence are for Event: %s", async (event) => {
  await begin();
  policy.decide = (question) => (question.event === "presence" ? BLOCK : undefined);
  const change = (each: SipRequest) => each.edit().set("Event", event).build();
  expect(await sent(home(), "SUBSCRIBE", ALICE, BOB, change)).toEqual([403, 0]);
});
