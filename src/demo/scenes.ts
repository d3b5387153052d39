import type { SipResponse } from "../sip/message/message.ts";
import { at, type ExampleDomain } from "./domain.ts";
import type { ExampleServer } from "./example-server.ts";
import { is, plan, type Scene } from "./scene.ts";

const TEXT = [["Content-Type", "text/plain"]] as const;

export const SCENES: readonly Scene[] = [
  {
    title: "bob on east writes to alice. Nobody told the proxy where she lives: it asks the other servers, and learns.",
    play: async (domain) => {
      domain.west.hold("alice");
      const answer = await message(domain.east, "bob", "alice", "hello");
      await domain.quiet();
      return [
        is("bob's MESSAGE was answered 200", answer?.status, 200),
        is("west and north were asked once each, east not at all", asked(domain, "MESSAGE", "alice"), "0 1 1"),
        is("alice has the message", domain.west.inboxes.get("alice")?.at(-1)?.text, "hello"),
        await plan(domain, "MESSAGE", "alice", "relay west"),
      ];
    },
  },
  {
    title: "He writes again: it goes straight to west.",
    play: async (domain) => {
      const answer = await message(domain.east, "bob", "alice", "hello again");
      await domain.quiet();
      return [
        is("answered 200", answer?.status, 200),
        is("north was not asked a second time", asked(domain, "MESSAGE", "alice"), "0 2 1"),
      ];
    },
  },
  {
    title:
      "bob watches alice: the proxy relays the SUBSCRIBE and stays on the path of its NOTIFYs. alice comes online.",
    play: async (domain) => {
      const watch = await domain.east.watch("bob", at("alice"));
      await domain.quiet();
      domain.west.show("alice", "open");
      await domain.quiet();
      const last = watch.notified.at(-1);
      const ended = await watch.refresh(0);
      await domain.quiet();
      return [
        is("the SUBSCRIBE was answered 200", watch.answer?.status, 200),
        is("the first NOTIFY was active", watch.notified[0]?.state.split(";")[0], "active"),
        is("the next one shows alice online", last?.document.includes("<basic>open</basic>"), true),
        is("the proxy record-routed", watch.answer?.recordRoutes.length, 1),
        is("ending it went the same way", ended?.status, 200),
        is("and the last NOTIFY said terminated", watch.ended, true),
      ];
    },
  },
  {
    title: "bob calls alice: INVITE, ACK and BYE.",
    play: async (domain) => {
      const call = await domain.east.call("bob", at("alice"));
      const bye = await call.hangUp();
      await domain.quiet();
      return [
        is("the INVITE was answered 200", call.answer?.status, 200),
        is("the BYE was answered 200", bye?.status, 200),
      ];
    },
  },
  {
    title: "bob writes to nobody@: every server says 404, so does the proxy, and it remembers for ten seconds.",
    play: async (domain) => {
      const first = await message(domain.east, "bob", "nobody", "anyone there?");
      await domain.quiet();
      const second = await message(domain.east, "bob", "nobody", "anyone?");
      await domain.quiet();
      return [
        is("answered 404 both times", `${first?.status} ${second?.status}`, "404 404"),
        is("west and north were asked once each", asked(domain, "MESSAGE", "nobody"), "0 1 1"),
      ];
    },
  },
  {
    title: "alice moves to north. Her old server's 404 unlearns her; she is found again within the same request.",
    play: async (domain) => {
      domain.west.release("alice");
      domain.north.hold("alice");
      const answer = await message(domain.east, "bob", "alice", "still there?");
      await domain.quiet();
      return [
        is("answered 200", answer?.status, 200),
        is("north has the message", domain.north.inboxes.get("alice")?.at(-1)?.text, "still there?"),
        await plan(domain, "MESSAGE", "alice", "relay north"),
      ];
    },
  },
  {
    title: "west and north now send what they do not hold back to the proxy, one as a proxy, one as a B2BUA: no storm.",
    play: async (domain) => {
      domain.west.onUnknown = "proxy-back";
      domain.north.onUnknown = "b2bua-back";
      const answer = await message(domain.east, "bob", "ghost", "boo");
      await domain.quiet();
      return [
        is("answered 404", answer?.status, 404),
        is("west and north were asked once each", asked(domain, "MESSAGE", "ghost"), "0 1 1"),
      ];
    },
  },
  {
    title: "carol.desk is exclusive, first come, first served: west claims her by REGISTER, north is refused.",
    play: async (domain) => {
      const first = await domain.west.claim("carol.desk", 600);
      const second = await domain.north.claim("carol.desk", 600);
      await domain.quiet();
      return [
        is("west's claim was answered 200", first?.status, 200),
        is("north's was answered 403, its Warning names the holder", warned(second), "403 west"),
        await plan(domain, "MESSAGE", "carol.desk", "relay west"),
      ];
    },
  },
];

function message(server: ExampleServer, from: string, to: string, body: string): Promise<SipResponse | null> {
  return server.ask({ method: "MESSAGE", from, to: at(to), headers: TEXT, body });
}

/** How often east, west and north were asked. */
function asked(domain: ExampleDomain, method: string, user: string): string {
  return [domain.east, domain.west, domain.north].map((server) => server.seen(method, user)).join(" ");
}

function warned(response: SipResponse | null): string {
  return `${response?.status} ${/\b(east|west|north)\b/.exec(response?.header("Warning") ?? "")?.[0]}`;
}
