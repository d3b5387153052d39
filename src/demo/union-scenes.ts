import type { Address } from "../runtime/runtime.ts";
import { at, type ExampleDomain } from "./domain.ts";
import type { ExampleServer } from "./example-server.ts";
import { type Check, is, plan, type Scene } from "./scene.ts";
import type { Watch } from "./watches.ts";

const PEER = "erin.team";
const BELOW = "finn.office";

/** Users who are on all three servers at once: as peers, and in a tree (models.md, "Unioned"). */
export function unionScenes(): readonly Scene[] {
  const watches: Watch[] = [];

  /** A device of this user, connected to a server, or where there is none straight to the proxy. */
  const watch = async (domain: ExampleDomain, user: string, to: string, server?: ExampleServer): Promise<Watch> => {
    const where = server === undefined ? {} : { to: () => addressOf(server) };
    const watching = await domain.phones.watch(user, at(to), where);
    watches.push(watching);
    await domain.until(() => watching.phase === "active" || watching.phase === "terminated");
    await domain.quiet();
    return watching;
  };

  return [
    {
      title:
        "erin.team is on east, west and north at once, as peers. bob's phone is on east, which acts as the root and asks the others. What west sends on in its turn has come round: 482.",
      play: async (domain) => {
        for (const server of serversOf(domain)) {
          server.hold(PEER);
          server.show(PEER, "open");
        }
        const bob = await watch(domain, "bob", PEER, domain.east);
        return [
          is(
            "pending first: nothing is shown before all have confirmed",
            bob.notified[0]?.state.split(";")[0],
            "pending",
          ),
          sees("bob", bob, "east north west"),
          is("west's own subscription was told 482 Loop Detected", domain.said(/^SIP\/2\.0 482/), 1),
          is("every other server has one dialog about her", live(domain, PEER), "1 1 1"),
        ];
      },
    },
    {
      title: "joe has no server here and watches her by the proxy, which composes for him: he sees the same.",
      play: async (domain) => {
        const joe = await watch(domain, "joe", PEER);
        return [
          sees("joe", joe, "east north west"),
          await plan(domain, "SUBSCRIBE", PEER, "compose east, west, north"),
        ];
      },
    },
    {
      title: "She goes offline on north: one NOTIFY each, with what east and west have unchanged.",
      play: async (domain) => {
        const before = watches.map(({ notified }) => notified.length);
        domain.north.show(PEER, "closed");
        await domain.until(() => watches.every(({ notified }, i) => notified.length > before[i]!));
        await domain.quiet();
        const counts = watches.map(({ notified }, i) => notified.length - before[i]!).join(" ");
        return [
          is("bob and joe were told once each", counts, "1 1"),
          ...watches.map((each, i) => sees(["bob", "joe"][i]!, each, "east north west")),
        ];
      },
    },
    {
      title: "north denies mallory. Whom one denies all deny: she is never shown a byte (privacy safety).",
      play: async (domain) => {
        domain.north.policy = (watcher) => (watcher.includes("mallory") ? "rejected" : "active");
        const mallory = await watch(domain, "mallory", PEER, domain.east);
        return [
          is("the last she was told", mallory.notified.at(-1)?.state, "terminated;reason=rejected"),
          is("and of erin", mallory.notified.map(({ document }) => document).join(""), ""),
        ];
      },
    },
    {
      title:
        "finn.office is on all three in a tree: east above west above north. kim's phone is on west: her subscription goes up to east, which asks west, which asks north; the document comes the same way back.",
      play: async (domain) => {
        for (const server of serversOf(domain)) {
          server.hold(BELOW);
          server.show(BELOW, "open");
        }
        const kim = await watch(domain, "kim", BELOW, domain.west);
        return [
          sees("kim", kim, "east north west"),
          is(
            "east was asked once, north once",
            `${domain.east.seen("SUBSCRIBE", BELOW)} ${domain.north.seen("SUBSCRIBE", BELOW)}`,
            "1 1",
          ),
        ];
      },
    },
    {
      title: "All of them stop watching: no dialog is left anywhere.",
      play: async (domain) => {
        for (const each of watches) if (!each.ended) await each.refresh(0);
        await domain.until(() => `${live(domain, PEER)} ${live(domain, BELOW)}` === "0 0 0 0 0 0");
        await domain.quiet();
        domain.north.policy = () => "active";
        return [
          is(
            "every server's dialogs about erin and finn",
            `${live(domain, PEER)} ${live(domain, BELOW)}`,
            "0 0 0 0 0 0",
          ),
          is(
            "everybody was told so",
            watches.every(({ ended }) => ended),
            true,
          ),
        ];
      },
    },
  ];
}

function serversOf({ east, west, north }: ExampleDomain): readonly ExampleServer[] {
  return [east, west, north];
}

function live(domain: ExampleDomain, user: string): string {
  return serversOf(domain)
    .map((server) => server.accepted(user).length)
    .join(" ");
}

/** Whose elements the last document has. */
function sees(who: string, { notified }: Watch, wanted: string): Check {
  const document = notified.at(-1)?.document ?? "";
  const found = Array.from(document.matchAll(/<(?:\w+:)?note[^>]*>(\w+) \d+<\//g), ([, server]) => server).sort();
  return is(`${who} sees what all of them have, each once`, found.join(" "), wanted);
}

function addressOf({ uri }: ExampleServer): Address {
  const [, host, port] = uri.split(":") as [string, string, string];
  return { host, port: Number(port) };
}
